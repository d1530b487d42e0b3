"""How long jobs take that run some at a time, where some wait for others."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TimedJob:
    """A job.

    Attributes:
        name: unique.
        seconds: that it takes.
        after: names of the jobs that it waits for.
    """

    name: str
    seconds: float
    after: tuple[str, ...] = ()


def seconds_until_done(jobs: Sequence[TimedJob], at_once: int) -> float:
    """Return when the last job ends, if whichever may start does so as soon as there is room, in the order given."""
    ends: dict[str, float] = {}
    waiting = list(jobs)
    running: list[tuple[float, str]] = []
    now = 0.0
    while waiting or running:
        for job in [job for job in waiting if _may_start(job, ends)][: at_once - len(running)]:
            waiting.remove(job)
            heapq.heappush(running, (now + job.seconds, job.name))
        now, name = heapq.heappop(running)
        ends[name] = now
    return now


def _may_start(job: TimedJob, ends: Mapping[str, float]) -> bool:
    return all(name in ends for name in job.after)
