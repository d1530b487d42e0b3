"""The benchmark's results as lines of JSON."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

from transformers import AutoConfig

from benchmarks.lens.contestants import ENGINES
from benchmarks.lens.exchange import Questions
from benchmarks.lens.flops import LlamaShape, Tokens, lens_flops
from benchmarks.lens.machine import description
from benchmarks.lens.measure import Measured, Setting

Line = dict[str, Any]


def workload_lines(setting: Setting, name: str, questions: Questions, measured: Measured) -> Iterator[Line]:
    """Yield a line on the workload, one on each contestant, and one with their ratios."""
    tokens = Tokens.of_workload(questions)
    flop = lens_flops(LlamaShape.of(AutoConfig.from_pretrained(setting.model, local_files_only=True)), tokens)
    yield {
        "kind": "workload",
        "workload": name,
        "questions": len(questions),
        "contexts": sum(map(len, questions)),
        "answer_tokens": sum(len(context.targets) for contexts in questions for context in contexts),
        "tokens": tokens.read,
        "unique_tokens": tokens.unique,
        "engine_flop": flop,
        "product_flop_per_second": _by_precision(measured.rates),
    }
    weights_mb = weights_size_mb(setting.model)
    for contestant in setting.contestants:
        seconds = measured.seconds[contestant.name]
        agreement = measured.agreements.get(contestant.name)
        line = {
            "kind": "contestant",
            "workload": name,
            "contestant": contestant.name,
            "rounds": len(seconds),
            "tokens_per_second": spread(tokens.read / time for time in seconds),
            "peak_mb": measured.peak_mb[contestant.name],
            "peak_above_weights_mb": measured.peak_mb[contestant.name] - weights_mb,
            "agreement": agreement and asdict(agreement),
        }
        if contestant in ENGINES:
            # Each round's speed, as a share of what products alone reached in the same round.
            pairs = zip(seconds, measured.rates, strict=True)
            line["share_of_float32_products"] = spread(flop / time / rates["float32"] for time, rates in pairs)
        yield line
    yield {"kind": "ratios", "workload": name, "times_as_fast_as": _ratios(setting, measured)}


def machine_line(setting: Setting, rates: Sequence[dict[str, float]]) -> Line:
    """Return the line on the machine, with the rates of all rounds."""
    return {
        "kind": "machine",
        **description(),
        "threads": setting.threads,
        "product_flop_per_second": _by_precision(rates),
    }


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return median, least and largest."""
    listed = list(values)
    return {"median": median(listed), "min": min(listed), "max": max(listed)}


def weights_size_mb(model: Path) -> float:
    """Return the size of a model's weights on disk."""
    return sum(file.stat().st_size for file in model.glob("*.safetensors")) / 1e6


def _by_precision(rates: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {precision: spread(of_round[precision] for of_round in rates) for precision in rates[0]}


def _ratios(setting: Setting, measured: Measured) -> dict[str, dict[str, dict[str, float]]]:
    """Return how many times as fast as each rival each of the engine's ways is, round by round."""
    rivals = [contestant.name for contestant in setting.contestants if contestant not in ENGINES]
    return {
        engine.name: {
            rival: spread(map(truediv, measured.seconds[rival], measured.seconds[engine.name])) for rival in rivals
        }
        for engine in setting.contestants
        if engine in ENGINES
    }
