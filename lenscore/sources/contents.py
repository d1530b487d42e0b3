"""The content of the files that a study's sources name on this machine: their SHA-256, computed once a file."""

from pathlib import Path

from lenscore.hashes import KnownHashes
from lenscore.sources.local_files import local_file
from lenscore.sources.model_files import local_model_files
from lenscore.study.dataset import DatasetSpec
from lenscore.study.models import ModelSpec


class SourceContents:
    """The content of the files that a study's sources name on this machine.

    Args:
        memory: of :class:`~lenscore.hashes.KnownHashes`.
    """

    def __init__(self, memory: Path):
        self._known = KnownHashes(memory)

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
