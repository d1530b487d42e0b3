"""Parity: a tiny model of each family on the device, compared with the family's own code on the CPU."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from benchmarks.gpu import reference
from benchmarks.gpu.engines import ATTENTIONS, checked_run, logit_rows, statistics
from benchmarks.gpu.plan import Line, Setting
from benchmarks.gpu.process import guarded
from benchmarks.gpu.rates import float32_products
from benchmarks.gpu.rows import EXACT, Agreement, Rows, agreement
from benchmarks.gpu.shapes import on_device
from lenscore.ablation.engine import AblationEngine
from lenscore.errors import SelfCheckError
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.statistics import lens_statistics
from lenscore.lenses.lens import Lens
from lenscore.lenses.logit import LogitLens
from lenscore.lenses.tuned import Translators, TunedLens
from lenscore.models.loading import LoadedModel
from lenscore.prefix_tree.attention import AttentionKind
from lenscore.prefix_tree.sharing import ContextRunner
from lenscore.study.ablation import Replacement, Scope
from tests.tiny_models import FAMILIES, LAYERS, a_question, tiny_model

# Learnt positions, rotary ones, sliding windows, soft caps, experts, logit scales, and one whose contexts run alone.
_FAMILIES = (
    "llama", "gpt2", "mixtral", "gptj", "gpt-neox", "opt", "mistral-window", "qwen2", "qwen3-moe", "gemma2", "gemma3",
    "phi3", "olmo2", "cohere", "granite",
)  # fmt: skip
_FAMILIES_ON_CPU = 4
# For attention that is compiled for each family, which takes time: none, a sliding window, a soft cap.
_COMPILED_FAMILIES = ("llama", "mistral-window", "gemma2")

_QUESTIONS = (a_question(), a_question()[3:])
_CONTEXTS = [context for question in _QUESTIONS for context in question]
_WIDTH = 32
_REPLACEMENTS: list[Replacement] = ["skip", "mean"]
_SCOPES: list[Scope] = ["all", "answer"]

# How many times as far from float32 as plain bfloat16 on the CPU the device may be: it rounds in another order. What
# plain bfloat16 is off by may be little, by chance: then this many nats are allowed.
_TIMES_PLAIN_ROUNDING = 3.0
_LEAST_ROUNDING = 0.01


def run(setting: Setting) -> Iterator[Line]:
    """Yield a line for each family and way of running it."""
    for family in _FAMILIES[:_FAMILIES_ON_CPU] if setting.small else _FAMILIES:
        yield from guarded({"case": family}, partial(_of_family, family, setting.device))
    for attention in ATTENTIONS[1:]:
        for family in _COMPILED_FAMILIES:
            yield from guarded(
                {"case": f"{family}, {attention}"}, partial(_attended, family, setting.device, attention)
            )


def _of_family(family: str, device: str) -> Iterator[Line]:
    expected, translators = reference.lens_rows(_model(family), _CONTEXTS), _translators()
    run = checked_run(on_device(_model(family), device))
    found = _logit_and_tuned(run, translators)
    yield _shared(family, "sdpa", found["logit"], expected, run)
    tuned = reference.lens_rows(_model(family), _CONTEXTS, translators)
    yield _exact(family, "float32, tuned lens", found["tuned"], tuned)
    yield _exact(family, "float32, alone", _alone(on_device(_model(family), device)), expected)
    yield from _ablated(family, device)
    yield from _in_bfloat16(family, device)
    if device == "cuda":
        yield _with_tf32(family, device, expected)


def _with_tf32(family: str, device: str, expected: Rows) -> Line:
    """Show what TF32 costs. Nothing is claimed of it: the self-check, which expects float32, may refuse it."""
    case = "float32 with TF32: what it costs"
    run = checked_run(on_device(_model(family), device))
    with float32_products("high"):
        try:
            rounded = logit_rows(run, _QUESTIONS)
        except SelfCheckError as error:
            return {"kind": "parity", "family": family, "case": f"{case}: refused, {error}", "holds": None}
    return {**_line(family, case, agreement(rounded, expected, EXACT.lead), None, None), "sharing": run.prefix_sharing}


def _model(family: str) -> PreTrainedModel:
    """Return a family's tiny model on the CPU, the same at every call."""
    model: PreTrainedModel = tiny_model(family)
    if getattr(model.config, "attn_logit_softcapping", None) is not None:
        # transformers 5.17 lets SDPA run such a model and ignore the cap: it would be no reference.
        model.set_attn_implementation("eager")
    return model


def _attended(family: str, device: str, attention: AttentionKind) -> Iterator[Line]:
    """Compare another way of attending than SDPA."""
    run = checked_run(on_device(_model(family), device), attention)
    found = logit_rows(run, _QUESTIONS)
    yield _shared(family, attention, found, reference.lens_rows(_model(family), _CONTEXTS), run)


