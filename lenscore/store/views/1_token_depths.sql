-- One row an answer token × lens: the layer at which it is first right, and the layer from which it stays right.
-- Of the answer token:
-- final_rank           its rank at layer L; final_right: it is 1
-- first_correct_layer  lowest layer whose top-1 is the answer token (null: there is none)
-- settled_layer        lowest layer from which on every layer's top-1 is the answer token (null: layer L is wrong)
-- refinement_depth     settled_layer - first_correct_layer (null: layer L is wrong)
-- …_top5, …_top10      the same where a layer is right whose rank of the answer token is at most 5, or 10
-- soft_depth           sum over the layers of 1 - min(1, p / p at layer L), p being the answer token's probability (null:
--                      layer L is wrong)
-- Of the model's own token, which is its top-1 at layer L; never null:
-- first_predicted_layer, prediction_depth, own_token_refinement_depth, own_token_soft_depth
-- Of its context and answer:
-- first_content_index  answer index of the answer's first content token, the first with a letter or digit (null: none)
-- gold_distance        tokens from the gold document's first token to the prompt's last (null without such a document)
-- gold_distance_share  its share of the prompt's tokens
-- Soft depths are sums of decimals, which do not depend on the order in which threads add them up.
create view token_depths as
with final as (
    select
        r.model, r.lens, r.context_id, r.answer_index, r.top1_id as final_top1_id, r.target_rank as final_rank,
        r.target_logprob::double as final_logprob, r.top1_logprob::double as final_own_logprob
    from layer_records as r
    join models as m on m.model = r.model and m.n_layers = r.layer
),
layers as (
    select
        r.model, r.lens, r.context_id, r.answer_index,
        any_value(r.target_id) as target_id,
        any_value(f.final_top1_id) as final_top1_id,
        any_value(f.final_rank) as final_rank,
        min(r.layer) filter (where r.top1_id = r.target_id) as first_correct_layer,
        coalesce(max(r.layer) filter (where r.top1_id <> r.target_id), -1) + 1 as after_last_wrong,
        min(r.layer) filter (where r.target_rank <= 5) as first_correct_layer_top5,
        coalesce(max(r.layer) filter (where r.target_rank > 5), -1) + 1 as after_last_wrong_top5,
        min(r.layer) filter (where r.target_rank <= 10) as first_correct_layer_top10,
        coalesce(max(r.layer) filter (where r.target_rank > 10), -1) + 1 as after_last_wrong_top10,
        sum((1 - exp(least(0, r.target_logprob::double - f.final_logprob)))::decimal(18, 15))::double as soft_depth,
        min(r.layer) filter (where r.top1_id = f.final_top1_id) as first_predicted_layer,
        coalesce(max(r.layer) filter (where r.top1_id <> f.final_top1_id), -1) + 1 as prediction_depth,
        sum(
            (1 - exp(least(0, r.own_token_logprob::double - f.final_own_logprob)))::decimal(18, 15)
        )::double as own_token_soft_depth
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
    l.answer_index, t.token_class, t.first_content_index, l.target_id, l.final_top1_id, l.final_rank,
    l.final_top1_id = l.target_id as final_right,
    l.first_correct_layer,
    case when l.final_top1_id = l.target_id then l.after_last_wrong end as settled_layer,
    case when l.final_top1_id = l.target_id then l.after_last_wrong - l.first_correct_layer end as refinement_depth,
    l.first_correct_layer_top5,
    case when l.final_rank <= 5 then l.after_last_wrong_top5 end as settled_layer_top5,
    case when l.final_rank <= 5 then l.after_last_wrong_top5 - l.first_correct_layer_top5 end as refinement_depth_top5,
    l.first_correct_layer_top10,
    case when l.final_rank <= 10 then l.after_last_wrong_top10 end as settled_layer_top10,
    case when l.final_rank <= 10 then l.after_last_wrong_top10 - l.first_correct_layer_top10 end as refinement_depth_top10,
    case when l.final_top1_id = l.target_id then l.soft_depth end as soft_depth,
    l.first_predicted_layer,
    l.prediction_depth,
    l.prediction_depth - l.first_predicted_layer as own_token_refinement_depth,
    l.own_token_soft_depth
from layers as l
join contexts as c using (context_id)
join tokens as t using (model, context_id, answer_index)
left join fits as f using (model, context_id);
