-- What each layer does, as observed: the share of answer tokens that are first right there, the share that settle
-- there, and how much the target's log-probability rises from the layer before (nats; null at layer 0).
-- Over the answer tokens that layer L gets right, in contexts with documents.
-- By region of positions: tables/essential_layers.csv.
create view essential_layers as
with sums as (
    select
        model, context_set, lens, layer,
        sum(n_right)::bigint as n_right,
        sum(n_first_right) as n_first_right,
        sum(n_settled) as n_settled,
        sum(sum_logprob::decimal(28, 9))::double as sum_logprob
    from context_layers
    group by model, context_set, lens, layer
)
select
    model, context_set, lens, layer, n_right,
    n_first_right / n_right as share_first_right,
    n_settled / n_right as share_settled,
    (sum_logprob - lag(sum_logprob) over (partition by model, context_set, lens order by layer)) / n_right as mean_rise
from sums
order by model, context_set, lens, layer;
