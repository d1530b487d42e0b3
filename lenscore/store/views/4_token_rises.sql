-- One row an answer token × lens × layer, of the tokens that layer L gets right in contexts with documents: whether it is
-- first right there, whether it settles there, and by how much its log-probability rises there over the layer before
-- (nats; null at layer 0).
create view token_rises as
select
    r.model, d.context_set, r.lens, r.context_id, d.question_id, d.relative_position, r.answer_index, r.layer,
    d.first_correct_layer = r.layer as first_right,
    d.settled_layer = r.layer as settled,
    r.target_logprob - lag(r.target_logprob) over (
        partition by r.model, r.lens, r.context_id, r.answer_index order by r.layer
    ) as rise
from layer_records as r
join token_depths as d using (model, lens, context_id, answer_index)
where d.condition = 'documents' and d.final_right;
