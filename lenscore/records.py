"""How tables are handed from one stage to the next: Parquet files with a schema, and with facts about their job.

A schema is next to what makes its table: ``sources.tables``, ``contexts.tables``, ``lenses.divergences``,
``extraction.tables``, ``ablation.tables``. The words are those of docs/definitions.md. Layers count from 0, the
embedding output, to L, the output of the last block; documents, answer tokens and token positions count from 0; ranks
count from 1, the best; log-probabilities, entropy and divergence are in nats.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lenscore.errors import DamagedFileError, StoreError
from lenscore.files import sha256_of_file, written_whole
from lenscore.hashes import advice

# Most blocks of a model: the view token_layers keeps layers 0 to L as the bits of a hugeint, which has 127.
MOST_BLOCKS = 126

_FACTS = b"lenscore"
# What ``made_from`` names, in the words of a message.
_OTHER = {"contexts": "other contexts", "model": "another model"}


def write_table(table: pa.Table, path: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Write a table as Parquet beside ``path``, then rename it.

    Each page has a checksum, which :func:`read_table` verifies.
    ``facts`` (JSON-able) goes into the file's metadata, for :func:`shard_facts`.
    """
    if facts is not None:
        table = table.replace_schema_metadata({_FACTS: json.dumps(facts, sort_keys=True)})
    with written_whole(path) as beside:
        pq.write_table(table, beside, compression="zstd", write_page_checksum=True)


def shard_facts(path: Path) -> dict[str, Any]:
    """Return the facts in a file's metadata: model, context set, shard, device, versions and so on of its job.

    Raises:
        StoreError: there are none: no job of the project wrote the file.
        DamagedFileError: the file is no Parquet.
    """
    metadata = read_schema(path).metadata or {}
    if _FACTS not in metadata:
        raise StoreError(f"{path}: its metadata does not say which job wrote it; extract the shard anew")
    facts: dict[str, Any] = json.loads(metadata[_FACTS])
    return facts


def made_from(contexts: Path, model_folder: Path) -> dict[str, str]:
    """Return the SHA-256 in hex of what a shard's results are made from.

    Args:
        contexts: the file of the shard's contexts.
        model_folder: of the model, known by the hashes of its files, wherever they were fetched from.
    """
    files = json.loads((model_folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    model = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return {"contexts": sha256_of_file(contexts), "model": model}


def identity_mismatch(path: Path, expected: tuple[str, str, int], made: Mapping[str, str]) -> str | None:
    """Return None where a file has the rows of the expected model, context set and shard; else whose rows it has.

    Args:
        path: the file.
        expected: the names of model and context set, and the number of the shard.
        made: from which contexts and model the rows should have been made (``made_from``).

    Raises:
        StoreError: its metadata does not say which job wrote it.
        DamagedFileError: the file is no Parquet.
    """
    facts = shard_facts(path)
    found = tuple(facts.get(key) for key in ("model", "context_set", "shard"))
    if found == expected:
        said = facts.get("made_from", {})
        other = [words for name, words in _OTHER.items() if said.get(name) != made[name]]
        return f"the file was made from {' and '.join(other)} of the same name" if other else None
    return f"the file holds the records of model {found[0]}, context set {found[1]}, shard {found[2]}"


def read_table(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, and check that it has exactly the columns of ``schema``.

    Args:
        path: the file.
        schema: what it must have.
        columns: those to read; None for all.

    Raises:
        StoreError: a column is missing, or has another type.
        DamagedFileError: the file is no Parquet, or a page has another checksum than it was written with.
    """
    found = read_schema(path)
    if not found.equals(schema):
        raise StoreError(
            f"{path}: columns {found.names} with types {[str(t) for t in found.types]}; "
            f"expected {schema.names} with {[str(t) for t in schema.types]}"
        )
    try:
        return pq.read_table(path, columns=None if columns is None else list(columns), page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def read_schema(path: Path) -> pa.Schema:
    """Return a Parquet file's schema, with its metadata.

    Raises:
        DamagedFileError: the file is no Parquet.
    """
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> DamagedFileError:
    return DamagedFileError(f"{path}: cannot be read: {' '.join(str(error).split())}; {advice([str(path)])}")


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
