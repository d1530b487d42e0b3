-- What each layer does, as observed: the share of answer tokens that are first right there, the share that settle
-- there, and how much the target's log-probability rises there over the layer before (nats; null at layer 0).
-- All over the answer tokens that layer L gets right, in contexts with documents.
-- By region of positions: tables/essential_layers.csv.
create view essential_layers as
with rises as (
    select
        r.model, d.context_set, r.lens, r.layer,
        d.first_correct_layer = r.layer as first_right,
        d.settled_layer = r.layer as settled,
        r.target_logprob - lag(r.target_logprob) over (
            partition by r.model, r.lens, r.context_id, r.answer_index order by r.layer
        ) as rise
    from layer_records as r
    join token_depths as d using (model, lens, context_id, answer_index)
    where d.condition = 'documents' and d.final_right
)
select
    model, context_set, lens, layer,
    count(*) as n_right,
    avg(first_right::integer) as share_first_right,
    avg(settled::integer) as share_settled,
    avg(rise) as mean_rise
from rises
group by model, context_set, lens, layer
order by model, context_set, lens, layer;
