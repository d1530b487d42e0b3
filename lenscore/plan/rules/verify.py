"""Rule verify: whether the files of a study, its models and its dataset are as they were made. It makes nothing."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class MadeFiles(BaseModel):
    """What one job of the study makes.

    Attributes:
        files: files and folders.
        hashes: the file in which the job records their hashes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: list[str]
    hashes: Path


class VerifyJob(BaseModel):
    """Verify a study.

    Attributes:
        made: what each job makes, in the order in which the jobs run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    made: list[MadeFiles]
