-- What an answer token loses by each ablation: one row an answer token × scope × replacement × block, with the result of
-- the intact model and of the ablated one. Log-probabilities of the target and KL(intact ‖ ablated) are in nats.
create view ablation_drops as
select
    a.model, c.context_set, a.context_id, c.question_id, c.condition, c.n_documents, c.gold_index, c.relative_position,
    a.answer_index, a.scope, a.replacement, a.block,
    i.top1_id = i.target_id as intact_right,
    a.top1_id = a.target_id as ablated_right,
    i.target_logprob as intact_logprob,
    a.target_logprob as ablated_logprob,
    a.kl_from_intact
from ablations as a
join ablations as i
    on i.block = 0 and i.model = a.model and i.context_id = a.context_id and i.answer_index = a.answer_index
    and i.scope = a.scope
join contexts as c on c.context_id = a.context_id
where a.block > 0;
