"""One extraction job: one model over the contexts of one shard."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from lenscore.contexts.context import Context
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.engine import LensEngine
from lenscore.extraction.facts import job_facts
from lenscore.extraction.fitting import FittedContext, fit_contexts, group_by_question, window_of
from lenscore.extraction.parts import gold_distance
from lenscore.extraction.progress import Progress
from lenscore.extraction.statistics import LensStatistics
from lenscore.extraction.tables import ANSWER_TOKENS, FITS, LAYER_RECORDS
from lenscore.extraction.tokens import ContextTokenizer, TokenisedContext
from lenscore.lenses.registry import LensSource, load_lenses
from lenscore.models.device import use_threads
from lenscore.records import refuse_too_many_blocks
from lenscore.sources.pretrained import load_tokenizer
from lenscore.study.extraction import ExtractionSpec
from lenscore.study.run_settings import RunSettings


@dataclass(frozen=True)
class ShardRecords:
    """The results of a job on its shard: tables of ``extraction.tables``, and facts about the job and the model."""

    records: pa.Table
    answer_tokens: pa.Table
    fits: pa.Table
    facts: dict[str, Any]


def extract_shard(
    contexts: Sequence[Context],
    model_folder: Path,
    *,
    settings: RunSettings,
    lenses: Mapping[str, LensSource],
    extraction: ExtractionSpec,
    threads: int,
) -> ShardRecords:
    """Run the lens over every layer, at the answer tokens of every context of a shard.

    Args:
        contexts: the shard's, each question's together.
        model_folder: safetensors, config and tokenizer.
        settings: precision, window, and what to do with a context that is longer.
        lenses: by name, where each comes from.
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
    tokenizer = ContextTokenizer(load_tokenizer(model_folder), settings.chat, run.loaded.n_embeddings)
    window = window_of(run.loaded.n_positions, settings.window)
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
    facts = job_facts(run, window)
    return ShardRecords(shard.records(), shard.answer_tokens(), _fits_table(fitted), facts)


def _fits_table(fitted: Iterable[FittedContext]) -> pa.Table:
    rows = [
        {
            "context_id": context.context.context_id,
            "fit": context.fit,
            "n_tokens": context.n_tokens,
            "n_tokens_cut": context.n_tokens_cut,
            "n_prompt_tokens": context.tokens and context.tokens.answer_start,
            "gold_distance": context.tokens and gold_distance(context.context, context.tokens),
            "reason": context.reason,
        }
        for context in fitted
    ]
    return pa.Table.from_pylist(rows, schema=FITS)


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
            "own_token_logprob": statistics.own_token_logprob.flatten().tolist(),
            "kl_to_final": statistics.kl_to_final.flatten().tolist(),
            "jsd_to_final": statistics.jsd_to_final.flatten().tolist(),
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
