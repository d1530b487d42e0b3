-- One row an answer token × lens: the layers at which it is the top-1, as the bits of a number. Bit l of right_at is set
-- where layer l's top-1 is the answer token; all_layers has the bits of all layers, 0 to L (at most 126). This takes one
-- pass over the records; a window function would sort them all. right_at_top5 and right_at_top10 are the same for a rank
-- of at most 5 and 10.
create view token_layers as
select
    model, lens, context_id, answer_index,
    bit_or(case when top1_id = target_id then 1::hugeint << layer else 0::hugeint end) as right_at,
    bit_or(case when target_rank <= 5 then 1::hugeint << layer else 0::hugeint end) as right_at_top5,
    bit_or(case when target_rank <= 10 then 1::hugeint << layer else 0::hugeint end) as right_at_top10,
    bit_or(1::hugeint << layer) as all_layers,
    max(layer) as last_layer
from layer_records
group by model, lens, context_id, answer_index;
