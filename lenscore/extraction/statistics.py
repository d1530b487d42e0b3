"""Statistics of a lens's distributions over the vocabulary."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lenscore.jobs.spent import spent_on
from lenscore.lenses.lens import Lens
from lenscore.models.finite import first_not_finite

# Rows (layers × positions) that the head projects at once: enough for its weights to be read seldom, few
# enough for rows × vocabulary to stay in a processor's caches, or to be small on a GPU.
_ROWS_AT_ONCE = {"cpu": 64, "cuda": 512}

# Neighbouring tokens of which a CPU first takes the largest logit alone, on its way to the top k.
_BLOCK = 128

# In place of a target: the model's own token at that position, its top-1 at the last layer.
OWN_TOKEN = -1


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
        own_token_logprob: the log-probability of the model's own token, the top-1 of the last layer.
        kl_to_final: KL(p_final ‖ p), in nats; p_final is the model's own distribution.
        jsd_to_final: Jensen–Shannon divergence of p and p_final, in nats: from 0 to ln 2.
        topk_ids: the k most probable tokens, best first.
        topk_logprobs: their log-probabilities.
    """

    top1_id: Int[Tensor, "layers positions"]
    top1_logprob: Float[Tensor, "layers positions"]
    target_logprob: Float[Tensor, "layers positions"]
    target_rank: Int[Tensor, "layers positions"]
    entropy: Float[Tensor, "layers positions"]
    own_token_logprob: Float[Tensor, "layers positions"]
    kl_to_final: Float[Tensor, "layers positions"]
    jsd_to_final: Float[Tensor, "layers positions"]
    topk_ids: Int[Tensor, "layers positions k"]
    topk_logprobs: Float[Tensor, "layers positions k"]

    def first_not_finite(self) -> tuple[int, int] | None:
        """Return layer and position, of the lowest layer, where the distribution is none: a logit was NaN or +∞.

        A target of which the logit is −∞ is impossible, and its log-probability of −∞ right.
        """
        # The divergences last: where the model's own distribution is none, every layer's is NaN.
        for values in (self.top1_logprob, self.entropy, self.kl_to_final):
            if (found := first_not_finite(values)) is not None:
                return found[0], found[1]
        return None

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
        targets: the token that each position is to predict; ``OWN_TOKEN`` for the one that the model itself predicts.
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
    parts = [
        _of_positions(lens.unembedding(part), part_targets, top_k)
        for part, part_targets in zip(by_position.split(step), targets.to(states.device).split(step), strict=True)
    ]
    return LensStatistics(
        **{name: torch.cat([part[name] for part in parts]).transpose(0, 1).cpu() for name in parts[0]}
    )


def _of_positions(
    logits: Float[Tensor, "positions layers vocabulary"], targets: Int[Tensor, " positions"], top_k: int
) -> dict[str, Tensor]:
    """Return the fields of :class:`LensStatistics`, positions first, from logits, which are overwritten.

    Every pass over the logits costs time, so log-probabilities are computed only where they are kept. On a GPU nothing
    here waits for a result: what to do next never depends on one.
    """
    top_values, top_ids = _largest(logits, min(max(top_k, 2), logits.shape[-1]))
    top1 = _first_of_equals(logits, top_values, top_ids)
    targets = torch.where(targets == OWN_TOKEN, top1[:, -1], targets)
    logits.sub_(top_values[..., :1])  # the largest becomes 0, so that no sum below is a difference of large numbers
    weights = _exp(logits)  # each distribution, but for its sum
    total = weights.sum(-1)
    log_sum = total.log()
    entropy = log_sum - _sum_of_products(weights, logits) / total
    cross_entropy = log_sum - (weights[:, -1:] * logits).sum(-1) / total[:, -1:]
    jsd = _jensen_shannon_(weights, total, entropy)
    at_target = logits.gather(-1, targets[:, None, None].expand(-1, logits.shape[1], 1))[..., 0]
    at_own_token = logits.gather(-1, top1[:, -1:, None].expand(-1, logits.shape[1], 1))[..., 0]
    return {
        "top1_id": top1,
        "top1_logprob": -log_sum,
        "target_logprob": at_target - log_sum,
        "entropy": entropy,
        "own_token_logprob": at_own_token - log_sum,
        "kl_to_final": (cross_entropy - entropy[:, -1:]).clamp(min=0.0),
        "jsd_to_final": jsd,
        "topk_ids": top_ids[..., :top_k],
        "topk_logprobs": (top_values - top_values[..., :1] - log_sum[..., None])[..., :top_k],
        "target_rank": 1 + _count_before_(logits, targets, at_target),
    }


