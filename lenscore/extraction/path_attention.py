"""Causal attention of tokens to the path that leads to them: the keys and values of their whole context.

A query at depth d sees the keys at depths 0 to d, or the last few of them in a sliding window. Keys and
values stand by depth, so no list of who sees whom is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention

from lenscore.extraction.products import product

Queries = Float[Tensor, "heads tokens width"]
Keys = Float[Tensor, "groups depths width"]
Values = Float[Tensor, "groups depths value_width"]

# Scores are made for so many queries (of a group's heads together) at once: enough for the
# matrix products to run at full speed, few enough for the scores to stay in the processor's caches.
_ROWS = 384


@dataclass(frozen=True)
class Scores:
    """How a query's scores are made of its products with the keys.

    Attributes:
        scale: multiplies the products.
        window: how many of the last keys a query sees, its own among them; None for all.
        soft_cap: c in c·tanh(score / c), done to the scaled scores; None where there is none.
    """

    scale: float
    window: int | None = None
    soft_cap: float | None = None


class KeptByDepth:
    """Keys and values of the tokens that were seen last at each depth.

    On a CPU they are kept in float32. In memory, values lie by width, as products with them want it.
    """

    def __init__(self, key: Keys, value: Values, n_depths: int):
        self.on_cpu = key.device.type == "cpu"
        dtype = torch.float32 if self.on_cpu else key.dtype
        self._keys = key.new_empty((key.shape[0], n_depths, key.shape[2]), dtype=dtype)
        self._values = value.new_empty((value.shape[0], value.shape[2], n_depths), dtype=dtype).mT

    def serves(self, key: Keys, value: Values) -> bool:
        """Say whether keys and values of this shape can be kept here."""
        return [(*part.shape[::2],) for part in (key, value)] == [
            (*part.shape[::2],) for part in (self._keys, self._values)
        ]

    def put(self, depth: int, key: Keys, value: Values) -> None:
        """Keep a run of tokens' keys and values, the first of them at ``depth``."""
        self._keys[:, depth : depth + key.shape[1]] = key
        self._values[:, depth : depth + value.shape[1]] = value

    def attend(
        self, query: Queries, depths: Sequence[int], scores: Scores
    ) -> Float[Tensor, "heads tokens value_width"]:
        """Return what queries at ``depths`` (rising) draw from the values at depths 0 to their own."""
        if self.on_cpu or scores.soft_cap is not None:
            return self._by_products(query.to(self._keys.dtype), depths, scores).to(query.dtype)
        return self._by_fused_kernel(query, depths, scores)

    def _by_fused_kernel(self, query: Queries, depths: Sequence[int], scores: Scores) -> Tensor:
        end = depths[-1] + 1
        follow = end - depths[0] == len(depths)
        if follow and (scores.window is None or end <= scores.window):
            mask: Tensor = causal_lower_right(len(depths), end)
        else:
            mask = ~unseen(depths, 0, end, scores.window, query.device)
        keys, values = self._keys[None, :, :end], self._values[None, :, :end]
        grouped = query.shape[0] != keys.shape[1]
        return scaled_dot_product_attention(
            query[None], keys, values, attn_mask=mask, scale=scores.scale, enable_gqa=grouped
        )[0]

    def _by_products(self, query: Queries, depths: Sequence[int], scores: Scores) -> Tensor:
        """Attend a block of queries at a time, the heads of a group as more queries of one head.

        Without a fused kernel: on a CPU those do not use its fastest matrix products, and none caps scores.
        """
        n_groups, _, width = self._keys.shape
        heads = query.shape[0] // n_groups
        query = query.reshape(n_groups, heads, *query.shape[1:]) * scores.scale
        drawn = query.new_empty((n_groups, heads, len(depths), self._values.shape[2]))
        step = max(_ROWS // heads, 16)
        for start in range(0, len(depths), step):
            of_block = depths[start : start + step]
            first = 0 if scores.window is None else max(0, of_block[0] - scores.window + 1)
            end = of_block[-1] + 1
            # Keys that all of the block's queries see need no mask.
            masked_from = of_block[0] + 1 if scores.window is None or end <= scores.window else first
            hidden = unseen(of_block, masked_from, end, scores.window, query.device)
            for group in range(n_groups):
                rows = query[group, :, start : start + step].reshape(-1, width)
                weights = product(rows, self._keys[group, first:end])
                if scores.soft_cap is not None:
                    weights = weights.div_(scores.soft_cap).tanh_().mul_(scores.soft_cap)
                of_heads = weights.view(heads, len(of_block), end - first)
                of_heads[..., masked_from - first :].masked_fill_(hidden, -torch.inf)
                weights = _softmax_(weights)
                found = product(weights, self._values[group, first:end].mT)
                drawn[group, :, start : start + step] = found.view(heads, len(of_block), -1)
        return drawn.flatten(0, 1)


def _softmax_(weights: Tensor) -> Tensor:
    """Do softmax in place: another buffer of this size would push the first one out of the caches."""
    if weights.dtype == torch.float32:
        return torch.softmax(weights, -1, out=weights)
    return torch.softmax(weights, -1, dtype=torch.float32).to(weights.dtype)


def unseen(
    depths: Sequence[int], first: int, end: int, window: int | None, device: torch.device
) -> Bool[Tensor, "queries keys"]:
    """Return which of the keys at depths [first, end) each query must not see."""
    of_queries = torch.tensor(depths, device=device)[:, None]
    of_keys = torch.arange(first, end, device=device)
    hidden = of_keys > of_queries
    return hidden if window is None else hidden | (of_keys <= of_queries - window)
