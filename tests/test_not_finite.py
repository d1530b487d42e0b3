"""NaN and infinity end the job that makes them, with the place and what to set; impossible tokens do not."""

import re
from collections.abc import Iterator

import pytest
import torch

from lenscore.ablation.engine import AblationEngine
from lenscore.ablation.means import mean_contributions
from lenscore.contexts.questions import Document
from lenscore.errors import NotFiniteError, SelfCheckError
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.engine import LensEngine
from lenscore.extraction.tokens import TokenisedContext
from lenscore.lenses.texts import LensTexts
from lenscore.lenses.training import train_lens
from lenscore.models.causal import refuse_not_causal
from lenscore.models.finite import first_not_finite
from lenscore.models.loading import LoadedModel
from lenscore.study.ablation import Scope
from lenscore.study.tuned_lens import TunedLensSpec
from tests.tiny_models import LAYERS, a_question, tiny_model
from tests.tiny_tokenizers import of_characters

OVERFLOWING = 5  # a token whose embedding is infinite in float16, and nothing special in float32
F16 = torch.float16


def overflowing(dtype: torch.dtype) -> LoadedModel:
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.embed_tokens.weight[OVERFLOWING] = 70_000.0
    return LoadedModel.of(model.to(dtype))


def questions() -> list[list[TokenisedContext]]:
    """Return two questions; the overflowing token is in the second one's second context, before its answer."""

    def renamed(ids: list[int], name: str) -> TokenisedContext:
        safe = [token if token != OVERFLOWING else OVERFLOWING + 1 for token in ids]
        return TokenisedContext(safe, len(safe) - 3, False, name)

    first, second = a_question()[:3], a_question()[3:5]
    clean = [renamed(context.ids, f"q1/{number}") for number, context in enumerate(first)]
    later = [renamed(context.ids, f"q2/{number}") for number, context in enumerate(second)]
    later[1].ids[6] = OVERFLOWING
    return [clean, later]


ADVICE = "in float16; float16 overflows above 65,504: set the model's dtype to bfloat16 or float32"


def said(place: str) -> str:
    return f"^{re.escape(f'LlamaForCausalLM (model_type llama): NaN or infinity {place}, {ADVICE}')}$"


def test_an_extraction_ends_at_the_context_that_overflows() -> None:
    found = LensEngine(CheckedRun(overflowing(F16))).statistics(questions())
    assert len(next(found)) == 3
    with pytest.raises(NotFiniteError, match=said("at layer 1 of context q2/1")):
        next(found)


def test_float32_does_not_overflow_there() -> None:
    assert len(list(LensEngine(CheckedRun(overflowing(torch.float32))).statistics(questions()))) == 2


def test_the_self_check_calls_an_overflow_an_overflow() -> None:
    with pytest.raises(NotFiniteError, match=said("at layer 0 of context q2/1")):
        list(LensEngine(CheckedRun(overflowing(F16))).statistics([questions()[1][1:]]))


def test_an_overflowing_head_is_no_other_head() -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        model.lm_head.weight.copy_(model.lm_head.weight.sign() * 60_000)
    with pytest.raises(NotFiniteError, match="in the model's own logits of context q1/"):
        list(LensEngine(CheckedRun(LoadedModel.of(model.to(F16)))).statistics(questions()))


@pytest.mark.parametrize("scope", ["all", "answer"])
def test_an_ablation_that_overflows_ends(scope: Scope) -> None:
    model = tiny_model("llama")
    with torch.no_grad():  # the second block takes away what the first one adds
        first, second = (layer.mlp.down_proj for layer in model.model.layers[:2])
        first.weight.zero_(), second.weight.zero_()
        first.bias = torch.nn.Parameter(torch.full((32,), 40_000.0))
        second.bias = torch.nn.Parameter(torch.full((32,), -40_000.0))
        model.model.layers[2].mlp.down_proj.bias = torch.nn.Parameter(torch.full((32,), 40_000.0))
    engine = AblationEngine(CheckedRun(LoadedModel.of(model.to(F16))))
    place = f"with block 2 ablated (replacement: skip, scope: {scope}) in context q1/0"
    with pytest.raises(NotFiniteError, match=said(place)):
        next(iter(engine.predictions(questions(), [scope], ["skip"])))


