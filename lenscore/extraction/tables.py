"""The tables that an extraction job makes of its shard."""

import pyarrow as pa

# results/<study>/fits/<model>/<set>/shard-<i>.parquet: one row a context: how it met the window.
FITS = pa.schema(
    [
        ("context_id", pa.string()),
        ("fit", pa.string()),  # whole | cut | skipped
        ("n_tokens", pa.int32()),  # prompt and answer, as extracted (as wanted, if skipped)
        ("n_tokens_cut", pa.int32()),
        ("n_prompt_tokens", pa.int32()),  # up to the token that predicts the answer's first; null if skipped
        ("gold_distance", pa.int32()),  # from the gold document's first token to that one; null: docs/definitions.md
        ("reason", pa.string()),  # null unless skipped
    ]
)

# results/<study>/answer_tokens/<model>/<set>/shard-<i>.parquet: one row a context × answer token.
ANSWER_TOKENS = pa.schema(
    [
        ("context_id", pa.string()),
        ("answer_index", pa.int32()),  # t: place in the answer
        ("token_id", pa.int32()),
        ("token_text", pa.string()),
        ("token_position", pa.int32()),  # place in the sequence
        ("border_merged", pa.bool_()),  # the tokenizer merged prompt and answer across their border
    ]
)

# results/<study>/records/<model>/<set>/shard-<i>.parquet: one row a context × answer token × layer × lens.
LAYER_RECORDS = pa.schema(
    [
        ("context_id", pa.string()),
        ("answer_index", pa.int32()),
        ("lens", pa.string()),
        ("layer", pa.int32()),
        ("top1_id", pa.int32()),
        ("top1_logprob", pa.float32()),
        ("target_id", pa.int32()),
        ("target_logprob", pa.float32()),
        ("target_rank", pa.int32()),
        ("entropy", pa.float32()),
        ("own_token_logprob", pa.float32()),  # of layer L's top-1
        ("kl_to_final", pa.float32()),
        ("jsd_to_final", pa.float32()),
        ("topk_ids", pa.list_(pa.int32())),
        ("topk_logprobs", pa.list_(pa.float32())),
    ]
)
