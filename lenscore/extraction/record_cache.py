"""Cache of records, addressed by content: an entry holds one lens's records of one shard.

An entry's name is a hash of all that its records are made from. So a lens that is added leaves the others' records as
they are, and contexts that are built anew and come out the same cost no extraction. Entries never change. A job whose
entry was removed extracts it again; whether the job runs is Snakemake's decision.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lenscore.errors import DamagedFileError, StoreError
from lenscore.extraction.shard import ShardRecords
from lenscore.extraction.tables import ANSWER_TOKENS, FITS, LAYER_RECORDS
from lenscore.files import folder_written_whole, write_json
from lenscore.hashes import check_files, hashes_of, read_hashes
from lenscore.records import read_table, shard_facts, write_table

_log = logging.getLogger(__name__)

# Columns of contexts that an extraction does not read: the same contexts may get other ones in another study.
_UNREAD = ("question_place", "relative_position", "document_ids")


# The files of an entry, and that of their hashes.
_FILES = ("records.parquet", "answer_tokens.parquet", "fits.parquet")
_HASHES = "hashes.json"


def record_keys(
    contexts: pa.Table,
    model_files: Mapping[str, str],
    lenses: Sequence[str],
    trained: Mapping[str, str],
    versions: Mapping[str, str],
    settings: Mapping[str, Any],
) -> dict[str, str]:
    """Return, for each lens, a hash of all that its records of a shard are made from.

    Args:
        contexts: ``contexts.tables.CONTEXTS``.
        model_files: SHA-256 of each of the model's files.
        lenses: their names.
        trained: by name, the SHA-256 of a trained lens's file.
        versions: of libraries, and as ``code of lens <name>`` of the code that makes a lens's records.
        settings: whatever else decides them; JSON-able.
    """
    code = {name: f"code of lens {name}" for name in lenses}
    shared = {
        "contexts": _hash(contexts.drop_columns(list(_UNREAD)).to_pylist()),
        "model": dict(model_files),
        "settings": dict(settings),
        "libraries": {name: version for name, version in versions.items() if name not in code.values()},
    }
    return {name: _hash({**shared, "code": versions[code[name]], "lens": trained.get(name)}) for name in lenses}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class RecordCache:
    """The cache in a folder, which several jobs may use at once."""

    def __init__(self, folder: Path):
        self._folder = folder

    def shard(self, keys: Mapping[str, str], extract: Callable[[Sequence[str]], ShardRecords]) -> ShardRecords:
        """Return a shard's records of all lenses, and extract those alone that the cache does not hold.

        Args:
            keys: of :func:`record_keys`.
            extract: extracts the lenses that it is given.

        Returns:
            The shard as one extraction of all lenses makes it.
        """
        _log.info("entries of the cache: %s", ", ".join(f"{name} {key}" for name, key in keys.items()))
        found = {name: shard for name, key in keys.items() if (shard := self._read(key)) is not None}
        parts = list(found.values())
        if found:
            _log.info("from the cache: the records of lens %s", " and ".join(found))
        if missing := [name for name in keys if name not in found]:
            extracted = extract(missing)
            parts.append(extracted)
            for name in missing:
                self._write(keys[name], _of_lens(extracted, name))
        return _joined(parts, list(keys))

    def _entry(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _read(self, key: str) -> ShardRecords | None:
        """Return an entry; None if there is none, or it is damaged."""
        entry = self._entry(key)
        if not entry.is_dir():
            return None
        files = [entry / name for name in _FILES]
        try:
            check_files({file.name: file for file in files}, read_hashes([entry / _HASHES]))
            tables = [read_table(*pair) for pair in zip(files, (LAYER_RECORDS, ANSWER_TOKENS, FITS), strict=True)]
            records, answer_tokens, fits = (table.replace_schema_metadata(None) for table in tables)
            shard = ShardRecords(records, answer_tokens, fits, shard_facts(files[0]))
            fitted = pc.is_in(answer_tokens["context_id"], fits["context_id"].combine_chunks())
            complete = pc.all(fitted, min_count=0).as_py() and records.num_rows == answer_tokens.num_rows * (
                shard.facts["n_layers"] + 1
            )
        except (OSError, pa.ArrowInvalid, StoreError, DamagedFileError, KeyError) as error:
            _log.warning("%s: a damaged entry of the cache, extracted again: %s", entry, error)
            return None
        if not complete:
            _log.warning("%s: an entry of the cache with rows missing, extracted again", entry)
        return shard if complete else None

    def _write(self, key: str, shard: ShardRecords) -> None:
        if self._read(key) is not None:
            return  # another job was faster
        try:
            with folder_written_whole(self._entry(key)) as entry:
                records, answer_tokens, fits = files = [entry / name for name in _FILES]
                write_table(shard.answer_tokens, answer_tokens)
                write_table(shard.fits, fits)
                write_table(shard.records, records, shard.facts)
                write_json(entry / _HASHES, hashes_of({file.name: file for file in files}))
        except OSError as error:
            # The job has its records all the same.
            _log.warning("not kept in the cache: %s", error)


def _of_lens(shard: ShardRecords, lens: str) -> ShardRecords:
    return replace(shard, records=shard.records.filter(pc.equal(shard.records["lens"], lens)))


def _joined(parts: Sequence[ShardRecords], lenses: Sequence[str]) -> ShardRecords:
    """Return the parts' records in one table: context by context, and in each lens by lens."""
    last = parts[-1]
    if len(parts) == 1:
        return last
    records = pa.concat_tables([part.records for part in parts])
    contexts = _places(records["context_id"], last.fits["context_id"])
    order = np.lexsort((_places(records["lens"], pa.chunked_array([list(lenses)])), contexts))
    return replace(last, records=records.take(pa.array(order)).combine_chunks())


def _places(values: pa.ChunkedArray, among: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.index_in(values, value_set=among.combine_chunks()))
