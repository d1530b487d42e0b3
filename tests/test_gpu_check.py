"""The GPU check itself, with the CPU in the GPU's place: it finds faults, keeps its time, and reports what it has."""

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import __main__ as check
from benchmarks.gpu import reference, runner, wheels
from benchmarks.gpu.contexts import made_questions, tokenised_questions
from benchmarks.gpu.parts import memory, parity, records, speed
from benchmarks.gpu.plain import plain_rows
from benchmarks.gpu.plan import PARTS, TOTAL_SECONDS, Line, Part, Setting, time_limits
from benchmarks.gpu.rows import EXACT, Rows, agreement
from benchmarks.gpu.runner import run_part
from benchmarks.gpu.shapes import config_of, multiplied_shape, random_model, sharing_weights
from lenscore.extraction.checked_run import CheckedRun
from lenscore.models.products import multiplies_bf16
from tests.tiny_models import a_question, tiny_model

CPU = Setting("cpu")


def rows(top_ids: list[int], lead: float = 1.0, target_logprob: float = -3.0) -> Rows:
    """One layer of one answer token."""
    logprobs = [-1.0 - lead * place for place in range(len(top_ids))]
    return Rows(torch.tensor([[top_ids]]), torch.tensor([[logprobs]]), torch.tensor([[target_logprob]]))


def test_time_limits_fit_into_eight_minutes() -> None:
    assert sum(part.seconds for part in PARTS) <= TOTAL_SECONDS == 480
    assert sum(time_limits(PARTS, 240)) < 240
    assert len({part.name for part in PARTS}) == len(PARTS)


@pytest.mark.parametrize(
    ("found", "expected", "same", "ties", "holds"),
    [
        (rows([3, 4]), rows([3, 4]), 1, 0, True),
        (rows([4, 3]), rows([3, 4], lead=5e-4), 0, 1, True),
        (rows([4, 3]), rows([3, 4], lead=2e-3), 0, 0, False),
        (rows([9, 3]), rows([3, 4], lead=5e-4), 0, 0, False),
        (rows([3, 4], target_logprob=-3.0011), rows([3, 4]), 1, 0, False),
        (rows([3, 4], target_logprob=float("nan")), rows([3, 4]), 1, 0, False),
    ],
    ids=["equal", "tie", "no tie", "not among the best", "log-probability", "nan"],
)
def test_rows_compared_by_hand(found: Rows, expected: Rows, same: int, ties: int, holds: bool) -> None:
    compared = agreement(found, expected, EXACT.lead)
    assert (compared.same, compared.ties, compared.within(EXACT)) == (same, ties, holds)
    json.dumps(compared.as_line(), allow_nan=False)


def test_other_contexts_are_no_agreement() -> None:
    with pytest.raises(ValueError, match=re.escape("are (1, 2), but the reference has (1, 1)")):
        agreement(Rows.joined([rows([3, 4])] * 2), rows([3, 4]), EXACT.lead)


def only(monkeypatch: pytest.MonkeyPatch, *families: str, compiled: tuple[str, ...] = ()) -> None:
    monkeypatch.setattr(parity, "_FAMILIES", families)
    monkeypatch.setattr(parity, "_COMPILED_FAMILIES", compiled)


@pytest.mark.slow
def test_parity_holds_and_its_cases_are_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "llama", "gptj", compiled=("mistral-window",))
    lines = list(parity.run(CPU))
    assert {line["family"] for line in lines} == {"llama", "gptj", "mistral-window"}
    assert [line["family"] for line in lines if line["case"] == "float32, shared, flex"] == ["mistral-window"]
    ways = ("shared", "alone", "ablated, all tokens", "ablated, answer tokens")
    for case in ("float32, tuned lens", *(f"{dtype}, {way}" for dtype in ("float32", "bfloat16") for way in ways)):
        assert sum(line["case"].startswith(case) for line in lines) >= 2, case
    assert all(line["holds"] for line in lines), lines
    assert all(line["rows"] > 100 for line in lines)


