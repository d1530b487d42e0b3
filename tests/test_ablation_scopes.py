"""Ablation at parts of the prompt, and by what a block adds in another context: against plain hooks on transformers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lenscore.ablation.context import AblatedContext, donors_of
from lenscore.ablation.engine import AblationEngine, Variant, variants_of
from lenscore.ablation.means import Means, mean_contributions
from lenscore.contexts.build import build_contexts
from lenscore.errors import ConfigError, ContextError
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.parts import tokens_of_part
from lenscore.extraction.statistics import LensStatistics
from lenscore.extraction.tokens import ContextTokenizer, TokenisedContext
from lenscore.models.architecture import find_architecture
from lenscore.models.loading import LoadedModel
from lenscore.prefix_tree import sharing
from lenscore.prefix_tree.limits import Limits
from lenscore.study.ablation import PARTS, AblationSpec, Replacement, Scope
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.prompt import read_template, template_path
from lenscore.study.study import read_study
from tests.test_ablation import hooked
from tests.tiny_models import LAYERS, tiny_model, token_ids
from tests.tiny_tokenizers import gpt2_like
from tests.zoo import ZOO

WIDTH = 32
FAMILIES = ["llama", "gpt2", "gptj"]  # the last runs its contexts one by one


def a_question() -> list[AblatedContext]:
    """Return contexts of three documents, the gold one at each place, with another one for it in their donors.

    All documents begin with the same two tokens, as "Document [1]" does: those stand once in a tree, whether they are
    the gold document's or not.
    """
    head, first, second, gold, other, tail = (
        token_ids(n, seed).tolist()[0] for seed, n in enumerate((4, 9, 7, 8, 6, 5), start=20)
    )
    for document in (second, gold, other):
        document[:2] = first[:2]

    def context(documents: Sequence[list[int]]) -> list[int]:
        return [*head, *(token for document in documents for token in document), *tail]

    contexts = []
    for place in range(3):
        around = [first, second]
        documents, in_its_stead = ([*around[:place], one, *around[place:]] for one in (gold, other))
        start = len(head) + sum(map(len, documents[:place]))
        end = len(head) + sum(map(len, documents))
        ids, donor_ids = context(documents), context(in_its_stead)
        parts = {
            "documents": list(range(len(head), end)),
            "gold": list(range(start, start + len(gold))),
            "examples": list(range(len(head))),
            "question": [end, end + 1],
        }
        donor = TokenisedContext(donor_ids, len(donor_ids) - 2, False)
        contexts.append(AblatedContext(ids, len(ids) - 2, False, f"gold at {place}", parts=parts, donor=donor))
    return contexts


QUESTION = a_question()


def some_means() -> Means:
    generator = torch.Generator().manual_seed(5)
    return {scope: torch.randn(LAYERS, WIDTH, generator=generator) for scope in get_args(Scope)}


@contextmanager
def contributions_kept(block: nn.Module, kept: list[Tensor]) -> Iterator[None]:
    """Keep what a block adds to its input."""

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        state = output[0] if isinstance(output, tuple) else output
        kept.append((state - (args[0] if args else kwargs["hidden_states"]))[0].clone())

    handle = block.register_forward_hook(keep, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def reference(model: PreTrainedModel, context: AblatedContext, scope: Scope, variant: Variant) -> Tensor:
    """Return log-probabilities (answer tokens, vocabulary) of the model's own code on one context alone."""
    predicting = list(context.predicting_positions)
    with torch.inference_mode():
        if variant.block == 0:
            logits = model(input_ids=torch.tensor([context.ids]), use_cache=False).logits
        else:
            block = find_architecture(model).blocks[variant.block - 1]
            added = None
            if variant.replacement == "mean":
                added = some_means()[scope][variant.block - 1]
            elif variant.replacement == "resample":
                assert context.donor is not None
                kept: list[Tensor] = []
                with contributions_kept(block, kept):
                    model(input_ids=torch.tensor([context.donor.ids]), use_cache=False)
                added = kept[0][list(context.donor.predicting_positions)]
            rows = predicting if scope == "answer" else context.parts[scope]
            with hooked(block, rows, added):
                logits = model(input_ids=torch.tensor([context.ids]), use_cache=False).logits
    return torch.log_softmax(logits[0, predicting].float(), -1)


def predicted(
    family: str, scopes: Sequence[Scope], replacements: Sequence[Replacement]
) -> list[Mapping[Scope, LensStatistics]]:
    engine = AblationEngine(CheckedRun(LoadedModel.of(tiny_model(family))))
    found = list(engine.predictions([QUESTION], scopes, replacements, some_means()))
    assert (engine.run.prefix_sharing == "shared") == (family != "gptj")
    return found


def hold_against_hooks(
    family: str, scopes: Sequence[Scope], replacements: Sequence[Replacement], found: list[Mapping[Scope, Any]]
) -> None:
    model = tiny_model(family)
    for context, by_scope in zip(QUESTION, found, strict=True):
        targets = torch.tensor(context.answer_ids)[:, None]
        assert list(by_scope) == list(scopes)
        for scope, of_scope in by_scope.items():
            for index, variant in enumerate(variants_of(LAYERS, replacements)):
                own = reference(model, context, scope, variant)
                said = f"{family}, {context.name}, {scope}, {variant}"
                torch.testing.assert_close(
                    of_scope.target_logprob[index], own.gather(1, targets)[:, 0], rtol=1e-4, atol=2e-4, msg=said
                )
                assert torch.equal(of_scope.top1_id[index], own.argmax(-1)), said


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_are_ablated_as_hooks_at_their_tokens_do_it(family: str) -> None:
    replacements: list[Replacement] = ["skip", "mean"]
    found = predicted(family, PARTS, replacements)
    hold_against_hooks(family, PARTS, replacements, found)
    # Each part is another intervention.
    apart = torch.stack([found[0][part].target_logprob[0] for part in PARTS])
    assert len(apart.unique(dim=0)) == len(PARTS)


