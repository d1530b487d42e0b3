"""What a study took, rule by rule: from Snakemake's benchmark files, and from what jobs say of their own time."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple


class RuleTimes(NamedTuple):
    """What the jobs of one rule took together.

    Attributes:
        rule: its name.
        jobs: how many of them were measured.
        seconds: wall time from their processes' start to their end.
        model: of these, in the model's passes.
        lens: of these, in making and weighing a lens's logits.
        most_mb: the largest memory that one of them held.
    """

    rule: str
    jobs: int
    seconds: float
    model: float
    lens: float
    most_mb: float


def run_times(benchmarks: Mapping[str, Iterable[Path]]) -> list[RuleTimes]:
    """Return what each rule took.

    Args:
        benchmarks: by rule, the benchmark files of its jobs, those that there are; beside the file of a job that runs a
            model stands one with the suffix .json, in which it says what it spent its time on.
    """
    found = []
    for rule, files in benchmarks.items():
        there = [file for file in files if file.is_file()]
        rows = [row for file in there for row in _rows(file)]
        spent = [_spent(file) for file in there]
        if rows:
            found.append(
                RuleTimes(
                    rule, len(there), sum(float(row["s"]) for row in rows), sum(of["model"] for of in spent),
                    sum(of["lens"] for of in spent), max((_number(row["max_rss"]) for row in rows), default=0.0),
                )
            )  # fmt: skip
    return found


def in_words(times: Iterable[RuleTimes]) -> str:
    """Return the sentence on what the jobs' time went into; empty if nothing was measured."""
    listed = list(times)
    whole = sum(of.seconds for of in listed)
    if not whole:
        return ""
    model, lens = (sum(getattr(of, name) for of in listed) / whole for name in ("model", "lens"))
    return (
        f"Of {_duration(whole)} that all jobs took together, {model:.0%} went into the model's passes, {lens:.0%} into "
        f"the lens, and {1 - model - lens:.0%} into all else: starting processes, loading, files, database, charts."
    )


def table_in_text(times: Iterable[RuleTimes]) -> str:
    """Return the table for a log: a line a rule."""
    lines = [f"{'rule':<16} {'jobs':>5} {'seconds':>9} {'model':>7} {'lens':>6} {'else':>6} {'MB':>6}"]
    for of in times:
        parts = (of.model, of.lens, of.seconds - of.model - of.lens)
        model, lens, rest = (f"{part / of.seconds:.0%}" if of.seconds else "" for part in parts)
        lines.append(f"{of.rule:<16} {of.jobs:>5} {of.seconds:>9.1f} {model:>7} {lens:>6} {rest:>6} {of.most_mb:>6.0f}")
    return "\n".join(lines)


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def _spent(file: Path) -> dict[str, float]:
    said = file.with_suffix(".json")
    nothing = {"model": 0.0, "lens": 0.0}
    return nothing | json.loads(said.read_text(encoding="utf-8")) if said.is_file() else nothing


def _number(text: str) -> float:
    """Return a value of a benchmark file; what Snakemake had no time to measure is 0."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left:02d} s" if minutes else f"{left} s"
