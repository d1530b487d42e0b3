"""The project's own lens, with each way of attending that it has."""

from transformers import PreTrainedModel

from benchmarks.gpu.contexts import Questions
from benchmarks.gpu.rows import TOP_K, Rows
from benchmarks.gpu.shapes import sharing_weights
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.engine import LensEngine, MakeLenses, logit_lens_alone
from lenscore.extraction.statistics import LensStatistics
from lenscore.models.loading import LoadedModel
from lenscore.prefix_tree.attention import AttentionKind

# The ways of attending, the project's default first. The other one is compiled where it runs.
ATTENTIONS: tuple[AttentionKind, ...] = ("sdpa", "flex")


def checked_run(model: PreTrainedModel, attention: AttentionKind = "sdpa") -> CheckedRun:
    """Return a run of the model, which itself is left as it is."""
    return CheckedRun(LoadedModel.of(sharing_weights(model)), attention=attention)


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
