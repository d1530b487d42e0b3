-- One row an answer token × lens: how often it is the top-1 at a layer and not at the next (n_lost), how often it
-- becomes the top-1 again after that (n_regained), and at how many layers it is the top-1 (n_right_layers).
create view token_flips as
with runs as (
    select
        model, lens, context_id, answer_index,
        -- Runs of layers at which it is the top-1. A run ends at a layer whose next one has another top-1, or at layer L.
        bit_count(right_at & ~(right_at >> 1))::integer as n_runs,
        bit_count(right_at)::integer as n_right_layers,
        (right_at >> last_layer) & 1 = 1 as ends_right
    from token_layers
)
select
    model, lens, context_id, answer_index,
    n_runs - ends_right::integer as n_lost,
    greatest(n_runs - 1, 0) as n_regained,
    n_right_layers
from runs;
