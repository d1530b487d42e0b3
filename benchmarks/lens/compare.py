"""Whether two contestants computed the same lens."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from benchmarks.lens.exchange import Answers, Results

# Rounded products may turn close races, not most of them.
_LEAST_ROUNDED_AGREEMENT = 0.9


class DisagreementError(Exception):
    """A contestant computed something else: its speed means nothing."""


@dataclass(frozen=True)
class Agreement:
    """How a contestant's results compare with the reference's, over all layers and answer tokens.

    Attributes:
        rows: how many there are, one a layer and answer token.
        top1_agreement: the share of rows with the same top-1.
        ties: rows whose top-1 differs, as the reference's two best are too close to tell apart.
        largest_difference: of a target's log-probability.
        mean_difference: of the targets' log-probabilities, without their signs.
    """

    rows: int
    top1_agreement: float
    ties: int
    largest_difference: float
    mean_difference: float


def compare(name: str, found: Results, reference: Results, tolerance: float | None) -> Agreement:
    """Compare a contestant's results with the reference's.

    Args:
        name: the contestant.
        found: its results.
        reference: the reference's.
        tolerance: the most that a target's log-probability may differ. A top-1 may be the reference's runner-up
            where it trails by less than that. None, for rounded products, allows any difference but too many of
            the top-1.

    Raises:
        DisagreementError: at the first row that differs too much.
    """
    same = ties = 0
    differences: list[float] = []
    for place, own, expected in _contexts(name, found, reference):
        equal = own.top1_id == expected.top1_id
        apart = np.abs(own.target_logprob - expected.target_logprob)
        tied = np.zeros_like(equal)
        if tolerance is not None:
            tied = ~equal & (own.top1_id == expected.runner_up_id) & (expected.lead < tolerance)
            _fail_at_first(~(equal | tied), f"{name}, {place}", "top-1", own.top1_id, expected.top1_id)
            # Negated, so that a NaN fails too.
            beyond = ~(apart <= tolerance)
            _fail_at_first(beyond, f"{name}, {place}", "log-probability", own.target_logprob, expected.target_logprob)
        same += int(equal.sum())
        ties += int(tied.sum())
        differences += apart.ravel().tolist()
    agreement = Agreement(
        rows=len(differences),
        top1_agreement=same / len(differences),
        ties=ties,
        largest_difference=max(differences),
        mean_difference=float(np.mean(differences)),
    )
    if tolerance is None and agreement.top1_agreement < _LEAST_ROUNDED_AGREEMENT:
        raise DisagreementError(f"{name}: only {agreement.top1_agreement:.1%} of its top-1 are the reference's")
    return agreement


def _contexts(name: str, found: Results, reference: Results) -> Iterator[tuple[str, Answers, Answers]]:
    """Yield the contexts' names and both sides' answers; all must be there, and of the same shape."""
    for question, (own_contexts, contexts) in enumerate(zip_longest(found, reference, fillvalue=())):
        for context, (own, expected) in enumerate(zip_longest(own_contexts, contexts)):
            place = f"question {question}, context {context}"
            if own is None or expected is None:
                raise DisagreementError(f"{name}, {place}: missing on one side")
            if not own.top1_id.shape == own.target_logprob.shape == expected.top1_id.shape:
                raise DisagreementError(
                    f"{name}, {place}: layers × answer tokens are {own.top1_id.shape}, not {expected.top1_id.shape}"
                )
            yield place, own, expected


def _fail_at_first(wrong: np.ndarray, where: str, what: str, own: np.ndarray, expected: np.ndarray) -> None:
    for layer, token in np.argwhere(wrong):
        raise DisagreementError(
            f"{where}, layer {layer}, answer token {token}: {what} {own[layer, token]}, "
            f"but the reference has {expected[layer, token]}"
        )
