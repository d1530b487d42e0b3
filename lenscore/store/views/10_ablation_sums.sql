-- What each ablation costs, summed over answer tokens: one row a question × position of the gold document × scope ×
-- replacement × block, for contexts with documents. Drops are intact less ablated.
--   n_tokens             number of answer tokens, in all orders of the distractors; without those whose log-probability
--                        or KL under ablation is not finite
--   sum_accuracy_drop    number right in the intact model less number right in the ablated one
--   sum_logprob_drop     sum of the drops in the target's log-probability (nats); one below −9 · 10⁸ counts as −9 · 10⁸
--   sum_kl               sum of KL(intact ‖ ablated) (nats); one above 9 · 10⁸ counts as 9 · 10⁸
-- Values are added as whole multiples of 2⁻⁶⁴, far finer than their own precision. Sums of whole numbers do not depend
-- on the order in which threads add them up.
create view ablation_sums as
with drops as (
    select
        model, context_set, question_id, n_documents, gold_index, relative_position, scope, replacement, block,
        intact_right::integer - ablated_right::integer as accuracy_drop,
        greatest(intact_logprob::double, -9e8) - greatest(ablated_logprob::double, -9e8) as logprob_drop,
        least(kl_from_intact::double, 9e8) as kl
    from ablation_drops
    where condition = 'documents' and isfinite(ablated_logprob) and isfinite(kl_from_intact)
)
select
    model, context_set, question_id, n_documents, gold_index, relative_position, scope, replacement, block,
    count(*) as n_tokens,
    sum(accuracy_drop)::bigint as sum_accuracy_drop,
    sum((logprob_drop * 2^64)::hugeint)::double / 2^64 as sum_logprob_drop,
    sum((kl * 2^64)::hugeint)::double / 2^64 as sum_kl
from drops
group by all;