def _logit_and_tuned(run: CheckedRun, translators: Translators) -> dict[str, Rows]:
    def lenses(loaded: LoadedModel) -> dict[str, Lens]:
        tuned = TunedLens(loaded.unembedding, translators.to(loaded.device))
        return {"logit": LogitLens(loaded.unembedding), "tuned": tuned}

    return {name: Rows.of_statistics(found) for name, found in statistics(run, _QUESTIONS, lenses).items()}


def _translators() -> Translators:
    """Return random translators of every layer but the last."""
    draw = torch.Generator().manual_seed(11)
    weights = torch.randn(LAYERS, _WIDTH, _WIDTH, generator=draw) * 0.1
    return Translators(weights, torch.randn(LAYERS, _WIDTH, generator=draw) * 0.1)


def _alone(model: PreTrainedModel) -> Rows:
    """Return what the lens says of contexts that run one by one."""
    loaded = LoadedModel.of(model)
    runner, lens = ContextRunner(loaded), LogitLens(loaded.unembedding)
    return Rows.of_statistics(
        [
            lens_statistics(lens, runner.states_of_one(context), torch.tensor(context.answer_ids), top_k=5)
            for context in _CONTEXTS
        ]
    )


def _ablated(family: str, device: str) -> Iterator[Line]:
    found = _ablation_rows(on_device(_model(family), device))
    for scope in _SCOPES:
        expected = reference.ablated_rows(_model(family), _CONTEXTS, scope == "all", _means())
        yield _exact(family, f"float32, ablated, {scope} tokens", found[scope], expected)


def _ablation_rows(model: PreTrainedModel) -> dict[Scope, Rows]:
    engine = AblationEngine(checked_run(model))
    found = list(engine.predictions(_QUESTIONS, _SCOPES, _REPLACEMENTS, dict.fromkeys(_SCOPES, _means())))
    return {scope: Rows.of_statistics([by_scope[scope] for by_scope in found]) for scope in _SCOPES}


def _means() -> Tensor:
    return torch.randn(LAYERS, _WIDTH, generator=torch.Generator().manual_seed(5))


def _in_bfloat16(family: str, device: str) -> Iterator[Line]:
    """Compare bfloat16 on the device with float32, and the difference with that of plain bfloat16 on the CPU."""

    def exact() -> PreTrainedModel:
        model: PreTrainedModel = plain().float()
        return model

    def plain() -> PreTrainedModel:
        model: PreTrainedModel = _model(family).bfloat16()
        return model

    expected, rounded = (reference.lens_rows(model(), _CONTEXTS) for model in (exact, plain))
    run = checked_run(on_device(plain(), device))
    yield {**_rounded(family, "shared", logit_rows(run, _QUESTIONS), expected, rounded), "sharing": run.prefix_sharing}
    yield _rounded(family, "alone", _alone(on_device(plain(), device)), expected, rounded)
    ablated = _ablation_rows(on_device(plain(), device))
    for scope in _SCOPES:
        expected, rounded = (
            reference.ablated_rows(model(), _CONTEXTS, scope == "all", _means()) for model in (exact, plain)
        )
        yield _rounded(family, f"ablated, {scope} tokens", ablated[scope], expected, rounded)


def _rounded(family: str, case: str, found: Rows, exact: Rows, plain: Rows) -> Line:
    """Compare rows in bfloat16 with float32's, as far as those of plain bfloat16 on the CPU are from them."""
    of_plain = agreement(plain, exact, EXACT.lead)
    compared = agreement(found, exact, EXACT.lead)
    allowed = max(_LEAST_ROUNDING, _TIMES_PLAIN_ROUNDING * of_plain.mean)
    line = _line(family, f"bfloat16, {case}", compared, compared.mean <= allowed, allowed)
    return {**line, "plain_mean_difference": of_plain.mean}


def _shared(family: str, attention: str, found: Rows, expected: Rows, run: CheckedRun) -> Line:
    """Compare a pass over a tree, which must be one where the family allows it."""
    line = _exact(family, f"float32, shared, {attention}", found, expected)
    as_it_should = (run.prefix_sharing == "shared") == FAMILIES[family].shares
    return {**line, "sharing": run.prefix_sharing, "holds": line["holds"] and as_it_should}


def _exact(family: str, case: str, found: Rows, expected: Rows) -> Line:
    compared = agreement(found, expected, EXACT.lead)
    return _line(family, case, compared, compared.within(EXACT), EXACT.largest)


def _line(family: str, case: str, compared: Agreement, holds: bool | None, allowed: float | None) -> Line:
    return {
        "kind": "parity", "family": family, "case": case, **compared.as_line(), "allowed": allowed, "holds": holds,
    }  # fmt: skip
