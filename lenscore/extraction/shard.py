"""One extraction job: one model over the contexts of one shard."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import transformers
from transformers import AutoTokenizer

from lenscore.contexts.context import Context
from lenscore.errors import ContextError
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.engine import LensEngine
from lenscore.extraction.fitting import FittedContext, fit_question
from lenscore.extraction.statistics import LensStatistics
from lenscore.extraction.tokens import ContextTokenizer, TokenisedContext
from lenscore.lenses.registry import load_lenses
from lenscore.models.device import use_threads
from lenscore.models.loading import LoadedModel
from lenscore.prefix_tree.attention_hook import IMPLEMENTATION
from lenscore.records import ANSWER_TOKENS, FITS, LAYER_RECORDS, refuse_too_many_blocks
from lenscore.study.extraction import ExtractionSpec
from lenscore.study.run_settings import Overflow, RunSettings

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0

Pair = tuple[Context, TokenisedContext]


@dataclass(frozen=True)
class ShardRecords:
    """The results of a job on its shard: tables of ``records``, and facts about the job and the model."""

    records: pa.Table
    answer_tokens: pa.Table
    fits: pa.Table
    facts: dict[str, Any]


def window_of(loaded: LoadedModel, wanted: int | None) -> int | None:
    """Return the most tokens a context may have: the config's limit, or the study's where that is smaller.

    Raises:
        ContextError: the study asks for more than the model has positions for.
    """
    n_positions = loaded.n_positions
    if wanted is None or n_positions is None:
        return wanted or n_positions
    if wanted > n_positions:
        raise ContextError(f"window: {wanted} is asked for, but the model has {n_positions} positions")
    return wanted


def extract_shard(
    contexts: Sequence[Context],
    model_folder: Path,
    *,
    settings: RunSettings,
    lenses: Mapping[str, Path | None],
    extraction: ExtractionSpec,
    threads: int,
) -> ShardRecords:
    """Run the lens over every layer, at the answer tokens of every context of a shard.

    Args:
        contexts: the shard's, each question's together.
        model_folder: safetensors, config and tokenizer.
        settings: precision, window, and what to do with a context that is longer.
        lenses: by name, the file of a trained lens; None for one that is not trained.
        extraction: what to keep of each distribution, and where to run.
        threads: CPU threads.

    Raises:
        ContextError: a context cannot be tokenised, or does not fit.
        ArchitectureError: a part of the model was not found.
        SourceError: a lens's file cannot be used with this model.
        SelfCheckError: the lens at the last layer is not the model.
    """
    use_threads(threads)
    run = CheckedRun.load(model_folder, settings.dtype, settings.matmul, extraction.device)
    refuse_too_many_blocks(run.loaded.name, run.loaded.n_layers)
    tokenizer = ContextTokenizer(AutoTokenizer.from_pretrained(model_folder, local_files_only=True))
    window = window_of(run.loaded, settings.window)
    fitted = list(fit_contexts(contexts, tokenizer, settings.overflow, window))
    by_question = group_by_question(fitted)
    found = LensEngine(run).statistics(
        [[tokens for _, tokens in pairs] for pairs in by_question],
        make_lenses=partial(load_lenses, lenses, model_folder),
        top_k=extraction.top_k,
    )
    shard = _Collector(tokenizer)
    progress = Progress(by_question, n_skipped=sum(context.tokens is None for context in fitted))
    for pairs, statistics in zip(by_question, found, strict=True):
        for (context, tokens), by_lens in zip(pairs, statistics, strict=True):
            for name, of_lens in by_lens.items():
                shard.add(context.context_id, tokens, name, of_lens)
        progress.done(pairs)
    facts = facts_of(run, window)
    return ShardRecords(shard.records(), shard.answer_tokens(), _fits_table(fitted), facts)


class Progress:
    """Logs every few seconds how much of a shard is done and how long the rest will take."""

    def __init__(self, by_question: Sequence[Sequence[Pair]], n_skipped: int):
        self._n_contexts = sum(map(len, by_question))
        self._n_tokens = sum(len(tokens.ids) for pairs in by_question for _, tokens in pairs)
        self._contexts_done = self._tokens_done = 0
        self._start = self._last = time.monotonic()
        _log.info("%d contexts, %d tokens; %d skipped", self._n_contexts, self._n_tokens, n_skipped)

    def done(self, pairs: Sequence[Pair]) -> None:
        """Count a question's contexts as done."""
        self._contexts_done += len(pairs)
        self._tokens_done += sum(len(tokens.ids) for _, tokens in pairs)
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES or self._contexts_done == self._n_contexts:
            self._last = now
            rate = self._tokens_done / (now - self._start)
            _log.info(
                "%d of %d contexts (%.0f%%), %.0f tokens/s, %.0f s left",
                self._contexts_done, self._n_contexts, 100 * self._tokens_done / self._n_tokens, rate,
                (self._n_tokens - self._tokens_done) / rate,
            )  # fmt: skip


