"""Run times of a study's jobs by rule, from Snakemake's benchmark files and the jobs' own records of time spent."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from lenscore.errors import DamagedFileError
from lenscore.hashes import advice


class RuleTimes(NamedTuple):
    """What the jobs of one rule took, added up.

    Attributes:
        rule: its name.
        jobs: how many were measured.
        seconds: wall time of their processes.
        model: seconds of these in the model's forward passes.
        lens: seconds of these in computing a lens's logits and their statistics.
        most_mb: peak memory of the largest job, in MB.
    """

    rule: str
    jobs: int
    seconds: float
    model: float
    lens: float
    most_mb: float


def run_times(benchmarks: Mapping[str, Iterable[Path]]) -> list[RuleTimes]:
    """Return what each rule took; rules without a measured job are left out.

    Args:
        benchmarks: by rule, the benchmark files of its jobs; files that do not exist are left out. A job that runs a
            model also writes a file with the suffix .json, with the seconds it spent in model and lens.
    """
    times = []
    for rule, files in benchmarks.items():
        existing = [file for file in files if file.is_file()]
        rows = [row for file in existing for row in _rows(file)]
        spent = [_spent(file) for file in existing]
        if rows:
            times.append(
                RuleTimes(
                    rule, len(existing), sum(float(row["s"]) for row in rows), sum(of["model"] for of in spent),
                    sum(of["lens"] for of in spent), max((_number(row["max_rss"]) for row in rows), default=0.0),
                )
            )  # fmt: skip
    return times


def in_words(times: Iterable[RuleTimes]) -> str:
    """Return the sentence on what the jobs spent their time on; empty if nothing was measured."""
    rules = list(times)
    total = sum(rule.seconds for rule in rules)
    if not total:
        return ""
    model, lens = (sum(rule.model for rule in rules) / total, sum(rule.lens for rule in rules) / total)
    return (
        f"Of {_duration(total)} that all jobs took together, {model:.0%} went into the model's passes, {lens:.0%} into "
        f"the lens, and {1 - model - lens:.0%} into all else: starting processes, loading, files, database, charts."
    )


def table_in_text(times: Iterable[RuleTimes]) -> str:
    """Return the table as text for a log: one line per rule."""
    lines = [f"{'rule':<16} {'jobs':>5} {'seconds':>9} {'model':>7} {'lens':>6} {'else':>6} {'MB':>6}"]
    for row in times:
        parts = (row.model, row.lens, row.seconds - row.model - row.lens)
        model, lens, rest = (f"{part / row.seconds:.0%}" if row.seconds else "" for part in parts)
        lines.append(
            f"{row.rule:<16} {row.jobs:>5} {row.seconds:>9.1f} {model:>7} {lens:>6} {rest:>6} {row.most_mb:>6.0f}"
        )
    return "\n".join(lines)


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def _spent(file: Path) -> dict[str, float]:
    record = file.with_suffix(".json")
    spent = {"model": 0.0, "lens": 0.0}
    if not record.is_file():
        return spent
    try:
        spent |= json.loads(record.read_text(encoding="utf-8"))
    except (ValueError, TypeError) as error:
        raise DamagedFileError(f"{record}: cannot be read: {error}; {advice([str(record)])}") from None
    return spent


def _number(text: str) -> float:
    """Return a number of a benchmark file; 0 where the job was too short for Snakemake to measure it."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left:02d} s" if minutes else f"{left} s"
