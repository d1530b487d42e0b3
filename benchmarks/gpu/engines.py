"""The project's own lens, with each way of attending that it has."""

import inspect
from typing import Any

from transformers import PreTrainedModel

from benchmarks.gpu.contexts import Questions
from benchmarks.gpu.rows import TOP_K, Rows
from benchmarks.gpu.shapes import sharing_weights
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.engine import LensEngine, MakeLenses, logit_lens_alone
from lenscore.extraction.statistics import LensStatistics
from lenscore.models.loading import LoadedModel

# Whether the engine offers a choice of attention.
_HAS_CHOICE = "attention" in inspect.signature(CheckedRun).parameters


def attentions(device: str) -> tuple[str, ...]:
    """Return the ways of attending that there are on a device."""
    return ("sdpa", "flex") if _HAS_CHOICE and device == "cuda" else ("sdpa",)


def checked_run(model: PreTrainedModel, attention: str = "sdpa") -> CheckedRun:
    """Return a run of the model, which itself is left as it is."""
    choice: dict[str, Any] = {"attention": attention} if _HAS_CHOICE else {}
    return CheckedRun(LoadedModel.of(sharing_weights(model)), **choice)


def statistics(
    run: CheckedRun, questions: Questions, make_lenses: MakeLenses = logit_lens_alone
) -> dict[str, list[LensStatistics]]:
    """Return what each lens says, by its name, context by context."""
    found = [
        by_lens for of_question in LensEngine(run).statistics(questions, make_lenses, TOP_K) for by_lens in of_question
    ]
    return {name: [by_lens[name] for by_lens in found] for name in found[0]}


def logit_rows(run: CheckedRun, questions: Questions) -> Rows:
    """Return what the logit lens says."""
    return Rows.of_statistics(statistics(run, questions)["logit"])