def test_a_planted_fault_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "llama", compiled=("llama",))
    lens_rows = reference.lens_rows

    def perturbed(*arguments: Any) -> Rows:
        found = lens_rows(*arguments)
        target_logprob = found.target_logprob.clone()
        target_logprob[1, 2] += 0.01
        return replace(found, target_logprob=target_logprob)

    monkeypatch.setattr(reference, "lens_rows", perturbed)
    exact = {line["case"]: line["holds"] for line in parity.run(CPU) if "float32" in line["case"]}
    assert (
        exact["float32, shared, sdpa"]
        is exact["float32, shared, flex"]
        is exact["float32, alone"]
        is exact["float32, tuned lens"]
        is False
    )
    assert exact["float32, ablated, all tokens"] is True


def test_a_family_that_fails_is_reported_and_the_next_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "llama", "gpt2")
    lens_rows = reference.lens_rows

    def broken(model: Any, *arguments: Any) -> Rows:
        if model.config.model_type == "llama":
            raise RuntimeError("no kernel image is available")
        return lens_rows(model, *arguments)

    monkeypatch.setattr(reference, "lens_rows", broken)
    first, *others = parity.run(CPU)
    assert (first["kind"], first["case"], first["holds"]) == ("fault", "llama", False)
    assert "no kernel image" in first["error"]
    assert {line["family"] for line in others} == {"gpt2"}


def test_records_are_plain_transformers() -> None:
    lines = list(records.run(CPU))
    compared = [line for line in lines if line["kind"] == "records"]
    ways = [
        "sdpa",
        "flex",
        "sdpa, from files",
        *(["sdpa, matmul: bf16"] if multiplies_bf16(torch.device("cpu")) else []),
    ]
    assert [line["attention"] for line in compared] == ways
    assert all(line["holds"] is True for line in lines)
    assert all(line["sharing"] == "shared" for line in compared)
    assert all(line["rows"] == line["contexts"] * 3 * 3 for line in compared)  # answer tokens × layers
    assert [line["case"] for line in lines if line["kind"] == "event"] == [
        "blocks' mean contributions, all tokens", "blocks' mean contributions, answer tokens",
    ]  # fmt: skip


def test_records_of_a_real_model_come_from_its_tokenizer(tiny_gpt2: Path) -> None:
    questions = tokenised_questions(tiny_gpt2, n_questions=1, documents=2, positions=2)
    (first, second) = questions[0]
    assert first.ids != second.ids
    assert first.answer_ids == second.answer_ids


_BESIDE = ("plain, one by one", "plain, batched", "engine, sdpa")


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["llama-1b", "qwen3-moe"])
def test_speed_compares_what_it_times(shape: str) -> None:
    lines = list(speed.run(CPU, shape=shape, dtype="float32"))
    timed = [line for line in lines if line["kind"] == "speed"]
    assert [line["contestant"] for line in timed] == [*_BESIDE, *_BESIDE, "engine, flex", "engine, flex"]
    assert all(line["tokens_per_second"] > 0 for line in timed)
    for line in timed:
        if line["contestant"].startswith("engine"):
            assert line["holds"] is True
            assert 0 < line["share_of_product_rate"] < 1
            assert 0 < line["lens_share"] < 1
            assert line["contexts"] == line["contexts_run"]
    assert timed[3]["contexts"] == 12 > timed[3]["contexts_run"] == 10  # a sample, and said to be one
    assert {line["what"] for line in lines if line["kind"] == "aim"} >= {"times as fast as plain, one by one"}


@pytest.mark.slow
def test_a_wrong_engine_is_not_called_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    logit_rows = speed.logit_rows

    def wrong(*arguments: Any) -> Rows:
        found = logit_rows(*arguments)
        return replace(found, target_logprob=found.target_logprob + 0.01)

    monkeypatch.setattr(speed, "logit_rows", wrong)
    effort = speed.EFFORTS["small"]
    monkeypatch.setitem(speed.EFFORTS, "small", replace(effort, workloads=effort.workloads[:1]))
    engine = [line for line in speed.run(CPU, "llama-1b", "float32") if line.get("contestant") == "engine, sdpa"]
    assert [line["holds"] for line in engine] == [False]  # no aim is said to be met


