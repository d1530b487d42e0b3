"""Causal attention of tokens in a tree: a key/value cache that is indexed by depth.

A query at depth d sees the keys at depths 0 to d, or the last few of them in a sliding window. Keys and
values are stored by depth, so no list of which query sees which key is needed.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention

from lenscore.models import products
from lenscore.models.products import product
from lenscore.prefix_tree.attention import ScoreParameters

Queries = Float[Tensor, "heads tokens width"]
Keys = Float[Tensor, "groups depths width"]
Values = Float[Tensor, "groups depths value_width"]
Outputs = Float[Tensor, "heads tokens value_width"]

# Rows of scores (queries × heads of a group) that are computed at once: enough for the
# matrix products to run at full speed, few enough for the scores to stay in the processor's caches.
_SCORE_ROWS = 384

# Queries that the fused kernel takes at once. It wastes half of its work on the queries' own keys, whose
# share must be small compared with that of the keys before them.
_FUSED_QUERIES = 256

# What scaled_dot_product_attention runs on a CPU. Called directly it returns the log-sum-exp too.
_FUSED_KERNEL = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


class KeyValueCache:
    """The keys and values of the last token seen at each depth; on a CPU in float32.

    Attention to them has three kernels. The processor and the shapes alone decide which one runs:

    - on a GPU, ``scaled_dot_product_attention``;
    - on a CPU whose float32 products are MKL's, PyTorch's fused kernel, which uses MKL: once for the keys
      that all queries of a span see, once for the span's own keys, merged by their log-sum-exp;
    - in all other cases (oneDNN's products, windows, soft caps, scattered queries), explicit products.
    """

    def __init__(self, key: Keys, value: Values, n_depths: int):
        self.on_cpu = key.device.type == "cpu"
        dtype = torch.float32 if self.on_cpu else key.dtype
        self._fused_on_cpu = torch.float32 not in products.ONEDNN_DTYPES and key.shape[2] == value.shape[2]
        self._keys = key.new_empty((key.shape[0], n_depths, key.shape[2]), dtype=dtype)
        if self.on_cpu and not self._fused_on_cpu:
            # Depths last in memory, as oneDNN's products need them.
            self._values = value.new_empty((value.shape[0], value.shape[2], n_depths), dtype=dtype).mT
        else:
            self._values = value.new_empty((value.shape[0], n_depths, value.shape[2]), dtype=dtype)

    def fits(self, key: Keys, value: Values) -> bool:
        """Say whether keys and values have as many groups and the same widths as those of the cache."""
        pairs = ((key, self._keys), (value, self._values))
        return all(one.shape[0] == cached.shape[0] and one.shape[2] == cached.shape[2] for one, cached in pairs)

    def write(self, depth: int, key: Keys, value: Values) -> None:
        """Store the keys and values of tokens that follow one another, the first of them at ``depth``."""
        self._keys[:, depth : depth + key.shape[1]] = key
        self._values[:, depth : depth + value.shape[1]] = value

    def attend(self, query: Queries, depths: Sequence[int], scores: ScoreParameters, output: Outputs) -> None:
        """Write attention's output to ``output``.

        Args:
            query: the queries.
            depths: of the queries, rising. Each sees the cache from depth 0 to its own.
            scores: how scores are computed.
            output: overwritten.
        """
        end = depths[-1] + 1
        is_span = end - depths[0] == len(depths)
        sees_all = is_span and (scores.window is None or end <= scores.window)
        if not self.on_cpu and scores.soft_cap is None:
            output.copy_(self._on_gpu(query, depths, scores, sees_all))
        elif self._fused_on_cpu and sees_all and scores.soft_cap is None:
            self._by_fused_kernel(query.to(self._keys.dtype), depths[0], scores.scale, output)
        else:
            self._by_products(query.to(self._keys.dtype), depths, scores, output)

    def _on_gpu(self, query: Queries, depths: Sequence[int], scores: ScoreParameters, sees_all: bool) -> Tensor:
        end = depths[-1] + 1
        mask: Tensor = (
            causal_lower_right(len(depths), end)
            if sees_all
            else ~hidden_keys(depths, 0, end, scores.window, query.device)
        )
        by_group = query.unflatten(0, (len(self._keys), -1))
        # The heads of a group read the same keys, which are not copied. Kernels that group by themselves lack float32.
        shape = (-1, by_group.shape[1], -1, -1)
        keys, values = (part[:, None, :end].expand(shape) for part in (self._keys, self._values))
        return scaled_dot_product_attention(by_group, keys, values, attn_mask=mask, scale=scores.scale).flatten(0, 1)

    def _by_fused_kernel(self, query: Queries, start: int, scale: float, output: Outputs) -> None:
        """Attend from tokens that follow one another, the first at depth ``start``, a few hundred at a time."""
        n_groups = len(self._keys)
        by_group = query.unflatten(0, (n_groups, -1))
        output = output.unflatten(0, (n_groups, -1))
        for some, of_some in zip(by_group.split(_FUSED_QUERIES, 2), output.split(_FUSED_QUERIES, 2), strict=True):
            own, log_sum = self._fused(some, start, start + some.shape[2], scale, is_causal=True)
            if start > 0:
                before, log_sum_before = self._fused(some, 0, start, scale, is_causal=False)
                torch.lerp(before, own, torch.sigmoid(log_sum - log_sum_before)[..., None], out=own)
            of_some.copy_(own)
            start += some.shape[2]

    def _fused(
        self, query: Float[Tensor, "groups heads tokens width"], first: int, end: int, scale: float, is_causal: bool
    ) -> tuple[Tensor, Tensor]:
        """Return attention's output over depths [first, end), and the log-sum-exp of the scores."""
        shape = (-1, query.shape[1], -1, -1)  # the heads of a group read the same keys: nothing is copied
        keys, values = (part[:, None, first:end].expand(shape) for part in (self._keys, self._values))
        output, log_sum = _FUSED_KERNEL(query, keys, values, is_causal=is_causal, scale=scale)
        return output, log_sum

    def _by_products(self, query: Queries, depths: Sequence[int], scores: ScoreParameters, output: Outputs) -> None:
        """Attend from some queries at a time, the heads of a group as more queries of one head."""
        n_groups, _, width = self._keys.shape
        query = query.unflatten(0, (n_groups, -1)) * scores.scale
        output = output.unflatten(0, (n_groups, -1))
        heads = query.shape[1]
        step = max(_SCORE_ROWS // heads, 16)
        for start in range(0, len(depths), step):
            of_step = depths[start : start + step]
            first = 0 if scores.window is None else max(0, of_step[0] - scores.window + 1)
            end = of_step[-1] + 1
            # Keys that all queries of the step see need no mask.
            masked_from = of_step[0] + 1 if scores.window is None or end <= scores.window else first
            hidden = hidden_keys(of_step, masked_from, end, scores.window, query.device)
            for group in range(n_groups):
                rows = query[group, :, start : start + step].reshape(-1, width)
                weights = product(rows, self._keys[group, first:end])
                if scores.soft_cap is not None:
                    weights = weights.div_(scores.soft_cap).tanh_().mul_(scores.soft_cap)
                by_head = weights.view(heads, len(of_step), end - first)
                by_head[..., masked_from - first :].masked_fill_(hidden, -torch.inf)
                attended = product(_softmax_(weights), self._values[group, first:end].mT)
                output[group, :, start : start + step] = attended.view(heads, len(of_step), -1)


def _softmax_(weights: Tensor) -> Tensor:
    """Return the softmax, computed in place: a second buffer of this size would push the first out of the caches."""
    if weights.dtype == torch.float32:
        return torch.softmax(weights, -1, out=weights)
    return torch.softmax(weights, -1, dtype=torch.float32).to(weights.dtype)


def hidden_keys(
    depths: Sequence[int], first: int, end: int, window: int | None, device: torch.device
) -> Bool[Tensor, "queries keys"]:
    """Return which of the keys at depths [first, end) each query must not see."""
    query_depths = _on_device(depths, device)[:, None]
    key_depths = torch.arange(first, end, device=device)
    hidden = key_depths > query_depths
    return hidden if window is None else hidden | (key_depths <= query_depths - window)


def _on_device(depths: Sequence[int], device: torch.device) -> Tensor:
    if depths[-1] - depths[0] == len(depths) - 1:  # made there: a copy to a GPU waits for its work to be done
        return torch.arange(depths[0], depths[-1] + 1, device=device)
    return torch.tensor(depths, device=device)
