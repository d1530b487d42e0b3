"""Attention by depth, against a plain softmax over the keys that each query may see."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from lenscore.models import products
from lenscore.prefix_tree.keys_and_values import KeptByDepth, Scores, unseen

WIDTH, VALUE_WIDTH, DEPTHS = 8, 6, 500
# Where a kernel does not do windows or soft caps, products stand in for it.
CASES = [
    (kernel, Scores(0.3, window, soft_cap))
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


def attended(kept: KeptByDepth, query: Tensor, depths: Sequence[int], scores: Scores) -> Tensor:
    # Written where a forward pass wants it: token by token, in the queries' precision.
    drawn = torch.full((query.shape[1], query.shape[0], kept._values.shape[2]), torch.nan, dtype=query.dtype)
    kept.attend(query, depths, scores, drawn.transpose(0, 1))
    return drawn.transpose(0, 1)


def plain(query: Tensor, keys: Tensor, values: Tensor, depths: list[int], scores: Scores) -> Tensor:
    """One query and one head at a time, in float64."""
    heads_a_group = query.shape[0] // keys.shape[0]
    drawn = torch.empty(*query.shape[:2], values.shape[2], dtype=torch.float64)
    for head in range(query.shape[0]):
        for row, depth in enumerate(depths):
            first = 0 if scores.window is None else max(0, depth - scores.window + 1)
            seen_keys, seen_values = (
                part[head // heads_a_group, first : depth + 1].double() for part in (keys, values)
            )
            raw = (seen_keys @ query[head, row].double()) * scores.scale
            if scores.soft_cap is not None:
                raw = scores.soft_cap * torch.tanh(raw / scores.soft_cap)
            drawn[head, row] = torch.softmax(raw, 0) @ seen_values
    return drawn


@pytest.mark.parametrize("value_width", [VALUE_WIDTH, WIDTH])
@pytest.mark.parametrize("heads_a_group", [1, 3])
@pytest.mark.parametrize(("kernel", "scores"), CASES, ids=str)
@pytest.mark.parametrize(
    "depths",
    [range(0, 450), range(300, 330), range(499, 500), [3, 9, 10, 200, 460]],
    ids=["from the start", "later", "one", "scattered"],
)
def test_queries_draw_what_plain_attention_draws(
    depths: range | list[int],
    kernel: str,
    scores: Scores,
    heads_a_group: int,
    value_width: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(products, "BY_ONEDNN", {torch.float32} if kernel == "products" else set())
    n_groups = 2
    keys, values = random(n_groups, DEPTHS, WIDTH), random(n_groups, DEPTHS, value_width)
    kept = KeptByDepth(keys, values, DEPTHS)
    for start, end in ((0, 120), (120, DEPTHS)):
        kept.put(start, keys[:, start:end], values[:, start:end])
    monkeypatch.setattr(kept, "on_cpu", kernel != "gpu")
    query = random(n_groups * heads_a_group, len(depths), WIDTH) * 3
    found = attended(kept, query, depths, scores)
    expected = plain(query, keys, values, list(depths), scores)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_run_put_later_takes_the_place_of_what_stood_at_its_depths() -> None:
    keys, values = random(1, 10, WIDTH), random(1, 10, VALUE_WIDTH)
    kept = KeptByDepth(keys, values, 10)
    kept.put(0, keys, values)
    kept.put(4, keys[:, :2], values[:, :2])
    query = random(1, 1, WIDTH)
    path = [0, 1, 2, 3, 0, 1]
    expected = plain(query, keys[:, path], values[:, path], [5], Scores(1.0))
    torch.testing.assert_close(attended(kept, query, [5], Scores(1.0)).double(), expected, rtol=1e-5, atol=1e-5)


def test_keys_of_another_shape_need_another_room() -> None:
    kept = KeptByDepth(random(2, 3, WIDTH), random(2, 3, VALUE_WIDTH), 10)
    assert kept.serves(random(2, 7, WIDTH), random(2, 7, VALUE_WIDTH))
    assert not kept.serves(random(1, 3, WIDTH), random(1, 3, VALUE_WIDTH))
    assert not kept.serves(random(2, 3, WIDTH), random(2, 3, WIDTH))


def test_half_precision_is_attended_in_float32() -> None:
    keys, values = (random(1, 50, WIDTH) * 4).bfloat16(), random(1, 50, WIDTH).bfloat16()
    kept = KeptByDepth(keys, values, 50)
    kept.put(0, keys, values)
    query = (random(1, 50, WIDTH) * 4).bfloat16()
    found = attended(kept, query, range(50), Scores(1 / math.sqrt(WIDTH)))
    assert found.dtype == torch.bfloat16
    expected = plain(query, keys, values, list(range(50)), Scores(1 / math.sqrt(WIDTH)))
    # Half a unit in the last of bfloat16's eight places, and nothing more.
    assert ((found.double() - expected).abs() <= expected.abs() * 2**-8 + 1e-6).all()


def test_what_is_hidden_by_hand() -> None:
    hidden = unseen([2, 4], 0, 5, 3, torch.device("cpu"))
    assert hidden.tolist() == [[False, False, False, True, True], [True, True, False, False, False]]
