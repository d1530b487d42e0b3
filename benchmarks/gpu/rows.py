"""What a lens says at every layer of every answer token, and whether two of them say the same."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lenscore.extraction.statistics import LensStatistics

TOP_K = 5


@dataclass(frozen=True)
class Rows:
    """What a lens says; a row is a layer (or an ablated variant) of an answer token. On the CPU.

    Attributes:
        top_ids: the most probable tokens, best first.
        top_logprobs: their log-probabilities.
        target_logprob: the answer token's.
    """

    top_ids: Int[Tensor, "layers tokens k"]
    top_logprobs: Float[Tensor, "layers tokens k"]
    target_logprob: Float[Tensor, "layers tokens"]

    @classmethod
    def of_logits(cls, logits: Float[Tensor, "layers tokens vocabulary"], targets: Sequence[int]) -> "Rows":
        """Make them of logits, by the definitions alone."""
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        top = logprobs.topk(min(TOP_K, logprobs.shape[-1]), dim=-1)
        index = torch.tensor(targets, device=logits.device).expand(len(logprobs), -1)[..., None]
        return cls(top.indices.cpu(), top.values.cpu(), logprobs.gather(-1, index)[..., 0].cpu())

    @classmethod
    def of_statistics(cls, statistics: Sequence[LensStatistics]) -> "Rows":
        """Take them from what the project's own lens says, context by context."""
        return cls.joined(
            [
                cls(torch.cat([of.top1_id[..., None], of.topk_ids[..., 1:]], -1), of.topk_logprobs, of.target_logprob)
                for of in statistics
            ]
        )

    @classmethod
    def joined(cls, parts: Sequence["Rows"]) -> "Rows":
        """Return the rows of several contexts, one after the other."""
        names = ("top_ids", "top_logprobs", "target_logprob")
        return cls(**{name: torch.cat([getattr(part, name) for part in parts], dim=1) for name in names})


@dataclass(frozen=True)
class Tolerance:
    """How far two lenses that compute the same may differ, in nats.

    Attributes:
        largest: of a target's log-probability in any row; None for no bound.
        mean: of the targets' log-probabilities over all rows, without their signs.
        lead: a top-1 may be another one of the reference's best that trails its first by less than this: a tie.
        least_same: share of the rows whose top-1 is the same, or a tie.
    """

    largest: float | None
    mean: float
    lead: float
    least_same: float


EXACT = Tolerance(largest=1e-3, mean=1e-3, lead=1e-3, least_same=1.0)
# Eight bits of mantissa: a logit of 5 is rounded by up to 0.016, and the states before it are rounded too.
BFLOAT16 = Tolerance(largest=None, mean=0.05, lead=0.1, least_same=0.97)
# Of ``matmul: bf16`` against float32, of a random model, in which every rounding counts.
ROUNDED = Tolerance(largest=None, mean=0.2, lead=0.2, least_same=0.9)


@dataclass(frozen=True)
class Agreement:
    """How rows compare with a reference's.

    Attributes:
        rows: how many there are.
        same: whose top-1 is the same.
        ties: whose top-1 differs, as the reference's best are too close to tell apart.
        largest: difference of a target's log-probability, in nats; NaN if any is.
        mean: of these differences, without their signs.
    """

    rows: int
    same: int
    ties: int
    largest: float
    mean: float

    def within(self, tolerance: Tolerance) -> bool:
        """Say whether rounding explains the differences. A NaN is a difference."""
        return (
            (tolerance.largest is None or self.largest <= tolerance.largest)
            and self.mean <= tolerance.mean
            and self.same + self.ties >= tolerance.least_same * self.rows
        )

    def as_line(self) -> dict[str, Any]:
        """Return the columns of a result."""
        return {
            "rows": self.rows,
            "same_top1": self.same,
            "ties": self.ties,
            "other_top1": self.rows - self.same - self.ties,
            "largest_difference": _number(self.largest),
            "mean_difference": _number(self.mean),
        }


def _number(value: float) -> float | None:
    """Return a value as JSON can have it: NaN and infinity are none of its numbers."""
    return value if math.isfinite(value) else None


def agreement(found: Rows, reference: Rows, lead: float) -> Agreement:
    """Compare rows with a reference's.

    Args:
        found: the rows.
        reference: what they should be, of the same layers and answer tokens.
        lead: of ties (:class:`Tolerance`).

    Raises:
        ValueError: there are other layers or tokens.
    """
    if found.target_logprob.shape != reference.target_logprob.shape:
        shapes = tuple(found.target_logprob.shape), tuple(reference.target_logprob.shape)
        raise ValueError(f"layers × answer tokens are {shapes[0]}, but the reference has {shapes[1]}")
    top1 = found.top_ids[..., :1]
    same = top1[..., 0] == reference.top_ids[..., 0]
    close = reference.top_logprobs[..., :1] - reference.top_logprobs < lead
    ties = ~same & ((reference.top_ids == top1) & close).any(-1)
    apart = (found.target_logprob - reference.target_logprob).abs()
    return Agreement(same.numel(), int(same.sum()), int(ties.sum()), apart.max().item(), apart.mean().item())
