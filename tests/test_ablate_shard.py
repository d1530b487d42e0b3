"""One ablation job on a tiny GPT-2, its reference means, and both as jobs of the workflow."""

import itertools
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig

from lenscore.ablation.means import reference_means, write_means
from lenscore.ablation.shard import ShardAblations, ablate_shard
from lenscore.ablation.tables import ABLATIONS
from lenscore.contexts.build import build_contexts
from lenscore.contexts.context import Context
from lenscore.contexts.questions import read_questions, study_order
from lenscore.errors import ContextError, DamagedFileError, SelfCheckError
from lenscore.extraction.shard import ShardRecords, extract_shard
from lenscore.plan.shards import Shards
from lenscore.records import read_table, shard_facts
from lenscore.sources.formats import read_questions as read_rows
from lenscore.sources.local_files import EMBEDDED
from lenscore.sources.rows import rows_of_file
from lenscore.study.ablation import AblationSpec, Scope
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.extraction import ExtractionSpec
from lenscore.study.prompt import read_template, template_path
from lenscore.study.run_settings import Overflow, RunSettings
from lenscore.study.study import read_study
from tests.conftest import Checkout
from tests.plans import plan_of
from tests.small_study import LOGIT

BLOCKS = 2
CUT = RunSettings("float32", "exact", None, Overflow("truncate_documents"))


@pytest.fixture(scope="module")
def contexts() -> list[Context]:
    rows = list(rows_of_file(EMBEDDED, "embedded"))[:20]
    dataset = read_questions(read_rows(rows, "embedded").table.to_pylist())
    spec = ContextSetSpec(
        documents=[2, 4], positions=2, distractors="bm25", orders=2, controls=["closed_book", "shuffled_gold"]
    )
    template = read_template(template_path("few_shot"))
    built, *_ = build_contexts(
        dataset, dataset[:3], first_place=1, set_name="main", spec=spec, template=template, missing_answer="error"
    )
    return built


def ablate(
    contexts: list[Context],
    folder: Path,
    n_questions: int,
    means: Path | None = None,
    settings: RunSettings = CUT,
    **spec: Any,
) -> ShardAblations:
    ablation = AblationSpec.model_validate(spec)
    return ablate_shard(
        contexts,
        folder,
        n_questions=n_questions,
        settings=settings,
        documents=ablation.documents,
        replacements=ablation.replacements,
        scopes=ablation.scopes,
        means=means,
        device="cpu",
        threads=1,
    )


def names(contexts: list[Context]) -> list[str]:
    return list(dict.fromkeys(context.question_id for context in contexts))


def primary(contexts: list[Context], questions: list[str]) -> set[str]:
    """Return the ids of the questions' contexts that are no control, and whose distractors are in the first order."""
    return {
        context.context_id
        for context in contexts
        if context.question_id in questions and context.condition == "documents" and context.distractor_order == 0
    }


@pytest.fixture(scope="module")
def means(contexts: list[Context], tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("means") / "means.safetensors"
    reference = reference_means(
        contexts, tiny_gpt2, n_questions=3, documents=[2, 4], settings=CUT, device="cpu", threads=1
    )
    write_means(reference, path)
    return path


@pytest.fixture(scope="module")
def extracted(contexts: list[Context], tiny_gpt2: Path) -> ShardRecords:
    extraction = ExtractionSpec(device="cpu")
    return extract_shard(contexts, tiny_gpt2, settings=CUT, lenses=LOGIT, extraction=extraction, threads=1)


def test_means_say_over_what_they_were_taken(contexts: list[Context], means: Path, extracted: ShardRecords) -> None:
    with safe_open(means, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["questions"]) == names(contexts)[:2]
    assert metadata["contexts"] == str(2 * 2 * 2)
    own = primary(contexts, names(contexts)[:2])
    fits, tokens = extracted.fits.to_pandas(), extracted.answer_tokens.to_pandas()
    found = json.loads(metadata["tokens"])
    assert found["all"] == (fits.loc[fits["context_id"].isin(own), "n_tokens"] - 1).sum()  # the last predicts nothing
    assert found["answer"] == tokens["context_id"].isin(own).sum()
    # The parts and the answer share out the context.
    assert sum(found[scope] for scope in ("documents", "examples", "question", "answer")) == found["all"]
    assert 0 < found["gold"] < found["documents"]
    shapes = {scope: tuple(mean.shape) for scope, mean in load_file(means).items()}
    assert shapes == dict.fromkeys(get_args(Scope), (BLOCKS, 32))


def test_nothing_to_take_means_over_is_an_error(contexts: list[Context], tiny_gpt2: Path) -> None:
    with pytest.raises(ContextError, match=r"no context with \[3\] documents.*take mean out of ablation.replacements"):
        reference_means(contexts, tiny_gpt2, n_questions=3, documents=[3], settings=CUT, device="cpu", threads=1)


def test_no_means_are_taken_of_a_model_that_reads_what_follows(
    contexts: list[Context], tiny_gpt2: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_gpt2)
    tokenizer.save_pretrained(tmp_path)
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=BLOCKS, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
    )  # fmt: skip
    for reads_what_follows in (False, True):
        config.use_bidirectional_attention = reads_what_follows
        Gemma3ForCausalLM(config).save_pretrained(tmp_path)
        refused = pytest.raises(SelfCheckError, match="it is not causal, and has read the answer")
        with refused if reads_what_follows else nullcontext():
            reference_means(contexts, tmp_path, n_questions=3, documents=[2], settings=CUT, device="cpu", threads=1)


