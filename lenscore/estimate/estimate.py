"""What a study takes: its parts put together, in words, and what of it a machine does not have."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from lenscore.contexts.questions import Question
from lenscore.errors import TooLargeError, counted
from lenscore.estimate.machine import Machine
from lenscore.estimate.measure import Speed, measure, measure_beside_one_another
from lenscore.estimate.sample import Sampled, Sampler
from lenscore.estimate.schedule import TimedJob, seconds_until_done
from lenscore.estimate.work import Counts, Work, ablation_work, extraction_work, means_work, training_work
from lenscore.lenses.training import STEPS_BETWEEN_LOOKS
from lenscore.study.lenses import LENSES
from lenscore.study.study import Study

# Processes that measure at once: more show nothing new.
_MOST_PROCESSES = 8
# Seconds in which a job imports what it needs, where that was not measured.
_IMPORTS = 5.0
# Bytes of a value of a precision.
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# A job's memory beyond that of a short pass: the tree of a whole question, and tables.
_MORE_MEMORY = 1.25

# Bytes of a layer record: in its Parquet file and in the cache's together, of which a shard of SmolLM2 on
# NaturalQuestions-Open took 111 and made-up ones, which compress worse, 200; and in the database (`make bench-store`).
_RECORD_IN_FILES, _RECORD_IN_DATABASE = 140, 55
# Bytes of a study that has next to no records: database, charts, tables, page.
_EMPTY_STUDY = 25_000_000
# Seconds from the last record to the page: of a small study, and for each record more.
_AFTERWARDS, _AFTERWARDS_OF_A_RECORD = 20.0, 2e-6


@dataclass(frozen=True)
class ModelEstimate:
    """One model's part.

    Attributes:
        counts: of all of its contexts.
        speed: what was measured.
        memory: bytes of a job that runs it.
        lens_bytes: of its trained lenses' files.
    """

    counts: Counts
    speed: Speed
    memory: int
    lens_bytes: int


@dataclass(frozen=True)
class Estimate:
    """What a study takes.

    Attributes:
        models: by name.
        records: rows of layer records.
        seconds: from the first context to the page, downloads not included.
        memory: bytes, of as many jobs as run at once.
        disk: bytes under ``results/``.
        at_once: how many jobs run at once.
    """

    models: Mapping[str, ModelEstimate]
    records: float
    seconds: float
    memory: int
    disk: float
    at_once: int

    def lines(self, machine: Machine) -> Iterator[str]:
        """Yield the estimate in words, beside what the machine has."""
        for name, model in self.models.items():
            counts, speed = model.counts, model.speed
            yield (
                f"{name}: {counted(counts.contexts, 'context')} of "
                f"{counted(counts.tokens / (counts.contexts or 1), 'token')}; {counted(counts.tokens, 'token')}, "
                f"{counts.unique_tokens:,.0f} of them unique"
                f"{'' if speed.shares else ', but its contexts run one by one'}; "
                f"{1 / speed.token_block / speed.n_layers:,.0f} tokens/s and {_size(model.memory)} a job"
            )
        yield (
            f"all: {counted(self.records, 'layer record')}; about {_duration(self.seconds)} with "
            f"{counted(self.at_once, 'job')} at a time on {counted(machine.processors, 'processor')}; "
            f"memory {_size(self.memory)} of {_size(machine.memory)} free, "
            f"disk {_size(self.disk)} of {_size(machine.disk)} free{_held(machine)}"
        )

    def refuse_if_too_large(self, machine: Machine) -> None:
        """Refuse a study for which a machine is too small.

        Raises:
            TooLargeError: there is not enough memory or disk; says what to change.
        """
        if self.memory > machine.memory:
            largest = max(self.models, key=lambda name: self.models[name].memory)
            fit = machine.memory // self.models[largest].memory
            change = (
                f"start it with --cores {fit}"
                if fit
                else (f"set a smaller dtype for {largest}, or take a smaller model or a machine with more memory")
            )
            raise TooLargeError(
                f"memory: {_size(self.memory)} needed by {counted(self.at_once, 'job')} at a time, "
                f"{_size(machine.memory)} free: {change}"
            )
        if self.disk > machine.disk + machine.held:
            raise TooLargeError(
                f"disk: results need {_size(self.disk)}, and {_size(machine.disk)} are free{_held(machine)}: "
                "make room, or ask fewer questions or lenses"
            )

    def as_json(self, machine: Machine, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the numbers as JSON, the words, and the config of which they were made."""
        return {**asdict(self), "lines": list(self.lines(machine)), "config": config}


