"""One extraction job: one model over the contexts of one shard."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from lenscore.errors import ContextError
from lenscore.extraction.fitting import FittedContext, Overflow, fit_question
from lenscore.extraction.self_check import check_last_layer
from lenscore.extraction.sharing import QuestionStates
from lenscore.extraction.statistics import LensStatistics, lens_statistics
from lenscore.extraction.tokens import ContextTokenizer, TokenisedContext
from lenscore.lenses.architecture import Architecture, find_architecture
from lenscore.lenses.decoder import Decoder
from lenscore.lenses.lens import Lens, LogitLens
from lenscore.records import ANSWER_TOKENS, FITS, LAYER_RECORDS
from lenscore.study import ExtractionSpec

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class ShardRecords:
    """What a job makes of its shard: tables of ``records``, and facts about the job and the model."""

    records: pa.Table
    answer_tokens: pa.Table
    fits: pa.Table
    facts: dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """How a model reads contexts: its precision, its window, and what is done with longer contexts."""

    dtype: str
    window: int | None
    overflow: Overflow


def load_model(folder: Path, dtype: str, device: str) -> PreTrainedModel:
    """Load a model's safetensors for inference."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), device_map=device, use_safetensors=True, local_files_only=True
    )
    model.eval()
    return model


def resolve_device(wanted: str) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` takes a GPU where there is one.

    Raises:
        ContextError: a GPU is asked for, and there is none.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise ContextError("extraction.device: cuda is asked for, but PyTorch finds no GPU here; set it to auto or cpu")
    return "cuda" if wanted == "cuda" or (wanted == "auto" and available) else "cpu"


def window_of(model: PreTrainedModel, wanted: int | None) -> int | None:
    """Return the most tokens a context may have: the config's, or the study's where that is smaller.

    Raises:
        ContextError: the study asks for more than the model has positions for.
    """
    own: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if wanted is None or own is None:
        return wanted or own
    if wanted > own:
        raise ContextError(f"window: {wanted} is asked for, but the model has {own} positions")
    return wanted


def extract_shard(
    contexts: pa.Table,
    model_folder: Path,
    *,
    reading: Reading,
    lenses: Sequence[str],
    extraction: ExtractionSpec,
    threads: int,
) -> ShardRecords:
    """Run the lens over every layer, at the answer tokens of every context of a shard.

    Args:
        contexts: ``records.CONTEXTS``, each question's contexts together.
        model_folder: safetensors, config and tokenizer.
        reading: precision, window, and what to do with a context that is longer.
        lenses: names of the lenses.
        extraction: what to keep of each distribution, and where to run.
        threads: CPU threads.

    Raises:
        ContextError: a context cannot be tokenised, or does not fit.
        ArchitectureError: a part of the model was not found.
        SelfCheckError: the lens at the last layer is not the model.
    """
    torch.set_num_threads(threads)
    device = resolve_device(extraction.device)
    model = load_model(model_folder, reading.dtype, device)
    architecture = find_architecture(model)
    decoder = Decoder.of(architecture)
    tokenizer = ContextTokenizer(AutoTokenizer.from_pretrained(model_folder, local_files_only=True))
    window = window_of(model, reading.window)
    fitted = list(_fit(contexts, tokenizer, reading.overflow, window))
    by_name = {name: _lens(name, decoder) for name in lenses}
    shard = _Collector(tokenizer)
    run = QuestionStates(model, architecture)
    difference: float | None = None
    for contexts_of_question in _with_progress(fitted):
        tokens_of_question = [tokens for _, tokens in contexts_of_question]
        if difference is None:
            difference = _check_lens(model, architecture, decoder, tokens_of_question[0])
        for (context, tokens), states in zip(contexts_of_question, run(tokens_of_question), strict=True):
            targets = torch.tensor(tokens.answer_ids, device=device)
            for name, lens in by_name.items():
                shard.add(context["context_id"], tokens, name, lens_statistics(lens, states, targets, extraction.top_k))
    facts = _facts(model, architecture, window) | {
        "device": device,
        "prefix_sharing": run.unshared or "packed tree",
        "self_check_difference": difference,
    }
    return ShardRecords(shard.records(), shard.answer_tokens(), _fits_table(fitted), facts)


def _lens(name: str, decoder: Decoder) -> Lens:
    return {"logit": LogitLens}[name](decoder)


def _fit(
    contexts: pa.Table, tokenizer: ContextTokenizer, overflow: Overflow, window: int | None
) -> Iterator[FittedContext]:
    for _, rows in groupby(contexts.to_pylist(), key=lambda row: row["question_id"]):
        yield from fit_question(list(rows), tokenizer, overflow, window)


def _check_lens(
    model: PreTrainedModel, architecture: Architecture, decoder: Decoder, tokens: TokenisedContext
) -> float:
    ids = torch.tensor([tokens.ids], device=model.device)
    positions = torch.tensor(tokens.predicting_positions, device=model.device)
    difference = check_last_layer(model, architecture, decoder, ids, positions)
    _log.info("self-check: the lens at the last layer is within %.1e of the model's logits", difference)
    return difference


def _with_progress(
    fitted: Sequence[FittedContext],
) -> Iterator[list[tuple[Mapping[str, Any], TokenisedContext]]]:
    """Yield each question's contexts that fit; log, now and then, how far the shard is and how long it will take."""
    kept = [(context.context, context.tokens) for context in fitted if context.tokens is not None]
    total = sum(len(tokens.ids) for _, tokens in kept)
    _log.info("%d contexts, %d tokens; %d skipped", len(kept), total, len(fitted) - len(kept))
    start = last = time.monotonic()
    n_contexts = n_tokens = 0
    for _, contexts in groupby(kept, key=lambda pair: pair[0]["question_id"]):
        of_question = list(contexts)
        yield of_question
        n_contexts += len(of_question)
        n_tokens += sum(len(tokens.ids) for _, tokens in of_question)
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES or n_contexts == len(kept):
            last = now
            rate = n_tokens / (now - start)
            _log.info(
                "%d of %d contexts (%.0f%%), %.0f tokens/s, %.0f s left",
                n_contexts, len(kept), 100 * n_tokens / total, rate, (total - n_tokens) / rate,
            )  # fmt: skip


def _fits_table(fitted: Iterable[FittedContext]) -> pa.Table:
    rows = [
        {
            "context_id": context.context["context_id"],
            "fit": context.fit,
            "n_tokens": context.n_tokens,
            "n_tokens_cut": context.n_tokens_cut,
            "reason": context.reason,
        }
        for context in fitted
    ]
    return pa.Table.from_pylist(rows, schema=FITS)


def _facts(model: PreTrainedModel, architecture: Architecture, window: int | None) -> dict[str, Any]:
    config = model.config.get_text_config()
    return {
        "family": model.config.model_type,
        "n_layers": len(architecture.blocks),
        "hidden_size": config.hidden_size,
        "vocabulary_size": config.vocab_size,
        "window": window,
        "attention": config._attn_implementation,
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
