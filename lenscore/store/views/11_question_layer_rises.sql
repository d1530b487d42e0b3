-- What layer_rises holds, summed by question instead of by position, over the contexts that were ablated: so that what a
-- lens shows and what ablation costs can be compared on the same contexts. Contexts with documents only.
create view question_layer_rises as
select
    t.model, t.context_set, t.lens, t.question_id, t.layer,
    count(*) as n_right,
    count(*) filter (where t.first_right) as n_first_right,
    count(*) filter (where t.settled) as n_settled,
    sum(t.rise::double) as sum_rise
from token_rises as t
semi join ablations as a on a.model = t.model and a.context_id = t.context_id
group by t.model, t.context_set, t.lens, t.question_id, t.layer;
