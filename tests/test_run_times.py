"""What a study took: from benchmark files and from what jobs say of themselves, on files written by hand."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lenscore.jobs import spent
from lenscore.report.run_times import in_words, run_times, table_in_text
from tests.conftest import ROOT

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def job(folder: Path, name: str, seconds: float, mb: str, said: dict[str, float] | None = None) -> Path:
    file = folder / f"{name}.tsv"
    file.write_text(f"{HEAD}{seconds}\t0:00:01\t{mb}\t-\t-\t-\t-\t-\t0.00\t1.0\n")
    if said is not None:
        file.with_suffix(".json").write_text(json.dumps(said))
    return file


def test_jobs_are_added_up_by_rule(tmp_path: Path) -> None:
    files = {
        "extract_shard": [
            job(tmp_path, "a", 60.0, "100.5", {"model": 40.0, "lens": 10.0}),
            job(tmp_path, "b", 40.0, "300.25", {"model": 20.0, "lens": 5.0}),
            tmp_path / "not run in this study.tsv",
        ],
        "analyse": [job(tmp_path, "c", 20.0, "NA")],
        "render_charts": [tmp_path / "none.tsv"],
    }
    extract, analyse = run_times(files)
    assert extract == ("extract_shard", 2, 100.0, 60.0, 15.0, 300.25)
    assert analyse == ("analyse", 1, 20.0, 0.0, 0.0, 0.0)
    words = in_words([extract, analyse])
    assert words.startswith("Of 2 min 00 s that all jobs took together, 50% went into the model's passes, 12% into")
    assert "38% into all else" in words
    lines = table_in_text([extract, analyse]).splitlines()
    assert lines[1].split() == ["extract_shard", "2", "100.0", "60%", "15%", "25%", "300"]
    assert lines[2].split() == ["analyse", "1", "20.0", "0%", "0%", "100%", "0"]


def test_a_study_without_benchmarks_says_nothing() -> None:
    assert run_times({"analyse": []}) == []
    assert in_words([]) == ""


@pytest.mark.parametrize(("seconds", "words"), [(9.6, "10 s"), (61, "1 min 01 s"), (7384, "2 h 03 min")])
def test_durations_are_written_as_they_are_read(tmp_path: Path, seconds: float, words: str) -> None:
    times = run_times({"analyse": [job(tmp_path, "a", seconds, "1")]})
    assert in_words(times).startswith(f"Of {words} that")


def test_time_is_counted_by_what_it_is_spent_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spent, "_SECONDS", type(spent._SECONDS)(float))
    clock = iter([0.0, 2.0, 10.0, 10.5, 20.0, 21.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    for what in ("model", "lens", "model"):
        with spent.spent_on(what, torch.device("cpu")):
            pass
    spent.write_spent(tmp_path / "spent.json")
    assert json.loads((tmp_path / "spent.json").read_text()) == {"model": 3.0, "lens": 0.5}


def test_the_clock_is_read_once_a_gpu_has_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    def clock() -> float:
        events.append("clock")
        return 0.0

    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: events.append(f"wait for {device}"))
    monkeypatch.setattr(time, "perf_counter", clock)
    with spent.spent_on("model", torch.device("cuda:1")):
        events.append("work")
    assert events == ["wait for cuda:1", "clock", "work", "wait for cuda:1", "clock"]
    events.clear()
    with spent.spent_on("model", torch.device("cpu")):
        events.append("work")
    assert events == ["clock", "work", "clock"]


def test_an_error_of_the_work_is_not_replaced_by_one_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spent, "_SECONDS", type(spent._SECONDS)(float))
    clock = iter([1.0, 4.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    waits = iter([None])  # a second wait would fail
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: next(waits))
    with pytest.raises(ValueError, match="the work"), spent.spent_on("model", torch.device("cuda")):
        raise ValueError("the work")
    assert spent._SECONDS["model"] == 3.0


def test_jobs_that_run_no_model_start_without_torch() -> None:
    code = "import sys; import lenscore.jobs.spent; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
