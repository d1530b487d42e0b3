"""The engine: every question's statistics in order, checked against the model's own code, shared where it can be."""

import pytest
import torch

from lenscore.errors import SelfCheckError
from lenscore.extraction import checked_run
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.engine import LensEngine
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models import packed_linears
from lenscore.models.loading import LoadedModel
from lenscore.prefix_tree import sharing
from lenscore.prefix_tree.attention import AttentionKind
from lenscore.prefix_tree.key_value_cache import KeyValueCache
from lenscore.prefix_tree.limits import Limits
from lenscore.prefix_tree.tree import ContextTree
from lenscore.study.models import Matmul
from tests.tiny_models import FAMILIES, LAYERS, a_question, tiny_model

QUESTIONS = [a_question(), a_question()[3:], a_question()[:1]]


def an_engine(family: str, matmul: Matmul = "exact", dtype: torch.dtype = torch.float32) -> LensEngine:
    return LensEngine(CheckedRun(LoadedModel.of(tiny_model(family).to(dtype)), matmul))


def own_logprobs(family: str, context: TokenisedContext) -> torch.Tensor:
    with torch.inference_mode():
        logits = tiny_model(family)(input_ids=torch.tensor([context.ids]), use_cache=False).logits[0]
    return torch.log_softmax(logits.float(), -1)[list(context.predicting_positions)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_statistics_are_the_models_own(family: str) -> None:
    engine = an_engine(family)
    found = list(engine.statistics(QUESTIONS, top_k=3))
    assert (engine.run.prefix_sharing == "shared") == FAMILIES[family].shares, engine.run.prefix_sharing
    assert engine.run.self_check_difference is not None
    assert engine.run.self_check_difference < 1e-3
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


def test_a_second_call_uses_the_packed_model(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = an_engine("llama")
    first = list(engine.statistics(QUESTIONS[:1]))
    monkeypatch.setattr(checked_run, "pack_linears", lambda *_: pytest.fail("packed twice"))
    again = list(engine.statistics(QUESTIONS[:1]))
    assert torch.equal(first[0][0]["logit"].entropy, again[0][0]["logit"].entropy)


def test_nothing_to_do_is_no_failure() -> None:
    engine = an_engine("llama")
    assert list(engine.statistics([])) == []
    assert engine.run.prefix_sharing == "nothing was run"
    assert engine.run.self_check_difference is None


def test_states_that_are_not_the_models_end_sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    tree_states = sharing.tree_states

    def wrong_but_for_the_first_context(
        loaded: LoadedModel, tree: ContextTree, asked: list[int], chunk: int, attention: AttentionKind
    ) -> torch.Tensor:
        states = tree_states(loaded, tree, asked, chunk, attention)
        first = min(tree.places, key=lambda places: places[-1])
        follows = torch.tensor([place not in first for place in asked])
        return torch.where(follows[:, None], states * 1.01, states)

    monkeypatch.setattr(sharing, "tree_states", wrong_but_for_the_first_context)
    engine = an_engine("llama")
    found = list(engine.statistics(QUESTIONS[:1]))
    assert "differ by a share of 0.01" in engine.run.prefix_sharing
    for context, by_lens in zip(QUESTIONS[0], found[0], strict=True):
        own = own_logprobs("llama", context)
        assert torch.equal(by_lens["logit"].top1_id[-1], own.argmax(-1))


def break_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_range(*_: object) -> None:
        raise IndexError("a depth out of range")

    monkeypatch.setattr(KeyValueCache, "write", out_of_range)


def test_a_users_job_falls_back_when_sharing_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_the_cache(monkeypatch)
    monkeypatch.delenv(sharing.ON_SHARING_ERROR)
    engine = an_engine("llama")
    with caplog.at_level("INFO", logger="lenscore"):
        found = list(engine.statistics(QUESTIONS))
    assert engine.run.prefix_sharing == "sharing fails with IndexError: a depth out of range"
    assert f"one by one: {engine.run.prefix_sharing}" in caplog.text
    assert [len(contexts) for contexts in found] == [6, 3, 1]
    for context, by_lens in zip(QUESTIONS[1], found[1], strict=True):
        assert torch.equal(by_lens["logit"].top1_id[-1], own_logprobs("llama", context).argmax(-1))


def test_in_tests_the_same_bug_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    break_the_cache(monkeypatch)
    with pytest.raises(IndexError, match="a depth out of range"):
        list(an_engine("llama").statistics(QUESTIONS))


def test_a_later_group_that_cannot_share_runs_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = an_engine("llama")
    list(engine.statistics(QUESTIONS[:1]))
    assert engine.run.prefix_sharing == "shared"
    monkeypatch.delenv(sharing.ON_SHARING_ERROR)
    monkeypatch.setattr(sharing, "tree_states", lambda *_: 1 / 0)
    found = list(engine.statistics(QUESTIONS[1:]))
    assert engine.run.prefix_sharing == "sharing fails with ZeroDivisionError: division by zero"
    for contexts, by_context in zip(QUESTIONS[1:], found, strict=True):
        for context, by_lens in zip(contexts, by_context, strict=True):
            assert torch.equal(by_lens["logit"].top1_id[-1], own_logprobs("llama", context).argmax(-1))


def test_questions_in_one_tree_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    by_itself = [found for question in QUESTIONS for found in an_engine("llama").statistics([question])]
    monkeypatch.setattr(sharing, "limits_for", lambda _: Limits(100, 64, mixes_questions=True))
    together = list(an_engine("llama").statistics(QUESTIONS))
    for one, other in zip(by_itself, together, strict=True):
        for expected, found in zip(one, other, strict=True):
            assert torch.equal(expected["logit"].top1_id, found["logit"].top1_id)
            torch.testing.assert_close(expected["logit"].entropy, found["logit"].entropy, rtol=1e-4, atol=1e-4)


def test_a_linear_layer_that_is_not_the_models_ends_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    pack_linears = checked_run.pack_linears

    def wrong(loaded: LoadedModel, matmul: Matmul) -> LoadedModel:
        packed = pack_linears(loaded, matmul)
        packed.architecture.blocks[1].mlp.down_proj.bias = torch.ones(32)
        return packed

    monkeypatch.setattr(checked_run, "pack_linears", wrong)
    with pytest.raises(SelfCheckError, match="LlamaForCausalLM"):
        list(an_engine("llama").statistics(QUESTIONS))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_passes_its_own_check(dtype: torch.dtype) -> None:
    engine = an_engine("llama", dtype=dtype)
    assert len(list(engine.statistics(QUESTIONS))) == 3
    assert engine.run.prefix_sharing == "shared"


STATE_SPACE = ["mamba", "mamba2", "falcon-mamba", "zaya"]


@pytest.mark.parametrize("family", STATE_SPACE)
def test_a_residual_stream_in_float32_beside_a_head_in_half_precision(family: str) -> None:
    engine = an_engine(family, dtype=torch.bfloat16)
    found = next(iter(engine.statistics(QUESTIONS[2:])))[0]["logit"]
    (context,) = QUESTIONS[2]
    with torch.inference_mode():
        ids = torch.tensor([context.ids])
        logits = tiny_model(family).to(torch.bfloat16)(input_ids=ids, use_cache=False).logits[0]
    own = torch.log_softmax(logits.float(), -1)[list(context.predicting_positions)]
    targets = torch.tensor(context.answer_ids)[:, None]
    torch.testing.assert_close(found.target_logprob[-1], own.gather(1, targets)[:, 0], rtol=0, atol=0.05)
    assert engine.run.self_check_difference is not None


def test_bf16_products_are_near_the_exact_ones_and_are_not_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_linears, "multiplies_bf16", lambda _: True)  # where it is not, it is emulated
    engine = an_engine("llama", "bf16")
    exact, rounded = (
        torch.cat([by_lens["logit"].target_logprob for by_lens in next(iter(made.statistics(QUESTIONS)))], dim=1)
        for made in (an_engine("llama"), engine)
    )
    assert engine.run.prefix_sharing == "shared"
    assert 0 < (exact - rounded).abs().max() < 0.2
