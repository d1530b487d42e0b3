"""The tree of contexts' common prefixes holds every context, every shared token once, and says who follows whom."""

from hypothesis import given
from hypothesis import strategies as st

from lenscore.prefix_tree.tree import build_tree, common_length, groups_within_budget, n_unique_tokens

contexts_strategy = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=8)


def test_a_tree_by_hand() -> None:
    tree = build_tree([[1, 2, 3], [1, 2, 4, 5], [1]])
    assert tree.ids == [1, 2, 3, 4, 5]
    assert tree.depths == [0, 1, 2, 2, 3]
    assert tree.places == [[0, 1, 2], [0, 1, 3, 4], [0]]
    assert list(tree.spans(0, 5)) == [(0, 3), (3, 5)]
    assert list(tree.spans(1, 4)) == [(1, 3), (3, 4)]
    assert list(tree.spans(2, 2)) == []


@given(contexts_strategy)
def test_a_tree_holds_every_context_and_each_shared_token_once(contexts: list[list[int]]) -> None:
    tree = build_tree(contexts)
    for context, places in zip(contexts, tree.places, strict=True):
        assert [tree.ids[place] for place in places] == context
        assert [tree.depths[place] for place in places] == list(range(len(context)))
    prefixes = {tuple(context[: end + 1]) for context in contexts for end in range(len(context))}
    assert len(tree.ids) == n_unique_tokens(contexts) == len(prefixes)


@given(contexts_strategy, st.integers(1, 7))
def test_the_token_seen_last_at_each_depth_is_the_one_that_is_followed(contexts: list[list[int]], chunk: int) -> None:
    tree = build_tree(contexts)
    seen_last: dict[int, int] = {}
    followed = {}
    for start in range(0, len(tree.ids), chunk):
        for first, end in tree.spans(start, min(start + chunk, len(tree.ids))):
            for place in range(first, end):
                assert tree.depths[place] == tree.depths[first] + place - first
                seen_last[tree.depths[place]] = place
                followed[place] = [seen_last[depth] for depth in range(tree.depths[place] + 1)]
    assert sorted(followed) == list(range(len(tree.ids)))
    for places in tree.places:
        for depth, place in enumerate(places):
            assert followed[place] == places[: depth + 1]


@given(contexts_strategy, st.integers(1, 30))
def test_trees_keep_to_the_budget(contexts: list[list[int]], budget: int) -> None:
    groups = list(groups_within_budget(contexts, budget))
    assert sorted(index for group in groups for index in group) == list(range(len(contexts)))
    for group in groups:
        assert len(group) == 1 or len(build_tree([contexts[index] for index in group]).ids) <= budget


@given(st.lists(st.integers(0, 1), max_size=9), st.lists(st.integers(0, 1), max_size=9))
def test_two_contexts_share_what_is_equal_from_their_start(one: list[int], other: list[int]) -> None:
    differ = [place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    assert common_length(one, other) == min([*differ, len(one), len(other)])


def test_what_two_contexts_share() -> None:
    assert common_length([1, 2, 3], [1, 2, 4]) == 2
    assert common_length([1, 2], [1, 2, 3]) == 2
    assert common_length([], [1]) == 0
