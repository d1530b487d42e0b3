"""Contexts that share their prefixes give what contexts by themselves give, whatever the limits."""

from typing import get_args

import pytest
import torch
from torch import nn

from lenscore.errors import ContextError
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models.loading import LoadedModel
from lenscore.models.packed_linears import PackedLinear, pack_linears
from lenscore.prefix_tree import sharing
from lenscore.prefix_tree.attention import AttentionKind
from lenscore.prefix_tree.limits import Limits
from lenscore.prefix_tree.sharing import ContextRunner
from lenscore.prefix_tree.tree import ContextTree
from tests.attention_kinds import family_and_attention
from tests.tiny_models import FAMILIES, LAYERS, a_question, tiny_model, token_ids

LIMITS: dict[AttentionKind, list[Limits]] = {
    "sdpa": [Limits(1000, 1000, False), Limits(1000, 7, False), Limits(30, 11, True)],
    "flex": [Limits(100, 30, True)],
}
ATTENTION_KINDS = get_args(AttentionKind)


@pytest.mark.parametrize(
    ("family", "attention"), [family_and_attention(family, kind) for family in FAMILIES for kind in ATTENTION_KINDS]
)
def test_shared_and_unshared_agree_with_the_model_itself(family: str, attention: AttentionKind) -> None:
    loaded = LoadedModel.of(tiny_model(family))
    for limits in LIMITS[attention]:
        hold_against_the_model(loaded, ContextRunner(loaded, limits, attention), family)


def hold_against_the_model(loaded: LoadedModel, runner: ContextRunner, family: str) -> None:
    contexts = a_question()
    found = runner.states(contexts).split([len(context.answer_ids) for context in contexts], dim=1)
    assert (runner.fallback_reason is None) == FAMILIES[family].shares, runner.fallback_reason
    for context, states in zip(contexts, found, strict=True):
        with torch.inference_mode():
            output = loaded.model(input_ids=torch.tensor([context.ids]), use_cache=False, output_hidden_states=True)
            ours = torch.log_softmax(loaded.unembedding(states[-1]), -1)
        own = torch.log_softmax(output.logits[0].float()[list(context.predicting_positions)], -1)
        torch.testing.assert_close(ours, own, rtol=0, atol=1e-4)
        assert torch.equal(ours.argmax(-1), own.argmax(-1))
        assert len(states) == LAYERS + 1
        for layer in range(
            LAYERS if FAMILIES[family].lists_layers else 0
        ):  # transformers' last entry is normalised already
            hidden = output.hidden_states[layer][0, list(context.predicting_positions)]
            torch.testing.assert_close(states[layer], hidden, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("attention", ATTENTION_KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_half_precision_is_shared_too(family: str, dtype: torch.dtype, attention: AttentionKind) -> None:
    runner = ContextRunner(LoadedModel.of(tiny_model(family).to(dtype)), Limits(1000, 16, False), attention)
    contexts = a_question()
    shared = runner.states(contexts)
    assert runner.fallback_reason is None
    runner.fall_back("the test compares both ways")
    alone = runner.states(contexts)
    assert shared.dtype == dtype
    assert ((shared - alone).abs().amax((1, 2)) / alone.abs().amax((1, 2))).max() < 0.05


def test_questions_go_together_where_the_limits_allow_it() -> None:
    loaded = pack_linears(LoadedModel.of(tiny_model("llama")), "exact")
    first, second, third = a_question(), a_question()[:3], [TokenisedContext(token_ids(30).tolist()[0], 28, False)]
    runner = ContextRunner(loaded, Limits(150, 64, True))
    batches = list(runner.batches([first, second, third]))
    assert batches == [first, [*second, *third]]
    for contexts in batches:
        alone = torch.cat([ContextRunner(loaded).states([context]) for context in contexts], dim=1)
        torch.testing.assert_close(runner.states(contexts), alone, rtol=1e-4, atol=1e-4)


def test_the_models_own_attention_and_blocks_are_put_back() -> None:
    model = tiny_model("llama")
    before = model.config._attn_implementation
    runner = ContextRunner(LoadedModel.of(model))
    runner.states(a_question())
    assert runner.fallback_reason is None
    assert model.config._attn_implementation == before != "lenscore_tree"
    assert not any("forward" in vars(block) for block in model.model.layers)


@pytest.mark.parametrize("attention", ATTENTION_KINDS)
def test_every_shared_token_goes_through_a_block_once_and_the_last_block_sees_the_asked_alone(
    attention: AttentionKind,
) -> None:
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
    ContextRunner(LoadedModel.of(model), Limits(1000, 16, False), attention).states(contexts)
    assert rows == {
        "keys 0": n_unique, "mlp 0": n_unique,
        "keys 1": n_unique, "mlp 1": n_unique,
        # Keys are made again with the rest of the block for the asked tokens.
        "keys 2": n_unique + n_asked, "mlp 2": n_asked,
    }  # fmt: skip


def test_limits_are_halved_when_memory_runs_out_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = LoadedModel.of(tiny_model("llama"))
    contexts = a_question()
    expected = ContextRunner(loaded).states(contexts)
    sizes = []
    tree_states = sharing.tree_states

    def small_gpu(
        loaded: LoadedModel, tree: ContextTree, asked: list[int], chunk: int, attention: AttentionKind
    ) -> torch.Tensor:
        sizes.append((len(tree.ids), chunk))
        if len(tree.ids) > 60 or chunk > 250:
            raise torch.OutOfMemoryError("out of memory")
        return tree_states(loaded, tree, asked, chunk, attention)

    monkeypatch.setattr(sharing, "tree_states", small_gpu)
    with caplog.at_level("INFO", logger="lenscore"):
        found = ContextRunner(loaded, Limits(400, 1000, True)).states(contexts)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert sizes[-1][0] <= 60
    assert sizes[-1][1] <= 250
    assert "memory ran out: going on with" in caplog.text


def test_a_context_that_does_not_fit_the_smallest_limits_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(sharing, "tree_states", no_memory)
    runner = ContextRunner(LoadedModel.of(tiny_model("llama")), Limits(4000, 512, True))
    with pytest.raises(ContextError, match="too small for one context of 32 tokens"):
        runner.states(a_question())


def test_a_family_that_cannot_share_runs_on_packed_layers_too() -> None:
    loaded = LoadedModel.of(tiny_model("gptj"))
    contexts = a_question()
    before = ContextRunner(loaded).states(contexts)
    packed = pack_linears(loaded, "exact")
    assert any(isinstance(layer, PackedLinear) for layer in packed.model.modules())
    torch.testing.assert_close(ContextRunner(packed).states(contexts), before, rtol=1e-4, atol=1e-4)
