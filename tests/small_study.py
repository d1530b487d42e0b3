"""A study of hand-worked answer tokens, in the files that the store loads."""

import itertools
import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from lenscore.ablation.tables import ABLATIONS
from lenscore.contexts.questions import Document, Question
from lenscore.contexts.tables import ANSWERS_IN_DISTRACTORS, CONTEXTS, LEFT_OUT
from lenscore.extraction.tables import ANSWER_TOKENS, FITS, LAYER_RECORDS
from lenscore.lenses.registry import LensSource
from lenscore.records import made_from, write_table
from lenscore.store.ablations import AblationShard
from lenscore.store.database import ContextShard, ModelEntry, RecordShard, load_database

L = 3
WORDS = {f"w{i}": i for i in range(10)}
WRONG, OTHER, TARGET = 1, 2, 7
SCOPES, REPLACEMENTS = ("all", "answer"), ("skip", "mean")

# The logit lens, as a job names it.
LOGIT = {"logit": LensSource("lenscore.lenses.logit")}

# The top-1 at layers 0…3, for an answer token whose id is TARGET, and what must come of it:
# first-correct, settled, refinement depth; first layer, prediction depth and refinement depth of
# the model's own token.
HAND_WORKED = {
    "right from the embedding on": ([7, 7, 7, 7], (0, 0, 0), (0, 0, 0)),
    "right at the last layer alone": ([1, 2, 1, 7], (3, 3, 0), (3, 3, 0)),
    "right, wrong, right again": ([7, 1, 7, 7], (0, 2, 2), (0, 2, 2)),
    "right, wrong until the last": ([1, 7, 2, 7], (1, 3, 2), (1, 3, 2)),
    "never right": ([1, 2, 1, 2], (None, None, None), (1, 3, 2)),
    "right only in the middle": ([1, 7, 7, 2], (1, None, None), (3, 3, 0)),
    "wrong, and stays with its own": ([1, 2, 2, 2], (None, None, None), (1, 1, 0)),
}


def layer_rows(context_id: str, answer_index: int, top1: list[int], target: int = TARGET) -> list[dict[str, Any]]:
    return [
        {
            "context_id": context_id,
            "answer_index": answer_index,
            "lens": "logit",
            "layer": layer,
            "top1_id": token,
            "top1_logprob": -0.5,
            "target_id": target,
            "target_logprob": -(float(L - layer) ** 2),
            "target_rank": 1 if token == target else 3,
            "entropy": 3.0 - layer / 2 + answer_index / 4,
            "own_token_logprob": -(float(L - layer) ** 2),
            "kl_to_final": 0.1,
            "jsd_to_final": 0.2 * (L - layer),
            "topk_ids": [token, 3],
            "topk_logprobs": [-0.5, -2.0],
        }
        for layer, token in enumerate(top1)
    ]


def ablation_rows(final: dict[str, Any]) -> list[dict[str, Any]]:
    """All variants of an answer token: block 2 makes its prediction wrong, and block b costs b nats."""
    variants = [("none", 0), *itertools.product(REPLACEMENTS, range(1, L + 1))]
    return [
        {
            "context_id": final["context_id"],
            "answer_index": final["answer_index"],
            "scope": scope,
            "replacement": replacement,
            "block": block,
            "top1_id": WRONG if block == 2 else final["top1_id"],
            "top1_logprob": -0.5,
            "target_id": final["target_id"],
            "target_logprob": final["target_logprob"] - block,
            "target_rank": 1,
            "kl_from_intact": block / 10,
        }
        for scope in SCOPES
        for replacement, block in variants
    ]


