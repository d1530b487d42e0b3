-- What a context's answer tokens do at each layer: one row a context with documents × lens × layer, with counts and sums,
-- so that contexts can be pooled by position, by number of documents or by question.
-- Of all answer tokens (n_tokens):
--   n_top1, sum_probability       how many are the top-1 here; the sum of the probabilities of the answer tokens
--   sum_entropy                   the sum of the entropies of the lens's distributions that are to predict them (nats)
--   n_right_before, n_lost        how many are the top-1 at the layer before, and how many of these are not here
--   n_lost_before, n_regained     how many are not the top-1 at the layer before but are at an earlier one, and how
--                                 many of these are here
-- Of those that layer L gets right (n_right), which are the same tokens at every layer:
--   n_first_right, n_settled      how many are the top-1 here for the first time; how many are from here on
--   sum_logprob                   the sum of their log-probabilities (nats); one below −9 · 10⁸ counts as −9 · 10⁸, so
--                                 that it fits into the decimal type
-- Sums are sums of decimals, which do not depend on the order in which threads add them up.
create view context_layers as
with steps as (
    select
        r.model, r.lens, r.context_id, r.layer, r.target_logprob, r.entropy,
        r.top1_id = r.target_id as is_right,
        r.layer > 0 and (t.right_at >> (r.layer - 1)) & 1 = 1 as was_right,
        t.right_at & ((1::hugeint << r.layer) - 1) <> 0 as was_ever_right,
        t.right_at >> r.layer = t.all_layers >> r.layer as stays_right,
        (t.right_at >> t.last_layer) & 1 = 1 as ends_right
    from layer_records as r
    join token_layers as t using (model, lens, context_id, answer_index)
),
sums as (
    select
        model, lens, context_id, layer,
        count(*) as n_tokens,
        count(*) filter (where is_right) as n_top1,
        sum(exp(target_logprob::double)::decimal(18, 12))::double as sum_probability,
        sum(entropy::decimal(18, 9))::double as sum_entropy,
        count(*) filter (where was_right) as n_right_before,
        count(*) filter (where was_right and not is_right) as n_lost,
        count(*) filter (where not was_right and was_ever_right) as n_lost_before,
        count(*) filter (where is_right and not was_right and was_ever_right) as n_regained,
        count(*) filter (where ends_right) as n_right,
        count(*) filter (where ends_right and is_right and not was_ever_right) as n_first_right,
        count(*) filter (where stays_right and not was_right) as n_settled,
        coalesce(sum(greatest(target_logprob, -9e8)::decimal(18, 9)) filter (where ends_right), 0)::double as sum_logprob
    from steps
    group by model, lens, context_id, layer
)
select
    s.model, c.context_set, s.lens, s.context_id, c.question_id, c.n_documents, c.gold_index, c.relative_position,
    s.* exclude (model, lens, context_id)
from sums as s
join contexts as c using (context_id)
where c.condition = 'documents';
