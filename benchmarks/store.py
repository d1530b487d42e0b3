"""How long a large study takes to be loaded into its database and to answer every view, and how much memory that takes.

The records are made up, the files and the loading are the project's own. JSON lines on standard output.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lenscore.contexts.questions import Document, Question
from lenscore.contexts.tables import ANSWERS_IN_DISTRACTORS, CONTEXTS, LEFT_OUT
from lenscore.extraction.tables import ANSWER_TOKENS, FITS, LAYER_RECORDS
from lenscore.records import made_from, write_table
from lenscore.store.database import ContextShard, ModelEntry, RecordShard, load_database

# A study of NaturalQuestions as large as its file: 15 contexts a question (three lengths, five places), four answer
# tokens, a model of 30 blocks, two lenses.
QUESTIONS_A_SHARD = 25
LENGTHS, PLACES = (5, 10, 20), 5
ANSWER_TOKENS_A_CONTEXT = 4
LAYERS = 31
LENSES = ("logit", "tuned")
RECORDS_A_QUESTION = len(LENGTHS) * PLACES * ANSWER_TOKENS_A_CONTEXT * LAYERS * len(LENSES)
VOCABULARY = 49_152
WITHIN_SECONDS, WITHIN_GB = 90, 8


def made_questions(count: int) -> list[Question]:
    """Return questions with a gold document each."""
    return [
        Question(f"q-{i:06d}", f"what is {i}", ("it",), None, Document(f"q-{i:06d}", "title", f"it is {i}"), ())
        for i in range(count)
    ]


def made_contexts(numbers: range) -> list[dict[str, Any]]:
    """Return the rows of a shard's contexts."""
    return [
        {
            "context_id": f"main/q-{number:06d}/{n}/{place * (n - 1) // (PLACES - 1)}",
            "context_set": "main",
            "question_id": f"q-{number:06d}",
            "question_place": number,
            "condition": "documents",
            "n_documents": n,
            "distractor_order": 0,
            "gold_index": place * (n - 1) // (PLACES - 1),
            "relative_position": place * (n - 1) // (PLACES - 1) / (n - 1),
            "segments": [{"kind": "frame", "document": None, "role": None, "text": "a prompt " * 200}],
            "answer": " it",
            "document_ids": [f"q-{(number + other) % (numbers.stop):06d}" for other in range(n)],
        }
        for number in numbers
        for n in LENGTHS
        for place in range(PLACES)
    ]


