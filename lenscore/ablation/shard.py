"""One ablation job: one model over the contexts of one shard, with each of its blocks ablated."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from safetensors import SafetensorError
from safetensors.torch import load_file

from lenscore.ablation.context import AblatedContext, donors_of
from lenscore.ablation.engine import AblationEngine, variants_of
from lenscore.ablation.means import Means
from lenscore.ablation.tables import ABLATIONS
from lenscore.contexts.context import Context
from lenscore.errors import ContextError, DamagedFileError
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.facts import job_facts
from lenscore.extraction.fitting import fit_contexts, group_by_question, window_of
from lenscore.extraction.progress import Progress
from lenscore.extraction.statistics import LensStatistics
from lenscore.extraction.tokens import ContextTokenizer, TokenisedContext
from lenscore.hashes import advice
from lenscore.models.device import use_threads
from lenscore.models.loading import LoadedModel
from lenscore.sources.pretrained import load_tokenizer
from lenscore.study.ablation import Replacement, Scope
from lenscore.study.run_settings import RunSettings

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ShardAblations:
    """The results of a job on its shard: a table of ``records``, and facts about the job and the model."""

    ablations: pa.Table
    facts: dict[str, Any]


def ablate_shard(
    contexts: Sequence[Context],
    model_folder: Path,
    *,
    n_questions: int,
    settings: RunSettings,
    documents: Sequence[int] | None,
    replacements: Sequence[Replacement],
    scopes: Sequence[Scope],
    means: Path | None,
    device: str,
    threads: int,
) -> ShardAblations:
    """Ablate every block, one after the other, in the contexts of those of a shard's questions that are to be ablated.

    Args:
        contexts: the shard's, each question's together.
        model_folder: safetensors, config and tokenizer.
        n_questions: how many of the study's first questions are ablated; the shard may have fewer of them, or none.
        settings: precision, window, and what to do with a context that is longer.
        documents: numbers of documents of the contexts; None for all.
        replacements: what replaces a block's contribution.
        scopes: at which tokens.
        means: the blocks' mean contributions (``reference_means``); None where no replacement needs them.
        device: where to run.
        threads: CPU threads.

    Raises:
        ContextError: a context cannot be tokenised or does not fit, or means are missing or of another model.
        DamagedFileError: the file of means cannot be read.
        ArchitectureError: a part of the model was not found.
        SelfCheckError: the model with nothing ablated is not the model.
    """
    use_threads(threads)
    run = CheckedRun.load(model_folder, settings.dtype, settings.matmul, device)
    tokenizer = ContextTokenizer(load_tokenizer(model_folder), settings.chat, run.loaded.n_embeddings)
    window = window_of(run.loaded.n_positions, settings.window)
    # A question's contexts are all cut to one budget: hence those that are not ablated are fitted too.
    of_questions = [context for context in contexts if context.question_place < n_questions]
    all_fitted = list(fit_contexts(of_questions, tokenizer, settings.overflow, window))
    fitted = [context for context in all_fitted if context.context.can_be_ablated(documents)]
    by_question = group_by_question(fitted)
    donors: dict[str, TokenisedContext] = {}
    if "resample" in replacements:
        donors = donors_of([pair for pairs in group_by_question(all_fitted) for pair in pairs])
        with_donor = [[pair for pair in pairs if pair[0].context_id in donors] for pairs in by_question]
        by_question = [pairs for pairs in with_donor if pairs]
    found = AblationEngine(run).predictions(
        [[AblatedContext.of(pair, scopes, donors.get(pair[0].context_id)) for pair in pairs] for pairs in by_question],
        scopes,
        replacements,
        None if means is None else _read_means(means, run.loaded, scopes),
    )
    progress = Progress(by_question, n_skipped=sum(context.tokens is None for context in fitted))
    batches = []
    for pairs in by_question:
        for context, tokens in pairs:
            for scope, statistics in next(found).items():
                columns = _columns(tokens, scope, replacements, statistics, run.loaded.n_layers)
                columns["context_id"] = [context.context_id] * len(columns["block"])
                batches.append(pa.RecordBatch.from_pydict(columns, schema=ABLATIONS))
        progress.done(pairs)
    return ShardAblations(pa.Table.from_batches(batches, schema=ABLATIONS), job_facts(run, window))


def _read_means(path: Path, loaded: LoadedModel, scopes: Sequence[Scope]) -> Means:
    try:
        means: Mapping[Scope, Tensor] = load_file(path)  # type: ignore[assignment]
    except (OSError, SafetensorError) as error:
        raise DamagedFileError(f"{path}: cannot be read: {error}; {advice([str(path)])}") from None
    expected = (loaded.n_layers, loaded.width)
    if set(scopes) - means.keys() or any(tuple(mean.shape) != expected for mean in means.values()):
        shapes = {scope: tuple(mean.shape) for scope, mean in means.items()}
        wanted = " and ".join(scopes)
        raise ContextError(
            f"{path}: mean contributions {shapes}; the model needs {expected} for {wanted} (a part of the prompt that "
            "has no tokens has no mean: leave it out of ablation.scopes)"
        )
    return means


def _columns(
    tokens: TokenisedContext,
    scope: Scope,
    replacements: Sequence[Replacement],
    statistics: LensStatistics,
    n_layers: int,
) -> dict[str, list[Any]]:
    """Return the rows of one context and scope: variant by variant, and in it token by token."""
    variants = variants_of(n_layers, replacements)
    n_tokens = len(tokens.answer_ids)

    def each_token(values: Iterator[Any]) -> list[Any]:
        return [value for value in values for _ in range(n_tokens)]

    return {
        "answer_index": list(range(n_tokens)) * len(variants),
        "scope": [scope] * (n_tokens * len(variants)),
        "replacement": each_token(variant.replacement or "none" for variant in variants),
        "block": each_token(variant.block for variant in variants),
        "top1_id": statistics.top1_id.flatten().tolist(),
        "top1_logprob": statistics.top1_logprob.flatten().tolist(),
        "target_id": tokens.answer_ids * len(variants),
        "target_logprob": statistics.target_logprob.flatten().tolist(),
        "target_rank": statistics.target_rank.flatten().tolist(),
        "kl_from_intact": statistics.kl_to_final.flatten().tolist(),
    }
