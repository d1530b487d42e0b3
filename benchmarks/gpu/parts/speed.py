"""Speed: the lens over contexts of a study's sizes, in the project's engine and in plain transformers.

All run in one process on the same weights, and take turns. Before anything is timed, every one has run once, and its
results are compared with those of plain transformers, one context at a time.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from benchmarks.gpu.contexts import Questions, made_questions, tokens_of
from benchmarks.gpu.device import peak_bytes, start_peak, timed
from benchmarks.gpu.engines import ATTENTIONS, checked_run, logit_rows
from benchmarks.gpu.plain import plain_rows
from benchmarks.gpu.plan import Line, Setting
from benchmarks.gpu.process import fault
from benchmarks.gpu.rates import product_rate
from benchmarks.gpu.rows import BFLOAT16, EXACT, Rows, agreement
from benchmarks.gpu.shapes import config_of, multiplied_shape, random_model
from benchmarks.lens.flops import lens_flops
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.tokens import TokenisedContext
from lenscore.jobs.spent import write_spent
from lenscore.prefix_tree.attention import AttentionKind

_BATCH = 5
_REFERENCE = "plain, one by one"


@dataclass(frozen=True)
class Workload:
    """Contexts by the numbers of documents and of positions."""

    documents: int
    positions: Literal["all"] | int
    questions: int

    @property
    def name(self) -> str:
        """What the report calls it."""
        return f"{self.documents} × {self.positions}"


@dataclass(frozen=True)
class Effort:
    """How much is run.

    Attributes:
        workloads: in the order of what is known least and wanted most.
        rounds: that are timed.
        most_plain: contexts. Plain transformers needs a pass for each. Of more contexts than these it runs an even
            sample, and the time of all is taken to be as much longer as they have tokens.
        batched: whether plain transformers runs in batches too.
    """

    workloads: Sequence[Workload]
    rounds: int = 2
    most_plain: int = 10
    batched: bool = True


EFFORTS = {
    "whole": Effort(
        (
            Workload(10, 5, 2), Workload(20, 5, 2), Workload(30, 5, 2),
            Workload(10, "all", 1), Workload(20, "all", 1), Workload(30, "all", 1),
        )
    ),
    "brief": Effort((Workload(30, 5, 1), Workload(10, "all", 1), Workload(10, 5, 1)), 1, 4, batched=False),
    "small": Effort((Workload(3, 2, 2), Workload(12, "all", 1))),
}  # fmt: skip


@dataclass(frozen=True)
class _Contestant:
    """One way to compute the lens.

    Attributes:
        name: what the report calls it.
        lens: computes it.
        contexts: those that it runs.
        run: the engine's; None for plain transformers.
    """

    name: str
    lens: Callable[[], Rows]
    contexts: Sequence[TokenisedContext]
    run: CheckedRun | None = None


def run(setting: Setting, shape: str, dtype: str, effort: str = "whole") -> Iterator[Line]:
    """Yield what each contestant takes for each workload.

    Args:
        setting: device and size.
        shape: of the model (``benchmarks.gpu.shapes``).
        dtype: of its weights.
        effort: a key of ``EFFORTS``; on a CPU it is small in any case.
    """
    config = config_of(shape, setting.small)
    model = random_model(config, getattr(torch, dtype), setting.device)
    rate = product_rate(setting.device, dtype)
    yield {"kind": "rate", "what": f"products, {dtype}", "per_second": rate, "unit": "operations"}
    about: Line = {"model": shape, "dtype": dtype}
    measure = _Measure(setting, config, model, rate, about, EFFORTS["small" if setting.small else effort])
    yield from measure.beside_plain(ATTENTIONS[0])
    for attention in ATTENTIONS[1:]:  # compiled, and so last: others' results do not wait for it
        yield from measure.alone(attention)


@dataclass(frozen=True)
class _Measured:
    """What is known of a workload.

    Attributes:
        questions: its contexts.
        reference: the rows of plain transformers; None where it failed.
        plain: seconds by the contestants of plain transformers.
    """

    questions: Questions
    reference: Rows | None
    plain: Mapping[str, float]


class _Measure:
    """Measures the workloads of one model."""

    def __init__(
        self, setting: Setting, config: PreTrainedConfig, model: PreTrainedModel, rate: float, about: Line,
        effort: Effort,
    ):  # fmt: skip
        self._setting = setting
        self._config = config
        self._model = model
        self._rate = rate
        self._about = about
        self._effort = effort
        self._measured: dict[Workload, _Measured] = {}

    def beside_plain(self, attention: AttentionKind) -> Iterator[Line]:
        """Yield lines on the engine and on plain transformers, which take turns."""
        run = checked_run(self._model, attention)  # for all workloads: the model is checked and packed once
        for workload in self._effort.workloads:
            about = {**self._about, "workload": workload.name}
            questions = made_questions(
                workload.questions, workload.documents, workload.positions, self._config.vocab_size,
                self._setting.small,
            )  # fmt: skip
            ready = []
            for contestant in [*self._plain(questions), self._engine(run, questions)]:
                rows, lines = self._first_run(about, contestant)
                yield from lines
                if rows is not None:
                    ready.append((contestant, rows))
            reference = next((rows for one, rows in ready if one.name == _REFERENCE), None)
            figures = self._take_turns([contestant for contestant, _ in ready])
            plain = {one.name: self._seconds(one, questions, figures) for one, _ in ready if one.run is None}
            self._measured[workload] = _Measured(questions, reference, plain)
            for contestant, rows in ready:
                yield from self._lines(about, contestant, self._measured[workload], rows, figures[contestant.name])

    def alone(self, attention: AttentionKind) -> Iterator[Line]:
        """Yield lines on the engine with another way of attending, up to its first failure."""
        run = checked_run(self._model, attention)
        for workload, measured in self._measured.items():
            about = {**self._about, "workload": workload.name}
            contestant = self._engine(run, measured.questions)
            rows, lines = self._first_run(about, contestant)
            yield from lines
            if rows is None:
                return
            figures = self._take_turns([contestant])
            yield from self._lines(about, contestant, measured, rows, figures[contestant.name])

    def _plain(self, questions: Questions) -> Iterator[_Contestant]:
        sample = self._sample([context for question in questions for context in question])
        yield _Contestant(_REFERENCE, partial(plain_rows, self._model, sample, 1), sample)
        if self._effort.batched:
            yield _Contestant("plain, batched", partial(plain_rows, self._model, sample, _BATCH), sample)

    def _engine(self, run: CheckedRun, questions: Questions) -> _Contestant:
        contexts = [context for question in questions for context in question]
        return _Contestant(f"engine, {run.attention}", partial(logit_rows, run, questions), contexts, run)

    def _first_run(self, about: Line, contestant: _Contestant) -> tuple[Rows | None, list[Line]]:
        """Run a contestant untimed, and return its rows, or none where it fails, and what is to be said of it."""
        about = {**about, "case": contestant.name}
        try:
            rows = contestant.lens()
            if contestant.run is None or contestant.run.prefix_sharing == "shared":
                return rows, []
            # That is a fault. How fast the tree is, and how far its rows are off, is still worth knowing.
            line = {**about, "kind": "fault", "error": contestant.run.prefix_sharing, "holds": False}
            contestant.run.runner.fallback_reason = None
            return contestant.lens(), [line]
        except Exception as error:  # the others go on
            return None, [_failed(about, contestant, error)]

    def _lines(
        self, about: Line, contestant: _Contestant, measured: _Measured, rows: Rows, figures: "_Figures"
    ) -> Iterator[Line]:
        line = {**about, **self._line(contestant, measured.questions, figures)}
        if contestant.name != _REFERENCE:
            line.update(self._agreement(contestant, measured.questions, rows, measured.reference))
        yield line
        if contestant.run is not None:
            yield from _aims(about, line, measured.plain)

    def _seconds(self, contestant: _Contestant, questions: Questions, figures: Mapping[str, "_Figures"]) -> float:
        """Return the seconds of all contexts, of which a contestant may have run a sample."""
        read = sum(len(context.predicting_ids) for context in contestant.contexts)
        return figures[contestant.name].seconds * tokens_of(questions).read / read

    def _line(self, contestant: _Contestant, questions: Questions, figures: "_Figures") -> Line:
        tokens = tokens_of(questions)
        seconds = self._seconds(contestant, questions, {contestant.name: figures})
        line: Line = {
            "kind": "speed",
            "contestant": contestant.name,
            "contexts": sum(map(len, questions)),
            "contexts_run": len(contestant.contexts),
            "tokens": tokens.read,
            "unique_tokens": tokens.unique,
            "seconds": seconds,
            "tokens_per_second": tokens.read / seconds,
            "peak_gb": figures.peak,
            "peak_above_weights_gb": figures.peak_above,
        }
        if contestant.run is None:
            return line
        flop = lens_flops(multiplied_shape(self._config), tokens)
        return {
            **line,
            "unique_tokens_per_second": tokens.unique / seconds,
            "share_of_product_rate": flop / seconds / self._rate,
            "lens_share": figures.lens_share,
            "sharing": contestant.run.prefix_sharing,
        }

    def _agreement(self, contestant: _Contestant, questions: Questions, found: Rows, reference: Rows | None) -> Line:
        """Compare a contestant's results with the reference's, over the contexts that both have run."""
        if reference is None:
            return {"holds": None if contestant.run is None else False}  # nothing proves what it has computed
        if contestant.run is not None:
            contexts = [context for question in questions for context in question]
            found = _rows_of(found, contexts, self._sample(contexts))
        tolerance = EXACT if self._about["dtype"] == "float32" else BFLOAT16
        compared = agreement(found, reference, tolerance.lead)
        line = {**compared.as_line(), "allowed": tolerance.largest or tolerance.mean}
        if contestant.run is None:
            return line  # plain transformers in batches shows what rounding does to it: nothing is claimed of it
        return {**line, "holds": compared.within(tolerance) and contestant.run.prefix_sharing == "shared"}

    def _take_turns(self, contestants: Sequence[_Contestant]) -> dict[str, "_Figures"]:
        device = self._setting.device
        seconds: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
        peaks: dict[str, tuple[int | None, int | None]] = {}
        lens: dict[str, float] = dict.fromkeys(seconds, 0.0)
        for _ in range(self._effort.rounds):
            for contestant in contestants:
                weights, before = start_peak(device), _seconds_in_lens()
                _, spent = timed(device, contestant.lens)
                seconds[contestant.name].append(spent)
                lens[contestant.name] += _seconds_in_lens() - before
                peaks[contestant.name] = (peak_bytes(device), weights)
        return {
            contestant.name: _Figures(
                median(seconds[contestant.name]),
                *_gigabytes(*peaks[contestant.name]),
                None if contestant.run is None else lens[contestant.name] / sum(seconds[contestant.name]),
            )
            for contestant in contestants
        }

    def _sample(self, contexts: Sequence[TokenisedContext]) -> list[TokenisedContext]:
        """Return an even sample of contexts, both ends included; all where they are few."""
        most = self._effort.most_plain
        if len(contexts) <= most:
            return list(contexts)
        last = len(contexts) - 1
        return [contexts[round(place * last / (most - 1))] for place in range(most)]


def _failed(about: Line, contestant: _Contestant, error: Exception) -> Line:
    """Return the line of a contestant that failed; where plain transformers runs out of memory, no claim fails."""
    line = fault(about, error)
    if contestant.run is None and isinstance(error, torch.OutOfMemoryError):
        return {**line, "holds": None}
    return line


@dataclass(frozen=True)
class _Figures:
    """Of a contestant's rounds: the median of the seconds, the most memory in GB, the lens's share of the time."""

    seconds: float
    peak: float | None
    peak_above: float | None
    lens_share: float | None


def _gigabytes(peak: int | None, before: int | None) -> tuple[float | None, float | None]:
    return (None, None) if peak is None or before is None else (peak / 1e9, (peak - before) / 1e9)


def _seconds_in_lens() -> float:
    """Return the seconds that this process has spent on lenses' logits and statistics."""
    with TemporaryDirectory() as scratch:
        file = Path(scratch, "spent.json")
        write_spent(file)
        return float(json.loads(file.read_text())["lens"])


