-- How often the last layer is right, teacher-forced: for answers' first content tokens (the first with a
-- letter or digit), all content tokens, all answer tokens, and whole answers.
-- The controls have rows too: closed_book has no gold index, oracle has one document.
create view accuracy_curve as
with answers as (
    select
        model, context_set, lens, condition, n_documents, gold_index, relative_position, context_id,
        bool_or(final_right) filter (where answer_index = first_content_index) as first_right,
        bool_and(final_right) as whole_right,
        count(*) as n_tokens,
        count(*) filter (where final_right) as n_right,
        count(*) filter (where token_class not in ('space', 'punctuation')) as n_content,
        count(*) filter (where final_right and token_class not in ('space', 'punctuation')) as n_content_right
    from token_depths
    group by all
)
select
    model, context_set, lens, condition, n_documents, gold_index, any_value(relative_position) as relative_position,
    count(*) as n_contexts,
    sum(n_tokens) as n_tokens,
    avg(first_right::integer) as first_token_accuracy,
    sum(n_content_right) / nullif(sum(n_content), 0) as content_token_accuracy,
    sum(n_right) / sum(n_tokens) as token_accuracy,
    avg(whole_right::integer) as whole_answer_accuracy
from answers
group by model, context_set, lens, condition, n_documents, gold_index
order by model, context_set, lens, condition, n_documents, gold_index;
