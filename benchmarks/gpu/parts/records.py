"""Records: the contexts of a small study, over a model of SmolLM2-135M's size, on the device and on the CPU."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks.gpu.contexts import Questions, made_questions, tokenised_questions
from benchmarks.gpu.engines import ATTENTIONS, checked_run, statistics
from benchmarks.gpu.plain import plain_rows
from benchmarks.gpu.plan import Line, Setting
from benchmarks.gpu.rows import EXACT, Rows, agreement
from benchmarks.gpu.shapes import config_of, on_device, random_model
from lenscore.extraction.statistics import LensStatistics
from lenscore.models.device import use_threads

_SHAPE = "smollm2-135m"
_QUESTIONS, _DOCUMENTS, _POSITIONS = 2, 6, 3
# A container may show more processors than it may use; more threads than processors wait for one another.
_MOST_THREADS = 16


def run(setting: Setting) -> Iterator[Line]:
    """Yield how the device's records compare with plain transformers', and with the engine's, on the CPU."""
    use_threads(min(_MOST_THREADS, torch.get_num_threads()))
    model, questions, weights = _model_and_questions(setting)
    about = {"weights": weights, "contexts": sum(map(len, questions))}
    contexts = [context for question in questions for context in question]
    plain = plain_rows(model, contexts, batch=1)
    on_cpu = None
    for attention in ATTENTIONS:
        checked = checked_run(on_device(model, setting.device), attention)
        found = statistics(checked, questions)["logit"]
        line = {"kind": "records", **about, "attention": attention, "sharing": checked.prefix_sharing}
        yield {**line, "reference": "plain transformers, CPU", **_compared(Rows.of_statistics(found), plain)}
        if setting.device == "cuda":
            on_cpu = on_cpu or statistics(checked_run(model), questions)["logit"]
            rows = _compared(Rows.of_statistics(found), Rows.of_statistics(on_cpu))
            yield {**line, "reference": "the engine, CPU", **rows, **_other_columns(found, on_cpu)}


def _model_and_questions(setting: Setting) -> tuple[PreTrainedModel, Questions, str]:
    if setting.model is not None:
        folder = Path(setting.model)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        return model, tokenised_questions(folder, _QUESTIONS, _DOCUMENTS, _POSITIONS), folder.name
    config = config_of(_SHAPE, setting.small)
    questions = made_questions(_QUESTIONS, _DOCUMENTS, _POSITIONS, config.vocab_size, setting.small)
    return random_model(config, torch.float32, "cpu"), questions, f"random, of {_SHAPE}'s shape"


def _compared(found: Rows, expected: Rows) -> Line:
    compared = agreement(found, expected, EXACT.lead)
    return {**compared.as_line(), "allowed": EXACT.largest, "holds": compared.within(EXACT)}


def _other_columns(found: Sequence[LensStatistics], expected: Sequence[LensStatistics]) -> Line:
    """Compare what a record has beside top-1 and target."""

    def apart(name: str) -> torch.Tensor:
        pairs = zip(found, expected, strict=True)
        return torch.cat([(getattr(one, name) - getattr(other, name)).abs() for one, other in pairs], dim=1)

    return {
        "entropy_difference": apart("entropy").max().item(),
        "kl_difference": apart("kl_to_final").max().item(),
        "other_ranks": int((apart("target_rank") > 0).sum()),
    }