def test_every_variant_of_the_sets_own_contexts_is_recorded_once(
    contexts: list[Context], tiny_gpt2: Path, means: Path, extracted: ShardRecords
) -> None:
    shard = ablate(contexts, tiny_gpt2, 3, means, replacements=["skip", "mean"])
    assert shard.ablations.schema.equals(ABLATIONS)
    assert shard.facts["prefix_sharing"] == "shared"
    assert shard.facts["self_check_difference"] < 1e-4
    table = shard.ablations.to_pandas()
    assert set(table["context_id"]) == primary(contexts, names(contexts)[:2])
    assert not table.duplicated(["context_id", "answer_index", "scope", "replacement", "block"]).any()
    variants = set(zip(table["scope"], table["replacement"], table["block"], strict=True))
    assert len(variants) == 2 * (2 * BLOCKS + 1)
    assert len(table) == len(variants) * len(table[["context_id", "answer_index"]].drop_duplicates())
    assert set(table.loc[table["replacement"] == "none", "block"]) == {0}
    assert set(table.loc[table["replacement"] != "none", "block"]) == {1, 2}
    assert (table.loc[table["block"] == 0, "kl_from_intact"].abs() < 1e-6).all()
    assert (table.loc[table["block"] > 0, "kl_from_intact"] > 1e-6).mean() > 0.9
    # The intact model predicts what the extraction has recorded of it.
    records = extracted.records.to_pandas()
    last = records[records["layer"] == BLOCKS]
    both = table[table["block"] == 0].merge(last, on=["context_id", "answer_index"], suffixes=("", "_extracted"))
    assert len(both) == (table["block"] == 0).sum()
    for column in ("top1_id", "target_id", "target_rank"):
        assert (both[column] == both[f"{column}_extracted"]).all(), column
    pd.testing.assert_series_equal(
        both["target_logprob"], both["target_logprob_extracted"], check_names=False, atol=1e-4
    )


def test_parts_of_the_prompt_are_ablated_where_they_are_asked_for(
    contexts: list[Context], tiny_gpt2: Path, means: Path
) -> None:
    scopes = ["documents", "gold", "question"]
    table = ablate(contexts, tiny_gpt2, 2, means, replacements=["skip", "mean"], scopes=scopes).ablations.to_pandas()
    assert set(table["context_id"]) == primary(contexts, names(contexts)[:1])
    n_tokens = len(table[["context_id", "answer_index"]].drop_duplicates())
    assert table.groupby("scope").size().to_dict() == dict.fromkeys(scopes, n_tokens * (1 + 2 * BLOCKS))
    # Skipping a block at another part is another intervention; with nothing ablated, all are the model.
    by_scope = table.pivot_table(
        index=["context_id", "answer_index", "replacement", "block"], columns="scope", values="target_logprob"
    ).reset_index()
    intact = by_scope["block"] == 0
    assert (by_scope[intact]["gold"] - by_scope[intact]["question"]).abs().max() < 1e-5
    assert (by_scope[~intact]["gold"] - by_scope[~intact]["documents"]).abs().max() > 1e-5


def test_what_is_resampled_is_recorded_as_any_replacement(contexts: list[Context], tiny_gpt2: Path) -> None:
    shard = ablate(contexts, tiny_gpt2, 2, replacements=["skip", "resample"], scopes=["answer"])
    table = shard.ablations.to_pandas()
    assert set(table["context_id"]) == primary(contexts, names(contexts)[:1])
    assert set(zip(table["replacement"], table["block"], strict=True)) == {
        ("none", 0), *itertools.product(("skip", "resample"), (1, 2)),
    }  # fmt: skip
    by_replacement = table[table["block"] > 0].pivot_table(
        index=["context_id", "answer_index", "block"], columns="replacement", values="target_logprob"
    )
    assert (by_replacement["skip"] != by_replacement["resample"]).mean() > 0.9
    assert (table.loc[table["replacement"] == "resample", "kl_from_intact"] > 1e-6).mean() > 0.9


def test_a_context_that_nothing_can_be_resampled_from_is_left_out(contexts: list[Context], tiny_gpt2: Path) -> None:
    kept = [c for c in contexts if not (c.condition == "shuffled_gold" and c.n_documents == 4)]
    table = ablate(kept, tiny_gpt2, 2, replacements=["resample"], scopes=["answer"]).ablations.to_pandas()
    assert {name.split("/")[2] for name in table["context_id"]} == {"2"}


