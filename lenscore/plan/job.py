"""What all jobs of the workflow have in common."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from lenscore.plan import paths
from lenscore.study.run_settings import RunSettings

F = TypeVar("F", bound="Files")


class Files(BaseModel):
    """The files of one side of a job, by the names that the rule gives them; a list where there are several."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def named(cls: type[F], files: Mapping[str, Any]) -> F:
        """Return the files among those that Snakemake names; it has others, which only order the jobs."""
        return cls.model_validate({name: files[name] for name in cls.model_fields})

    def paths(self) -> dict[str, str | list[str]]:
        """Return the paths by name, as Snakemake takes them."""
        return self.model_dump(mode="json")

    def where(self: F, placed: F) -> dict[str, Path]:
        """Return where each file is, by the path that the plan gives it; files of hashes are not among them.

        Args:
            placed: the same files, where Snakemake has them.
        """
        found: dict[str, Path] = {}
        for name in type(self).model_fields.keys() - {"hashes"}:
            planned, here = getattr(self, name), getattr(placed, name)
            pairs = zip(planned, here, strict=True) if isinstance(planned, list) else [(planned, here)]
            found |= {path.as_posix(): place for path, place in pairs}
        return found


class Inputs(Files):
    """What a job reads, and the files of hashes in which the jobs that made it recorded what they made."""

    hashes: list[Path]


class Outputs(Files):
    """What a job makes, and the file of hashes in which it records that."""

    hashes: Path


J = TypeVar("J", bound="Job")


class Job(BaseModel):
    """One job of the workflow: the settings that decide its result, and where its files are.

    It travels as JSON, in the rule's parameter ``job``. Beside it is the parameter ``versions``, of code and libraries.
    Snakemake runs a job again where one of them has changed, and shows that one as the reason.

    Attributes:
        inputs: relative to the working directory.
        outputs: relative to the working directory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: Files
    outputs: Outputs

    def at(self: J, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> J:
        """Return the job with its files where Snakemake has them: a storage plugin keeps copies elsewhere."""
        return self.model_copy(
            update={"inputs": type(self.inputs).named(inputs), "outputs": type(self.outputs).named(outputs)}
        )

    @contextmanager
    def with_files(self: J, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Iterator[J]:
        """Yield the job with its files where Snakemake has them, its inputs checked; record the hashes of its outputs.

        Raises:
            DamagedFileError: an input is not as it was made.
        """
        # Here, since a script loads nothing that it can do without before its log is open.
        from lenscore.files import write_json
        from lenscore.hashes import KnownHashes, check_files, hashes_of, read_hashes

        job = self.at(inputs, outputs)
        known = KnownHashes(Path(paths.CONTENTS))
        if isinstance(job.inputs, Inputs):
            made = read_hashes(job.inputs.hashes)
            check_files(self.inputs.where(job.inputs), made, known.sha256_once_if_large)
        yield job
        write_json(job.outputs.hashes, hashes_of(self.outputs.where(job.outputs), known.sha256_once_if_large))


class ShardJob(Job):
    """A job that runs one model over one shard of contexts.

    Attributes:
        model: its name in the study.
        context_set: the set's name.
        shard: its number.
        settings: how the model runs over contexts.
    """

    model: str
    context_set: str
    shard: int
    settings: RunSettings

    @property
    def identity(self) -> dict[str, str | int]:
        """What the file of the shard's results says that it is."""
        return {"model": self.model, "context_set": self.context_set, "shard": self.shard}
