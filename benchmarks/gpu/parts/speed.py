"""Speed: the lens over contexts of a study's sizes, in the project's engine and in plain transformers.

All run in one process on the same weights, and take turns. Before anything is timed, every one has run once, and its
results are compared with those of plain transformers, one context at a time.
"""

import json
from collections.abc import Callable, Iterator, Sequence
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

_ROUNDS = 2
_BATCH = 5
# Plain transformers needs a pass for each context. Of more contexts than these it runs an even sample, and the time
# of all is taken to be as much longer as they have tokens.
_MOST_PLAIN_CONTEXTS = 10
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


# In the order of what is known least and wanted most.
_WORKLOADS = (
    Workload(10, 5, 2), Workload(20, 5, 2), Workload(30, 5, 2),
    Workload(10, "all", 1), Workload(20, "all", 1), Workload(30, "all", 1),
)  # fmt: skip
_SMALL_WORKLOADS = (Workload(3, 2, 2), Workload(12, "all", 1))


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


def run(setting: Setting, shape: str, dtype: str) -> Iterator[Line]:
    """Yield what each contestant takes for each workload.

    Args:
        setting: device and size.
        shape: of the model (``benchmarks.gpu.shapes``).
        dtype: of its weights.
    """
    config = config_of(shape, setting.small)
    model = random_model(config, getattr(torch, dtype), setting.device)
    rate = product_rate(setting.device, dtype)
    yield {"kind": "rate", "what": f"products, {dtype}", "per_second": rate, "unit": "operations"}
    measure = _Measure(setting, config, model, rate, {"model": shape, "dtype": dtype})
    for workload in _SMALL_WORKLOADS if setting.small else _WORKLOADS:
        yield from measure.workload(workload)


class _Measure:
    """Measures the workloads of one model."""

    def __init__(self, setting: Setting, config: PreTrainedConfig, model: PreTrainedModel, rate: float, about: Line):
        self._setting = setting
        self._config = config
        self._model = model
        self._rate = rate
        self._about = about
        # Each engine has its run for all workloads: the model is checked and packed once.
        self._runs = {attention: checked_run(model, attention) for attention in ATTENTIONS}

    def workload(self, workload: Workload) -> Iterator[Line]:
        """Yield a line on each contestant, then one on what was aimed at."""
        questions = made_questions(
            workload.questions, workload.documents, workload.positions, self._config.vocab_size, self._setting.small
        )
        about = {**self._about, "workload": workload.name}
        reference, measured = None, []
        for group in self._groups(questions):
            ready: list[tuple[_Contestant, Rows]] = []
            for contestant in group:
                try:
                    ready.append((contestant, contestant.lens()))
                except Exception as error:  # the others go on
                    yield _failed({**about, "case": contestant.name}, contestant, error)
            reference = reference or next((rows for one, rows in ready if one.name == _REFERENCE), None)
            figures = _take_turns(self._setting.device, [contestant for contestant, _ in ready])
            for contestant, rows in ready:
                line = {**about, **self._line(contestant, questions, figures[contestant.name])}
                if contestant.name != _REFERENCE:
                    line.update(self._agreement(contestant, questions, rows, reference))
                measured.append(line)
                yield line
        yield from _aims(about, measured)

    def _groups(self, questions: Questions) -> Iterator[list[_Contestant]]:
        """Yield contestants that take turns. Attention that is compiled is last: others' results do not wait for it."""
        contexts = [context for question in questions for context in question]
        sample = _sample(contexts)
        engines = [
            _Contestant(f"engine, {attention}", partial(logit_rows, run, questions), contexts, run)
            for attention, run in self._runs.items()
        ]
        yield [
            _Contestant(_REFERENCE, partial(plain_rows, self._model, sample, 1), sample),
            engines[0],
            _Contestant("plain, batched", partial(plain_rows, self._model, sample, _BATCH), sample),
        ]
        for engine in engines[1:]:
            yield [engine]

    def _line(self, contestant: _Contestant, questions: Questions, figures: "_Figures") -> Line:
        tokens = tokens_of(questions)
        read = sum(len(context.predicting_ids) for context in contestant.contexts)
        seconds = figures.seconds * tokens.read / read
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
            found = _rows_of(found, contexts, _sample(contexts))
        tolerance = EXACT if self._about["dtype"] == "float32" else BFLOAT16
        compared = agreement(found, reference, tolerance.lead)
        line = {**compared.as_line(), "allowed": tolerance.largest or tolerance.mean}
        if contestant.run is None:
            return line  # plain transformers in batches shows what rounding does to it: nothing is claimed of it
        return {**line, "holds": compared.within(tolerance) and contestant.run.prefix_sharing == "shared"}


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