@pytest.mark.parametrize("family", FAMILIES)
def test_resampled_contributions_are_those_of_hooks_on_the_other_context(family: str) -> None:
    replacements: list[Replacement] = ["skip", "resample", "mean"]
    hold_against_hooks(family, ["answer"], replacements, predicted(family, ["answer"], replacements))


def test_what_is_resampled_in_small_trees_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A context's variants may be spread over trees, in which there is nothing of other contexts."""
    monkeypatch.setattr(sharing, "limits_for", lambda _: Limits(45, 7, mixes_questions=True))
    scopes: list[Scope] = ["answer"]
    hold_against_hooks("llama", scopes, ["resample"], predicted("llama", scopes, ["resample"]))


def test_a_context_resampled_from_itself_is_intact() -> None:
    itself = [AblatedContext(c.ids, c.answer_start, False, donor=c) for c in QUESTION]
    engine = AblationEngine(CheckedRun(LoadedModel.of(tiny_model("llama"))))
    for by_scope in engine.predictions([itself], ["answer"], ["resample"]):
        assert by_scope["answer"].kl_to_final.abs().max() < 1e-5


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_means_are_over_the_tokens_of_each_part(family: str) -> None:
    model = tiny_model(family)
    found = mean_contributions(LoadedModel.of(model), QUESTION)
    assert set(found) == set(get_args(Scope))
    for index, block in enumerate(find_architecture(model).blocks):
        kept: list[Tensor] = []
        with contributions_kept(block, kept), torch.inference_mode():
            for context in QUESTION:
                model(input_ids=torch.tensor([context.ids]), use_cache=False)
        for part in PARTS:
            rows = torch.cat([own[context.parts[part]] for context, own in zip(QUESTION, kept, strict=True)])
            torch.testing.assert_close(found[part][index], rows.mean(0), rtol=1e-4, atol=1e-4)
    # A part without tokens has no mean.
    without = [AblatedContext(c.ids, c.answer_start, False, parts={**c.parts, "examples": []}) for c in QUESTION]
    assert set(mean_contributions(LoadedModel.of(model), without)) == set(get_args(Scope)) - {"examples"}


def test_donors_are_the_contexts_with_another_document_in_the_gold_ones_place() -> None:
    spec = ContextSetSpec(documents=[2, 4], positions=2, orders=2, controls=["shuffled_gold", "oracle"])
    template = read_template(template_path("few_shot"))
    contexts, *_ = build_contexts(
        ZOO, ZOO[:2], first_place=0, set_name="main", spec=spec, template=template, missing_answer="error"
    )
    tokenizer = ContextTokenizer(gpt2_like())
    pairs = [(context, tokenizer.tokenise(context.segments, context.answer)) for context in contexts]
    by_id = {context.context_id: tokens for context, tokens in pairs}
    donors = donors_of(pairs)
    assert set(donors) == {context.context_id for context in contexts if context.is_primary}
    for name, donor in donors.items():
        assert donor == by_id[f"{name}/shuffled_gold"]
        assert donor.answer_ids == by_id[name].answer_ids
    # What does not fit gives nothing.
    assert donors_of([pair for pair in pairs if pair[0].condition != "shuffled_gold"]) == {}


def test_a_context_knows_the_parts_that_are_asked_for() -> None:
    spec = ContextSetSpec(documents=[2], positions=2)
    template = read_template(template_path("few_shot"))
    (context, *_), *_ = build_contexts(
        ZOO, ZOO[:1], first_place=0, set_name="main", spec=spec, template=template, missing_answer="error"
    )
    tokens = ContextTokenizer(gpt2_like()).tokenise(context.segments, context.answer)
    ablated = AblatedContext.of((context, tokens), ["all", "gold", "question"])
    assert ablated.parts == {part: tokens_of_part(context, tokens, part) for part in ("gold", "question")}
    assert (ablated.ids, ablated.predicting_positions) == (tokens.ids, tokens.predicting_positions)
    other = TokenisedContext([*tokens.ids, 9], tokens.answer_start, False)
    with pytest.raises(ContextError, match=r"the answer has other tokens than in its shuffled_gold context"):
        AblatedContext.of((context, tokens), ["answer"], other)


STUDY: dict[str, Any] = {
    "study": "s",
    "dataset": {"source": "embedded:questions"},
    "questions": 5,
    "context_sets": {
        "main": {"documents": [2, 3], "positions": 2, "controls": ["shuffled_gold"]},
        "other": {"documents": [5], "positions": 2},
    },
    "models": {"m": {"source": "path:m"}},
}


def test_resampling_needs_contexts_to_take_from_and_the_answers_tokens_alone() -> None:
    ablation = {"questions": 2, "documents": [2], "replacements": ["skip", "resample"], "scopes": ["answer"]}
    assert read_study({**STUDY, "ablation": ablation}).ablation == AblationSpec.model_validate(ablation)
    for scopes in (["all"], ["all", "answer"], ["answer", "documents"]):
        with pytest.raises(ConfigError, match=r"ablation.scopes: must be \[answer\] where replacements has resample"):
            read_study({**STUDY, "ablation": {**ablation, "scopes": scopes}})
    with pytest.raises(ConfigError, match=r"context_sets.other.controls: must have shuffled_gold where"):
        read_study({**STUDY, "ablation": {**ablation, "documents": None}})
