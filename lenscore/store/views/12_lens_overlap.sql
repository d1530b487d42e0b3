-- How many of the places of distractors hold a passage of a trained lens's texts: one row a model × trained lens ×
-- context set. A place is one of a document beside the gold one in a context with documents; a passage that stands in many
-- contexts counts in each. Passages are compared by their text.
--   n_places        places of distractors
--   n_trained_on    that hold a passage which the lens was trained on
--   n_stopped_by    that hold one which said when to stop
--   n_measured_on   that hold one on which the lens was measured
create view lens_overlap as
with places as (
    select
        context_set,
        unnest(list_filter(document_ids, lambda document, place: place <> gold_index + 1)) as document_id
    from contexts
    where condition = 'documents'
),
passages as (
    select p.context_set, d.document_text, count(*) as n
    from places as p
    join documents as d using (document_id)
    group by p.context_set, d.document_text
),
lenses as (select distinct model, lens from lens_texts),
texts as (select model, lens, document_text, list(part) as parts from lens_texts group by model, lens, document_text)
select
    l.model, l.lens, p.context_set,
    sum(p.n)::bigint as n_places,
    coalesce(sum(p.n) filter (where list_contains(t.parts, 'train')), 0)::bigint as n_trained_on,
    coalesce(sum(p.n) filter (where list_contains(t.parts, 'validation')), 0)::bigint as n_stopped_by,
    coalesce(sum(p.n) filter (where list_contains(t.parts, 'held_out')), 0)::bigint as n_measured_on
from lenses as l
cross join passages as p
left join texts as t on t.model = l.model and t.lens = l.lens and t.document_text = p.document_text
group by l.model, l.lens, p.context_set;
