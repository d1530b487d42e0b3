"""The table that an ablation job makes of its shard."""

import pyarrow as pa

# results/<study>/ablation/<model>/<set>/shard-<i>.parquet: one row a context × answer token × scope × variant, where a
# variant is the model with one block's contribution to the residual stream replaced, or the intact model.
ABLATIONS = pa.schema(
    [
        ("context_id", pa.string()),
        ("answer_index", pa.int32()),
        ("scope", pa.string()),  # all: replaced at every token | answer: at those that predict the answer |
        # documents, gold, examples, question: at those of that part of the prompt
        (
            "replacement",
            pa.string(),
        ),  # skip: by nothing | mean: by the mean over a reference set | resample: by that
        # of the shuffled_gold context | none: intact
        ("block", pa.int32()),  # 1 … L; 0: intact
        ("top1_id", pa.int32()),
        ("top1_logprob", pa.float32()),
        ("target_id", pa.int32()),
        ("target_logprob", pa.float32()),
        ("target_rank", pa.int32()),
        ("kl_from_intact", pa.float32()),  # KL(intact ‖ ablated)
    ]
)
