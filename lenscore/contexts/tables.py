"""Contexts as Arrow tables: their schemas, and how contexts become rows and rows contexts."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from lenscore.contexts.context import AnswerInDistractor, Context, LeftOutQuestion, Segment

# A context's prompt is the concatenation of its segments' texts. Only segments of the kind
# "document" may be cut to fit a model's window; `document` is the place of the document
# that the segment belongs to (null in other segments); `role` is null in a plain prompt, and
# the speaker ("system", "user", "assistant") where the model's chat template is to be applied.
SEGMENT = pa.struct(
    [
        ("kind", pa.string()),  # frame | document | question
        ("document", pa.int32()),
        ("role", pa.string()),
        ("text", pa.string()),
    ]
)

# results/<study>/contexts/<set>/shard-<i>.parquet: one row a context, independent of the model.
CONTEXTS = pa.schema(
    [
        ("context_id", pa.string()),
        ("context_set", pa.string()),
        ("question_id", pa.string()),
        ("question_place", pa.int32()),  # in the study's seeded order of questions, from 0
        ("condition", pa.string()),  # documents | shuffled_gold | oracle | closed_book
        ("n_documents", pa.int32()),
        ("distractor_order", pa.int32()),  # 0: the set's own (order); 1, 2, …: drawn with the set's seed
        ("gold_index", pa.int32()),  # null in closed_book; in shuffled_gold the index of the document that replaces it
        ("relative_position", pa.float64()),  # null where there are fewer than two documents
        ("segments", pa.list_(SEGMENT)),
        ("answer", pa.string()),  # as it follows the prompt, its leading space included
        ("document_ids", pa.list_(pa.string())),  # in the prompt's order; a gold document has its question's id
    ]
)

# results/<study>/contexts/<set>/left-out-<i>.parquet: questions of the shard that have no contexts.
LEFT_OUT = pa.schema(
    [
        ("context_set", pa.string()),
        ("question_id", pa.string()),
        ("question_place", pa.int32()),  # in the study's seeded order of questions, from 0
        ("reason", pa.string()),
    ]
)

# results/<study>/contexts/<set>/answers-in-distractors-<i>.parquet: of the dataset's own distractors that were met
# while those of the shard's questions were chosen, the ones that hold an accepted answer.
ANSWERS_IN_DISTRACTORS = pa.schema(
    [
        ("context_set", pa.string()),
        ("question_id", pa.string()),
        ("document_id", pa.string()),
        ("dropped", pa.bool_()),  # false: it stands in contexts
    ]
)


def contexts_to_table(contexts: Iterable[Context]) -> pa.Table:
    """Return contexts as a table of the schema ``contexts.tables.CONTEXTS``, one row each, in their order."""
    return pa.Table.from_pylist([_row(context) for context in contexts], schema=CONTEXTS)


def contexts_from_table(table: pa.Table) -> list[Context]:
    """Return the contexts of a table of the schema ``contexts.tables.CONTEXTS``, in the order of its rows."""
    return [_context(row) for row in table.to_pylist()]


def left_out_to_table(questions: Iterable[LeftOutQuestion]) -> pa.Table:
    """Return left-out questions as a table of the schema ``contexts.tables.LEFT_OUT``, one row each, in their order."""
    return pa.Table.from_pylist([vars(question) for question in questions], schema=LEFT_OUT)


def answers_in_distractors_to_table(found: Iterable[AnswerInDistractor]) -> pa.Table:
    """Return distractors with an answer as a table of the schema ``ANSWERS_IN_DISTRACTORS``, one row each."""
    return pa.Table.from_pylist([vars(distractor) for distractor in found], schema=ANSWERS_IN_DISTRACTORS)


def _row(context: Context) -> dict[str, Any]:
    return vars(context) | {"segments": [segment._asdict() for segment in context.segments]}


def _context(row: dict[str, Any]) -> Context:
    segments = tuple(Segment(**segment) for segment in row["segments"])
    return Context(**row | {"segments": segments, "document_ids": tuple(row["document_ids"])})