def test_documents_and_scopes_are_those_asked_for(contexts: list[Context], tiny_gpt2: Path) -> None:
    table = ablate(contexts, tiny_gpt2, 2, documents=[2], scopes=["answer"]).ablations.to_pandas()
    assert {name.split("/")[2] for name in table["context_id"]} == {"2"}
    assert set(table["scope"]) == {"answer"}
    assert set(table["replacement"]) == {"skip", "none"}


def test_what_does_not_fit_or_is_left_out_has_no_rows(contexts: list[Context], tiny_gpt2: Path) -> None:
    short = RunSettings("float32", "exact", 40, Overflow("skip"))
    # The shard begins with the study's second question.
    for n_questions, settings in ((2, short), (1, CUT)):
        shard = ablate(contexts, tiny_gpt2, n_questions, settings=settings)
        assert shard.ablations.num_rows == 0
        assert shard.facts["prefix_sharing"] == "nothing was run"


def test_means_of_another_model_are_refused(contexts: list[Context], tiny_gpt2: Path, tmp_path: Path) -> None:
    path = tmp_path / "means.safetensors"
    save_file({"all": torch.zeros(3, 32), "answer": torch.zeros(3, 32)}, path)
    with pytest.raises(ContextError, match=r"means.safetensors: mean contributions .*the model needs \(2, 32\)"):
        ablate(contexts, tiny_gpt2, 2, path, replacements=["mean"])


def test_means_that_are_cut_off_are_named_with_what_mends_it(
    contexts: list[Context], tiny_gpt2: Path, means: Path, tmp_path: Path
) -> None:
    path = tmp_path / "means.safetensors"
    path.write_bytes(means.read_bytes()[:-8])
    with pytest.raises(DamagedFileError, match=rf"{path}: cannot be read: .*--forcerun {path}"):
        ablate(contexts, tiny_gpt2, 2, path, replacements=["mean"])


STUDY: dict[str, Any] = {
    "study": "ablated",
    "dataset": {"source": "embedded:questions"},
    "questions": 5,
    "shard_size": 2,
    "context_sets": {"main": {"documents": [2], "positions": 2}, "other": {"documents": [3], "positions": 2}},
    "ablation": {"questions": 3, "documents": [2], "replacements": ["skip", "mean"], "reference": 1},
}


def test_the_studys_first_questions_are_ablated_whatever_shard_they_are_in() -> None:
    shards = Shards(read_study({**STUDY, "models": {"m": {"source": "path:m"}}}))
    assert list(shards.of_ablations()) == [("m", "main", 0), ("m", "main", 1)]
    assert [shards.ablated_questions(shard) for shard in (0, 1)] == [2, 3]
    assert [shards.ablated_documents(name) for name in ("main", "other")] == [[2], []]


def test_blocks_are_ablated_where_the_study_says_and_means_are_taken_only_where_needed() -> None:
    config = {**STUDY, "models": {"tiny": {"source": "path:tiny"}}}
    jobs = plan_of(config).all_jobs()
    assert (len(jobs["ablate_shard"]), len(jobs["reference_means"])) == (2, 1)
    job = plan_of(config).job("ablate_shard")
    assert [job(wildcards)["n_questions"] for wildcards in jobs["ablate_shard"]] == [2, 3]
    assert [len(job(wildcards)["inputs"]["means"]) for wildcards in jobs["ablate_shard"]] == [1, 1]
    skip_alone = plan_of({**config, "ablation": {**STUDY["ablation"], "replacements": ["skip"]}})
    assert skip_alone.all_jobs()["reference_means"] == []
    assert skip_alone.job("ablate_shard")(jobs["ablate_shard"][0])["inputs"]["means"] == []
    assert plan_of({**config, "ablation": {"questions": 0}}).all_jobs()["ablate_shard"] == []


@pytest.mark.slow
def test_a_job_ablates_the_studys_first_questions_alone_and_says_what_it_is(finished: Checkout) -> None:
    """The tiny study ablates two questions, which are those of its first shard."""
    file = finished.folder / "results/tiny/ablation/tiny/main/shard-0000.parquet"
    assert [path.name for path in file.parent.glob("shard-*")] == [file.name]
    rows = read_rows(list(rows_of_file(EMBEDDED, "embedded")), "embedded").table.to_pylist()
    first = [question.question_id for question in study_order(read_questions(rows), 0)[:2]]
    names = {name.split("/")[1] for name in read_table(file, ABLATIONS)["context_id"].to_pylist()}
    assert names == set(first)
    facts = shard_facts(file)
    assert (facts["model"], facts["context_set"], facts["shard"]) == ("tiny", "main", 0)
    assert {"device", "prefix_sharing", "self_check_difference", "versions"} <= facts.keys()
