"""Attention over a whole tree by FlexAttention, against a plain softmax over each token's own context."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from lenscore.prefix_tree import attention_by_tree
from lenscore.prefix_tree.attention import Chunk, ScoreParameters
from lenscore.prefix_tree.attention_by_tree import AttentionByTree
from lenscore.prefix_tree.block_mask import BLOCK, padded_length, tree_block_mask
from lenscore.prefix_tree.tree import ContextTree, build_tree
from tests.test_key_value_cache import random

CPU = torch.device("cpu")


def a_tree(lengths: list[int], seed: int = 0) -> ContextTree:
    """Return a tree of contexts of these lengths, of which each shares a random prefix with the one before it."""
    generator = torch.Generator().manual_seed(seed)
    contexts: list[list[int]] = [[]]
    for number, length in enumerate(lengths, 1):
        shared = int(torch.randint(0, min(length, len(contexts[-1]) + 1), (), generator=generator))
        contexts.append([*contexts[-1][:shared], *[number] * (length - shared)])
    return build_tree(contexts[1:])


def seen_places(tree: ContextTree, window: int | None = None) -> list[list[int]]:
    """Return for each place those that it sees, from the contexts and not from the order of the tree."""
    seen: dict[int, list[int]] = {}
    for places in tree.places:
        for depth, place in enumerate(places):
            seen[place] = places[0 if window is None else max(0, depth + 1 - window) : depth + 1]
    return [seen[place] for place in range(len(tree.ids))]


def mask_of(tree: ContextTree, queries: list[int], window: int | None) -> BlockMask:
    n_keys = padded_length(len(tree.ids))
    filled = torch.tensor(queries + [queries[-1]] * (padded_length(len(queries)) - len(queries)))
    starts = torch.tensor([0] * len(tree.ids) if window is None else tree.window_starts(window))
    return tree_block_mask(filled, starts[filled], torch.tensor(tree.ends + [0] * (n_keys - len(tree.ids))))


def blocks_of(mask: BlockMask) -> Iterator[tuple[slice, slice, bool]]:
    """Yield the rows and columns of the listed blocks, and whether they are full."""
    for full, counts, indices in (
        (False, mask.kv_num_blocks, mask.kv_indices),
        (True, mask.full_kv_num_blocks, mask.full_kv_indices),
    ):
        for row, count in enumerate(counts[0, 0].tolist()):
            for column in indices[0, 0, row, :count].tolist():
                yield slice(row * BLOCK, (row + 1) * BLOCK), slice(column * BLOCK, (column + 1) * BLOCK), full


def dense(mask: BlockMask) -> Tensor:
    """Return which query sees which key, as the kernels read it: one by one in partial blocks alone."""
    sees = torch.zeros(mask.shape[-2:], dtype=torch.bool)
    one_by_one = mask.mask_mod(0, 0, torch.arange(sees.shape[0])[:, None], torch.arange(sees.shape[1]))
    for rows, columns, full in blocks_of(mask):
        assert not sees[rows, columns].any(), "a block is listed twice"
        sees[rows, columns] = True if full else one_by_one[rows, columns]
    return sees


@pytest.mark.parametrize("window", [None, 1, 50, 300])
@pytest.mark.parametrize("lengths", [[700], [400, 420, 390, 300], [40] * 30, [300, 2, 260]], ids=str)
def test_the_block_mask_is_that_of_a_loop_over_ancestors(lengths: list[int], window: int | None) -> None:
    tree = a_tree(lengths)
    n_tokens = len(tree.ids)
    seen = seen_places(tree, window)
    for queries in (list(range(n_tokens)), list(range(130, n_tokens)), list(range(3, n_tokens, 7)), [n_tokens - 1]):
        expected = torch.zeros(len(queries), padded_length(n_tokens), dtype=torch.bool)
        for row, query in enumerate(queries):
            expected[row, seen[query]] = True
        assert torch.equal(dense(mask_of(tree, queries, window))[: len(queries)], expected)


def test_no_block_of_a_causal_mask_is_read_in_vain() -> None:
    tree = a_tree([1000, 900, 950, 980], seed=2)
    mask = mask_of(tree, list(range(len(tree.ids))), None)
    expected = torch.zeros(mask.shape[-2:], dtype=torch.bool)
    for query, keys in enumerate(seen_places(tree)):
        expected[query, keys] = True
    expected[len(tree.ids) :] = expected[len(tree.ids) - 1]
    n_full = 0
    for rows, columns, full in blocks_of(mask):
        assert expected[rows, columns].any()
        assert expected[rows, columns].all() == full
        n_full += full
    assert n_full > 20


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=8), st.integers(1, 12))
def test_who_sees_whom_is_told_by_ends_and_starts(contexts: list[list[int]], window: int) -> None:
    tree = build_tree(contexts)
    places = range(len(tree.ids))
    starts = tree.window_starts(window)
    for query, (seen, in_window) in enumerate(zip(seen_places(tree), seen_places(tree, window), strict=True)):
        assert [key for key in places if key <= query < tree.ends[key]] == seen
        assert [key for key in places if starts[query] <= key <= query < tree.ends[key]] == in_window


def plain(tree: ContextTree, query: Tensor, key: Tensor, value: Tensor, scores: ScoreParameters) -> Tensor:
    """One query and one head at a time, in float64: (tokens, heads, value width)."""
    heads_a_group = len(query) // len(key)
    output = torch.empty(query.shape[1], len(query), value.shape[2], dtype=torch.float64)
    for place, seen in enumerate(seen_places(tree, scores.window)):
        for head in range(len(query)):
            group = head // heads_a_group
            raw = key[group, seen].double() @ query[head, place].double() * scores.scale
            if scores.soft_cap is not None:
                raw = scores.soft_cap * torch.tanh(raw / scores.soft_cap)
            output[place, head] = torch.softmax(raw, 0) @ value[group, seen].double()
    return output


def chunks_of(n_tokens: int, size: int, asked: list[int]) -> list[Chunk]:
    chunks = [range(start, min(start + size, n_tokens)) for start in range(0, n_tokens, size)]
    return [Chunk(places, [place for place in asked if place in places]) for places in chunks]


def attended(attention: AttentionByTree, chunks: list[Chunk], *inputs: Any, asked_only: bool) -> Tensor:
    *tensors, scores = inputs
    parts = [
        attention.attend(number, *(part[:, chunk.rows] for part in tensors), scores, asked_only)
        for number, chunk in enumerate(chunks)
    ]
    return torch.cat(parts)


@pytest.mark.parametrize("scores", [ScoreParameters(0.3), ScoreParameters(0.3, 40), ScoreParameters(0.3, None, 1.5)])
@pytest.mark.parametrize(("heads", "groups", "width", "value_width"), [(4, 2, 8, 6), (2, 2, 24, 40)])
def test_attention_is_plain_attention(
    scores: ScoreParameters, heads: int, groups: int, width: int, value_width: int
) -> None:
    tree = a_tree([150, 160, 90, 120], seed=1)
    n_tokens = len(tree.ids)
    asked = [5, 100, 101, 102, n_tokens - 1]
    chunks = chunks_of(n_tokens, 150, asked)
    inputs = random(heads, n_tokens, width) * 3, random(groups, n_tokens, width), random(groups, n_tokens, value_width)
    expected = plain(tree, *inputs, scores)
    attention = AttentionByTree(tree, chunks, CPU)
    for _ in range(2):  # a second pass finds the keys of the first in the cache
        found = attended(attention, chunks, *inputs, scores, asked_only=False)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    found = attended(attention, chunks, *inputs, scores, asked_only=True)
    torch.testing.assert_close(found.double(), expected[asked], rtol=1e-5, atol=1e-5)


def test_heads_of_another_shape_do_not_see_what_was_stored_for_the_first() -> None:
    tree = a_tree([100, 90])
    chunks = chunks_of(len(tree.ids), 1000, [])
    attention = AttentionByTree(tree, chunks, CPU)
    for width, value_width in ((12, 14), (8, 14), (8, 6)):
        inputs = [random(2, len(tree.ids), size) for size in (width, width, value_width)]
        found = attended(attention, chunks, *inputs, ScoreParameters(0.3), asked_only=False)
        torch.testing.assert_close(found.double(), plain(tree, *inputs, ScoreParameters(0.3)), rtol=1e-5, atol=1e-5)


@pytest.fixture
def n_compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Count how often ``flex_attention`` is compiled. What is counted is the same for all of PyTorch's compilers."""
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(flex_attention, backend=counter, fullgraph=True, dynamic=True)
    monkeypatch.setattr(attention_by_tree, "_compiled", lambda _: compiled)
    torch._dynamo.reset()
    yield lambda: counter.frame_count
    torch._dynamo.reset()


