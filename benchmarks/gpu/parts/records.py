"""Records: the contexts of a small study, over a model of SmolLM2-135M's size, on the device and on the CPU."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks.gpu.contexts import Questions, made_questions, tokenised_questions
from benchmarks.gpu.engines import ATTENTIONS, checked_run, statistics
from benchmarks.gpu.plain import plain_rows
from benchmarks.gpu.plan import Line, Setting
from benchmarks.gpu.rows import EXACT, ROUNDED, Rows, agreement
from benchmarks.gpu.shapes import config_of, on_device, random_model
from lenscore.ablation.means import mean_contributions
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.statistics import LensStatistics
from lenscore.models.device import use_threads
from lenscore.models.loading import load_model
from lenscore.models.products import multiplies_bf16

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
    with TemporaryDirectory() as scratch:
        yield from _from_files(model, questions[:1], Path(scratch), setting.device, about)


def _from_files(model: PreTrainedModel, questions: Questions, folder: Path, device: str, about: Line) -> Iterator[Line]:
    """Load the model from its files as a job does, and run it exactly, with rounded products, and for blocks' means."""
    model.save_pretrained(folder)
    contexts = [context for question in questions for context in question]
    plain = plain_rows(model, contexts, batch=1)
    about = {"kind": "records", **about, "contexts": len(contexts), "reference": "plain transformers, CPU"}
    exact = CheckedRun.load(folder, "float32", "exact", device)
    found = Rows.of_statistics(statistics(exact, questions)["logit"])
    yield {**about, "attention": "sdpa, from files", "sharing": exact.prefix_sharing, **_compared(found, plain)}
    if multiplies_bf16(torch.device(device)):
        rounded = CheckedRun.load(folder, "float32", "bf16", device)
        compared = agreement(Rows.of_statistics(statistics(rounded, questions)["logit"]), plain, ROUNDED.lead)
        line = {**compared.as_line(), "allowed": ROUNDED.mean, "holds": compared.within(ROUNDED)}
        yield {**about, "attention": "sdpa, matmul: bf16", "sharing": rounded.prefix_sharing, **line}
    own, expected = (mean_contributions(load_model(folder, "float32", where), contexts) for where in (device, "cpu"))
    for scope, mean in expected.items():
        apart = ((own[scope].cpu() - mean).norm() / mean.norm()).item()
        case = f"blocks' mean contributions, {scope} tokens"
        yield {"kind": "event", "case": case, "detail": f"a share of {apart:.0e}", "holds": apart < 1e-4}


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
        "jsd_difference": apart("jsd_to_final").max().item(),
        "other_ranks": int((apart("target_rank") > 0).sum()),
    }