def fit_contexts(
    contexts: Iterable[Context], tokenizer: ContextTokenizer, overflow: Overflow, window: int | None
) -> Iterator[FittedContext]:
    """Tokenise contexts, each question's together, and fit them to the window."""
    for _, of_question in groupby(contexts, key=lambda context: context.question_id):
        yield from fit_question(list(of_question), tokenizer, overflow, window)


def group_by_question(fitted: Iterable[FittedContext]) -> list[list[Pair]]:
    """Return the contexts that fit, a list a question."""
    kept = [(context.context, context.tokens) for context in fitted if context.tokens is not None]
    return [list(pairs) for _, pairs in groupby(kept, key=lambda pair: pair[0].question_id)]


def _fits_table(fitted: Iterable[FittedContext]) -> pa.Table:
    rows = [
        {
            "context_id": context.context.context_id,
            "fit": context.fit,
            "n_tokens": context.n_tokens,
            "n_tokens_cut": context.n_tokens_cut,
            "reason": context.reason,
        }
        for context in fitted
    ]
    return pa.Table.from_pylist(rows, schema=FITS)


def facts_of(run: CheckedRun, window: int | None) -> dict[str, Any]:
    """Return facts about a job's model and machine."""
    config = run.loaded.model.config
    return {
        "family": config.model_type,
        "n_layers": run.loaded.n_layers,
        "hidden_size": run.loaded.width,
        "vocabulary_size": run.loaded.vocabulary_size,
        "window": window,
        "device": run.loaded.device.type,
        "attention": (
            IMPLEMENTATION if run.prefix_sharing == "shared" else config.get_text_config()._attn_implementation
        ),
        "prefix_sharing": run.prefix_sharing,
        "self_check_difference": run.self_check_difference,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


class _Collector:
    """Gathers the records of a shard, column by column."""

    def __init__(self, tokenizer: ContextTokenizer):
        self._tokenizer = tokenizer
        self._batches: list[pa.RecordBatch] = []
        self._tokens: dict[tuple[str, int], dict[str, Any]] = {}

    def add(self, context_id: str, tokens: TokenisedContext, lens: str, statistics: LensStatistics) -> None:
        """Add what one lens says of one context: arrays of shape (layers, answer tokens)."""
        for index, (token_id, position) in enumerate(zip(tokens.answer_ids, tokens.answer_positions, strict=True)):
            self._tokens[context_id, index] = {
                "context_id": context_id,
                "answer_index": index,
                "token_id": token_id,
                "token_text": self._tokenizer.token_text(token_id),
                "token_position": position,
                "border_merged": tokens.border_merged and index == 0,
            }
        n_layers, n_tokens = statistics.top1_id.shape
        n_rows = n_layers * n_tokens
        columns = {
            "context_id": [context_id] * n_rows,
            "answer_index": torch.arange(n_tokens).repeat(n_layers).tolist(),
            "lens": [lens] * n_rows,
            "layer": torch.arange(n_layers).repeat_interleave(n_tokens).tolist(),
            "top1_id": statistics.top1_id.flatten().tolist(),
            "top1_logprob": statistics.top1_logprob.flatten().tolist(),
            "target_id": tokens.answer_ids * n_layers,
            "target_logprob": statistics.target_logprob.flatten().tolist(),
            "target_rank": statistics.target_rank.flatten().tolist(),
            "entropy": statistics.entropy.flatten().tolist(),
            "kl_to_final": statistics.kl_to_final.flatten().tolist(),
            "topk_ids": statistics.topk_ids.flatten(0, 1).tolist(),
            "topk_logprobs": statistics.topk_logprobs.flatten(0, 1).tolist(),
        }
        self._batches.append(pa.RecordBatch.from_pydict(columns, schema=LAYER_RECORDS))

    def records(self) -> pa.Table:
        """Return the layer records."""
        return pa.Table.from_batches(self._batches, schema=LAYER_RECORDS)

    def answer_tokens(self) -> pa.Table:
        """Return the answer tokens."""
        return pa.Table.from_pylist(list(self._tokens.values()), schema=ANSWER_TOKENS)
