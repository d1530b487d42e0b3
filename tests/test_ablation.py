"""Ablated blocks: every variant is the model's own code with a hook that takes one block's contribution away."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from lenscore.ablation import engine as ablation
from lenscore.ablation.engine import AblationEngine, Variant, variants_of
from lenscore.ablation.means import Means, mean_contributions
from lenscore.errors import SelfCheckError
from lenscore.extraction import checked_run
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.engine import LensEngine
from lenscore.extraction.statistics import LensStatistics
from lenscore.extraction.tokens import TokenisedContext
from lenscore.models.architecture import find_architecture
from lenscore.models.loading import LoadedModel
from lenscore.prefix_tree import sharing
from lenscore.prefix_tree.attention import AttentionKind
from lenscore.prefix_tree.limits import Limits
from lenscore.study.ablation import Replacement, Scope
from tests.attention_kinds import family_and_attention
from tests.tiny_models import FAMILIES, LAYERS, a_question, tiny_model, token_ids

SCOPES: list[Scope] = ["all", "answer"]
REPLACEMENTS: list[Replacement] = ["skip", "mean"]
WIDTH = 32
VARIANTS = variants_of(LAYERS, REPLACEMENTS)


def some_means() -> Means:
    generator = torch.Generator().manual_seed(5)
    return {scope: torch.randn(LAYERS, WIDTH, generator=generator) for scope in SCOPES}


@contextmanager
def hooked(block: nn.Module, rows: Sequence[int], mean: Tensor | None) -> Iterator[None]:
    """Put the block's input, and the mean where there is one, in the place of its output at ``rows``."""

    def replace(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        state = (output[0] if isinstance(output, tuple) else output).clone()
        entering = args[0] if args else kwargs["hidden_states"]
        state[0, rows] = entering[0, rows] + (0 if mean is None else mean)
        return (state, *output[1:]) if isinstance(output, tuple) else state

    handle = block.register_forward_hook(replace, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def reference(
    model: PreTrainedModel, context: TokenisedContext, scope: Scope, variant: Variant, means: Means
) -> Tensor:
    """Return log-probabilities (answer tokens, vocabulary) of the model's own code on one context alone."""
    positions = list(context.predicting_positions)
    ids = torch.tensor([context.ids])
    with torch.inference_mode():
        if variant.block == 0:
            logits = model(input_ids=ids, use_cache=False).logits
        else:
            rows = list(range(len(context.ids))) if scope == "all" else positions
            mean = means[scope][variant.block - 1] if variant.replacement == "mean" else None
            with hooked(find_architecture(model).blocks[variant.block - 1], rows, mean):
                logits = model(input_ids=ids, use_cache=False).logits
    return torch.log_softmax(logits[0, positions].float(), -1)


def an_engine(family: str, dtype: torch.dtype = torch.float32, attention: AttentionKind = "sdpa") -> AblationEngine:
    return AblationEngine(CheckedRun(LoadedModel.of(tiny_model(family).to(dtype)), attention=attention))


def predicted(
    engine: AblationEngine, questions: Sequence[Sequence[TokenisedContext]], **kwargs: Any
) -> list[Mapping[Scope, LensStatistics]]:
    return list(engine.predictions(questions, SCOPES, REPLACEMENTS, some_means(), **kwargs))


def hold_against_hooks(
    family: str, contexts: Sequence[TokenisedContext], found: Sequence[Mapping[Scope, LensStatistics]]
) -> None:
    model, means = tiny_model(family), some_means()
    assert len(found) == len(contexts)
    for context, by_scope in zip(contexts, found, strict=True):
        targets = torch.tensor(context.answer_ids)[:, None]
        for scope, of_scope in by_scope.items():
            intact = reference(model, context, scope, VARIANTS[-1], means)
            assert of_scope.top1_id.shape == (len(VARIANTS), len(context.answer_ids))
            for index, variant in enumerate(VARIANTS):
                own = reference(model, context, scope, variant, means)
                said = f"{family}, {scope}, {variant}"
                torch.testing.assert_close(
                    of_scope.target_logprob[index], own.gather(1, targets)[:, 0], rtol=1e-4, atol=2e-4, msg=said
                )
                assert torch.equal(of_scope.top1_id[index], own.argmax(-1)), said
                divergence = (intact.exp() * (intact - own)).sum(-1)
                torch.testing.assert_close(of_scope.kl_to_final[index], divergence, rtol=1e-3, atol=5e-4, msg=said)
            assert of_scope.kl_to_final[-1].abs().max() < 1e-5


def test_variants_stand_block_by_block_and_the_intact_one_last() -> None:
    assert variants_of(2, ["mean", "skip"]) == [
        Variant(1, "mean"), Variant(1, "skip"), Variant(2, "mean"), Variant(2, "skip"), Variant(0, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("family", "attention"),
    [
        family_and_attention(name, attention)
        for name, family in FAMILIES.items()
        if family.ablates
        for attention in get_args(AttentionKind)
    ],
)
def test_every_variant_is_the_models_own_code_with_a_block_taken_out(family: str, attention: AttentionKind) -> None:
    questions = [a_question()[1:5:2], a_question()[5:]]
    engine = an_engine(family, attention=attention)
    found = predicted(engine, questions)
    assert (engine.run.prefix_sharing == "shared") == FAMILIES[family].shares, engine.run.prefix_sharing
    assert engine.run.self_check_difference is not None
    hold_against_hooks(family, [context for question in questions for context in question], found)


def test_blocks_that_hand_on_more_than_the_stream_are_not_ablated() -> None:
    with pytest.raises(
        SelfCheckError, match=r"model_type zaya\): with nothing ablated, .* set ablation\.questions to 0"
    ):
        predicted(an_engine("zaya"), [a_question()[1:3]])


def test_small_limits_and_several_questions_a_tree_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    questions = [a_question()[:2], a_question()[4:], [TokenisedContext(token_ids(30).tolist()[0], 28, False)]]
    expected = predicted(an_engine("llama"), questions)
    for limits in (Limits(40, 7, mixes_questions=True), Limits(1000, 64, mixes_questions=True)):
        monkeypatch.setattr(sharing, "limits_for", lambda _, limits=limits: limits)
        found = predicted(an_engine("llama"), questions)
        for one, other in zip(expected, found, strict=True):
            for scope in SCOPES:
                assert torch.equal(one[scope].top1_id, other[scope].top1_id)
                torch.testing.assert_close(one[scope].target_logprob, other[scope].target_logprob, rtol=1e-4, atol=1e-4)


def test_an_answer_of_one_token_and_one_context_are_enough() -> None:
    context = TokenisedContext(token_ids(12).tolist()[0], 11, False)
    hold_against_hooks("gpt2", [context], predicted(an_engine("gpt2"), [[context]]))


@pytest.mark.parametrize("family", ["llama", "gptj"])
def test_a_model_of_one_block(family: str) -> None:
    config = FAMILIES[family].config()
    setattr(config, "num_hidden_layers" if family == "llama" else "n_layer", 1)
    config.layer_types = None
    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    contexts = a_question()
    means = {scope: mean[:1] for scope, mean in some_means().items()}
    expected = {
        (index, scope): torch.stack(
            [reference(model, context, scope, variant, means) for variant in variants_of(1, REPLACEMENTS)]
        )
        for index, context in enumerate(contexts)
        for scope in SCOPES
    }
    found = list(AblationEngine(CheckedRun(LoadedModel.of(model))).predictions([contexts], SCOPES, REPLACEMENTS, means))
    for index, context in enumerate(contexts):
        for scope in SCOPES:
            targets = torch.tensor(context.answer_ids)[None, :, None].expand(3, -1, 1)
            own = expected[index, scope].gather(2, targets)[:, :, 0]
            torch.testing.assert_close(found[index][scope].target_logprob, own, rtol=1e-4, atol=1e-4)
            # Without its one block the model sees the last token alone: both scopes are one.
            torch.testing.assert_close(found[index]["all"].top1_id[0], found[index]["answer"].top1_id[0])


def test_the_model_is_put_back_and_goes_on_with_other_questions() -> None:
    model = tiny_model("llama")
    engine = AblationEngine(CheckedRun(LoadedModel.of(model)))
    first = predicted(engine, [a_question()])
    assert not any("forward" in vars(block) for block in model.model.layers)
    again = predicted(engine, [a_question()])
    assert torch.equal(first[2]["answer"].target_logprob, again[2]["answer"].target_logprob)
    assert predicted(engine, []) == []


def test_lens_and_ablation_may_share_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run = CheckedRun(LoadedModel.of(tiny_model("llama")))
    with pytest.raises(AssertionError, match="no question has been given"):
        _ = run.runner
    (of_lens,) = LensEngine(run).statistics([a_question()])
    monkeypatch.setattr(checked_run, "pack_linears", lambda *_: pytest.fail("packed twice"))
    of_ablation = predicted(AblationEngine(run), [a_question()])
    for by_lens, by_scope in zip(of_lens, of_ablation, strict=True):
        for statistics in by_scope.values():
            torch.testing.assert_close(
                statistics.target_logprob[-1], by_lens["logit"].target_logprob[-1], rtol=1e-4, atol=1e-4
            )


def test_half_precision_passes_its_own_check() -> None:
    engine = an_engine("llama", torch.bfloat16)
    assert len(predicted(engine, [a_question()])) == 6
    assert engine.run.prefix_sharing == "shared"


def test_an_intact_run_that_is_not_the_model_ends_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    ablate_in_one_pass = ablation.ablate_in_one_pass
    monkeypatch.setattr(ablation, "ablate_in_one_pass", lambda *arguments: ablate_in_one_pass(*arguments) * 1.01)
    with pytest.raises(
        SelfCheckError, match=r"LlamaForCausalLM.*share of 0\.01.*scope: answer.*ablation\.questions to 0"
    ):
        predicted(an_engine("llama"), [a_question()])


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "gptj", "phi3-longrope"])
def test_means_are_those_of_a_loop_with_hooks(family: str) -> None:
    model = tiny_model(family)
    contexts = a_question()
    found = mean_contributions(LoadedModel.of(model), contexts)
    rows: dict[tuple[Scope, int], list[Tensor]] = {}

    def keep(index: int, context: TokenisedContext, args: Any, kwargs: Any, output: Any) -> None:
        entering = args[0] if args else kwargs["hidden_states"]
        contribution = ((output[0] if isinstance(output, tuple) else output) - entering)[0, :-1]
        rows.setdefault(("all", index), []).extend(contribution)
        rows.setdefault(("answer", index), []).extend(contribution[len(context.ids) - 1 - len(context.answer_ids) :])

    for context in contexts:
        handles = [
            block.register_forward_hook(
                lambda _, args, kwargs, output, index=index, context=context: keep(
                    index, context, args, kwargs, output
                ),
                with_kwargs=True,
            )
            for index, block in enumerate(find_architecture(model).blocks)
        ]
        with torch.inference_mode():
            model(input_ids=torch.tensor([context.ids]), use_cache=False)
        for handle in handles:
            handle.remove()
    for scope in SCOPES:
        expected = torch.stack([torch.stack(rows[scope, index]).mean(0) for index in range(LAYERS)])
        assert found[scope].dtype == torch.float32
        torch.testing.assert_close(found[scope], expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found["all"], found["answer"])
