-- How far each lens is from the model at the answers: one row a model × context set × lens × question × layer, over the
-- answer tokens of its contexts with documents.
--   n_tokens   number of answer tokens
--   sum_kl     sum of KL(model ‖ lens) over them (nats); one above 9 · 10⁸ counts as 9 · 10⁸
-- Sums are sums of whole multiples of 2⁻⁶⁴, which do not depend on the order in which threads add them up.
create view answer_divergences as
select
    r.model, c.context_set, r.lens, c.question_id, r.layer,
    count(*) as n_tokens,
    sum((least(r.kl_to_final::double, 9e8) * 2^64)::hugeint)::double / 2^64 as sum_kl
from layer_records as r
join contexts as c using (context_id)
where c.condition = 'documents'
group by r.model, c.context_set, r.lens, c.question_id, r.layer;
