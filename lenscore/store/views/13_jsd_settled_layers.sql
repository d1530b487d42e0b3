-- jsd_settled_layers(threshold): one row an answer token × lens, with the lowest layer from which on the Jensen–Shannon
-- divergence of every layer's distribution from layer L's is at most the threshold (nats). It is never null: layer L's
-- own divergence is 0 but for rounding. A function, since the threshold is the reader's.
create macro jsd_settled_layers(threshold) as table
select
    r.model, r.lens, r.context_id, r.answer_index,
    coalesce(max(r.layer) filter (where r.jsd_to_final > threshold and r.layer < m.n_layers), -1) + 1 as jsd_settled_layer
from layer_records as r
join models as m on m.model = r.model
group by r.model, r.lens, r.context_id, r.answer_index;