def made_records(contexts: list[str], seed: int) -> pa.Table:
    """Return the layer records of a shard: the answer token is the top choice more often the deeper the layer."""
    draw = np.random.default_rng(seed)
    tokens = len(contexts) * ANSWER_TOKENS_A_CONTEXT
    layer = np.tile(np.arange(LAYERS, dtype=np.int32), tokens * len(LENSES))
    size = len(layer)
    target = np.repeat(draw.integers(0, VOCABULARY, tokens, dtype=np.int32), LAYERS * len(LENSES))
    top1 = np.where(draw.random(size) < layer / LAYERS, target, draw.integers(0, VOCABULARY, size, dtype=np.int32))
    # At the last layer every lens is the model.
    last = layer == LAYERS - 1
    top1[last] = np.repeat(top1[last][:: len(LENSES)], len(LENSES))
    logprobs = np.sort(-draw.exponential(4, (size, 5)).astype(np.float32), axis=1)[:, ::-1]
    target_logprob = np.where(top1 == target, logprobs[:, 0], -draw.exponential(9, size).astype(np.float32))
    topk = draw.integers(0, VOCABULARY, (size, 5), dtype=np.int32)
    topk[:, 0] = top1
    ends = np.arange(0, 5 * size + 1, 5, dtype=np.int32)
    columns = {
        "context_id": pa.array(contexts).take(pa.array(np.repeat(np.arange(len(contexts)), size // len(contexts)))),
        "answer_index": np.tile(
            np.repeat(np.arange(ANSWER_TOKENS_A_CONTEXT, dtype=np.int32), LAYERS * len(LENSES)), len(contexts)
        ),
        "lens": pa.array(LENSES).take(pa.array(np.tile(np.repeat(np.arange(len(LENSES)), LAYERS), tokens))),
        "layer": layer,
        "top1_id": top1,
        "top1_logprob": logprobs[:, 0],
        "target_id": target,
        "target_logprob": target_logprob.astype(np.float32),
        "target_rank": np.where(top1 == target, 1, draw.integers(2, 5000, size)).astype(np.int32),
        "entropy": draw.exponential(3, size).astype(np.float32),
        "own_token_logprob": np.where(last, logprobs[:, 0], -draw.exponential(5, size)).astype(np.float32),
        "kl_to_final": np.where(last, 0, draw.exponential(2, size)).astype(np.float32),
        "jsd_to_final": np.where(last, 0, draw.uniform(0, np.log(2), size)).astype(np.float32),
        "topk_ids": pa.ListArray.from_arrays(ends, topk.ravel()),
        "topk_logprobs": pa.ListArray.from_arrays(ends, logprobs.ravel()),
    }
    return pa.table(columns, schema=LAYER_RECORDS)


def write_shard(folder: Path, number: int, numbers: range, models: int, facts: dict[str, Any]) -> None:
    """Write the files of one shard's contexts, and of each model's records of them."""
    contexts = made_contexts(numbers)
    write_table(pa.Table.from_pylist(contexts, schema=CONTEXTS), folder / f"contexts-{number}.parquet")
    write_table(pa.Table.from_pylist([], schema=LEFT_OUT), folder / f"left-out-{number}.parquet")
    write_table(pa.Table.from_pylist([], schema=ANSWERS_IN_DISTRACTORS), folder / f"answers-{number}.parquet")
    names = [context["context_id"] for context in contexts]
    fits = [{"context_id": name, "fit": "whole", "n_tokens": 900, "n_tokens_cut": 0, "reason": None} for name in names]
    for model in range(models):
        records = made_records(names, seed=number * models + model)
        first = records.filter(pa.compute.equal(records["layer"], 0)).filter(
            pa.compute.equal(records.filter(pa.compute.equal(records["layer"], 0))["lens"], LENSES[0])
        )
        tokens = pa.table(
            {
                "context_id": first["context_id"],
                "answer_index": first["answer_index"],
                "token_id": first["target_id"],
                "token_text": pa.array(["it"] * len(first)),
                "token_position": pa.array([900] * len(first), pa.int32()),
                "border_merged": pa.array([False] * len(first)),
            },
            schema=ANSWER_TOKENS,
        )
        stem = f"{model}-{number}.parquet"
        write_table(pa.Table.from_pylist(fits, schema=FITS), folder / f"fits-{stem}")
        write_table(tokens, folder / f"tokens-{stem}")
        identity = {"model": f"model-{model}", "context_set": "main", "shard": number}
        made = made_from(folder / f"contexts-{number}.parquet", folder / f"model-{model}")
        write_table(records, folder / f"records-{stem}", {**facts, **identity, "made_from": made})


def make_study(folder: Path, records: int, models: int) -> int:
    """Write a study of at least so many records, unless it is there; return its number of questions."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    shards = -(-records // (RECORDS_A_QUESTION * QUESTIONS_A_SHARD * models))
    questions = shards * QUESTIONS_A_SHARD
    done = folder / "done-with-sources"  # a study of before records said what they were made from has another mark
    if done.exists():
        return questions
    facts = {
        "family": "llama", "n_layers": LAYERS - 1, "hidden_size": 576, "vocabulary_size": VOCABULARY, "window": 8192,
        "device": "cpu", "attention": "sdpa", "prefix_sharing": "shared", "self_check_difference": 0.0, "versions": {},
    }  # fmt: skip
    for model in range(models):
        (folder / f"model-{model}").mkdir(parents=True, exist_ok=True)
        (folder / f"model-{model}/manifest.json").write_text(json.dumps({"source": "made up", "files": {}}))
        words = {f"w{i}": i for i in range(VOCABULARY)}
        Tokenizer(WordLevel(words, unk_token="w0")).save(str(folder / f"model-{model}/tokenizer.json"))
    for number in range(shards):
        print(f"\rmaking shard {number + 1} of {shards}", end="", file=sys.stderr)
        first = number * QUESTIONS_A_SHARD
        write_shard(folder, number, range(first, first + QUESTIONS_A_SHARD), models, facts)
    print(file=sys.stderr)
    done.touch()
    return questions


def measured(folder: Path, questions: int, models: int, threads: int, memory_gb: float) -> Iterator[dict[str, Any]]:
    """Load the study, then read each view to its end; yield the time of each, and last the memory of all."""
    import duckdb

    target = folder / "study.duckdb"
    target.unlink(missing_ok=True)
    asked = made_questions(questions)
    shards = range(questions // QUESTIONS_A_SHARD)
    started = time.monotonic()
    load_database(
        target,
        study={"study": "made up"},
        questions=asked,
        documents=[question.gold for question in asked if question.gold],
        models=[ModelEntry(f"model-{model}", "float32", "exact", folder / f"model-{model}") for model in range(models)],
        lenses=LENSES,
        context_shards=[
            ContextShard("main", i, *(folder / f"{kind}-{i}.parquet" for kind in ("contexts", "left-out", "answers")))
            for i in shards
        ],
        record_shards=[
            RecordShard(
                f"model-{model}",
                "main",
                i,
                *(folder / f"{kind}-{model}-{i}.parquet" for kind in ("records", "tokens", "fits")),
            )
            for model in range(models)
            for i in shards
        ],
        threads=threads,
        memory_gb=memory_gb,
    )
    yield {"step": "load", "seconds": time.monotonic() - started, "bytes": target.stat().st_size}
    limits: dict[str, Any] = {"threads": threads, "memory_limit": f"{memory_gb} GB"}
    with duckdb.connect(str(target), read_only=True, config=limits) as connection:
        views = [
            name for (name,) in connection.sql("select view_name from duckdb_views() where not internal").fetchall()
        ]
        for view in sorted(views):
            started = time.monotonic()
            rows = sum(len(batch) for batch in connection.sql(f"select * from {view}").to_arrow_reader(100_000))
            yield {"step": f"view {view}", "seconds": time.monotonic() - started, "rows": rows}
    yield {"step": "memory", "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def main() -> None:
    """Make the study, and measure in a process of its own: the making's memory is not the loading's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=50_000_000, help="layer records, at least (default: 50 million)")
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=float, default=WITHIN_GB, help=f"GB (default: {WITHIN_GB})")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = Path(f".bench/store-{options.records}-{options.models}")
    questions = make_study(folder, options.records, options.models)
    if options.measure:
        # As rule load_database divides its memory.
        for figures in measured(folder, questions, options.models, options.threads, 0.75 * options.memory):
            print(json.dumps(figures), flush=True)
        return
    command = [sys.executable, "-m", "benchmarks.store", "--measure"]
    for name in ("records", "models", "threads", "memory"):
        command += [f"--{name}", str(getattr(options, name))]
    lines: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(json.loads(line))
    if process.returncode:
        sys.exit(process.returncode)
    seconds = sum(line.get("seconds", 0) for line in lines)
    n_records = questions * RECORDS_A_QUESTION * options.models
    peak = next(line["peak_gb"] for line in lines if "peak_gb" in line)
    total = {"step": "all", "records": n_records, "seconds": seconds, "peak_gb": peak, "processors": os.cpu_count()}
    total["within"] = seconds <= WITHIN_SECONDS and peak <= WITHIN_GB
    print(json.dumps(total))


if __name__ == "__main__":
    main()
