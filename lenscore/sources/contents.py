"""Files known by their content: SHA-256, computed once a file and remembered.

A file is taken for the one remembered while its path, size, times of change and inode are the same. A file that is put
in its place with an older date has another inode or another ctime, and is hashed anew.
"""

import json
import logging
from pathlib import Path

from lenscore.files import sha256_of_file, write_json
from lenscore.sources.local_files import local_file
from lenscore.sources.model_files import local_model_files
from lenscore.study.dataset import DatasetSpec
from lenscore.study.models import ModelSpec

_log = logging.getLogger(__name__)


class KnownContents:
    """SHA-256 of files, remembered in a file of JSON.

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
        try:
            write_json(self._memory, self._known)
        except OSError as error:
            _log.info("%s is not remembered: %s", file, error)  # it is hashed again the next time
        return found

    def _remembered(self) -> dict[str, list[object]]:
        try:
            found = json.loads(self._memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        entries = found.items() if isinstance(found, dict) else ()
        return {name: entry for name, entry in entries if isinstance(entry, list)}


class SourceContents:
    """The content of the files that a study's sources name on this machine.

    Args:
        memory: of :class:`KnownContents`.
    """

    def __init__(self, memory: Path):
        self._known = KnownContents(memory)

    def of_model(self, source: ModelSpec, name: str) -> dict[str, str]:
        """Return the SHA-256 of each file that is read of a ``path:`` model; nothing for other sources.

        Raises:
            SourceError: the folder is missing or lacks a part.
        """
        return {file.name: self._known.sha256(file) for file in local_model_files(source.source, name)}

    def of_dataset(self, source: DatasetSpec) -> dict[str, str]:
        """Return the SHA-256 of the file of a dataset that is on this machine; nothing for other sources."""
        file = local_file(source.source)
        return {file.name: self._known.sha256(file)} if file is not None else {}
