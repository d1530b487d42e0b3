"""Hashes of files: those that their maker recorded, and whether the files still have them.

A job records the SHA-256 of each of its files in a file of hashes: JSON, with each file's hash by the path that the
plan gives it. A folder counts with every file in it.
"""

import json
import logging
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lenscore.errors import DamagedFileError
from lenscore.files import sha256_of_file, write_json

_log = logging.getLogger(__name__)

# Reading a file of this many bytes takes so long that it is read once, and not once in each job.
LARGE = 50_000_000

# Snakemake writes it into each folder that a job has made.
_TIMESTAMP = ".snakemake_timestamp"


@dataclass(frozen=True)
class Fault:
    """What is wrong with a file.

    Attributes:
        output: the file, or the folder that it is in: what is to be made anew.
        message: which file, and what is wrong with it.
    """

    output: str
    message: str


def hashes_of(paths: Mapping[str, Path], sha256: Callable[[Path], str] = sha256_of_file) -> dict[str, str]:
    """Return the SHA-256 in hex of each file, by its name.

    Args:
        paths: by name, where a file or a folder is. A file in a folder is called ``<name of the folder>/<its path>``.
        sha256: returns a file's hash.
    """
    return {
        (name if file == path else f"{name}/{file.relative_to(path).as_posix()}"): sha256(file)
        for name, path in paths.items()
        for file in _files(path)
    }


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path] if path.exists() else []
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name != _TIMESTAMP)


def faults_of(
    name: str, path: Path, recorded: Mapping[str, str], sha256: Callable[[Path], str] = sha256_of_file
) -> list[Fault]:
    """Return what is wrong with a file or folder; nothing if it is as it was made.

    Args:
        name: what the plan calls it.
        path: where it is.
        recorded: the hashes that its maker recorded, among others.
        sha256: returns a file's hash.
    """
    expected = {file: digest for file, digest in recorded.items() if file == name or file.startswith(f"{name}/")}
    if not expected:
        return [Fault(name, f"{name}: the job that made it recorded no hash of it")]
    try:
        found = hashes_of({name: path}, sha256)
    except OSError as error:  # a bad disk, or a file that this user must not read
        return [Fault(name, f"{name}: cannot be read: {error}")]
    faults = []
    for file in sorted(expected.keys() | found.keys()):
        if file not in found:
            faults.append(Fault(name, f"{file}: is missing"))
        elif file not in expected:
            faults.append(Fault(name, f"{file}: is not one of the files that were made here"))
        elif found[file] != expected[file]:
            was = f"its SHA-256 is {found[file]}, and was {expected[file]} when it was made"
            faults.append(Fault(name, f"{file}: damaged or changed: {was}"))
    return faults


def check_files(
    paths: Mapping[str, Path], recorded: Mapping[str, str], sha256: Callable[[Path], str] = sha256_of_file
) -> None:
    """Check that files are as they were made.

    Args:
        paths: by the name that the plan gives it, where a file or a folder is.
        recorded: the hashes that their makers recorded.
        sha256: returns a file's hash.

    Raises:
        DamagedFileError: one is missing, or is not as it was made; the message has the command that makes it anew.
    """
    faults = [fault for name, path in paths.items() for fault in faults_of(name, path, recorded, sha256)]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise DamagedFileError(f"{faults[0].message}{more}; {advice([fault.output for fault in faults])}")


@dataclass(frozen=True)
class Verified:
    """What was found of the files of many jobs.

    Attributes:
        jobs: how many jobs have made something.
        files: how many files they recorded.
        faults: of their files.
    """

    jobs: int
    files: int
    faults: list[Fault]


def verify(made: Iterable[tuple[Sequence[str], Path]]) -> Verified:
    """Read every file that jobs have made, and compare it with the hash that was recorded of it.

    Args:
        made: of each job its files and folders, and its file of hashes. A job that has made none of them was not done.
    """
    n_jobs, n_files = 0, 0
    faults: list[Fault] = []
    for outputs, hashes in made:
        if not any(path.exists() for path in [hashes, *map(Path, outputs)]):
            continue
        n_jobs += 1
        try:
            recorded = read_hashes([hashes])
        except DamagedFileError as error:
            faults.append(Fault(str(hashes), str(error)))
            continue
        n_files += len(recorded)
        for output in outputs:
            faults += faults_of(output, Path(output), recorded)
    return Verified(n_jobs, n_files, faults)


def advice(outputs: Iterable[str]) -> str:
    """Return the command that makes files anew, as a part of a message."""
    names = " ".join(shlex.quote(name) for name in dict.fromkeys(outputs))
    return f"make anew what is damaged, with the study's own --configfile: snakemake --cores 1 --forcerun {names}"


def read_hashes(files: Iterable[Path]) -> dict[str, str]:
    """Return the hashes in files of hashes.

    Raises:
        DamagedFileError: one is missing, or is no file of hashes.
    """
    found: dict[str, str] = {}
    for file in files:
        try:
            hashes = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DamagedFileError(f"{file}: not a file of hashes: {error}; {advice([str(file)])}") from None
        if not isinstance(hashes, dict):
            raise DamagedFileError(f"{file}: not a file of hashes; {advice([str(file)])}")
        found.update(hashes)
    return found


class KnownHashes:
    """SHA-256 of files, remembered in a file of JSON.

    A file is taken for the one remembered while its path, size, times of change and inode are the same. A file that is
    put in its place with an older date has another inode or another ctime, and is hashed anew.

    Args:
        memory: where they are remembered; it may be missing, or be removed at any time.
    """

    def __init__(self, memory: Path):
        self._memory = memory
        self._known: dict[str, list[object]] = self._remembered()

    def sha256(self, file: Path) -> str:
        """Return the hex SHA-256 of a file's bytes."""
        status = file.stat()
        identity = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._known.get(str(file.resolve()))
        if known is not None and known[:-1] == identity:
            return str(known[-1])
        found = sha256_of_file(file)
        # What another process has remembered in the meantime is kept.
        self._known = {**self._remembered(), str(file.resolve()): [*identity, found]}
        self._remember(self._known)
        return found

    def sha256_once_if_large(self, file: Path) -> str:
        """Return the hex SHA-256 of a file's bytes; one of less than ``LARGE`` bytes is always read."""
        return self.sha256(file) if file.stat().st_size >= LARGE else sha256_of_file(file)

    def forget(self, folders: Iterable[Path]) -> None:
        """Forget the files in some folders: each is read once more, as a disk may change bytes and no date."""
        places = [folder.resolve() for folder in folders]
        remembered = self._remembered()
        kept = {file: entry for file, entry in remembered.items() if not any(map(Path(file).is_relative_to, places))}
        if kept != remembered:
            self._remember(kept)
        self._known = kept

    def _remember(self, known: dict[str, list[object]]) -> None:
        try:
            write_json(self._memory, known)
        except OSError as error:
            _log.info("%s: not written: %s", self._memory, error)  # as where others' resources/ are only read

    def _remembered(self) -> dict[str, list[object]]:
        try:
            found = json.loads(self._memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        entries = found.items() if isinstance(found, dict) else ()
        return {name: entry for name, entry in entries if isinstance(entry, list)}
