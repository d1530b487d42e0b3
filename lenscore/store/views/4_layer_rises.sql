-- What happens at each layer, summed by relative position: of the answer tokens that layer L gets right (n_right), how
-- many are first right there, how many settle there, and by how much in all the target's log-probability rises there
-- over the layer before (nats; null at layer 0). Contexts with documents only. Sums, so that positions can be joined.
create view layer_rises as
with rises as (
    select
        r.model, d.context_set, r.lens, d.relative_position, r.layer,
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
    model, context_set, lens, relative_position, layer,
    count(*) as n_right,
    count(*) filter (where first_right) as n_first_right,
    count(*) filter (where settled) as n_settled,
    sum(rise::double) as sum_rise
from rises
group by model, context_set, lens, relative_position, layer;
