-- What layer_rises holds, summed by question instead of by position, over the contexts that were ablated: so that what a
-- lens shows and what ablation costs can be compared on the same contexts. Contexts with documents only.
create view question_layer_rises as
with rises as (
    select
        r.model, d.context_set, r.lens, d.question_id, r.layer,
        d.first_correct_layer = r.layer as first_right,
        d.settled_layer = r.layer as settled,
        r.target_logprob - lag(r.target_logprob) over (
            partition by r.model, r.lens, r.context_id, r.answer_index order by r.layer
        ) as rise
    from layer_records as r
    join token_depths as d using (model, lens, context_id, answer_index)
    semi join ablations as a on a.model = r.model and a.context_id = r.context_id
    where d.condition = 'documents' and d.final_right
)
select
    model, context_set, lens, question_id, layer,
    count(*) as n_right,
    count(*) filter (where first_right) as n_first_right,
    count(*) filter (where settled) as n_settled,
    sum(rise::double) as sum_rise
from rises
group by model, context_set, lens, question_id, layer;
