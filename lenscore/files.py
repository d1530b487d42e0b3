"""Files that are either complete or absent: written beside the target, then renamed; and their hashes."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def sha256_of_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_id_of_file(path: Path) -> str:
    """Return the id git gives a file: the SHA-1 of ``blob <size>``, a zero byte, and the file's bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target`` to write a file to; rename it once the block succeeds.

    The temporary name keeps the target's suffixes, since some writers choose their format by
    it. If the block raises, nothing is left behind. What a killed process left is removed by
    the next that writes the same target.
    """
    beside = _beside(target)
    try:
        yield beside
        beside.replace(target)
    finally:
        _remove_parts(target)


@contextmanager
def folder_written_whole(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``target`` to fill; put it in the target's place on success.

    An existing target is removed only when the new one is complete. Files that are needed only
    while it is written belong into the folder too: what a killed process left is removed whole
    by the next that writes the same target.
    """
    beside = _beside(target)
    beside.mkdir()
    try:
        yield beside
        if target.exists():
            shutil.rmtree(target)
        beside.replace(target)
    finally:
        _remove_parts(target)


def _beside(target: Path) -> Path:
    """Return where to write what will be renamed to ``target``; nothing is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_parts(target)
    return target.with_name(f".part-{os.getpid()}-{target.name}")


def _remove_parts(target: Path) -> None:
    """Remove what this process, or one that was killed, wrote beside the target, DuckDB's additional files included."""
    part = re.compile(rf"\.part-(\d+)-{re.escape(target.name)}(\.wal|\.tmp)?")
    for path in list(target.parent.iterdir()):
        found = part.fullmatch(path.name)
        if found is None or _is_another_that_runs(int(found[1])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_another_that_runs(process: int) -> bool:
    """Return whether a process of this machine, but not this one, has the number."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys, so that equal values are equal bytes."""
    with written_whole(path) as beside:
        beside.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
