"""Statistics of a lens's distributions over the vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lenscore.jobs.spent import spent_on
from lenscore.lenses.lens import Lens

# Rows (layers × positions) that the head projects at once: enough for its weights to be read seldom, few
# enough for rows × vocabulary to stay in a processor's caches, or to be small on a GPU.
_ROWS_AT_ONCE = {"cpu": 64, "cuda": 512}


@dataclass(frozen=True)
class LensStatistics:
    """Statistics of the lens's distribution p at each layer and position; natural logarithms throughout.

    Attributes:
        top1_id: the most probable token (of equally probable ones the one with the lowest id).
        top1_logprob: its log-probability.
        target_logprob: the target's log-probability.
        target_rank: 1 + the number of tokens before the target in order of falling probability,
            ties in order of id: 1 exactly where the target is the top-1.
        entropy: of p, in nats.
        kl_to_final: KL(p_final ‖ p), in nats; p_final is the model's own distribution.
        topk_ids: the k most probable tokens, best first.
        topk_logprobs: their log-probabilities.
    """

    top1_id: Int[Tensor, "layers positions"]
    top1_logprob: Float[Tensor, "layers positions"]
    target_logprob: Float[Tensor, "layers positions"]
    target_rank: Int[Tensor, "layers positions"]
    entropy: Float[Tensor, "layers positions"]
    kl_to_final: Float[Tensor, "layers positions"]
    topk_ids: Int[Tensor, "layers positions k"]
    topk_logprobs: Float[Tensor, "layers positions k"]

    def split(self, sizes: Sequence[int]) -> list["LensStatistics"]:
        """Return the statistics of neighbouring groups of positions."""
        parts = {field.name: getattr(self, field.name).split(list(sizes), dim=1) for field in fields(self)}
        return [LensStatistics(**{name: of[index] for name, of in parts.items()}) for index in range(len(sizes))]


@torch.inference_mode()
def lens_statistics(
    lens: Lens, states: Float[Tensor, "layers positions width"], targets: Int[Tensor, " positions"], top_k: int
) -> LensStatistics:
    """Return the statistics of a lens at every layer.

    Only some dozens of rows are projected onto the vocabulary at once.

    Args:
        lens: maps states to logits; at the last layer it must be the model itself.
        states: layers 0 to L.
        targets: the token that each position is to predict.
        top_k: how many of the most probable tokens to keep; the whole vocabulary if it has fewer.
    """
    with spent_on("lens", states.device):
        return _lens_statistics(lens, states, targets, top_k)


def _lens_statistics(
    lens: Lens, states: Float[Tensor, "layers positions width"], targets: Int[Tensor, " positions"], top_k: int
) -> LensStatistics:
    n_layers = len(states)
    by_position = torch.stack([lens.translate(states[layer], layer) for layer in range(n_layers)], dim=1)
    step = max(1, _ROWS_AT_ONCE[states.device.type] // n_layers)
    fields_of_position = [
        _of_position(logits, target, top_k)
        for part, part_targets in zip(by_position.split(step), targets.split(step), strict=True)
        for logits, target in zip(lens.unembedding(part), part_targets.tolist(), strict=True)
    ]
    return LensStatistics(
        **{name: torch.stack([of[name] for of in fields_of_position], dim=1).cpu() for name in fields_of_position[0]}
    )


def _of_position(logits: Float[Tensor, "layers vocabulary"], target: int, top_k: int) -> dict[str, Tensor]:
    """Return the fields of :class:`LensStatistics` at one position, from its logits, which are overwritten.

    Every pass over the logits costs time, so log-probabilities are computed only where they are kept.
    """
    top = torch.topk(logits, min(max(top_k, 2), logits.shape[1]), dim=1)
    top1 = _first_of_equals(logits, top.values, top.indices)
    logits.sub_(top.values[:, :1])  # the largest becomes 0, so that no sum below is a difference of large numbers
    p = torch.softmax(logits, dim=1)
    total = p.sum(1)  # 1 but for the rounding of softmax's own sum, which a large divergence would magnify
    log_sum = (total / p.gather(1, top1[:, None])[:, 0]).log()
    # Not a dot product: ``sum`` adds in pairs, and so keeps the small terms of a long tail.
    if (mean := (p * logits).sum(1)).isnan().any():  # a logit of −∞ has probability 0: 0 · −∞ counts as 0
        logits.clamp_(min=torch.finfo(logits.dtype).min)
        mean = (p * logits).sum(1)
    entropy = log_sum - mean / total
    at_target = logits[:, target].clone()
    return {
        "top1_id": top1,
        "top1_logprob": -log_sum,
        "target_logprob": at_target - log_sum,
        "entropy": entropy,
        # Σ p_final · (log p_final − log p)
        "kl_to_final": (log_sum - (p[-1] * logits).sum(1) / total[-1] - entropy[-1]).clamp(min=0.0),
        "topk_ids": top.indices[:, :top_k],
        "topk_logprobs": (top.values - top.values[:, :1] - log_sum[:, None])[:, :top_k],
        "target_rank": 1 + _count_before_(logits, target, at_target),
    }


def _first_of_equals(
    logits: Float[Tensor, "layers vocabulary"], best: Float[Tensor, "layers k"], ids: Int[Tensor, "layers k"]
) -> Int[Tensor, " layers"]:
    """Return the lowest id of the largest logit: ``topk`` promises no order among equals, ``argmax`` the first."""
    first = ids[:, 0].clone()
    tied = best[:, 0] == best[:, 1]
    if tied.any():
        first[tied] = logits[tied].argmax(1)
    return first


def _count_before_(
    logits: Float[Tensor, "layers vocabulary"], target: int, at_target: Float[Tensor, " layers"]
) -> Int[Tensor, " layers"]:
    """Count the tokens that come before the target, turning the logits into ones and zeros on the way.

    In place and in float32, which counts exactly up to 2²⁴: sums of booleans are several times slower.
    """
    logits[:, :target].ge_(at_target[:, None])
    logits[:, target + 1 :].gt_(at_target[:, None])
    logits[:, target] = 0.0
    return logits.sum(1).long()
