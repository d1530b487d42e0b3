"""One extraction job on a tiny GPT-2: every context × answer token × layer once, whatever does not fit counted."""

import logging
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lenscore.contexts.build import build_contexts
from lenscore.contexts.context import Context
from lenscore.contexts.questions import Question, read_questions
from lenscore.errors import ContextError
from lenscore.extraction.shard import ShardRecords, extract_shard
from lenscore.extraction.tables import ANSWER_TOKENS, FITS, LAYER_RECORDS
from lenscore.prefix_tree import sharing
from lenscore.prefix_tree.attention_hook import UnsupportedAttentionError
from lenscore.sources.formats import read_questions as read_rows
from lenscore.sources.local_files import EMBEDDED
from lenscore.sources.rows import rows_of_file
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.extraction import ExtractionSpec
from lenscore.study.prompt import read_template, template_path
from lenscore.study.run_settings import Overflow, RunSettings
from tests.small_study import LOGIT

LAYERS = 3  # two blocks and the embedding output


@pytest.fixture(scope="module")
def dataset() -> list[Question]:
    rows = list(rows_of_file(EMBEDDED, "embedded"))[:20]
    return read_questions(read_rows(rows, "embedded").table.to_pylist())


@pytest.fixture(scope="module")
def contexts(dataset: list[Question]) -> list[Context]:
    spec = ContextSetSpec(documents=[2, 4], positions="all", distractors="bm25", controls=["closed_book", "oracle"])
    template = read_template(template_path("few_shot"))
    built, *_ = build_contexts(
        dataset, dataset[:3], first_place=0, set_name="main", spec=spec, template=template, missing_answer="error"
    )
    assert len(built) == 3 * (2 + 4 + 2)
    return built


def extract(contexts: list[Context], folder: Path, overflow: Overflow, window: int | None = None) -> ShardRecords:
    return extract_shard(
        contexts,
        folder,
        settings=RunSettings("float32", "exact", window, overflow),
        lenses=LOGIT,
        extraction=ExtractionSpec(top_k=3, device="cpu"),
        threads=1,
    )


@pytest.fixture(scope="module")
def cut(contexts: list[Context], tiny_gpt2: Path) -> ShardRecords:
    return extract(contexts, tiny_gpt2, Overflow("truncate_documents"))


def test_every_layer_of_every_answer_token_is_recorded_once(contexts: list[Context], cut: ShardRecords) -> None:
    assert cut.records.schema.equals(LAYER_RECORDS)
    assert cut.answer_tokens.schema.equals(ANSWER_TOKENS)
    assert cut.fits.schema.equals(FITS)
    tokens = cut.answer_tokens.to_pandas()
    records = cut.records.to_pandas()
    assert set(tokens["context_id"]) == {context.context_id for context in contexts}
    assert len(records) == len(tokens) * LAYERS
    assert not records.duplicated(["context_id", "answer_index", "lens", "layer"]).any()
    joined = records.merge(tokens, on=["context_id", "answer_index"])
    assert (joined["target_id"] == joined["token_id"]).all()
    assert (records["topk_ids"].map(len) == 3).all()
    assert (records["topk_ids"].map(lambda ids: ids[0]) == records["top1_id"]).all()


def test_answer_tokens_spell_the_answer(contexts: list[Context], cut: ShardRecords) -> None:
    tokens = cut.answer_tokens.to_pandas().sort_values(["context_id", "answer_index"])
    spelled = tokens.groupby("context_id")["token_text"].agg("".join).to_dict()
    for context in contexts:
        assert spelled[context.context_id] == context.answer


def test_documents_were_cut_to_the_window_and_the_answer_kept(cut: ShardRecords) -> None:
    fits = cut.fits.to_pandas()
    assert set(fits["fit"]) == {"whole", "cut"}
    assert (fits["n_tokens"] <= 1024).all()
    assert (fits.loc[fits["fit"] == "cut", "n_tokens_cut"] > 0).all()
    assert (fits.loc[fits["context_id"].str.endswith("closed_book"), "fit"] == "whole").all()


def test_the_gold_documents_distance_is_that_of_what_the_model_reads(
    cut: ShardRecords, contexts: list[Context]
) -> None:
    fits = cut.fits.to_pandas().set_index("context_id")
    first = cut.answer_tokens.to_pandas().query("answer_index == 0").set_index("context_id")["token_position"]
    assert (fits["n_prompt_tokens"] == first.loc[fits.index]).all()
    for context in contexts:
        distance = fits.loc[context.context_id, "gold_distance"]
        if context.condition == "closed_book":
            assert pd.isna(distance)
        else:
            # Documents are cut alike, so those behind the gold one, and its own tokens, are all that counts.
            n_behind = context.n_documents - context.gold_index
            assert distance > 20 * n_behind
    of_four = [c for c in contexts if c.n_documents == 4 and c.question_id == contexts[0].question_id]
    distances = [fits.loc[c.context_id, "gold_distance"] for c in sorted(of_four, key=lambda c: c.gold_index)]
    assert distances == sorted(distances, reverse=True)


