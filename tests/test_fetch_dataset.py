"""fetch_dataset from the embedded questions, files and addresses (the Hub: test_hub.py)."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow.parquet as pq
import pytest

from lenscore.errors import SourceError
from lenscore.records import read_table
from lenscore.sources.datasets import fetch_dataset
from lenscore.sources.local_files import EMBEDDED, local_file
from lenscore.sources.rows import count_rows
from lenscore.sources.tables import QUESTIONS
from lenscore.study.dataset import DatasetSpec
from tests.helpers_sources import kill_at_the_line

ROWS = [
    {"question": "how many legs has a spider", "answers": ["eight"]}
    | {"ctxs": [{"title": "Spider", "text": "Eight legs.", "isgold": True}, {"title": "Crab", "text": "Ten legs."}]},
    {"question": "which planet is red", "answers": ["Mars"]}
    | {"ctxs": [{"title": "Venus", "text": "White."}, {"title": "Mars", "text": "Mars is red.", "isgold": True}]},
]
CONTENT = gzip.compress("".join(json.dumps(row) + "\n" for row in [*ROWS, ROWS[0]]).encode(), mtime=0)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
GIT_BLOB = hashlib.sha1(b"blob " + str(len(CONTENT)).encode() + b"\0" + CONTENT).hexdigest()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that holds the dataset as data.jsonl.gz."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "data.jsonl.gz").write_bytes(CONTENT)
    return tmp_path


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_file_relative_to_the_working_directory(folder: Path) -> None:
    target = folder / "datasets" / "spiders"
    target.mkdir(parents=True)  # as Snakemake does
    fetch_dataset(DatasetSpec(source="path:data.jsonl.gz", sha256=SHA256, git_blob=GIT_BLOB), target)
    assert {path.name for path in target.iterdir()} == {"questions.parquet", "manifest.json"}
    assert list(target.parent.iterdir()) == [target]
    table = read_table(target / "questions.parquet", QUESTIONS)
    assert table["question"].to_pylist() == [row["question"] for row in ROWS]
    assert [(gold["title"], gold["text"]) for gold in table["gold"].to_pylist()] == [
        ("Spider", "Eight legs."),
        ("Mars", "Mars is red."),
    ]
    assert json.loads((target / "manifest.json").read_bytes()) == {
        "source": "path:data.jsonl.gz",
        "sha256": SHA256,
        "format": "lost_in_the_middle",
        "questions": 2,
        "least_distractors": 1,
        "duplicates_dropped": 1,
        "unanswerable_dropped": 0,
        "files": {"questions.parquet": hashlib.sha256((target / "questions.parquet").read_bytes()).hexdigest()},
    }


def test_same_input_same_bytes(folder: Path) -> None:
    for name in ("one", "two"):
        fetch_dataset(DatasetSpec(source="path:data.jsonl.gz"), folder / name)
    for file in ("questions.parquet", "manifest.json"):
        assert (folder / "one" / file).read_bytes() == (folder / "two" / file).read_bytes()


@pytest.mark.parametrize("hashes", [{"sha256": SHA256}, {"git_blob": GIT_BLOB}])
def test_address(folder: Path, address: str, hashes: dict[str, str]) -> None:
    source = f"url:{address}/data.jsonl.gz"
    fetch_dataset(DatasetSpec(source=source, **hashes), folder / "datasets" / "spiders")
    manifest = json.loads((folder / "datasets" / "spiders" / "manifest.json").read_bytes())
    assert (manifest["source"], manifest["sha256"], manifest["questions"]) == (source, SHA256, 2)
    assert [path.name for path in (folder / "datasets").iterdir()] == ["spiders"]


def test_malformed_row_at_an_address_is_named_by_the_address(folder: Path, address: str) -> None:
    content = json.dumps(ROWS[0]) + "\n{}\n"
    (folder / "bad.jsonl").write_text(content)
    spec = DatasetSpec(source=f"url:{address}/bad.jsonl", sha256=hashlib.sha256(content.encode()).hexdigest())
    with pytest.raises(SourceError, match=rf"^{address}/bad\.jsonl, line 2: "):
        fetch_dataset(spec, folder / "datasets" / "bad")
    assert list((folder / "datasets").iterdir()) == []


@pytest.mark.parametrize("kind", ["path", "url"])
def test_wrong_hash_leaves_what_was_there(folder: Path, address: str, kind: str) -> None:
    target = folder / "datasets" / "spiders"
    target.mkdir(parents=True)
    (target / "questions.parquet").write_bytes(b"earlier")
    place = "data.jsonl.gz" if kind == "path" else f"{address}/data.jsonl.gz"
    with pytest.raises(SourceError) as raised:
        fetch_dataset(DatasetSpec(source=f"{kind}:{place}", sha256="0" * 64), target)
    for part in (place, "0" * 64, SHA256):
        assert part in str(raised.value)
    assert [path.name for path in target.parent.iterdir()] == ["spiders"]
    assert (target / "questions.parquet").read_bytes() == b"earlier"


def test_file_that_is_as_expected_is_taken(folder: Path) -> None:
    fetch_dataset(DatasetSpec(source="path:data.jsonl.gz"), folder / "spiders", {"data.jsonl.gz": SHA256})
    assert json.loads((folder / "spiders/manifest.json").read_bytes())["sha256"] == SHA256


def test_file_that_changed_after_it_was_hashed_is_refused(folder: Path) -> None:
    (folder / "data.jsonl.gz").write_bytes(gzip.compress(json.dumps(ROWS[0]).encode()))
    with pytest.raises(SourceError) as raised:
        fetch_dataset(DatasetSpec(source="path:data.jsonl.gz"), folder / "spiders", {"data.jsonl.gz": SHA256})
    assert str(raised.value) == (
        "dataset.source: path:data.jsonl.gz: data.jsonl.gz changed after the run had started; run again"
    )
    assert [path.name for path in folder.iterdir()] == ["data.jsonl.gz"]


HUNG = """
import json, sys, time
from pathlib import Path
from lenscore.sources import datasets
from lenscore.study.dataset import DatasetSpec