def test_an_engine_that_shares_no_prefixes_is_a_fault_and_is_timed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    effort = speed.EFFORTS["small"]
    monkeypatch.setitem(speed.EFFORTS, "small", replace(effort, workloads=effort.workloads[:1]))
    monkeypatch.setattr(speed, "ATTENTIONS", speed.ATTENTIONS[:1])
    logit_rows, calls = speed.logit_rows, []

    def falling_back(run: CheckedRun, questions: Any) -> Rows:
        found = logit_rows(run, questions)
        if not calls:
            run.runner.fall_back("rounding")
        calls.append(run.prefix_sharing)
        return found

    monkeypatch.setattr(speed, "logit_rows", falling_back)
    lines = list(speed.run(CPU, "llama-1b", "float32"))
    assert [(line["error"], line["holds"]) for line in lines if line["kind"] == "fault"] == [("rounding", False)]
    assert calls == ["rounding", "shared", "shared", "shared"]
    assert [
        line["holds"] for line in lines if line.get("contestant") == "engine, sdpa" and line["kind"] == "speed"
    ] == [True]


def test_a_mixtures_operations_are_those_of_the_chosen_experts() -> None:
    shape = multiplied_shape(config_of("qwen3-moe", small=False))
    assert shape.mlp_width == 8 * 768
    assert multiplied_shape(config_of("llama-8b", small=False)).mlp_width == 14336


def test_modules_can_be_replaced_while_weights_are_shared() -> None:
    model = random_model(config_of("llama-1b", small=True), torch.float32, "cpu")
    copied = sharing_weights(model)
    block, own = copied.model.layers[0], model.model.layers[0]
    assert block is not own
    assert block.mlp.up_proj.weight is own.mlp.up_proj.weight
    assert torch.isfinite(plain_rows(model, a_question()[:1], 1).target_logprob).all()


def test_plain_transformers_batched_is_the_same() -> None:
    model, contexts = tiny_model("llama"), a_question()
    compared = agreement(plain_rows(model, contexts, 4), plain_rows(model, contexts, 1), EXACT.lead)
    assert compared.within(EXACT)
    assert agreement(plain_rows(model, contexts, 1), reference.lens_rows(model, contexts), EXACT.lead).within(EXACT)


def test_contexts_share_all_but_the_gold_documents_place() -> None:
    (first, last), _ = made_questions(2, documents=3, positions=2, vocabulary=1000)
    assert sorted(first.ids) == sorted(last.ids)
    assert first.ids[:210] == last.ids[:210]
    assert first.ids[210:240] != last.ids[210:240]
    assert first.answer_ids == last.answer_ids
    assert len(first.answer_ids) == 3


@pytest.mark.slow
def test_jobs_at_once_and_a_killed_one() -> None:
    lines = list(memory.run(CPU))
    assert [line["holds"] for line in lines] == [None, True, True, True]
    assert "status -9" in lines[-1]["detail"]


# What stands in for the parts where their process and their time are tested.
STAND_INS = """
    import signal, subprocess, sys, time

    def run(setting, what):
        yield {"kind": "event", "case": "first", "holds": True}
        if what == "crash":
            raise RuntimeError("CUDA error: an illegal memory access")
        if what == "wrong":
            yield {"kind": "event", "case": "second", "holds": False}
        if what == "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            yield {"kind": "event", "case": "child", "detail": str(child.pid)}
            time.sleep(600)
"""


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stand_ins.py").write_text(textwrap.dedent(STAND_INS))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def part(what: str) -> Part:
    return Part(what, "stand_ins", 60, {"what": what})


