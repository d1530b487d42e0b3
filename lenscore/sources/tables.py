"""The table of a dataset's questions."""

import pyarrow as pa

DOCUMENT = pa.struct([("title", pa.string()), ("text", pa.string())])

# resources/datasets/<dataset>/questions.parquet: one row a question. `gold` is null in a
# dataset without documents (such as nq_open): only closed-book contexts can be built.
QUESTIONS = pa.schema(
    [
        ("question_id", pa.string()),
        ("question", pa.string()),
        ("answers", pa.list_(pa.string())),
        ("topic", pa.string()),
        ("gold", DOCUMENT),
        ("distractors", pa.list_(DOCUMENT)),
    ]
)
