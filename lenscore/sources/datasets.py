"""Datasets: fetched from the embedded questions, a file, an address or the Hub into a folder of resources/datasets/."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lenscore.errors import SourceError
from lenscore.files import folder_written_whole, sha256_of_file
from lenscore.records import write_table
from lenscore.sources.download import check_hash, download, one_line
from lenscore.sources.formats import Questions, read_questions
from lenscore.sources.local_files import check_readable, local_file
from lenscore.sources.manifest import check_unchanged, hashes_of_files, write_manifest
from lenscore.sources.rows import rows_of_file
from lenscore.study.dataset import DatasetSpec

logger = logging.getLogger(__name__)


def fetch_dataset(spec: DatasetSpec, target: Path, expected: Mapping[str, str] | None = None) -> None:
    """Fill the folder ``target`` with ``questions.parquet`` (``sources.tables.QUESTIONS``) and ``manifest.json``.

    The manifest has: source, format, questions (their number), least_distractors (the least
    number of distractors of a question), duplicates_dropped, unanswerable_dropped, the SHA-256 of questions.parquet;
    of a file the sha256, of a Hub dataset revision, config and split.

    Args:
        spec: where the dataset comes from.
        target: the dataset's folder.
        expected: of a file on this machine, its SHA-256 in hex by its name.

    Raises:
        SourceError: the dataset cannot be fetched, its hash or a row is wrong, or it is not what
            was expected; ``target`` is as before.
    """
    with folder_written_whole(target) as folder:
        if spec.source.startswith("hub:"):
            questions = read_questions(_hub_rows(spec), spec.source, spec.format)
            origin: dict[str, Any] = {"revision": spec.revision, "config": spec.config, "split": spec.split}
        else:
            with _raw_file(spec, folder) as raw:
                name = spec.source.partition(":")[2] if spec.source.startswith(("path:", "url:")) else raw.name
                questions = read_questions(rows_of_file(raw, name), name, spec.format)
                # After reading, so that a change in the meantime is noticed.
                origin = {"sha256": sha256_of_file(raw)}
            if expected is not None:
                check_unchanged(f"dataset.source: {spec.source}", {raw.name: origin["sha256"]}, expected)
        write_table(questions.table, folder / "questions.parquet")
        write_manifest(folder, _facts(questions) | {"source": spec.source} | origin, hashes_of_files(folder))
    logger.info(
        "%s: %d questions of format %s, %d duplicates dropped",
        spec.source,
        questions.table.num_rows,
        questions.format,
        questions.duplicates,
    )


def _facts(questions: Questions) -> dict[str, Any]:
    return {
        "format": questions.format,
        "questions": questions.table.num_rows,
        "least_distractors": questions.least_distractors,
        "duplicates_dropped": questions.duplicates,
        "unanswerable_dropped": questions.unanswerable,
    }


@contextmanager
def _raw_file(spec: DatasetSpec, folder: Path) -> Iterator[Path]:
    """Yield the dataset's file with its hash checked; a download is put into ``folder``, and removed afterwards."""
    local = local_file(spec.source)
    if local is None:
        url = spec.source.removeprefix("url:")
        # Within the folder that is being written: if the process is killed, both are removed by the next one.
        with TemporaryDirectory(dir=folder) as temporary:
            raw = Path(temporary) / "raw"
            download(url, raw, sha256=spec.sha256, git_blob=spec.git_blob)
            yield raw
        return
    check_readable(local, str(local))
    check_hash(local, str(local), sha256=spec.sha256, git_blob=spec.git_blob)
    yield local


def _hub_rows(spec: DatasetSpec) -> Iterator[tuple[str, object]]:
    """Yield (place, row) of a Hub dataset's split; places count rows from 1.

    The table is made anew of the files in the Hub's cache, and these are checked. Where the Hub does not answer,
    ``datasets`` gives a table that it made before.
    """
    # Slow to import, and needed by no other source.
    import httpx2
    from datasets import DownloadMode, load_dataset
    from datasets.exceptions import DatasetsError

    repository = spec.source.removeprefix("hub:")
    logger.info("%s at revision %s: fetching", spec.source, spec.revision)
    try:
        rows = load_dataset(
            repository,
            spec.config,
            split=spec.split,
            revision=spec.revision,
            download_mode=DownloadMode.REUSE_CACHE_IF_EXISTS,
        )
    # ValueError: no such config or split; RuntimeError: a dataset that is a script.
    except (DatasetsError, OSError, httpx2.HTTPError, ValueError, RuntimeError) as error:
        # A damaged file of the cache may be why, and would be so again.
        _check_cached_files(repository, str(spec.revision))
        raise SourceError(
            f"Hub dataset {repository} at revision {spec.revision} (config {spec.config or 'default'}, split "
            f"{spec.split}) cannot be fetched: {one_line(error)}; without the Hub, give a JSON Lines "
            'file of it: dataset.source: "path:<file>" and neither revision nor config'
        ) from error
    _check_cached_files(repository, str(spec.revision))
    for number, row in enumerate(rows, start=1):
        yield f"{spec.source}, split {spec.split}, row {number}", row


def _check_cached_files(repository: str, revision: str) -> None:
    """Check what the Hub's cache has of a dataset against the Hub's own hashes; its client looks at sizes alone.

    A file of a snapshot is a link to one that is named after the hash that the Hub gave for it: the SHA-256 of a file
    of Git LFS, the git blob id of another. Where links cannot be made, there is no such name, and no check.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    snapshot = Path(
        constants.HF_HUB_CACHE, repo_folder_name(repo_id=repository, repo_type="dataset"), "snapshots", revision
    )
    kinds = {64: "sha256", 40: "git_blob"}
    checked = 0
    for path in sorted(snapshot.rglob("*")):
        blob = path.resolve()
        if path.is_symlink() and blob.is_file() and (kind := kinds.get(len(blob.name))):
            where = f"Hub dataset {repository} at revision {revision}: {path.relative_to(snapshot).as_posix()}"
            try:
                check_hash(blob, where, **{kind: blob.name})
            except SourceError as error:
                raise SourceError(f"{error}; remove {blob} and run again") from None
            checked += 1
    if checked:
        logger.info("%d files of it have the hashes that the Hub lists", checked)
    else:
        logger.warning("hub:%s: none of its files is in the Hub's cache: their hashes could not be checked", repository)