def run_over(lengths: list[int], chunk: int, scale: float = 0.3) -> None:
    tree = a_tree(lengths)
    n_tokens = len(tree.ids)
    chunks = chunks_of(n_tokens, chunk, [n_tokens - 1])
    attention = AttentionByTree(tree, chunks, CPU)
    inputs = random(4, n_tokens, 8), random(2, n_tokens, 8), random(2, n_tokens, 8)
    for window in (None, 20):
        for asked_only in (False, True):
            attended(attention, chunks, *inputs, ScoreParameters(scale, window), asked_only=asked_only)


def test_trees_and_chunks_of_all_sizes_have_one_kernel_or_two(n_compiled: Callable[[], int]) -> None:
    for lengths, chunk in (([300, 310], 256), ([900, 950], 512), ([100], 1000), ([700, 650, 600], 384), ([20, 30], 7)):
        run_over(lengths, chunk)
    assert 1 <= n_compiled() <= 2


def test_many_models_may_run_in_one_process(n_compiled: Callable[[], int]) -> None:
    with torch._dynamo.config.patch(recompile_limit=2):  # 8 unless it is set, which takes longer to reach
        for scale in (0.1, 0.2, 0.3, 0.4):
            run_over([40, 50], 64, scale)
    assert n_compiled() == 4


def test_another_precision_of_products_is_compiled_for_itself(n_compiled: Callable[[], int]) -> None:
    run_over([40, 50], 64)
    exact = n_compiled()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        run_over([40, 50], 64)
    finally:
        torch.set_float32_matmul_precision(before)
    assert n_compiled() == exact + 1