def _rows_of(rows: Rows, contexts: Sequence[TokenisedContext], chosen: Sequence[TokenisedContext]) -> Rows:
    """Return the rows of some of the contexts, in their order."""
    sizes = [len(context.answer_ids) for context in contexts]
    wanted = {id(context) for context in chosen}
    kept = torch.tensor([id(context) in wanted for context in contexts]).repeat_interleave(torch.tensor(sizes))
    return Rows(rows.top_ids[:, kept], rows.top_logprobs[:, kept], rows.target_logprob[:, kept])


def _aims(about: Line, engine: Line, plain: Mapping[str, float]) -> Iterator[Line]:
    """Yield what an engine reached of what was aimed at; nothing where its results are wrong."""
    if engine.get("holds") is False:
        return
    for name, seconds in plain.items():
        aim = 2.5 if about["workload"].endswith("all") else 1.8
        yield _aim(about, engine, f"times as fast as {name}", seconds / engine["seconds"], aim, at_least=True)
    if (about["model"], about["dtype"]) == ("llama-8b", "bfloat16"):
        yield _aim(about, engine, "share of the product rate", engine["share_of_product_rate"], 0.45, at_least=True)
    yield _aim(about, engine, "share of the time in the lens", engine["lens_share"], 0.10, at_least=False)


def _aim(about: Line, engine: Line, what: str, measured: float, aim: float, *, at_least: bool) -> Line:
    return {
        **about, "kind": "aim", "contestant": engine["contestant"], "what": what, "measured": measured,
        "aim": f"{'≥' if at_least else '≤'} {aim}", "met": measured >= aim if at_least else measured <= aim,
    }  # fmt: skip