def test_records_are_the_models_own(contexts: list[Context], cut: ShardRecords, tiny_gpt2: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_gpt2).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_gpt2)
    records = cut.records.to_pandas().set_index(["context_id", "answer_index", "layer"]).sort_index()
    whole = cut.fits.to_pandas().query("fit == 'whole'")["context_id"].tolist()
    assert whole
    for context in (context for context in contexts if context.context_id in whole):
        prompt = "".join(segment.text for segment in context.segments)
        ids = tokenizer(prompt + context.answer, return_tensors="pt").input_ids
        start = len(tokenizer(prompt).input_ids)
        with torch.inference_mode():
            logprobs = torch.log_softmax(model(ids).logits[0, start - 1 : -1], -1)
        for index, target in enumerate(ids[0, start:].tolist()):
            row = records.loc[context.context_id, index, LAYERS - 1]
            assert row["top1_id"] == logprobs[index].argmax()
            assert row["target_logprob"] == pytest.approx(logprobs[index, target].item(), abs=1e-4)


def test_what_is_skipped_has_no_records_but_is_counted(contexts: list[Context], tiny_gpt2: Path) -> None:
    shard = extract(contexts, tiny_gpt2, Overflow("skip"))
    fits = shard.fits.to_pandas().set_index("context_id")["fit"]
    skipped = {name for name, fit in fits.items() if fit == "skipped"}
    assert {name.split("/")[2] for name in skipped} == {"4"}
    recorded = set(shard.records["context_id"].to_pylist())
    assert recorded == set(fits.index) - skipped
    # At one position of four documents or at all of them.
    for question in {name.split("/")[1] for name in skipped}:
        assert sum(name.split("/")[1] == question for name in skipped) == 4


def test_a_context_too_long_is_an_error_that_says_what_to_do(contexts: list[Context], tiny_gpt2: Path) -> None:
    with pytest.raises(ContextError, match=r"main/.*window is 1024.*overflow to skip or truncate_documents"):
        extract(contexts, tiny_gpt2, Overflow("error"))


def test_a_window_larger_than_the_models_is_refused(contexts: list[Context], tiny_gpt2: Path) -> None:
    with pytest.raises(ContextError, match="the model has 1024 positions"):
        extract(contexts, tiny_gpt2, Overflow("skip"), window=2000)


def test_the_job_says_what_it_is_and_how_far(
    contexts: list[Context], tiny_gpt2: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="lenscore"):
        shard = extract(contexts, tiny_gpt2, Overflow("skip"))
    assert shard.facts["n_layers"] == 2
    assert shard.facts["family"] == "gpt2"
    assert shard.facts["prefix_sharing"] == "shared"
    assert shard.facts["attention"] == "lenscore_tree"
    assert shard.facts["self_check_difference"] < 1e-4
    assert "self-check" in caplog.text
    assert "(100%)" in caplog.text
    assert "s left" in caplog.text


def test_unshared_contexts_give_the_same_records(
    contexts: list[Context], tiny_gpt2: Path, monkeypatch: pytest.MonkeyPatch, cut: ShardRecords
) -> None:
    def refuse(*_: object) -> None:
        raise UnsupportedAttentionError("for the sake of the test")

    monkeypatch.setattr(sharing, "tree_states", refuse)
    alone = extract(contexts, tiny_gpt2, Overflow("truncate_documents"))
    assert alone.facts["prefix_sharing"] == "for the sake of the test"
    for name in ("context_id", "answer_index", "layer", "top1_id", "target_id", "target_rank"):
        assert alone.records[name].equals(cut.records[name]), name
    ours, theirs = (shard.records["target_logprob"].to_numpy() for shard in (cut, alone))
    assert abs(ours - theirs).max() < 1e-4


def test_two_runs_give_the_same_bytes(contexts: list[Context], tiny_gpt2: Path, cut: ShardRecords) -> None:
    again = extract(contexts, tiny_gpt2, Overflow("truncate_documents"))
    assert again.records.equals(cut.records)
    assert again.facts == cut.facts


def test_a_shard_of_which_all_is_skipped_is_no_failure(contexts: list[Context], tiny_gpt2: Path) -> None:
    shard = extract(contexts, tiny_gpt2, Overflow("skip"), window=40)
    assert shard.records.num_rows == 0
    assert set(shard.fits["fit"].to_pylist()) == {"skipped"}
    assert shard.facts["self_check_difference"] is None
    assert shard.facts["prefix_sharing"] == "nothing was run"


def test_figures_do_not_depend_on_the_shard(contexts: list[Context], tiny_gpt2: Path, cut: ShardRecords) -> None:
    of_question = [context for context in contexts if context.question_id == contexts[-1].question_id]
    last = extract(of_question, tiny_gpt2, Overflow("truncate_documents")).records
    among_others = cut.records.filter(pc.is_in(cut.records["context_id"], last["context_id"].combine_chunks()))
    assert last.equals(among_others)
