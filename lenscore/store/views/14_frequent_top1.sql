-- How many top-1s of a lens are frequent tokens: one row a context with documents × lens × layer, over its answer tokens.
-- Frequent is a token whose rank among the tokens of the study's documents (token_frequencies) is at most 10, or 100.
--   n_tokens                       number of answer tokens
--   n_frequent_10, n_frequent_100  how many of their top-1s are as frequent
create view frequent_top1 as
select
    r.model, c.context_set, r.lens, r.context_id, any_value(c.question_id) as question_id, r.layer,
    any_value(c.n_documents) as n_documents,
    any_value(c.gold_index) as gold_index,
    any_value(c.relative_position) as relative_position,
    count(*) as n_tokens,
    count(*) filter (where f.rank <= 10) as n_frequent_10,
    count(*) filter (where f.rank <= 100) as n_frequent_100
from layer_records as r
join contexts as c using (context_id)
left join token_frequencies as f on f.model = r.model and f.token_id = r.top1_id
where c.condition = 'documents'
group by r.model, c.context_set, r.lens, r.context_id, r.layer;
