"""Files that are either complete or absent: written beside the target, then renamed; and their hashes."""

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

_CHUNK = 1 << 20
# What a replaced folder is called until it is removed.
_OLD = ".old"
# What flock answers where a file system has no locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


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
def written_whole(target: Path, *, beside_target: Sequence[str] = ()) -> Iterator[Path]:
    """Yield a path beside ``target`` to write a file to; rename it once the block succeeds.

    The temporary name keeps the target's suffixes, since some writers choose their format by
    it. If the block raises, nothing is left behind. What a killed process left is removed by
    the next that writes the same target. A process that writes a target which another is writing waits for it.

    Args:
        target: the file. The disk holds all of it before it gets its name: after a power loss it is whole or absent.
        beside_target: suffixes of files that belong to an earlier target, and would not fit the new one; they are
            removed with it.
    """
    with _sole_writer(target) as beside:
        yield beside
        _sync(beside)
        for suffix in beside_target:
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        beside.replace(target)
        _sync(target.parent)


@contextmanager
def folder_written_whole(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``target`` to fill; put it in the target's place on success.

    An existing target is removed only when the new one is complete, and on the disk. Files that are needed only
    while it is written belong into the folder too: what a killed process left is removed whole
    by the next that writes the same target. A process that writes a target which another is writing waits for it.
    """
    with _sole_writer(target) as beside:
        beside.mkdir()
        yield beside
        for path in [*beside.rglob("*"), beside]:
            _sync(path)
        if target.exists():
            target.replace(beside.with_name(f"{beside.name}{_OLD}"))
        beside.replace(target)
        _sync(target.parent)


def _sync(path: Path) -> None:
    """Wait until the disk holds a file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _sole_writer(target: Path) -> Iterator[Path]:
    """Yield where to write what will be renamed to ``target``, to one process at a time; nothing is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_name(f".part-{target.name}.lock")) as alone:
        # Whoever writes this target holds the lock: what lies here was left by a process that is no more.
        if alone:
            _remove_parts(target)
        part = f".part-{secrets.token_hex(4)}-{target.name}"
        try:
            yield target.with_name(part)
        finally:
            _remove_parts(target, part)


def _remove_parts(target: Path, part: str | None = None) -> None:
    """Remove a part that was written beside the target, or all; with DuckDB's additional files, and an old target."""
    name = re.escape(part) if part else rf"\.part-[0-9a-f]{{8}}-{re.escape(target.name)}"
    of_part = re.compile(rf"{name}(\.wal|\.tmp|{re.escape(_OLD)})?")
    for path in list(target.parent.iterdir()):
        if of_part.fullmatch(path.name) is None:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def locked(lock: Path) -> Iterator[bool]:
    """Hold a lock during the block; wait for it while another process has it, on this machine or another.

    The operating system releases the lock of a process that ends, however it ends.

    Args:
        lock: a file that exists while the lock is held.

    Yields:
        Whether it is held: False where the file system has no locks.
    """
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(descriptor, lock):
                yield False
                return
            # The process that had the lock before may have removed the file: then others lock another file.
            if _is_same_file(descriptor, lock):
                try:
                    yield True
                finally:
                    lock.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, name: Path) -> bool:
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("%s: held by another process; waiting for it", name)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _log.warning("%s: this file system has no locks (%s): run one workflow at a time on it", name, error)
        return False
    return True


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys, so that equal values are equal bytes."""
    with written_whole(path) as beside:
        beside.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