def estimate_study(
    study: Study, dataset: Sequence[Question], folders: Mapping[str, Path], at_once: int, machine: Machine
) -> Estimate:
    """Count some of a study's contexts, time a short pass of each of its models, and multiply.

    Args:
        study: the config.
        dataset: all questions.
        folders: of the models, by name.
        at_once: how many jobs run at once.
        machine: what it offers.

    Raises:
        ContextError: a context cannot be built or does not fit its model.
        TooLargeError: a model's weights alone need more memory than there is, or than the GPU has.
    """
    sampler = Sampler(study, dataset)
    models: dict[str, ModelEstimate] = {}
    jobs: list[TimedJob] = []
    records = 0.0
    weights = {name: weight_bytes(folder, _BYTES[study.models[name].dtype]) for name, folder in folders.items()}
    # The smallest first: a process's memory is the most that it ever had.
    for name in sorted(folders, key=lambda name: weights[name]):
        folder = folders[name]
        sets = {of_set: sampler.of_set(of_set, name, folder) for of_set in study.context_sets}
        typical = max((sampled.typical for sampled in sets.values()), key=lambda context: len(context.ids))
        speed = _speed(name, folder, weights[name], typical.ids, study, at_once, machine)
        counts = Counts.sum(sampled.extracted for sampled in sets.values()).times(study.questions)
        trained = [lens for lens in study.lenses if LENSES[lens].training]
        models[name] = ModelEstimate(
            counts=counts,
            speed=speed,
            memory=int(_MORE_MEMORY * speed.memory),
            lens_bytes=len(trained) * speed.n_layers * speed.width**2 * 4,
        )
        records += counts.answer_tokens * (speed.n_layers + 1) * len(study.lenses)
        text_tokens = sampler.tokens_of_a_document(folder) * study.questions_of_lens if trained else 0.0
        jobs += _jobs(study, name, sets, speed, trained, text_tokens)
    memory = max(model.memory for model in models.values()) * min(at_once, len(jobs))
    return Estimate(
        models={name: models[name] for name in folders},
        records=records,
        seconds=seconds_until_done(jobs, at_once) + _AFTERWARDS + _AFTERWARDS_OF_A_RECORD * records,
        memory=memory,
        disk=(
            _EMPTY_STUDY
            + (_RECORD_IN_FILES + _RECORD_IN_DATABASE) * records
            + sum(model.lens_bytes for model in models.values())
        ),
        at_once=at_once,
    )


def _speed(
    name: str, folder: Path, weights: int, ids: list[int], study: Study, at_once: int, machine: Machine
) -> Speed:
    spec, device = study.models[name], study.extraction.device
    smaller = "set its dtype to bfloat16, or " if spec.dtype == "float32" else ""
    if weights > machine.memory:
        raise TooLargeError(
            f"models.{name}: its weights need {_size(weights)} in {spec.dtype}, and {_size(machine.memory)} of memory "
            f"are free: {smaller}take a smaller model or another machine"
        )
    if machine.gpu is not None and weights > machine.gpu:
        raise TooLargeError(
            f"models.{name}: its weights need {_size(weights)} in {spec.dtype}, and {_size(machine.gpu)} of the GPU's "
            f"memory are free: {smaller}set extraction.device to cpu, or take a smaller model or another GPU"
        )
    if not study.is_large:  # a pass in this process is enough, and costs a second
        begun = time.time() - _IMPORTS
        return measure(folder, ids, dtype=spec.dtype, matmul=spec.matmul, device=device, threads=1, begun=begun)
    room = machine.memory if machine.gpu is None else min(machine.memory, machine.gpu)
    fit = max(1, room // (2 * weights))
    n_processes = min(at_once, fit, _MOST_PROCESSES)
    return measure_beside_one_another(folder, ids, n_processes, dtype=spec.dtype, matmul=spec.matmul, device=device)


def weight_bytes(folder: Path, itemsize: int) -> int:
    """Return the bytes of a model's weights with so many bytes a value."""
    n_values = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                size = 1
                for length in tensors.get_slice(name).get_shape():
                    size *= length
                n_values += size
    return n_values * itemsize


def _jobs(
    study: Study, model: str, sets: Mapping[str, Sampled], speed: Speed, trained: Sequence[str], text_tokens: float
) -> Iterator[TimedJob]:
    """Yield a model's jobs, in the order in which they are ready."""
    n_layers, ablation = speed.n_layers, study.ablation

    def job(name: str, work: Work, after: tuple[str, ...] = ()) -> TimedJob:
        seconds = speed.start + work.token_blocks * speed.token_block + work.rows * speed.row
        return TimedJob(f"{model}/{name}", seconds, tuple(f"{model}/{other}" for other in after))

    for lens in trained:
        yield job(f"train {lens}", training_work(text_tokens, n_layers, study.tuned_lens, STEPS_BETWEEN_LOOKS))
    for set_name, sampled in sets.items():
        # Before a job records anything, the model's own code runs over one context.
        check = Work(len(sampled.typical.ids) * n_layers)
        means = f"means {set_name}"
        if "mean" in ablation.replacements and ablation.questions and sampled.ablated.contexts:
            reference = min(ablation.reference, study.questions)
            yield job(means, means_work(sampled.ablated.times(reference), n_layers))
        else:
            means = ""
        for first in range(0, study.questions, study.shard_size):
            n_questions = min(study.shard_size, study.questions - first)
            work = extraction_work(sampled.extracted.times(n_questions), n_layers, len(study.lenses), speed.shares)
            yield job(f"extract {set_name} {first}", work + check, tuple(f"train {lens}" for lens in trained))
            n_ablated = min(n_questions, ablation.questions - first)
            if n_ablated > 0 and sampled.ablated.contexts:
                work = ablation_work(sampled.ablated.times(n_ablated), n_layers, ablation, speed.shares)
                yield job(f"ablate {set_name} {first}", work + check, (means,) if means else ())


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(minutes, 1)} min"


def _held(machine: Machine) -> str:
    """Say what of a study's results is there, unless it is next to nothing."""
    return f" beside {_size(machine.held)} that it has" if machine.held >= _EMPTY_STUDY else ""


def _size(n_bytes: int | float) -> str:
    return f"{n_bytes / 1e9:,.1f} GB"
