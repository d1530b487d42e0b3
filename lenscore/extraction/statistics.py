"""What is kept of a layer's distribution over the vocabulary."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lenscore.lenses.decoder import Decoder
from lenscore.lenses.lens import Lens

# The head's weights are read once for so many rows: enough to be worth it, few enough for
# rows × vocabulary to stay small whatever the numbers of layers and positions.
_ROWS = 64
_POSITIONS = 16


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


@torch.inference_mode()
def lens_statistics(
    lens: Lens, states: Float[Tensor, "layers positions width"], targets: Int[Tensor, " positions"], top_k: int
) -> LensStatistics:
    """Return the statistics of a lens at every layer.

    No more than a few dozen rows are ever projected onto the vocabulary at once.

    Args:
        lens: what maps states to logits; at the last layer it must be the model itself.
        states: layers 0 to L.
        targets: the token that each position is to predict.
        top_k: how many of the most probable tokens to keep; the whole vocabulary if it has fewer.
    """
    n_layers, n_positions, _ = states.shape
    translated = torch.stack([lens.translate(states[layer], layer) for layer in range(n_layers)])
    blocks = []
    for start in range(0, n_positions, _POSITIONS):
        block = translated[:, start : start + _POSITIONS]
        blocks.append(_of_positions(lens.decoder, block, targets[start : start + _POSITIONS], top_k))
    return LensStatistics(**{name: torch.cat([block[name] for block in blocks], dim=1).cpu() for name in blocks[0]})


def _of_positions(
    decoder: Decoder,
    states: Float[Tensor, "layers positions width"],
    targets: Int[Tensor, " positions"],
    top_k: int,
) -> dict[str, Tensor]:
    """Return the statistics at a few positions, decoding a few layers at a time, by field."""
    n_positions = states.shape[1]
    step = max(1, _ROWS // n_positions)
    final = torch.log_softmax(decoder(states[-1]), dim=-1)
    weights = final.exp()
    parts = []
    for layers in states.split(step):
        logprobs = torch.log_softmax(decoder(layers), dim=-1)
        parts.append(_of_distributions(logprobs, final, weights, targets.expand(len(layers), -1), top_k))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _of_distributions(
    logprobs: Float[Tensor, "layers positions vocabulary"],
    final: Float[Tensor, "positions vocabulary"],
    weights: Float[Tensor, "positions vocabulary"],
    targets: Int[Tensor, "layers positions"],
    top_k: int,
) -> dict[str, Tensor]:
    """Return the fields of :class:`LensStatistics` for distributions that fit in memory at once."""
    at_target = logprobs.gather(2, targets[..., None])
    before = (logprobs > at_target).sum(2)
    ids = torch.arange(logprobs.shape[2], device=logprobs.device)
    ties_before = ((logprobs == at_target) & (ids < targets[..., None])).sum(2)
    top1 = logprobs.argmax(2)
    topk = torch.topk(logprobs, min(top_k, logprobs.shape[2]), dim=2)
    # 0 · log 0 counts as 0, its limit.
    kl = torch.where(weights > 0, weights * (final - logprobs), 0.0).sum(2)
    return {
        "top1_id": top1,
        "top1_logprob": logprobs.gather(2, top1[..., None])[..., 0],
        "target_logprob": at_target[..., 0],
        "target_rank": 1 + before + ties_before,
        "entropy": torch.special.entr(logprobs.exp()).sum(2),
        "kl_to_final": kl.clamp(min=0.0),
        "topk_ids": topk.indices,
        "topk_logprobs": topk.values,
    }
