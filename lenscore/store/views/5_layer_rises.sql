-- What happens at each layer, summed by relative position: of the answer tokens that layer L gets right (n_right), how
-- many are first right there, how many settle there, and by how much in all the target's log-probability rises there
-- over the layer before (nats; null at layer 0). Contexts with documents only. Sums, so that positions can be joined.
create view layer_rises as
select
    model, context_set, lens, relative_position, layer,
    count(*) as n_right,
    count(*) filter (where first_right) as n_first_right,
    count(*) filter (where settled) as n_settled,
    sum(rise::double) as sum_rise
from token_rises
group by model, context_set, lens, relative_position, layer;