def test_means_that_overflow_end() -> None:
    contexts = [context for question in questions() for context in question]
    place = "in what block 1 adds to the residual stream, in context q2/1"
    with pytest.raises(NotFiniteError, match=said(place)):
        mean_contributions(overflowing(F16), contexts)
    assert first_not_finite(mean_contributions(overflowing(F16), contexts[:-1])["all"]) is None


def test_a_lens_is_not_trained_on_what_overflows() -> None:
    documents = [Document(f"q{number}", "", text) for number, text in enumerate(("abc abc", "cba cab", "cab b%ca"))]
    tokenizer = of_characters()
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.embed_tokens.weight[tokenizer.convert_tokens_to_ids("%")] = 70_000.0
    settings = TunedLensSpec(questions=1, held_out=2, tokens_per_document=6, steps=1)
    texts = LensTexts(documents[:1], documents[1:2], documents[2:])
    with pytest.raises(NotFiniteError, match=r"at layer \d of the document q2, which its tuned lens is to"):
        train_lens(LoadedModel.of(model.to(F16)), tokenizer, texts, settings)


def test_a_token_that_the_model_rules_out_is_no_fault() -> None:
    model = tiny_model("llama")
    target = questions()[0][0].answer_ids[0]
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(len(model.lm_head.weight)))
    with torch.no_grad():
        model.lm_head.bias[target] = -torch.inf
    found = next(LensEngine(CheckedRun(LoadedModel.of(model))).statistics(questions()))[0]["logit"]
    assert len(found.target_logprob) == LAYERS + 1
    assert (found.target_logprob[:, 0] < -1e38).all()
    assert found.top1_logprob.isfinite().all()


def bidirectional() -> Iterator[tuple[str, LoadedModel]]:
    gemma = tiny_model("gemma3")
    for layer in gemma.model.layers:
        layer.self_attn.is_causal = False
    gemma.config.use_bidirectional_attention = True
    yield "gemma3", LoadedModel.of(gemma)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, F16])
def test_a_model_that_reads_what_follows_is_refused(dtype: torch.dtype) -> None:
    for name, loaded in bidirectional():
        loaded.model.to(dtype)
        with pytest.raises(SelfCheckError, match=rf"model_type {name}.*it is not causal, and has read the answer"):
            list(LensEngine(CheckedRun(loaded)).statistics([a_question()]))


def test_a_text_of_one_kind_of_token_shows_it_too() -> None:
    for _, loaded in bidirectional():
        with pytest.raises(SelfCheckError, match="it is not causal"):
            refuse_not_causal(loaded, [5] * 40, "context a")
    refuse_not_causal(LoadedModel.of(tiny_model("gemma3")), [5] * 40, "context a")


def test_no_lens_is_trained_for_a_model_that_reads_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [Document(f"q{number}", "", text) for number, text in enumerate(("abc abc", "cba cab", "cab bcab"))]
    texts = LensTexts(documents[:1], documents[1:2], documents[2:])
    settings = TunedLensSpec(questions=1, held_out=2, tokens_per_document=6, steps=1)
    train_lens(LoadedModel.of(tiny_model("gemma3")), of_characters(), texts, settings)

    def fitted(*_: object) -> None:
        raise AssertionError("the lens was trained")

    monkeypatch.setattr("lenscore.lenses.training._fit", fitted)
    for name, loaded in bidirectional():
        with pytest.raises(SelfCheckError, match=rf"model_type {name}.*it is not causal, and has read the answer"):
            train_lens(loaded, of_characters(), texts, settings)


def test_a_context_of_two_tokens_can_be_checked() -> None:
    context = TokenisedContext([7, 9], 1, False)
    assert len(list(LensEngine(CheckedRun(LoadedModel.of(tiny_model("llama")))).statistics([[context]]))) == 1
