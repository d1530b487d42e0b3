"""How tables are handed from one stage to the next: Parquet files with a schema, and with facts about their job.

A schema is next to what makes its table: ``sources.tables``, ``contexts.tables``, ``lenses.divergences``,
``extraction.tables``, ``ablation.tables``. The words are those of docs/definitions.md. Layers count from 0, the
embedding output, to L, the output of the last block; documents, answer tokens and token positions count from 0; ranks
count from 1, the best; log-probabilities, entropy and divergence are in nats.
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