def _largest(
    logits: Float[Tensor, "positions layers vocabulary"], k: int
) -> tuple[Float[Tensor, "positions layers k"], Int[Tensor, "positions layers k"]]:
    """Return the k largest logits, falling, and their ids; of equal ones any, in any order.

    They lie in the k blocks of neighbouring tokens that have the largest maxima, or in the rest that fills no block.
    On a CPU this takes a fifth of the time of the top k of a whole vocabulary (benchmarks/README.md).
    """
    n_blocks = logits.shape[-1] // _BLOCK
    if logits.is_cuda or n_blocks <= k:
        whole = torch.topk(logits, k, dim=-1)
        return whole.values, whole.indices
    maxima = logits[..., : n_blocks * _BLOCK].unflatten(-1, (n_blocks, _BLOCK)).amax(-1)
    blocks = torch.topk(maxima, k, dim=-1).indices
    in_blocks = (blocks[..., None] * _BLOCK + torch.arange(_BLOCK)).flatten(-2)
    rest = torch.arange(n_blocks * _BLOCK, logits.shape[-1]).expand(*blocks.shape[:-1], -1)
    ids = torch.cat([in_blocks, rest], dim=-1)
    found = torch.topk(logits.gather(-1, ids), k, dim=-1)
    return found.values, ids.gather(-1, found.indices)


def _first_of_equals(
    logits: Float[Tensor, "positions layers vocabulary"],
    best: Float[Tensor, "positions layers k"],
    ids: Int[Tensor, "positions layers k"],
) -> Int[Tensor, "positions layers"]:
    """Return the lowest id of the largest logit: ``topk`` promises no order among equals, ``argmax`` the first."""
    if logits.is_cuda:  # where another pass costs less than to wait and see whether it is needed
        return logits.argmax(-1)
    first = ids[..., 0].clone()
    tied = best[..., 0] == best[..., 1]
    if tied.any():
        first[tied] = logits[tied].argmax(-1)
    return first


def _sum_of_products(
    weights: Float[Tensor, "positions layers vocabulary"], logits: Float[Tensor, "positions layers vocabulary"]
) -> Float[Tensor, "positions layers"]:
    """Return Σ weight · logit, where 0 · −∞ counts as 0. Logits of −∞ become the smallest number there is.

    Not a dot product: ``sum`` adds in pairs, and so keeps the small terms of a long tail.
    """
    if not logits.is_cuda and not (found := (weights * logits).sum(-1)).isnan().any():
        return found
    logits.clamp_(min=torch.finfo(logits.dtype).min)
    return (weights * logits).sum(-1)


def _jensen_shannon_(
    weights: Float[Tensor, "positions layers vocabulary"],
    total: Float[Tensor, "positions layers"],
    entropy: Float[Tensor, "positions layers"],
) -> Float[Tensor, "positions layers"]:
    """Return the Jensen–Shannon divergence of each layer's distribution from the last one's, in nats.

    It is H(m) − (H(p) + H(q)) / 2 with m = (p + q) / 2 (Lin 1991, eq. 4.1): one logarithm a token of the vocabulary. As
    a difference of entropies it is exact to their rounding, some 1e-6 nats.

    Args:
        weights: the distributions times ``total``. They are overwritten with p + q.
        total: the sum of each.
        entropy: of each.
    """
    # The smallest number there is keeps the logarithm finite where both probabilities are 0.
    final = weights[:, -1:] / total[:, -1:, None] + torch.finfo(weights.dtype).tiny
    twice = torch.addcmul(final, weights, total.reciprocal()[..., None], out=weights)
    of_mean = math.log(2) - _log(twice).mul_(twice).sum(-1) / 2
    return (of_mean - (entropy + entropy[:, -1:]) / 2).clamp(min=0.0, max=math.log(2))


def _exp(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return exponentials. By numpy on few threads of a CPU: it can be much faster there (benchmarks/README.md)."""
    return torch.from_numpy(np.exp(values.numpy())) if _suits_numpy(values) else values.exp()


def _log(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return natural logarithms; see ``_exp``."""
    return torch.from_numpy(np.log(values.numpy())) if _suits_numpy(values) else values.log()


def _suits_numpy(values: Float[Tensor, "*shape"]) -> bool:
    # numpy works on one thread, whatever a job was given.
    return not values.is_cuda and torch.get_num_threads() <= 2


def _count_before_(
    logits: Float[Tensor, "positions layers vocabulary"],
    targets: Int[Tensor, " positions"],
    at_target: Float[Tensor, "positions layers"],
) -> Int[Tensor, "positions layers"]:
    """Count the tokens that come before each target. On a CPU the logits become ones and zeros on the way.

    There in place and in float32, which counts exactly up to 2²⁴: sums of booleans are several times slower.
    """
    if logits.is_cuda:
        ids = torch.arange(logits.shape[-1], device=logits.device)
        first = (logits == at_target[..., None]) & (ids < targets[:, None, None])
        return ((logits > at_target[..., None]) | first).sum(-1)
    for of_position, target, at in zip(logits, targets.tolist(), at_target[..., None], strict=True):
        of_position[:, :target].ge_(at)
        of_position[:, target + 1 :].gt_(at)
        of_position[:, target] = 0.0
    return logits.sum(-1).long()
