"""What a plan asks of the files that a study's sources name on this machine."""

from typing import Protocol, runtime_checkable

from lenscore.study.dataset import DatasetSpec
from lenscore.study.models import ModelSpec


@runtime_checkable
class Contents(Protocol):
    """What is known of the files that a study's sources name on this machine."""

    def of_model(self, source: ModelSpec, name: str) -> dict[str, str]:
        """Return the SHA-256 of each file that is read of a ``path:`` model; nothing for other sources."""

    def of_dataset(self, source: DatasetSpec) -> dict[str, str]:
        """Return the SHA-256 of the file of a dataset that is on this machine; nothing for other sources."""
