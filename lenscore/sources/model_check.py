"""Every fault of a model's files that can be found without running it, found once, when the model is fetched."""

import json
import logging
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lenscore.errors import ArchitectureError, SourceError
from lenscore.records import refuse_too_many_blocks
from lenscore.sources.model_files import INDEX
from lenscore.sources.pretrained import (
    SAVED_CONSTANTS,
    load_config,
    load_tokenizer,
    load_weights,
    printable,
    told_in_one_line,
)

_log = logging.getLogger(__name__)

_READ_AT_ONCE = 2**24  # weights: 64 MiB in float32
_FLOATS = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
)  # fmt: skip


def check_model(folder: Path, where: str, find_parts: Callable[[PreTrainedModel], object] | None = None) -> None:
    """Check a model's config, tokenizer, parts, and weights: their shapes, and that all are finite.

    Memory stays bounded, whatever the config says: the model is built without data, and weights are read in parts.

    Args:
        folder: safetensors, config and tokenizer.
        where: what messages call the model.
        find_parts: raises ArchitectureError for a model without the parts that are needed.

    Raises:
        ArchitectureError: ``find_parts`` does not find them.
        SourceError: a file cannot be read, or does not fit the others.
        StoreError: the model has more blocks than the database can hold.
    """
    check_weight_files(folder, where)
    config = load_config(folder, where)
    n_blocks = getattr(config.get_text_config(), "num_hidden_layers", None)
    if isinstance(n_blocks, int):  # else the model names them otherwise, and who runs it counts them
        refuse_too_many_blocks(where, n_blocks)
    tokenizer = load_tokenizer(folder, where)
    model = load_weights(folder, torch.float32, "meta", where)
    check_tokenizer(tokenizer, model, where)
    if find_parts is not None:
        try:
            find_parts(model)
        except ArchitectureError as error:
            raise ArchitectureError(f"{where}: {error}") from None
    # Buffers that the class has given up are not loaded, and may be masks of −∞.
    not_loaded = [SAVED_CONSTANTS, *map(re.compile, model._keys_to_ignore_on_load_unexpected or ())]
    for file in sorted(folder.glob("*.safetensors")):
        _check_finite(file, not_loaded, where)


def check_weight_files(folder: Path, where: str) -> None:
    """Check that the weights are safetensors, and that all shards of the index are there.

    Raises:
        SourceError: a file is something else (such as a Git LFS pointer), or a shard is missing.
    """
    index = folder / INDEX
    if index.exists():
        shards = _shards_of(index, where)
        if missing := sorted(shard for shard in shards if not (folder / shard).is_file()):
            raise SourceError(f"{where}: {INDEX} names shards that are missing: {', '.join(missing)}")
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="np"):
                _log.debug("%s: %s is safetensors", where, path.name)
        except SafetensorError as error:
            raise SourceError(
                f"{where}: {path.name} ({path.stat().st_size:,} bytes) is not a safetensors file: "
                f"{printable(str(error))}; in a git clone, run git lfs pull"
            ) from None


def _shards_of(index: Path, where: str) -> set[str]:
    """Return the names of the files that an index of shards names."""
    try:
        found: Any = json.loads(index.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where}: {INDEX} is not an index of shards: {error}") from None
    files = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(files, dict) or not files or not all(isinstance(file, str) for file in files.values()):
        raise SourceError(f'{where}: {INDEX} is not an index of shards: it has no "weight_map" of weights to files')
    if not isinstance(found.get("metadata"), dict):
        raise SourceError(
            f'{where}: {INDEX} is not an index of shards: it has no object "metadata" (which may be {{}})'
        )
    if elsewhere := sorted(file for file in set(files.values()) if Path(file).name != file):
        raise SourceError(f"{where}: {INDEX} names files outside the model's folder: {', '.join(elsewhere)}")
    return set(files.values())


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, where: str) -> None:
    """Check that a tokenizer is one of the fast ones, and that the model can read all of its tokens.

    Raises:
        SourceError: it is not so.
    """
    if not tokenizer.is_fast:
        raise SourceError(
            f"{where}: its tokenizer has no fast version (tokenizer.json), which is needed to cut documents between "
            "tokens; save one in the model's folder"
        )
    # Special tokens that no text has may lie beyond the embeddings, such as one for images in a model that reads none;
    # those that the tokenizer adds to a text may not.
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    with told_in_one_line(where, "its tokenizer", "use"):
        largest = max(set(tokenizer.get_vocab().values()) - special | set(tokenizer("x").input_ids), default=0)
    n_embeddings = len(next(model.get_input_embeddings().parameters()))
    if largest >= n_embeddings:
        raise SourceError(
            f"{where}: its tokenizer has token ids up to {largest}, but the model has embeddings for {n_embeddings}: "
            "tokenizer and weights must come from the same model"
        )


def _check_finite(file: Path, not_loaded: list[re.Pattern[str]], where: str) -> None:
    """Refuse weights with NaN or infinity in them."""
    with safe_open(file, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118 (no mapping)
            if any(pattern.search(name) for pattern in not_loaded):
                continue
            stored = weights.get_slice(name)
            shape = stored.get_shape()
            if 0 in shape:
                continue
            if not shape:  # a slice of a single number cannot be cut
                stored, shape = weights.get_tensor(name)[None], [1]
            step = max(1, _READ_AT_ONCE // math.prod(shape[1:]))
            for start in range(0, shape[0], step):
                part = stored[start : start + step]
                if part.dtype in _FLOATS and not _is_finite(part):
                    place = f"{printable(name)} in {file.name}"
                    raise SourceError(f"{where}: {place} has NaN or infinity: the weights are damaged")


def _is_finite(part: torch.Tensor) -> bool:
    # One pass, and no array of booleans: a NaN is both the least and the greatest.
    least, greatest = torch.aminmax(part.float() if part.dtype.itemsize == 1 else part)
    return math.isfinite(least) and math.isfinite(greatest)
