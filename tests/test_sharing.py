"""Contexts that share their prefixes give what contexts by themselves give, in whatever room there is."""

from typing import Any

import pytest
import torch
from torch import nn

from lenscore.errors import ContextError
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models.architecture import find_architecture
from lenscore.models.packed_linears import PackedLinear, pack_linears
from lenscore.models.unembedding import Unembedding
from lenscore.prefix_tree import sharing
from lenscore.prefix_tree.limits import Room
from lenscore.prefix_tree.sharing import ContextStates
from lenscore.prefix_tree.tree import ContextTree
from tests.tiny_models import FAMILIES, LAYERS, a_question, tiny_model, token_ids

ROOMS = [Room(1000, 1000, False), Room(1000, 7, False), Room(30, 11, True)]


@pytest.mark.parametrize("room", ROOMS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_shared_and_unshared_agree_with_the_model_itself(family: str, room: Room) -> None:
    model = tiny_model(family)
    architecture = find_architecture(model)
    unembedding = Unembedding.of(architecture)
    run = ContextStates(model, architecture, room)
    contexts = a_question()
    found = run.of(contexts).split([len(context.answer_ids) for context in contexts], dim=1)
    assert (run.unshared is None) == FAMILIES[family].shares, run.unshared
    for context, states in zip(contexts, found, strict=True):
        with torch.inference_mode():
            output = model(input_ids=torch.tensor([context.ids]), use_cache=False, output_hidden_states=True)
            ours = torch.log_softmax(unembedding(states[-1]), -1)
        own = torch.log_softmax(output.logits[0].float()[list(context.predicting_positions)], -1)
        torch.testing.assert_close(ours, own, rtol=0, atol=1e-4)
        assert torch.equal(ours.argmax(-1), own.argmax(-1))
        assert len(states) == LAYERS + 1
        for layer in range(LAYERS):  # transformers' last entry is normalised already
            hidden = output.hidden_states[layer][0, list(context.predicting_positions)]
            torch.testing.assert_close(states[layer], hidden, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_half_precision_is_shared_too(family: str, dtype: torch.dtype) -> None:
    model = tiny_model(family).to(dtype)
    run = ContextStates(model, find_architecture(model), Room(1000, 16, False))
    contexts = a_question()
    shared = run.of(contexts)
    assert run.unshared is None
    run.do_without("for the sake of the test")
    alone = run.of(contexts)
    assert shared.dtype == dtype
    assert ((shared - alone).abs().amax((1, 2)) / alone.abs().amax((1, 2))).max() < 0.05


def test_questions_go_together_where_the_room_is_for_several() -> None:
    model = tiny_model("llama")
    pack_linears(model, find_architecture(model).blocks, "exact")
    architecture = find_architecture(model)
    first, second, third = a_question(), a_question()[:3], [TokenisedContext(token_ids(30).tolist()[0], 28, False)]
    seen = list(ContextStates(model, architecture, Room(150, 64, True))([first, second, third]))
    assert [len(contexts) for contexts, _ in seen] == [6, 4]
    assert [contexts for contexts, _ in seen] == [first, [*second, *third]]
    for contexts, states in seen:
        alone = torch.cat([ContextStates(model, architecture).of([context]) for context in contexts], dim=1)
        torch.testing.assert_close(states, alone, rtol=1e-4, atol=1e-4)


def test_the_models_own_attention_and_blocks_are_put_back() -> None:
    model = tiny_model("llama")
    before = model.config._attn_implementation
    run = ContextStates(model, find_architecture(model))
    run.of(a_question())
    assert run.unshared is None
    assert model.config._attn_implementation == before != "lenscore_tree"
    assert not any("forward" in vars(block) for block in model.model.layers)


def test_every_shared_token_goes_through_a_block_once_and_the_last_block_sees_the_asked_alone() -> None:
    model = tiny_model("llama")
    rows: dict[str, int] = {}

    def count(name: str, layer: nn.Module) -> None:
        layer.register_forward_hook(
            lambda _, args, __: rows.update({name: rows.get(name, 0) + args[0].numel() // args[0].shape[-1]})
        )

    for index, block in enumerate(model.model.layers):
        count(f"keys {index}", block.self_attn.k_proj)
        count(f"mlp {index}", block.mlp.up_proj)
    contexts = a_question()
    n_unique = len({tuple(context.ids[: end + 1]) for context in contexts for end in range(len(context.ids) - 1)})
    n_asked = sum(len(context.answer_ids) for context in contexts)
    ContextStates(model, find_architecture(model), Room(1000, 16, False)).of(contexts)
    assert rows == {
        "keys 0": n_unique, "mlp 0": n_unique,
        "keys 1": n_unique, "mlp 1": n_unique,
        # Keys are made again with the rest of the block for the asked tokens.
        "keys 2": n_unique + n_asked, "mlp 2": n_asked,
    }  # fmt: skip


def test_memory_that_is_out_halves_the_room_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_model("llama")
    architecture = find_architecture(model)
    contexts = a_question()
    expected = ContextStates(model, architecture).of(contexts)
    rooms = []
    tree_states = sharing.tree_states

    def small_gpu(model: Any, architecture: Any, tree: ContextTree, asked: list[int], chunk: int) -> torch.Tensor:
        rooms.append((len(tree.ids), chunk))
        if len(tree.ids) > 60 or chunk > 250:
            raise torch.OutOfMemoryError("out of memory")
        return tree_states(model, architecture, tree, asked, chunk)

    monkeypatch.setattr(sharing, "tree_states", small_gpu)
    with caplog.at_level("INFO", logger="lenscore"):
        found = ContextStates(model, architecture, Room(400, 1000, True)).of(contexts)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert rooms[-1][0] <= 60
    assert rooms[-1][1] <= 250
    assert "memory was out: going on with" in caplog.text


def test_a_context_that_no_room_is_small_enough_for_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")

    def no_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(sharing, "tree_states", no_memory)
    run = ContextStates(model, find_architecture(model), Room(4000, 512, True))
    with pytest.raises(ContextError, match="too small for one context of 32 tokens"):
        run.of(a_question())


def test_a_family_that_cannot_share_runs_on_packed_layers_too() -> None:
    model = tiny_model("gptj")
    contexts = a_question()
    before = ContextStates(model, find_architecture(model)).of(contexts)
    pack_linears(model, find_architecture(model).blocks, "exact")
    assert any(isinstance(layer, PackedLinear) for layer in model.modules())
    torch.testing.assert_close(
        ContextStates(model, find_architecture(model)).of(contexts), before, rtol=1e-4, atol=1e-4
    )
