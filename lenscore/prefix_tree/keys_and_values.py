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

from lenscore.models import products
from lenscore.models.products import product

Queries = Float[Tensor, "heads tokens width"]
Keys = Float[Tensor, "groups depths width"]
Values = Float[Tensor, "groups depths value_width"]
Drawn = Float[Tensor, "heads tokens value_width"]

# Scores are made for so many queries (of a group's heads together) at once: enough for the
# matrix products to run at full speed, few enough for the scores to stay in the processor's caches.
_ROWS = 384

# The fused kernel takes so many tokens at once: it wastes half of its work on their own keys, whose
# share must be small beside that of the keys before them.
_QUERIES = 256

# What scaled_dot_product_attention runs on a CPU; called by itself it gives the log-sum-exp too.
_FUSED = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


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
    """Keys and values of the tokens that were seen last at each depth; on a CPU in float32.

    Three kernels attend to them. Which one it is depends on the processor and the shapes alone:

    - on a GPU, ``scaled_dot_product_attention``;
    - on a CPU whose float32 products are MKL's, PyTorch's fused kernel, which uses MKL: once for the keys
      that all queries of a run see, once for the run's own, merged by their log-sum-exp;
    - in all other cases (oneDNN's products, windows, soft caps, scattered queries), explicit products.
    """

    def __init__(self, key: Keys, value: Values, n_depths: int):
        self.on_cpu = key.device.type == "cpu"
        dtype = torch.float32 if self.on_cpu else key.dtype
        self._fused_on_cpu = torch.float32 not in products.BY_ONEDNN and key.shape[2] == value.shape[2]
        self._keys = key.new_empty((key.shape[0], n_depths, key.shape[2]), dtype=dtype)
        if self.on_cpu and not self._fused_on_cpu:
            # By width, as oneDNN's products with them want it.
            self._values = value.new_empty((value.shape[0], value.shape[2], n_depths), dtype=dtype).mT
        else:
            self._values = value.new_empty((value.shape[0], n_depths, value.shape[2]), dtype=dtype)

    def serves(self, key: Keys, value: Values) -> bool:
        """Say whether keys and values of so many groups and of this width can be kept here."""
        pairs = ((key, self._keys), (value, self._values))
        return all(one.shape[0] == kept.shape[0] and one.shape[2] == kept.shape[2] for one, kept in pairs)

    def put(self, depth: int, key: Keys, value: Values) -> None:
        """Keep a run of tokens' keys and values, the first of them at ``depth``."""
        self._keys[:, depth : depth + key.shape[1]] = key
        self._values[:, depth : depth + value.shape[1]] = value

    def attend(self, query: Queries, depths: Sequence[int], scores: Scores, drawn: Drawn) -> None:
        """Write to ``drawn`` what queries at ``depths`` (rising) draw from the values at depths 0 to their own."""
        end = depths[-1] + 1
        is_run = end - depths[0] == len(depths)
        sees_all = is_run and (scores.window is None or end <= scores.window)
        if not self.on_cpu and scores.soft_cap is None:
            drawn.copy_(self._on_gpu(query, depths, scores, sees_all))
        elif self._fused_on_cpu and sees_all and scores.soft_cap is None:
            self._by_fused_kernel(query.to(self._keys.dtype), depths[0], scores.scale, drawn)
        else:
            self._by_products(query.to(self._keys.dtype), depths, scores, drawn)

    def _on_gpu(self, query: Queries, depths: Sequence[int], scores: Scores, sees_all: bool) -> Tensor:
        end = depths[-1] + 1
        mask: Tensor = (
            causal_lower_right(len(depths), end) if sees_all else ~unseen(depths, 0, end, scores.window, query.device)
        )
        by_group = query.unflatten(0, (len(self._keys), -1))
        # A group's heads read the same keys, which are not copied; kernels that group by themselves know no float32.
        shape = (-1, by_group.shape[1], -1, -1)
        keys, values = (part[:, None, :end].expand(shape) for part in (self._keys, self._values))
        return scaled_dot_product_attention(by_group, keys, values, attn_mask=mask, scale=scores.scale).flatten(0, 1)

    def _by_fused_kernel(self, query: Queries, start: int, scale: float, drawn: Drawn) -> None:
        """Attend from a run of tokens, the first of them at depth ``start``, some hundred at a time."""
        n_groups = len(self._keys)
        by_group = query.unflatten(0, (n_groups, -1))
        drawn = drawn.unflatten(0, (n_groups, -1))
        for some, written in zip(by_group.split(_QUERIES, 2), drawn.split(_QUERIES, 2), strict=True):
            own, log_sum = self._fused(some, start, start + some.shape[2], scale, is_causal=True)
            if start > 0:
                before, log_sum_before = self._fused(some, 0, start, scale, is_causal=False)
                torch.lerp(before, own, torch.sigmoid(log_sum - log_sum_before)[..., None], out=own)
            written.copy_(own)
            start += some.shape[2]

    def _fused(
        self, query: Float[Tensor, "groups heads tokens width"], first: int, end: int, scale: float, is_causal: bool
    ) -> tuple[Tensor, Tensor]:
        """Return what queries draw from the values at depths [first, end), and their scores' log-sum-exp."""
        shape = (-1, query.shape[1], -1, -1)  # a group's heads read the same keys: nothing is copied
        keys, values = (part[:, None, first:end].expand(shape) for part in (self._keys, self._values))
        drawn, log_sum = _FUSED(query, keys, values, is_causal=is_causal, scale=scale)
        return drawn, log_sum

    def _by_products(self, query: Queries, depths: Sequence[int], scores: Scores, drawn: Drawn) -> None:
        """Attend a block of queries at a time, the heads of a group as more queries of one head."""
        n_groups, _, width = self._keys.shape
        query = query.unflatten(0, (n_groups, -1)) * scores.scale
        drawn = drawn.unflatten(0, (n_groups, -1))
        heads = query.shape[1]
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
                found = product(_softmax_(weights), self._values[group, first:end].mT)
                drawn[group, :, start : start + step] = found.view(heads, len(of_block), -1)


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
