"""The schemas of the files that one stage hands to the next (Parquet, read and written through Arrow).

The words are those of docs/definitions.md. Layers count from 0, the embedding output,
to L, the output of the last block; documents, answer tokens and token positions count
from 0; ranks count from 1, the best; log-probabilities, entropy and divergence are in nats.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lenscore.errors import StoreError
from lenscore.files import written_whole

# Most blocks of a model: the view token_layers keeps layers 0 to L as the bits of a hugeint, which has 127.
MOST_BLOCKS = 126

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
        ("distractor_order", pa.int32()),  # 0: as ranked for the set; 1, 2, …: shuffled with the set's seed
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

# results/<study>/fits/<model>/<set>/shard-<i>.parquet: one row a context: how it met the window.
FITS = pa.schema(
    [
        ("context_id", pa.string()),
        ("fit", pa.string()),  # whole | cut | skipped
        ("n_tokens", pa.int32()),  # prompt and answer, as extracted (as wanted, if skipped)
        ("n_tokens_cut", pa.int32()),
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
        ("kl_to_final", pa.float32()),
        ("topk_ids", pa.list_(pa.int32())),
        ("topk_logprobs", pa.list_(pa.float32())),
    ]
)

# results/<study>/ablation/<model>/<set>/shard-<i>.parquet: one row a context × answer token × scope × variant, where a
# variant is the model with one block's contribution to the residual stream replaced, or the intact model.
ABLATIONS = pa.schema(
    [
        ("context_id", pa.string()),
        ("answer_index", pa.int32()),
        ("scope", pa.string()),  # all: replaced at every token | answer: at those that predict the answer
        ("replacement", pa.string()),  # skip: by nothing | mean: by the mean over a reference set | none: intact
        ("block", pa.int32()),  # 1 … L; 0: intact
        ("top1_id", pa.int32()),
        ("top1_logprob", pa.float32()),
        ("target_id", pa.int32()),
        ("target_logprob", pa.float32()),
        ("target_rank", pa.int32()),
        ("kl_from_intact", pa.float32()),  # KL(intact ‖ ablated)
    ]
)


_FACTS = b"lenscore"


def write_table(table: pa.Table, path: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Write a table as Parquet beside ``path``, then rename it.

    ``facts`` (JSON-able) goes into the file's metadata, for :func:`shard_facts`.
    """
    if facts is not None:
        table = table.replace_schema_metadata({_FACTS: json.dumps(facts, sort_keys=True)})
    with written_whole(path) as beside:
        pq.write_table(table, beside, compression="zstd")


def shard_facts(path: Path) -> dict[str, Any]:
    """Return the facts in a file's metadata: model, context set, shard, device, versions and so on of its job.

    Raises:
        StoreError: there are none: no job of the project wrote the file.
    """
    metadata = pq.read_schema(path).metadata or {}
    if _FACTS not in metadata:
        raise StoreError(f"{path}: its metadata does not say which job wrote it; extract the shard anew")
    facts: dict[str, Any] = json.loads(metadata[_FACTS])
    return facts


def identity_mismatch(path: Path, expected: tuple[str, str, int]) -> str | None:
    """Return None where a file has the rows of the expected model, context set and shard; else whose rows it has.

    Raises:
        StoreError: its metadata does not say which job wrote it.
    """
    facts = shard_facts(path)
    found = tuple(facts.get(key) for key in ("model", "context_set", "shard"))
    if found == expected:
        return None
    return f"the file holds the records of model {found[0]}, context set {found[1]}, shard {found[2]}"


def read_table(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, and check that it has exactly the columns of ``schema``.

    Args:
        path: the file.
        schema: what it must have.
        columns: those to read; None for all.

    Raises:
        StoreError: a column is missing, or has another type.
    """
    found = pq.read_schema(path)
    if not found.equals(schema):
        raise StoreError(
            f"{path}: columns {found.names} with types {[str(t) for t in found.types]}; "
            f"expected {schema.names} with {[str(t) for t in schema.types]}"
        )
    return pq.read_table(path, columns=None if columns is None else list(columns))


def refuse_too_many_blocks(model: str, n_blocks: int) -> None:
    """Refuse a model whose layers the database cannot hold.

    Raises:
        StoreError: it has more than ``MOST_BLOCKS`` blocks.
    """
    if n_blocks > MOST_BLOCKS:
        raise StoreError(
            f"{model} has {n_blocks} blocks; the database keeps a token's layers as the bits of one "
            f"number, which has room for {MOST_BLOCKS}: leave the model out of the study"
        )
