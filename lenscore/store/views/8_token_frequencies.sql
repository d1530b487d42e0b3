-- How frequent each token is in the texts of the study's documents, each text counted once; rank 1 is the most frequent.
create view token_frequencies as
select
    model, token_id, n,
    row_number() over (partition by model order by n desc, token_id) as rank
from token_counts;