def _take_turns(device: str, contestants: Sequence[_Contestant]) -> dict[str, _Figures]:
    seconds: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    peaks: dict[str, tuple[int | None, int | None]] = {}
    lens: dict[str, float] = dict.fromkeys(seconds, 0.0)
    for _ in range(_ROUNDS):
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


def _gigabytes(peak: int | None, before: int | None) -> tuple[float | None, float | None]:
    return (None, None) if peak is None or before is None else (peak / 1e9, (peak - before) / 1e9)


def _seconds_in_lens() -> float:
    """Return the seconds that this process has spent on lenses' logits and statistics."""
    with TemporaryDirectory() as scratch:
        file = Path(scratch, "spent.json")
        write_spent(file)
        return float(json.loads(file.read_text())["lens"])


def _sample(contexts: Sequence[TokenisedContext]) -> list[TokenisedContext]:
    """Return an even sample of contexts, both ends included; all where they are few."""
    if len(contexts) <= _MOST_PLAIN_CONTEXTS:
        return list(contexts)
    last = len(contexts) - 1
    return [contexts[round(place * last / (_MOST_PLAIN_CONTEXTS - 1))] for place in range(_MOST_PLAIN_CONTEXTS)]


def _rows_of(rows: Rows, contexts: Sequence[TokenisedContext], chosen: Sequence[TokenisedContext]) -> Rows:
    """Return the rows of some of the contexts, in their order."""
    sizes = [len(context.answer_ids) for context in contexts]
    wanted = {id(context) for context in chosen}
    kept = torch.tensor([id(context) in wanted for context in contexts]).repeat_interleave(torch.tensor(sizes))
    return Rows(rows.top_ids[:, kept], rows.top_logprobs[:, kept], rows.target_logprob[:, kept])


def _aims(about: Line, lines: Sequence[Line]) -> Iterator[Line]:
    """Yield what the fastest engine reached of what was aimed at."""
    plain = {line["contestant"]: line["seconds"] for line in lines if line["contestant"].startswith("plain")}
    engines = [line for line in lines if line["contestant"].startswith("engine")]
    if not engines:
        return
    best = min(engines, key=lambda line: float(line["seconds"]))
    for name, seconds in plain.items():
        aim = 2.5 if about["workload"].endswith("all") else 1.8
        yield _aim(about, best, f"times as fast as {name}", seconds / best["seconds"], aim, at_least=True)
    if (about["model"], about["dtype"]) == ("llama-8b", "bfloat16"):
        yield _aim(about, best, "share of the product rate", best["share_of_product_rate"], 0.45, at_least=True)
    yield _aim(about, best, "share of the time in the lens", best["lens_share"], 0.10, at_least=False)


def _aim(about: Line, best: Line, what: str, measured: float, aim: float, *, at_least: bool) -> Line:
    return {
        **about, "kind": "aim", "contestant": best["contestant"], "what": what, "measured": measured,
        "aim": f"{'≥' if at_least else '≤'} {aim}", "met": measured >= aim if at_least else measured <= aim,
    }  # fmt: skip
