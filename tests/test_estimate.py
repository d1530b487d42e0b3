"""What a study is said to take, against hand-worked cases and against a study that was run."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lenscore.contexts.build import build_contexts
from lenscore.errors import ContextError, TooLargeError
from lenscore.estimate.estimate import Estimate, ModelEstimate, _speed, weight_bytes
from lenscore.estimate.machine import Machine, free_in_groups
from lenscore.estimate.measure import Speed
from lenscore.estimate.said import said_before
from lenscore.estimate.schedule import TimedJob, seconds_until_done
from lenscore.estimate.work import Counts, Work, ablation_work, extraction_work, training_work
from lenscore.extraction.tokens import TokenisedContext
from lenscore.files import write_json
from lenscore.plan.paths import JOBS
from lenscore.study.ablation import AblationSpec
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.prompt import read_template, template_path
from lenscore.study.study import read_study
from lenscore.study.tuned_lens import TunedLensSpec
from tests.conftest import Checkout
from tests.plans import plan_of
from tests.tiny_models import a_question
from tests.zoo import ZOO


def test_unique_tokens_are_the_different_prefixes() -> None:
    question = a_question()
    counts = Counts.of(question)
    prefixes = {
        tuple(context.ids[: end + 1]) for context in question for end in range(len(context.ids) - 1)
    }  # the last token is only to be predicted
    assert counts == Counts(6.0, float(sum(len(context.ids) for context in question)), float(len(prefixes)), 6.0 * 3)


@pytest.mark.parametrize(
    "keys",
    [
        {"documents": [2, 5], "positions": "all"},
        {"documents": [5], "positions": 3, "controls": ["closed_book", "oracle", "shuffled_gold"], "orders": 3},
        {"documents": [2, 4], "positions": [0, 1], "orders": 2, "controls": ["shuffled_gold"]},
        {"documents": [], "controls": ["oracle"]},
    ],
)
def test_contexts_are_counted_as_they_are_built(keys: dict[str, Any]) -> None:
    spec = ContextSetSpec.model_validate({"distractors": "random"} | keys)
    built = build_contexts(
        ZOO, ZOO[:1], first_place=0, set_name="main", spec=spec, template=read_template(template_path("few_shot")),
        missing_answer="error",
    ).contexts  # fmt: skip
    assert spec.contexts_of_a_question == len(built)


def test_the_work_of_thirty_blocks_by_hand() -> None:
    counts = Counts(contexts=5.0, tokens=500.0, unique_tokens=300.0, answer_tokens=10.0)
    assert extraction_work(counts, 30, 2, shares=True) == Work(300.0 * 30, 10.0 * 31 * 2)
    assert extraction_work(counts, 30, 1, shares=False) == Work(500.0 * 30, 10.0 * 31)
    # From each block on: 30 + 29 + 28 + … + 0 blocks a token, which are 15.5 passes.
    in_turn = ablation_work(counts, 30, AblationSpec(questions=1, scopes=["all"], replacements=["skip"]), shares=True)
    assert in_turn == Work(300 * 30 * 15.5, 10.0 * 31)
    of_parts = ablation_work(counts, 30, AblationSpec(scopes=["gold", "question"], replacements=["skip"]), shares=True)
    assert of_parts == Work(2 * in_turn.token_blocks, 2 * in_turn.rows)
    resampled = ablation_work(counts, 30, AblationSpec(scopes=["answer"], replacements=["resample"]), shares=True)
    skipped = ablation_work(counts, 30, AblationSpec(scopes=["answer"], replacements=["skip"]), shares=True)
    assert resampled.token_blocks - skipped.token_blocks == counts.unique_tokens * 30
    in_one_pass = ablation_work(counts, 30, AblationSpec(scopes=["answer"], replacements=["skip", "mean"]), shares=True)
    assert in_one_pass == Work((300.0 + 61 * 10) * 30, 10.0 * 61)
    spec = TunedLensSpec(steps=4, batch=10, held_out=4, tokens_per_document=3)
    # 4 steps of 10 tokens, three times each; 2 documents of 3 tokens looked at twice; 2 more measured twice.
    assert training_work(1000.0, 30, spec, steps_between_looks=8) == Work(30_000.0, 30.0 * (4 * 10 * 3 + 2 * 6 + 2 * 6))


def test_jobs_wait_for_others_and_for_room() -> None:
    jobs = [
        TimedJob("train", 4.0),
        TimedJob("extract 0", 10.0, ("train",)),
        TimedJob("extract 1", 10.0, ("train",)),
        TimedJob("extract 2", 10.0, ("train",)),
        TimedJob("ablate", 6.0),
    ]
    assert seconds_until_done(jobs, 1) == 40
    # Two at once: train to 4, ablate to 6; extract 0 from 4 to 14, 1 from 6 to 16, 2 from 14 to 24.
    assert seconds_until_done(jobs, 2) == 24
    assert seconds_until_done(jobs, 5) == 14
    assert seconds_until_done([], 2) == 0


def an_estimate(**changes: Any) -> Estimate:
    speed = Speed(
        n_layers=30, width=576, shares=True, start=4.0, token_block=1 / 30 / 500, row=1e-3, memory=10**9,
    )  # fmt: skip
    model = ModelEstimate(Counts(60.0, 60_000.0, 30_000.0, 120.0), speed, memory=2 * 10**9, lens_bytes=0)
    values: dict[str, Any] = {
        "models": {"small": model}, "records": 7440.0, "seconds": 4000.0, "memory": 8 * 10**9, "disk": 3e9,
        "at_once": 4,
    }  # fmt: skip
    return Estimate(**values | changes)


def test_an_estimate_in_words() -> None:
    machine = Machine(memory=24 * 10**9, disk=100 * 10**9, processors=4)
    assert list(an_estimate().lines(machine)) == [
        "small: 60 contexts of 1,000 tokens; 60,000 tokens, 30,000 of them unique; 500 tokens/s and 2.0 GB a job",
        "all: 7,440 layer records; about 1 h 7 min with 4 jobs at a time on 4 processors; "
        "memory 8.0 GB of 24.0 GB free, disk 3.0 GB of 100.0 GB free",
    ]
    an_estimate().refuse_if_too_large(machine)


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (Machine(5 * 10**9, 10**11, 4), "memory: 8.0 GB needed by 4 jobs at a time, 5.0 .*: start it with --cores 2"),
        (Machine(10**9, 10**11, 4), "memory: 8.0 GB .*, 1.0 GB free: set a smaller dtype for small, or take"),
        (Machine(10**11, 10**9, 4), "disk: results need 3.0 GB, and 1.0 GB are free: make room"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_fit_is_refused(machine: Machine, words: str) -> None:
    with pytest.raises(ContextError, match=words):
        an_estimate().refuse_if_too_large(machine)


@pytest.mark.parametrize(("device", "found"), [("cpu", None), ("auto", 7 * 10**9), ("cuda", 7 * 10**9)])
def test_a_gpu_counts_where_the_study_runs_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, found: int | None
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (7 * 10**9, 8 * 10**9))
    assert Machine.here(tmp_path, device).gpu == found
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    if device != "cuda":
        assert Machine.here(tmp_path, device).gpu is None


def test_weights_that_no_gpu_holds_are_refused_before_a_pass(
    tiny_gpt2: Path, study_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def measured_speed(*_: object, device: str, **__: object) -> Speed:
        measured.append(device)
        return Speed(n_layers=2, width=32, shares=True, start=1.0, token_block=1.0, row=1.0, memory=1)

    monkeypatch.setattr("lenscore.estimate.estimate.measure", measured_speed)
    study = read_study(study_config)
    (name,) = study.models
    weights = weight_bytes(tiny_gpt2, 4)
    enough, too_small = (Machine(10**11, 10**11, 4, gpu=gpu) for gpu in (weights, weights - 1))
    _speed(name, tiny_gpt2, weights, [1, 2, 3], study, 1, enough)
    assert len(measured) == 1
    words = (
        rf"^models\.{name}: its weights need .* in float32, and .* of the GPU's memory are free: .*extraction\.device"
    )
    with pytest.raises(TooLargeError, match=words):
        _speed(name, tiny_gpt2, weights, [1, 2, 3], study, 1, too_small)
    assert len(measured) == 1


def test_one_of_anything_is_said_in_the_singular() -> None:
    one = an_estimate(at_once=1, records=1.0)
    small = replace(one.models["small"], counts=Counts(1.0, 1.0, 1.0, 1.0))
    assert list(replace(one, models={"small": small}).lines(Machine(24 * 10**9, 10**11, 1))) == [
        "small: 1 context of 1 token; 1 token, 1 of them unique; 500 tokens/s and 2.0 GB a job",
        "all: 1 layer record; about 1 h 7 min with 1 job at a time on 1 processor; memory 8.0 GB of 24.0 GB free, "
        "disk 3.0 GB of 100.0 GB free",
    ]
    with pytest.raises(ContextError, match=r"^memory: 8.0 GB needed by 1 job at a time, 5.0 GB free: start it with"):
        one.refuse_if_too_large(Machine(5 * 10**9, 10**11, 1))


def test_weights_are_counted_from_the_headers(tiny_gpt2: Path) -> None:
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(tiny_gpt2)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())  # the head is the embedding, stored once
    assert weight_bytes(tiny_gpt2, 2) == 2 * n_parameters


def test_every_study_is_estimated_unasked(study_config: dict[str, Any]) -> None:
    plan = plan_of(study_config)
    assert (plan.estimate, plan.page) == ("results/tiny/estimate.json", "results/tiny/report/index.html")
    assert plan.all_jobs()["estimate_study"] == [{}]


def test_what_a_study_holds_already_is_no_hindrance() -> None:
    enough = Machine(memory=10**11, disk=10**9, processors=4, held=2 * 10**9)
    an_estimate().refuse_if_too_large(enough)
    assert "disk 3.0 GB of 1.0 GB free beside 2.0 GB that it has" in list(an_estimate().lines(enough))[-1]
    with pytest.raises(ContextError, match=r"need 3.0 GB, and 1.0 GB are free beside 1.5 GB that it has: make room"):
        an_estimate().refuse_if_too_large(Machine(memory=10**11, disk=10**9, processors=4, held=15 * 10**8))


def test_a_container_has_less_memory_than_its_machine(tmp_path: Path) -> None:
    own, outer, inner = tmp_path / "own", tmp_path / "fs/outer", tmp_path / "fs/outer/inner"
    own.write_text("1:name=systemd:/\n0::/outer/inner\n")
    inner.mkdir(parents=True)
    for folder, limit in ((outer, "5000"), (inner, "max")):
        for name, text in (("max", limit), ("current", "4000"), ("stat", "anon 1000\ninactive_file 3000\n")):
            (folder / f"memory.{name}").write_text(text)
    assert list(free_in_groups(tmp_path / "fs", own)) == [5000 - 4000 + 3000]
    assert list(free_in_groups(tmp_path / "fs", tmp_path / "missing")) == []


def test_an_estimate_is_said_again_for_the_same_config(tmp_path: Path) -> None:
    file, machine, config = tmp_path / "estimate.json", Machine(10**11, 10**11, 4), {"questions": 4}
    assert said_before(file, config) == []
    write_json(file, an_estimate().as_json(machine, config))
    assert said_before(file, config) == list(an_estimate().lines(machine))
    assert said_before(file, {"questions": 5}) == []
    for broken in ("", "[]", '{"config": {"questions": 4}}'):
        file.write_text(broken)
        assert said_before(file, config) == []


@pytest.mark.slow
def test_the_estimate_of_a_study_that_was_run(finished: Checkout) -> None:
    estimate = json.loads((finished.folder / "results/tiny/estimate.json").read_text())
    counts, speed = estimate["models"]["tiny"]["counts"], estimate["models"]["tiny"]["speed"]
    with duckdb.connect(str(finished.folder / "results/tiny/tiny.duckdb"), read_only=True) as database:
        found = database.sql(
            "select count(*), sum(n_tokens), (select count(*) from answer_tokens), "
            "(select count(*) from layer_records) from fits"
        ).fetchall()[0]
    # All of its questions are in the sample, so nothing is guessed.
    assert (counts["contexts"], counts["tokens"], counts["answer_tokens"], estimate["records"]) == pytest.approx(found)
    assert counts["contexts"] < counts["unique_tokens"] < counts["tokens"]
    assert speed["shares"]
    assert speed["n_layers"] == 2
    assert min(speed["start"], speed["token_block"], speed["row"], estimate["seconds"]) > 0
    assert speed["memory"] > 10**8


def test_contexts_that_share_nothing_are_read_whole() -> None:
    alone = [TokenisedContext([start, 7, 8, 9], 3, False) for start in (1, 2)]
    assert Counts.of(alone).unique_tokens == 6


def started(said: str) -> list[str]:
    return re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):", said, re.MULTILINE)


@pytest.mark.slow
def test_all_else_begins_once_a_study_is_estimated(finished: Checkout) -> None:
    first = min((finished.folder / ".snakemake/log").glob("*.snakemake.log"))
    jobs = started(first.read_text(encoding="utf-8"))
    assert set(jobs[:2]) == {"fetch_model", "fetch_dataset"}
    assert jobs[2] == "estimate_study"
    assert set(jobs[3:]) == JOBS.keys() - {*jobs[:3]} | {"all"}


@pytest.mark.slow
def test_where_a_study_cannot_fit_nothing_else_is_started_and_nothing_is_lost(
    finished: Checkout, config: dict[str, Any]
) -> None:
    estimate = finished.folder / "results/tiny/estimate.json"
    said_first, made_first = json.loads(estimate.read_text())["lines"], estimate.read_bytes()
    # Whatever is free, the study needs more.
    code = finished.folder / "lenscore/estimate/machine.py"
    as_it_was = code.read_text()
    code.write_text(as_it_was.replace("disk=shutil.disk_usage(results).free", "disk=1000 - 10**12"))
    larger = finished.write_config({**config, "questions": 6}, "larger.yaml")
    refused = finished.snakemake("--configfile", larger)
    said = refused.stdout + refused.stderr
    assert refused.returncode == 1
    assert started(said) == ["estimate_study"]  # although the default profile keeps going
    assert len(re.findall("ERROR lenscore.jobs.log: disk: results need .* make room", said)) == 1
    assert estimate.read_bytes() == made_first
    # There is room again: only what is new is to be computed.
    code.write_text(as_it_was)
    estimated = finished.snakemake("plan", "--configfile", larger)
    assert estimated.returncode == 0, estimated.stderr
    lines = json.loads(estimate.read_text())["lines"]
    assert lines != said_first
    assert all(line in estimated.stderr for line in lines)
    planned = finished.planned(larger)
    assert "estimate_study" not in planned
    assert planned["extract_shard"] == 1
    # A run that has nothing new to estimate says what it was, first.
    new = "results/tiny/contexts/main/shard-0002.parquet"
    done = finished.snakemake("results/tiny/estimate.json", new, "--configfile", larger)
    assert done.returncode == 0, done.stderr
    assert started(done.stderr) == ["build_contexts"]
    assert all(line in done.stderr.partition("rule build_contexts:")[0] for line in lines)
