-- One row an answer token × lens: the layer at which it is first right, and the layer from which it stays right.
-- first_correct_layer  lowest layer whose top-1 is the answer token (null: there is none)
-- settled_layer        lowest layer from which on every layer's top-1 is the answer token (null: layer L is wrong)
-- refinement_depth     settled − first correct, where layer L is right: the paper's gap (arXiv 2501.15054)
-- first_predicted_layer, prediction_depth, own_token_refinement_depth
--                      the same with the model's own layer-L top-1 as the target; never null
-- first_content_index  answer index of the answer's first content token, the first with a letter or digit (null: none)
-- gold_distance        tokens from the gold document's first token to the prompt's last (null without such a document)
-- gold_distance_share  its share of the prompt's tokens
create view token_depths as
with final as (
    select r.model, r.lens, r.context_id, r.answer_index, r.top1_id as final_top1_id
    from layer_records as r
    join models as m on m.model = r.model and m.n_layers = r.layer
),
layers as (
    select
        r.model, r.lens, r.context_id, r.answer_index,
        any_value(r.target_id) as target_id,
        any_value(f.final_top1_id) as final_top1_id,
        min(r.layer) filter (where r.top1_id = r.target_id) as first_correct_layer,
        coalesce(max(r.layer) filter (where r.top1_id <> r.target_id), -1) + 1 as after_last_wrong,
        min(r.layer) filter (where r.top1_id = f.final_top1_id) as first_predicted_layer,
        coalesce(max(r.layer) filter (where r.top1_id <> f.final_top1_id), -1) + 1 as prediction_depth
    from layer_records as r
    join final as f using (model, lens, context_id, answer_index)
    group by r.model, r.lens, r.context_id, r.answer_index
),
tokens as (
    select
        model, context_id, answer_index, token_class,
        min(answer_index) filter (where token_class not in ('space', 'punctuation'))
            over (partition by model, context_id) as first_content_index
    from answer_tokens
)
select
    l.model, c.context_set, l.lens, l.context_id, c.question_id, c.condition,
    c.n_documents, c.distractor_order, c.gold_index, c.relative_position,
    f.gold_distance, f.gold_distance / f.n_prompt_tokens as gold_distance_share,
    l.answer_index, t.token_class, t.first_content_index, l.target_id, l.final_top1_id,
    l.final_top1_id = l.target_id as final_right,
    l.first_correct_layer,
    case when l.final_top1_id = l.target_id then l.after_last_wrong end as settled_layer,
    case when l.final_top1_id = l.target_id then l.after_last_wrong - l.first_correct_layer end as refinement_depth,
    l.first_predicted_layer,
    l.prediction_depth,
    l.prediction_depth - l.first_predicted_layer as own_token_refinement_depth
from layers as l
join contexts as c using (context_id)
join tokens as t using (model, context_id, answer_index)
left join fits as f using (model, context_id);
