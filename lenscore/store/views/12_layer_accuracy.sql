-- One row a gold index × layer (and model, context set, lens, number of documents): how often the lens's top-1 is the
-- answer token, and the answer token's mean probability, over all answer tokens of contexts with documents.
create view layer_accuracy as
select
    r.model, c.context_set, r.lens, c.n_documents, c.gold_index, c.relative_position, r.layer,
    count(*) as n_tokens,
    avg((r.top1_id = r.target_id)::integer) as share_right,
    avg(exp(r.target_logprob::double)) as mean_probability
from layer_records as r
join contexts as c using (context_id)
where c.condition = 'documents'
group by r.model, c.context_set, r.lens, c.n_documents, c.gold_index, c.relative_position, r.layer;
