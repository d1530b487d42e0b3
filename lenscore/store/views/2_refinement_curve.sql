-- The paper's curve: mean depths by gold index. Refinement depth, first-correct and settled layer are means over
-- the answer tokens that layer L gets right (n_right of n_tokens); own-token refinement depth is a mean over all answer
-- tokens. gold_distance is the mean over contexts, in tokens. Intervals are in tables/refinement_curve.csv.
create view refinement_curve as
select
    model, context_set, lens, n_documents, gold_index, any_value(relative_position) as relative_position,
    avg(gold_distance) filter (where answer_index = 0) as gold_distance,
    count(distinct question_id) as n_questions,
    count(*) as n_tokens,
    count(*) filter (where final_right) as n_right,
    avg(refinement_depth) as refinement_depth,
    avg(first_correct_layer) filter (where final_right) as first_correct_layer,
    avg(settled_layer) as settled_layer,
    avg(own_token_refinement_depth) as own_token_refinement_depth
from token_depths
where condition = 'documents'
group by model, context_set, lens, n_documents, gold_index
order by model, context_set, lens, n_documents, gold_index;
