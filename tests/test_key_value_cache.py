"""Attention to the cache by depth, against a plain softmax over the keys that each query may see."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from lenscore.models import products
from lenscore.prefix_tree.attention import ScoreParameters
from lenscore.prefix_tree.key_value_cache import KeyValueCache, hidden_keys

WIDTH, VALUE_WIDTH, DEPTHS = 8, 6, 500
# Products replace a kernel that has no windows or soft caps.
CASES = [
    (kernel, ScoreParameters(0.3, window, soft_cap))
    for kernel, window, soft_cap in [
        ("products", None, None),
        ("products", 7, None),
        ("products", 130, None),
        ("products", None, 1.5),
        ("products", 40, 1.5),
        ("fused", None, None),
        ("fused", 130, None),
        ("fused", None, 1.5),
        ("gpu", None, None),
        ("gpu", 7, None),
        ("gpu", 130, None),
        ("gpu", None, 1.5),
    ]
]


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def attended(cache: KeyValueCache, query: Tensor, depths: Sequence[int], scores: ScoreParameters) -> Tensor:
    # Written where a forward pass wants it: token by token, in the queries' precision.
    output = torch.full((query.shape[1], query.shape[0], cache._values.shape[2]), torch.nan, dtype=query.dtype)
    cache.attend(query, depths, scores, output.transpose(0, 1))
    return output.transpose(0, 1)


def plain(query: Tensor, keys: Tensor, values: Tensor, depths: list[int], scores: ScoreParameters) -> Tensor:
    """One query and one head at a time, in float64."""
    heads_a_group = query.shape[0] // keys.shape[0]
    output = torch.empty(*query.shape[:2], values.shape[2], dtype=torch.float64)
    for head in range(query.shape[0]):
        for row, depth in enumerate(depths):
            first = 0 if scores.window is None else max(0, depth - scores.window + 1)
            seen_keys, seen_values = (
                part[head // heads_a_group, first : depth + 1].double() for part in (keys, values)
            )
            raw = (seen_keys @ query[head, row].double()) * scores.scale
            if scores.soft_cap is not None:
                raw = scores.soft_cap * torch.tanh(raw / scores.soft_cap)
            output[head, row] = torch.softmax(raw, 0) @ seen_values
    return output


@pytest.mark.parametrize("value_width", [VALUE_WIDTH, WIDTH])
@pytest.mark.parametrize("heads_a_group", [1, 3])
@pytest.mark.parametrize(("kernel", "scores"), CASES, ids=str)
@pytest.mark.parametrize(
    "depths",
    [range(0, 450), range(300, 330), range(499, 500), [3, 9, 10, 200, 460]],
    ids=["from the start", "later", "one", "scattered"],
)
def test_attention_is_plain_attention(
    depths: range | list[int],
    kernel: str,
    scores: ScoreParameters,
    heads_a_group: int,
    value_width: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(products, "ONEDNN_DTYPES", {torch.float32} if kernel == "products" else set())
    n_groups = 2
    keys, values = random(n_groups, DEPTHS, WIDTH), random(n_groups, DEPTHS, value_width)
    cache = KeyValueCache(keys, values, DEPTHS)
    for start, end in ((0, 120), (120, DEPTHS)):
        cache.write(start, keys[:, start:end], values[:, start:end])
    monkeypatch.setattr(cache, "on_cpu", kernel != "gpu")
    query = random(n_groups * heads_a_group, len(depths), WIDTH) * 3
    found = attended(cache, query, depths, scores)
    expected = plain(query, keys, values, list(depths), scores)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_tokens_written_later_replace_those_at_their_depths() -> None:
    keys, values = random(1, 10, WIDTH), random(1, 10, VALUE_WIDTH)
    cache = KeyValueCache(keys, values, 10)
    cache.write(0, keys, values)
    cache.write(4, keys[:, :2], values[:, :2])
    query = random(1, 1, WIDTH)
    path = [0, 1, 2, 3, 0, 1]
    expected = plain(query, keys[:, path], values[:, path], [5], ScoreParameters(1.0))
    torch.testing.assert_close(
        attended(cache, query, [5], ScoreParameters(1.0)).double(), expected, rtol=1e-5, atol=1e-5
    )


def test_keys_of_another_shape_need_another_cache() -> None:
    cache = KeyValueCache(random(2, 3, WIDTH), random(2, 3, VALUE_WIDTH), 10)
    assert cache.fits(random(2, 7, WIDTH), random(2, 7, VALUE_WIDTH))
    assert not cache.fits(random(1, 3, WIDTH), random(1, 3, VALUE_WIDTH))
    assert not cache.fits(random(2, 3, WIDTH), random(2, 3, WIDTH))


def test_half_precision_is_attended_in_float32() -> None:
    keys, values = (random(1, 50, WIDTH) * 4).bfloat16(), random(1, 50, WIDTH).bfloat16()
    cache = KeyValueCache(keys, values, 50)
    cache.write(0, keys, values)
    query = (random(1, 50, WIDTH) * 4).bfloat16()
    found = attended(cache, query, range(50), ScoreParameters(1 / math.sqrt(WIDTH)))
    assert found.dtype == torch.bfloat16
    expected = plain(query, keys, values, list(range(50)), ScoreParameters(1 / math.sqrt(WIDTH)))
    # Half a unit in the last of bfloat16's eight places, and nothing more.
    assert ((found.double() - expected).abs() <= expected.abs() * 2**-8 + 1e-6).all()


def test_what_is_hidden_by_hand() -> None:
    hidden = hidden_keys([2, 4], 0, 5, 3, torch.device("cpu"))
    assert hidden.tolist() == [[False, False, False, True, True], [True, True, False, False, False]]
