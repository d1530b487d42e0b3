"""Contexts that share their prefixes give what contexts by themselves give."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lenscore.extraction.packed_tree import pack, within_budget
from lenscore.extraction.sharing import QuestionStates
from lenscore.extraction.tokens import TokenisedContext
from lenscore.lenses.architecture import find_architecture
from lenscore.lenses.decoder import Decoder
from tests.tiny_models import FAMILIES, tiny_model, token_ids

contexts_strategy = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=8)


def a_question() -> list[TokenisedContext]:
    """Contexts as a question has them: documents in several orders, a shorter one, one that is another's prefix."""
    head, first, second, gold, tail = (token_ids(n, seed).tolist()[0] for seed, n in enumerate((4, 9, 7, 8, 5)))
    prompts = [
        head + gold + first + second,
        head + first + gold + second,
        head + first + second + gold,
        head + gold + first,
        head + first + gold,
        head,
    ]
    return [TokenisedContext(prompt + tail, len(prompt) + 2, False) for prompt in prompts]


@given(contexts_strategy)
def test_a_tree_holds_every_context_and_each_shared_token_once(contexts: list[list[int]]) -> None:
    tree = pack(contexts)
    for context, places in zip(contexts, tree.places, strict=True):
        assert [tree.ids[place] for place in places] == context
        assert [tree.depths[place] for place in places] == list(range(len(context)))
    prefixes = {tuple(context[: end + 1]) for context in contexts for end in range(len(context))}
    assert len(tree.ids) == len(prefixes)


@given(contexts_strategy)
def test_a_nodes_tokens_follow_exactly_their_contexts(contexts: list[list[int]]) -> None:
    tree = pack(contexts)
    seen_by_place = {}
    for index, node in enumerate(tree.nodes):
        columns = [place for start, end in [*node.before, (node.start, node.end)] for place in range(start, end)]
        for row, mask in enumerate(tree.mask(index, torch.device("cpu"))):
            seen_by_place[node.start + row] = [
                place for place, seen in zip(columns, mask.tolist(), strict=True) if seen
            ]
    assert sorted(seen_by_place) == list(range(len(tree.ids)))
    for places in tree.places:
        for depth, place in enumerate(places):
            assert seen_by_place[place] == places[: depth + 1]


@given(contexts_strategy, st.integers(1, 30))
def test_trees_keep_to_the_budget(contexts: list[list[int]], budget: int) -> None:
    groups = list(within_budget(contexts, budget))
    assert sorted(index for group in groups for index in group) == list(range(len(contexts)))
    for group in groups:
        assert len(group) == 1 or len(pack([contexts[index] for index in group]).ids) <= budget


@pytest.mark.parametrize("budget", [1000, 30])
@pytest.mark.parametrize("family", FAMILIES)
def test_shared_and_unshared_agree_with_the_model_itself(family: str, budget: int) -> None:
    model = tiny_model(family)
    architecture = find_architecture(model)
    decoder = Decoder.of(architecture)
    run = QuestionStates(model, architecture, budget)
    contexts = a_question()
    states = run(contexts)
    assert (run.unshared is None) == FAMILIES[family].shares, run.unshared
    for context, found in zip(contexts, states, strict=True):
        with torch.inference_mode():
            own = model(input_ids=torch.tensor([context.ids]), use_cache=False).logits[0].float()
            ours = torch.log_softmax(decoder(found[-1]), -1)
        own = torch.log_softmax(own[list(context.predicting_positions)], -1)
        torch.testing.assert_close(ours, own, rtol=0, atol=1e-4)
        assert torch.equal(ours.argmax(-1), own.argmax(-1))


def test_every_layer_is_shared_alike() -> None:
    model = tiny_model("qwen2")
    run = QuestionStates(model, find_architecture(model))
    contexts = a_question()
    shared = run(contexts)
    assert run.unshared is None
    for context, states in zip(contexts, shared, strict=True):
        alone = QuestionStates(model, find_architecture(model))([context])[0]
        with torch.inference_mode():
            hidden = model(input_ids=torch.tensor([context.ids]), output_hidden_states=True).hidden_states
        for layer in range(len(states) - 1):
            torch.testing.assert_close(
                states[layer], hidden[layer][0, list(context.predicting_positions)], rtol=1e-4, atol=1e-5
            )
        torch.testing.assert_close(states, alone, rtol=1e-4, atol=1e-5)


def test_the_models_own_attention_is_put_back() -> None:
    model = tiny_model("llama")
    before = model.config._attn_implementation
    run = QuestionStates(model, find_architecture(model))
    run(a_question())
    assert run.unshared is None
    assert model.config._attn_implementation == before != "packed_tree"


def test_a_sliding_window_that_no_context_reaches_is_no_hindrance() -> None:
    model = tiny_model("mistral-window")
    model.config.sliding_window = 64
    for block in model.model.layers:
        block.self_attn.sliding_window = 64
    run = QuestionStates(model, find_architecture(model))
    run(a_question())
    assert run.unshared is None


def test_a_longer_context_later_makes_a_window_felt() -> None:
    model = tiny_model("mistral-window")
    model.config.sliding_window = 36
    run = QuestionStates(model, find_architecture(model))
    short = [TokenisedContext(context.ids[:20], 15, False) for context in a_question()[:3]]
    run(short)
    assert run.unshared is None
    contexts = [
        TokenisedContext(context.ids + token_ids(20).tolist()[0], len(context.ids), False) for context in a_question()
    ]
    states = run(contexts)
    assert run.unshared is not None
    assert "sliding window" in run.unshared
    decoder = Decoder.of(find_architecture(model))
    with torch.inference_mode():
        own = model(input_ids=torch.tensor([contexts[0].ids]), use_cache=False).logits[0]
        ours = decoder(states[0][-1])
    torch.testing.assert_close(ours, own[list(contexts[0].predicting_positions)], rtol=1e-4, atol=1e-4)
