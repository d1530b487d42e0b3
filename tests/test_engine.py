"""The engine: every question's statistics in order, checked against the model's own code, shared where it can be."""

import pytest
import torch
from torch import nn

from lenscore.errors import SelfCheckError
from lenscore.extraction import engine as engine_module
from lenscore.extraction import sharing
from lenscore.extraction.engine import LensEngine
from lenscore.extraction.products import BY_ONEDNN
from lenscore.extraction.tokens import TokenisedContext
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
    assert (engine.unshared is None) == FAMILIES[family].shares, engine.unshared
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
    assert engine.self_check_difference is None


def test_states_that_are_not_the_models_end_sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    tree_states = sharing.tree_states
    monkeypatch.setattr(sharing, "tree_states", lambda *args: tree_states(*args) * 1.01)
    engine = LensEngine(tiny_model("llama"))
    found = list(engine.statistics(QUESTIONS[:1]))
    assert engine.unshared is not None
    assert "differ by a share of 0.01" in engine.unshared
    own = own_logprobs("llama", QUESTIONS[0][2])
    assert torch.equal(found[0][2]["logit"].top1_id[-1], own.argmax(-1))


def test_a_linear_layer_that_is_not_the_models_ends_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    pack_linears = engine_module.pack_linears

    def wrong(model: nn.Module, matmul: str) -> None:
        pack_linears(model, matmul)  # type: ignore[arg-type]
        model.model.layers[1].mlp.down_proj.bias = torch.ones(32)  # type: ignore[union-attr]

    monkeypatch.setattr(engine_module, "pack_linears", wrong)
    with pytest.raises(SelfCheckError, match="LlamaForCausalLM"):
        list(LensEngine(tiny_model("llama")).statistics(QUESTIONS))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_passes_its_own_check(dtype: torch.dtype) -> None:
    engine = LensEngine(tiny_model("llama").to(dtype))
    assert len(list(engine.statistics(QUESTIONS))) == 3
    assert engine.unshared is None


def test_bf16_products_are_near_the_exact_ones_and_are_not_them() -> None:
    if torch.bfloat16 not in BY_ONEDNN:
        with pytest.raises(Exception, match="matmul: bf16"):
            list(LensEngine(tiny_model("llama"), "bf16").statistics(QUESTIONS))
        return
    engine = LensEngine(tiny_model("llama"), "bf16")
    exact, rounded = (
        torch.cat([by_lens["logit"].target_logprob for by_lens in next(iter(made.statistics(QUESTIONS)))], dim=1)
        for made in (LensEngine(tiny_model("llama")), engine)
    )
    assert engine.unshared is None
    assert 0 < (exact - rounded).abs().max() < 0.2