def hang(*arguments):
    print("the file is there", flush=True)
    time.sleep(600)

datasets.read_questions = hang
datasets.fetch_dataset(DatasetSpec(**json.loads(sys.argv[1])), Path(sys.argv[2]))
"""


def test_what_a_killed_fetch_left_is_removed_by_the_next(folder: Path, address: str) -> None:
    target = folder / "datasets" / "spiders"
    spec = {"source": f"url:{address}/data.jsonl.gz", "sha256": SHA256}
    kill_at_the_line("the file is there", HUNG, json.dumps(spec), str(target))
    assert [path.read_bytes() for path in target.parent.rglob("raw")] == [CONTENT]
    assert not target.exists()
    fetch_dataset(DatasetSpec(**spec), target)
    assert [path.name for path in target.parent.iterdir()] == ["spiders"]
    assert {path.name for path in target.iterdir()} == {"questions.parquet", "manifest.json"}


def test_missing_file(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.jsonl: no such file \(the working directory is "):
        fetch_dataset(DatasetSpec(source="path:none.jsonl"), folder / "none")


def test_embedded_questions(folder: Path) -> None:
    fetch_dataset(DatasetSpec(source="embedded:questions"), folder / "embedded")
    rows = pq.read_table(folder / "embedded" / "questions.parquet").to_pylist()
    written = [json.loads(line) for line in EMBEDDED.read_text(encoding="utf-8").splitlines()]
    assert [(row["question_id"], row["question"], row["gold"]["text"]) for row in rows] == [
        (row["id"], row["question"], row["text"]) for row in written
    ]
    assert json.loads((folder / "embedded" / "manifest.json").read_bytes())["format"] == "questions"


def test_local_file_is_what_can_be_counted_before_any_job(folder: Path) -> None:
    assert local_file("embedded:questions") == EMBEDDED
    assert count_rows(local_file("path:data.jsonl.gz") or Path()) == 2  # a copy is not counted
    assert local_file("url:https://example.org/x") is None
    assert local_file("hub:lab/x") is None
