-- Between which layers right tokens are lost and won back, in contexts with documents: of the answer tokens, how many
-- are right at the layer before (n_right_before), how many of these are lost at this one (n_lost), how many are wrong
-- at the layer before but were right at some layer below (n_lost_before), and how many of these come back (n_regained).
create view layer_flips as
with steps as (
    select
        r.model, c.context_set, r.lens, r.layer,
        r.top1_id = r.target_id as is_right,
        lag(r.top1_id = r.target_id) over token as was_right,
        coalesce(bool_or(r.top1_id = r.target_id) over (token rows between unbounded preceding and 1 preceding), false)
            as was_ever_right
    from layer_records as r
    join contexts as c using (context_id)
    where c.condition = 'documents'
    window token as (partition by r.model, r.lens, r.context_id, r.answer_index order by r.layer)
)
select
    model, context_set, lens, layer,
    count(*) as n_tokens,
    count(*) filter (where was_right) as n_right_before,
    count(*) filter (where was_right and not is_right) as n_lost,
    count(*) filter (where not was_right and was_ever_right) as n_lost_before,
    count(*) filter (where is_right and not was_right and was_ever_right) as n_regained
from steps
where layer > 0
group by model, context_set, lens, layer
order by model, context_set, lens, layer;