def has_ended(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        stat = Path(f"/proc/{process}/stat")  # where nobody waits for it, what has ended stays as a zombie
        return stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.slow
def test_a_part_out_of_time_is_ended_with_all_that_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_GRACE_SECONDS", 0.2)
    start = time.monotonic()
    outcome = run_part(part("hang"), CPU, 5.0, os.environ)
    assert time.monotonic() - start < 30
    assert (outcome.status, outcome.failed) == ("out of time", False)
    assert [line["case"] for line in outcome.lines] == ["first", "child"]
    deadline = time.monotonic() + 10
    while not has_ended(int(outcome.lines[1]["detail"])):
        assert time.monotonic() < deadline, "what the part had started goes on"
        time.sleep(0.05)


def run_check(monkeypatch: pytest.MonkeyPatch, folder: Path, *parts: Part) -> tuple[int, dict[str, Any], str]:
    monkeypatch.setattr(check, "PARTS", parts)
    monkeypatch.setattr(sys, "argv", ["check", "--device", "cpu", "--out", str(folder), "--budget", "120"])
    monkeypatch.setattr(check.signal, "signal", lambda *_: None)
    status = check.main()
    return status, json.loads((folder / "gpu-check.json").read_text()), (folder / "gpu-check.md").read_text()


@pytest.mark.usefixtures("stand_ins")
def test_a_crash_is_reported_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, result, tables = run_check(monkeypatch, tmp_path / "out", part("crash"), part("fine"))
    assert status == 1
    crashed, fine = result["parts"]
    assert (crashed["status"], crashed["error"]) == ("crashed", "RuntimeError: CUDA error: an illegal memory access")
    assert [line["case"] for line in crashed["lines"]] == ["first"]
    assert (fine["status"], fine["failed"]) == ("done", False)
    assert "**Crashed:** `RuntimeError: CUDA error: an illegal memory access`" in tables
    assert "Failed: crash." in tables


@pytest.mark.usefixtures("stand_ins")
def test_a_claim_that_does_not_hold_fails_the_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, result, tables = run_check(monkeypatch, tmp_path / "out", part("wrong"))
    assert (status, result["parts"][0]["status"]) == (1, "done")
    assert "| second | **NO** |" in tables


@pytest.mark.usefixtures("stand_ins")
def test_a_check_that_fails_nowhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, result, tables = run_check(monkeypatch, tmp_path / "out", part("fine"))
    assert status == 0
    assert result["wheels"] == []
    assert "proves nothing about a GPU" in tables
    assert "proves nothing about a GPU" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["gpu-check.json", "gpu-check.md"]


@pytest.mark.usefixtures("stand_ins")
def test_time_that_a_part_leaves_goes_to_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, result, _ = run_check(monkeypatch, tmp_path / "out", part("fine"), part("wrong"))
    first, second = (outcome["limit"] for outcome in result["parts"])
    assert 50 < first < 65
    assert 100 < second < 120


@pytest.mark.slow
def test_the_script_as_it_is_called(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--only", "machine", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=runner.CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (outcome,) = json.loads((tmp_path / "gpu-check.json").read_text())["parts"]
    lines: list[Line] = outcome["lines"]
    assert [line["kind"] for line in lines] == ["machine", "rate", "rate"]
    assert lines[0]["torch"] == torch.__version__
    assert f"- torch: {torch.__version__}" in (tmp_path / "gpu-check.md").read_text()


def test_a_missing_library_is_named_and_how_to_bring_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wheels.missing_modules() == []
    monkeypatch.setattr(wheels, "FOLDER", wheels.CHECKOUT / "no-such-folder")
    with pytest.raises(FileNotFoundError, match=r"no pydantic, and no-such-folder/.* run make gpu-wheels"):
        wheels.unpack(["pydantic"], tmp_path)
    assert wheels.unpack([], tmp_path) == []


def test_wheels_are_unpacked_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "wheels" / f"{sys.version_info.major}.{sys.version_info.minor}"
    folder.mkdir(parents=True)
    make_wheel(folder, "psutil")
    monkeypatch.setattr(wheels, "FOLDER", tmp_path / "wheels")
    assert wheels.unpack(["psutil"], tmp_path / "target") == ["psutil-1.0-py3-none-any.whl"]
    assert (tmp_path / "target/psutil.py").read_text() == "brought = True\n"


def make_wheel(folder: Path, name: str) -> None:
    from zipfile import ZipFile

    def files() -> Iterator[tuple[str, str]]:
        yield f"{name}.py", "brought = True\n"
        yield f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        yield f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        yield f"{name}-1.0.dist-info/RECORD", ""

    with ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in files():
            wheel.writestr(path, text)
