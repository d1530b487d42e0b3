"""What an earlier extraction of a shard may leave to a later one: the records of lenses that nothing has changed for.

A lens that is added, taken away or trained anew leaves those of the others as they are. They are told by a key that
holds all that a lens's records are made from. They are kept in a folder of their own, beside what the workflow knows
of: a job's outputs are Snakemake's to remove, and one that has failed must leave none.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import transformers

from lenscore.errors import StoreError
from lenscore.extraction.shard import ShardRecords
from lenscore.files import folder_written_whole, sha256_of_file
from lenscore.records import ANSWER_TOKENS, FITS, LAYER_RECORDS, read_table, shard_facts

_log = logging.getLogger(__name__)
_MADE_FROM = "made_from"
_FILES = ("records", "answer_tokens", "fits")


def keys_of_lenses(
    contexts: Path, model_folder: Path, lenses: Mapping[str, Path | None], settings: Mapping[str, Any]
) -> dict[str, str]:
    """Return, for each lens, a digest of all that its records of a shard are made from.

    Args:
        contexts: the shard's contexts.
        model_folder: whose manifest holds the hashes of the model's files.
        lenses: by name, the file of its translators, if it has one.
        settings: of the reading and the extraction, and the digest of their code.
    """
    shared = {
        "contexts": sha256_of_file(contexts),
        "model": sha256_of_file(model_folder / "manifest.json"),
        "settings": settings,
        "versions": [torch.__version__, transformers.__version__],
        # What device: auto comes to.
        "gpu": torch.cuda.is_available(),
    }
    texts = {
        name: json.dumps({**shared, "lens": file and sha256_of_file(file)}, sort_keys=True)
        for name, file in lenses.items()
    }
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def keep(outputs: Mapping[str, Path], folder: Path) -> None:
    """Keep the files of a job that has done its work: as further names of theirs, which take no room.

    Args:
        outputs: the files ``records``, ``answer_tokens`` and ``fits``.
        folder: replaced as a whole, so that they are all of one job.
    """
    with folder_written_whole(folder) as beside:
        for name in _FILES:
            try:
                (beside / f"{name}.parquet").hardlink_to(outputs[name])
            except OSError:  # not on every file system
                shutil.copyfile(outputs[name], beside / f"{name}.parquet")


def with_kept(
    folder: Path,
    lenses: Mapping[str, Path | None],
    keys: Mapping[str, str],
    extract: Callable[[Mapping[str, Path | None]], ShardRecords],
) -> ShardRecords:
    """Return a shard of all lenses, extracting only those of which an earlier extraction has not left the records.

    Args:
        folder: what :func:`keep` has kept of it, if it has.
        lenses: by name, the file of its translators, if it has one.
        keys: of :func:`keys_of_lenses`.
        extract: extracts the lenses that it is given.
    """
    earlier = _earlier_shard(folder, keys)
    kept = [] if earlier is None else [name for name in keys if _same(earlier.facts, name, keys)]
    missing = {name: file for name, file in lenses.items() if name not in kept}
    if kept:
        _log.info("kept: the records of lens %s; nothing that they are made from has changed", " and ".join(kept))
    parts = [earlier] if earlier is not None else []
    if missing:
        parts.append(extract(missing))
    last = parts[-1]
    records = pa.concat_tables([shard.records for shard in parts])
    # As one extraction of all lenses makes it: context by context, lens by lens.
    contexts = _places(records["context_id"], last.fits["context_id"])
    order = np.lexsort((_places(records["lens"], pa.chunked_array([list(keys)])), contexts))
    ordered = records.take(pa.array(order)).combine_chunks()
    return replace(last, records=ordered, facts={**last.facts, _MADE_FROM: dict(keys)})


def _earlier_shard(folder: Path, keys: Mapping[str, str]) -> ShardRecords | None:
    """Return what an earlier extraction left of the lenses whose keys are the same; None if that is nothing.

    Or if it is all: who asks for the same once more wants it made anew.
    """
    records, answer_tokens, fits = (folder / f"{name}.parquet" for name in _FILES)
    if not folder.is_dir():
        return None
    try:
        facts = shard_facts(records)
        kept = [name for name in keys if _same(facts, name, keys)]
        if not kept or facts[_MADE_FROM] == keys:
            return None
        rows = read_table(records, LAYER_RECORDS)
        of_kept = rows.filter(pc.is_in(rows["lens"], pa.array(kept))).replace_schema_metadata(None)
        shard = ShardRecords(of_kept, read_table(answer_tokens, ANSWER_TOKENS), read_table(fits, FITS), facts)
    except (OSError, pa.ArrowInvalid, StoreError) as error:
        # Damaged, or of another version of the project: then there is nothing to keep.
        _log.info("nothing is kept of an earlier extraction: %s", error)
        return None
    n_wanted = shard.answer_tokens.num_rows * (facts["n_layers"] + 1) * len(kept)
    fitted = pc.is_in(shard.answer_tokens["context_id"], shard.fits["context_id"].combine_chunks())
    if shard.records.num_rows != n_wanted or not pc.all(fitted, min_count=0).as_py():
        _log.warning("nothing is kept of an earlier extraction: rows are missing in %s", records)
        return None
    return shard


def _same(facts: Mapping[str, Any], lens: str, keys: Mapping[str, str]) -> bool:
    return bool(facts.get(_MADE_FROM, {}).get(lens) == keys[lens])


def _places(values: pa.ChunkedArray, among: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.index_in(values, value_set=among.combine_chunks()))