class SmallStudy:
    """A study of one model, one context set and two shards, written as the earlier rules write them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.lenses = ["logit"]
        self.target = folder / "study.duckdb"
        model = folder / "models/tiny"
        model.mkdir(parents=True)
        (model / "manifest.json").write_text(json.dumps({"source": "path:tiny", "revision": None, "files": {}}))
        tokenizer = Tokenizer(WordLevel(WORDS, unk_token="w0"))
        tokenizer.pre_tokenizer = WhitespaceSplit()
        tokenizer.save(str(model / "tokenizer.json"))
        self.models = [ModelEntry("tiny", "float32", "exact", model)]
        self.questions = [
            Question(f"q{i}", "what", ("w7",), None, Document(f"q{i}", "t", "w7 is it"), ()) for i in range(4)
        ]
        self.documents = [question.gold for question in self.questions if question.gold]
        cases = list(HAND_WORKED.values())
        self.rows: dict[int, list[dict[str, Any]]] = {0: [], 1: []}
        self.context_shards = [self.write_contexts(shard) for shard in (0, 1)]
        for number in range(4):
            for place in (0, 1):
                shard, context_id = number // 2, f"main/q{number}/2/{place}"
                for index in (0, 1):
                    top1 = cases[(number * 4 + place * 2 + index) % len(cases)][0]
                    self.rows[shard] += layer_rows(context_id, index, top1)
        self.record_shards = [self.write_records(shard) for shard in (0, 1)]
        self.ablation_shards: list[AblationShard] = []

    def write_contexts(self, shard: int) -> ContextShard:
        rows = [
            {
                "context_id": f"main/q{number}/2/{place}",
                "context_set": "main",
                "question_id": f"q{number}",
                "question_place": number,
                "condition": "documents",
                "n_documents": 2,
                "distractor_order": 0,
                "gold_index": place,
                "relative_position": float(place),
                "segments": [{"kind": "frame", "document": None, "role": None, "text": "say "}] * 2,
                "answer": " w7",
                "document_ids": ["q0", "q1"],
            }
            for number in (2 * shard, 2 * shard + 1)
            for place in (0, 1)
        ]
        files = ContextShard(
            "main", shard, *(self.folder / f"{kind}-{shard}" for kind in ("contexts", "left-out", "answers"))
        )
        write_table(pa.Table.from_pylist(rows, schema=CONTEXTS), files.contexts)
        write_table(pa.Table.from_pylist([], schema=LEFT_OUT), files.left_out)
        write_table(pa.Table.from_pylist([], schema=ANSWERS_IN_DISTRACTORS), files.answers_in_distractors)
        return files

    def write_records(self, shard: int, **facts: Any) -> RecordShard:
        rows = self.rows[shard]
        tokens = {(row["context_id"], row["answer_index"]): row["target_id"] for row in rows}
        files = RecordShard(
            "tiny", "main", shard, *(self.folder / f"{kind}-{shard}" for kind in ("records", "tokens", "fits"))
        )
        fits = [
            {
                "context_id": c,
                "fit": "whole",
                "n_tokens": 9,
                "n_tokens_cut": 0,
                "n_prompt_tokens": 7,
                "gold_distance": 6 - 2 * int(c[-1]) if c[-1].isdigit() else None,
                "reason": None,
            }
            for c in dict.fromkeys(context for context, _ in tokens)
        ]
        answer_tokens = [
            {
                "context_id": context,
                "answer_index": index,
                "token_id": token,
                "token_text": f"w{token}",
                "token_position": 7 + index,
                "border_merged": False,
            }
            for (context, index), token in tokens.items()
        ]
        write_table(pa.Table.from_pylist(fits, schema=FITS), files.fits)
        write_table(pa.Table.from_pylist(answer_tokens, schema=ANSWER_TOKENS), files.answer_tokens)
        said = {
            "model": "tiny",
            "context_set": "main",
            "shard": shard,
            "family": "gpt2",
            "n_layers": L,
            "hidden_size": 8,
            "vocabulary_size": 10,
            "window": 64,
            "device": "cpu",
            "attention": "sdpa",
            "prefix_sharing": "shared",
            "self_check_difference": 0.0,
            "versions": {"torch": "2"},
            "made_from": self.made_from(shard),
        }
        write_table(pa.Table.from_pylist(rows, schema=LAYER_RECORDS), files.records, {**said, **facts})
        return files

    def made_from(self, shard: int) -> dict[str, str]:
        return made_from(self.context_shards[shard].contexts, self.models[0].folder)

    def write_ablations(self, shard: int, rows: list[dict[str, Any]] | None = None, /, **facts: Any) -> AblationShard:
        """Write the ablations of a shard's contexts, or the rows given."""
        if rows is None:
            final = [row for row in self.rows[shard] if row["layer"] == L]
            rows = [made for row in final for made in ablation_rows(row)]
        files = AblationShard("tiny", "main", shard, self.folder / f"ablations-{shard}")
        said = {"model": "tiny", "context_set": "main", "shard": shard, "made_from": self.made_from(shard)}
        write_table(pa.Table.from_pylist(rows, schema=ABLATIONS), files.file, {**said, **facts})
        return files

    def load(self) -> None:
        load_database(
            self.target,
            study={"study": "small"},
            questions=self.questions,
            documents=self.documents,
            models=self.models,
            lenses=self.lenses,
            context_shards=self.context_shards,
            record_shards=self.record_shards,
            ablation_shards=self.ablation_shards,
            scopes=SCOPES,
            replacements=REPLACEMENTS,
        )

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.target), read_only=True) as database:
            return database.sql(sql).fetchall()
