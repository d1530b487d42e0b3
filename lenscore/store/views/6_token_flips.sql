-- One row an answer token × lens: how often it is the top-1 at a layer and not at the next (n_lost), and how often it
-- comes back after that (n_regained); at how many layers it is the top-1 (n_right_layers).
create view token_flips as
with steps as (
    select
        model, lens, context_id, answer_index, layer,
        top1_id = target_id as is_right,
        lag(top1_id = target_id) over token as was_right,
        coalesce(bool_or(top1_id = target_id) over (token rows between unbounded preceding and 1 preceding), false)
            as was_ever_right
    from layer_records
    window token as (partition by model, lens, context_id, answer_index order by layer)
)
select
    model, lens, context_id, answer_index,
    count(*) filter (where was_right and not is_right) as n_lost,
    count(*) filter (where is_right and not was_right and was_ever_right) as n_regained,
    count(*) filter (where is_right) as n_right_layers
from steps
group by model, lens, context_id, answer_index;
