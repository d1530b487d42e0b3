-- One row an answer token × lens: how often it is the top-1 at a layer and not at the next (n_lost), and how often it
-- comes back after that (n_regained); at how many layers it is the top-1 (n_right_layers).
create view token_flips as
with runs as (
    select
        model, lens, context_id, answer_index,
        -- Layers at which it is the top-1 and is not at the next, or there is none: the ends of unbroken runs.
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
