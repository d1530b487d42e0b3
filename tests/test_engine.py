"""The engine: every question's statistics in order, checked against the model's own code, shared where it can be."""

import os
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from lenscore.errors import SelfCheckError
from lenscore.extraction import engine as engine_module
from lenscore.extraction.engine import LensEngine, use_threads
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models import packed_linears
from lenscore.prefix_tree import sharing
from lenscore.prefix_tree.limits import Room
from lenscore.prefix_tree.tree import ContextTree
from lenscore.study.models import Matmul
from tests.tiny_models import FAMILIES, LAYERS, a_question, tiny_model

QUESTIONS = [a_question(), a_question()[3:], a_question()[:1]]


def own_logprobs(family: str, context: TokenisedContext) -> torch.Tensor:
    with torch.inference_mode():
        logits = tiny_model(family)(input_ids=torch.tensor([context.ids]), use_cache=False).logits[0]
    return torch.log_softmax(logits.float(), -1)[list(context.predicting_positions)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_statistics_are_the_models_own(family: str) -> None:
    engine = LensEngine(tiny_model(family))
    found = list(engine.statistics(QUESTIONS, top_k=3))
    assert (engine.prefix_sharing == "shared") == FAMILIES[family].shares, engine.prefix_sharing
    assert engine.self_check_difference is not None
    assert engine.self_check_difference < 1e-3
    assert [len(contexts) for contexts in found] == [6, 3, 1]
    for contexts, by_context in zip(QUESTIONS, found, strict=True):
        for context, by_lens in zip(contexts, by_context, strict=True):
            of_lens = by_lens["logit"]
            own = own_logprobs(family, context)
            assert of_lens.top1_id.shape == (LAYERS + 1, len(context.answer_ids))
            assert of_lens.topk_ids.shape[-1] == 3
            assert torch.equal(of_lens.top1_id[-1], own.argmax(-1))
            targets = torch.tensor(context.answer_ids)[:, None]
            torch.testing.assert_close(of_lens.target_logprob[-1], own.gather(1, targets)[:, 0], rtol=0, atol=1e-4)


def test_a_call_more_goes_on_with_the_prepared_model(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LensEngine(tiny_model("llama"))
    first = list(engine.statistics(QUESTIONS[:1]))
    monkeypatch.setattr(engine_module, "pack_linears", lambda *_: pytest.fail("packed twice"))
    again = list(engine.statistics(QUESTIONS[:1]))
    assert torch.equal(first[0][0]["logit"].entropy, again[0][0]["logit"].entropy)


def test_nothing_to_do_is_no_failure() -> None:
    engine = LensEngine(tiny_model("llama"))
    assert list(engine.statistics([])) == []
    assert engine.prefix_sharing == "nothing was run"
    assert engine.self_check_difference is None


def test_states_that_are_not_the_models_end_sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    tree_states = sharing.tree_states

    def wrong_but_for_the_first_context(
        model: Any, architecture: Any, tree: ContextTree, asked: list[int], chunk: int
    ) -> torch.Tensor:
        states = tree_states(model, architecture, tree, asked, chunk)
        first = min(tree.places, key=lambda places: places[-1])
        follows = torch.tensor([place not in first for place in asked])
        return torch.where(follows[:, None], states * 1.01, states)

    monkeypatch.setattr(sharing, "tree_states", wrong_but_for_the_first_context)
    engine = LensEngine(tiny_model("llama"))
    found = list(engine.statistics(QUESTIONS[:1]))
    assert "differ by a share of 0.01" in engine.prefix_sharing
    for context, by_lens in zip(QUESTIONS[0], found[0], strict=True):
        own = own_logprobs("llama", context)
        assert torch.equal(by_lens["logit"].top1_id[-1], own.argmax(-1))


def test_a_family_that_breaks_in_a_tree_goes_on_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise IndexError("a tensor of another shape")

    monkeypatch.setattr(sharing, "tree_states", broken)
    engine = LensEngine(tiny_model("llama"))
    found = list(engine.statistics(QUESTIONS))
    assert engine.prefix_sharing == "sharing fails with IndexError: a tensor of another shape"
    assert [len(contexts) for contexts in found] == [6, 3, 1]


def test_what_breaks_later_is_no_reason_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LensEngine(tiny_model("llama"))
    list(engine.statistics(QUESTIONS[:1]))
    monkeypatch.setattr(sharing, "tree_states", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(engine.statistics(QUESTIONS[1:]))


def test_questions_in_one_tree_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    by_itself = [found for question in QUESTIONS for found in LensEngine(tiny_model("llama")).statistics([question])]
    monkeypatch.setattr(sharing, "room_for", lambda *_: Room(100, 64, several=True))
    together = list(LensEngine(tiny_model("llama")).statistics(QUESTIONS))
    for one, other in zip(by_itself, together, strict=True):
        for expected, found in zip(one, other, strict=True):
            assert torch.equal(expected["logit"].top1_id, found["logit"].top1_id)
            torch.testing.assert_close(expected["logit"].entropy, found["logit"].entropy, rtol=1e-4, atol=1e-4)


def test_a_linear_layer_that_is_not_the_models_ends_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    pack_linears = engine_module.pack_linears

    def wrong(model: Any, blocks: Sequence[nn.Module], matmul: Matmul) -> None:
        pack_linears(model, blocks, matmul)
        model.model.layers[1].mlp.down_proj.bias = torch.ones(32)

    monkeypatch.setattr(engine_module, "pack_linears", wrong)
    with pytest.raises(SelfCheckError, match="LlamaForCausalLM"):
        list(LensEngine(tiny_model("llama")).statistics(QUESTIONS))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_passes_its_own_check(dtype: torch.dtype) -> None:
    engine = LensEngine(tiny_model("llama").to(dtype))
    assert len(list(engine.statistics(QUESTIONS))) == 3
    assert engine.prefix_sharing == "shared"


def test_bf16_products_are_near_the_exact_ones_and_are_not_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_linears, "multiplies_bf16", lambda _: True)  # where it is not, it is emulated
    engine = LensEngine(tiny_model("llama"), "bf16")
    exact, rounded = (
        torch.cat([by_lens["logit"].target_logprob for by_lens in next(iter(made.statistics(QUESTIONS)))], dim=1)
        for made in (LensEngine(tiny_model("llama")), engine)
    )
    assert engine.prefix_sharing == "shared"
    assert 0 < (exact - rounded).abs().max() < 0.2


def test_a_job_uses_no_more_threads_than_there_are_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3}, raising=False)
        use_threads(1)
        assert torch.get_num_threads() == 1
        use_threads(64)
        assert torch.get_num_threads() == 2
        monkeypatch.delattr(os, "sched_getaffinity")
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
        use_threads(64)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
