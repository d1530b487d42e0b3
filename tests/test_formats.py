"""Rows of every format become questions, and malformed ones an error that says where."""

import gzip
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lenscore.errors import SourceError
from lenscore.sources.formats import Questions, read_questions
from lenscore.sources.lines import count_questions, read_json_lines
from lenscore.sources.tables import QUESTIONS

OWN = {
    "id": "fruit-1",
    "topic": "fruit",
    "question": "Which colour has a ripe lemon?",
    "answers": ["yellow", "bright yellow"],
    "title": "Lemon",
    "text": "A ripe lemon is yellow.",
}
LOST = {
    "question": "how many legs has a spider",
    "answers": ["eight", "8"],
    "ctxs": [
        {"id": "7", "title": "Beetle", "text": "Beetles have six legs.", "score": "1.5", "isgold": False},
        {"id": "8", "title": "Spider", "text": "Spiders have eight legs.", "hasanswer": True, "isgold": True},
        {"id": "9", "title": "Crab", "text": "Crabs have ten legs.", "hasanswer": False, "isgold": False},
    ],
    "nq_annotated_gold": {"title": "Spider"},
}
NQ_OPEN = {"question": "which planet is nearest the sun", "answer": ["Mercury"]}
KEY_VALUE = {"ordered_kv_records": [["k1", "v1"], ["k2", "v2"], ["k3", "v3"]], "key": "k2", "value": "v2"}


def read(*rows: object, format: str = "auto") -> Questions:
    return read_questions([(f"f.jsonl, line {n}", row) for n, row in enumerate(rows, start=1)], "f.jsonl", format)


def derived_id(question: str, text: str) -> str:
    return "q-" + hashlib.sha256(question.encode() + b"\n" + text.encode()).hexdigest()[:12]


def test_own_format() -> None:
    read_back = read(OWN, OWN | {"id": "fruit-2", "distractors": [{"title": "Plum", "text": "A plum is blue."}]})
    assert read_back.format == "questions"
    assert read_back.table.schema == QUESTIONS
    first, second = read_back.table.to_pylist()
    assert first == {
        "question_id": "fruit-1",
        "question": OWN["question"],
        "answers": OWN["answers"],
        "topic": "fruit",
        "gold": {"title": "Lemon", "text": OWN["text"]},
        "distractors": [],
    }
    assert second["distractors"] == [{"title": "Plum", "text": "A plum is blue."}]
    assert read_back.least_distractors == 0


def test_lost_in_the_middle_with_several_documents() -> None:
    read_back = read(LOST)
    assert read_back.format == "lost_in_the_middle"
    assert read_back.table.to_pylist() == [
        {
            "question_id": derived_id("how many legs has a spider", "Spiders have eight legs."),
            "question": "how many legs has a spider",
            "answers": ["eight", "8"],
            "topic": None,
            "gold": {"title": "Spider", "text": "Spiders have eight legs."},
            "distractors": [
                {"title": "Beetle", "text": "Beetles have six legs."},
                {"title": "Crab", "text": "Crabs have ten legs."},
            ],
        }
    ]
    assert read_back.least_distractors == 2


@pytest.mark.parametrize("mark", [{"isgold": True}, {}])
def test_lost_in_the_middle_with_the_gold_document_alone(mark: dict[str, bool]) -> None:
    (row,) = read(LOST | {"ctxs": [{"title": "Spider", "text": "Spiders have eight legs."} | mark]}).table.to_pylist()
    assert row["gold"] == {"title": "Spider", "text": "Spiders have eight legs."}
    assert row["distractors"] == []


@pytest.mark.parametrize("marks", [[False, False], [True, True], [None, None]])
def test_lost_in_the_middle_needs_one_gold_document(marks: list[bool | None]) -> None:
    ctxs = [{"title": "", "text": f"text {place}", "isgold": mark} for place, mark in enumerate(marks)]
    with pytest.raises(SourceError, match=r"line 1: .*of the 2 ctxs have isgold; exactly one must"):
        read(LOST | {"ctxs": ctxs})


def test_nq_open_has_no_documents() -> None:
    read_back = read(NQ_OPEN)
    assert read_back.format == "nq_open"
    assert read_back.table.to_pylist() == [
        {
            "question_id": derived_id("which planet is nearest the sun", ""),
            "question": "which planet is nearest the sun",
            "answers": ["Mercury"],
            "topic": None,
            "gold": None,
            "distractors": [],
        }
    ]


def test_key_value_pairs_are_documents() -> None:
    read_back = read(KEY_VALUE)
    assert read_back.format == "key_value"
    assert read_back.table.to_pylist() == [
        {
            "question_id": derived_id("k2", "v2"),
            "question": "k2",
            "answers": ["v2"],
            "topic": None,
            "gold": {"title": "k2", "text": "v2"},
            "distractors": [{"title": "k1", "text": "v1"}, {"title": "k3", "text": "v3"}],
        }
    ]


@pytest.mark.parametrize("pairs", [[["k1", "v1"]], [["k2", "v9"]], [["k2", "v2"], ["k2", "v3"]]])
def test_key_value_needs_the_pair_once(pairs: list[list[str]]) -> None:
    with pytest.raises(SourceError, match="gives key 'k2' the values"):
        read(KEY_VALUE | {"ordered_kv_records": pairs})


def test_unknown_row_names_its_keys_and_those_of_the_formats() -> None:
    with pytest.raises(SourceError) as raised:
        read({"prompt": "x", "completion": "y"})
    message = str(raised.value)
    for part in ("line 1", "prompt, completion", "ctxs", "ordered_kv_records", "answer", "text"):
        assert part in message


def test_a_row_that_may_be_two_formats_is_asked_about() -> None:
    with pytest.raises(SourceError, match=r"questions or nq_open.*dataset\.format"):
        read({key: OWN[key] for key in ("question", "answers", "text")} | {"answer": ["yellow"]})
    (row,) = read(NQ_OPEN | {"answers": ["x"], "text": "y"}, format="nq_open").table.to_pylist()
    assert row["answers"] == ["Mercury"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({key: value for key, value in OWN.items() if key != "text"}, "text: Field required"),
        (OWN | {"answers": []}, "answers: "),
        (OWN | {"answers": ["yellow", " "]}, "answers.1: must not be empty"),
        (OWN | {"answers": "yellow"}, "answers: .*found 'yellow'"),
        (OWN | {"question": 3}, "question: .*found 3"),
        (OWN | {"question": ""}, "question: "),
        (OWN | {"text": None}, "text: .*found None"),
        (OWN | {"distractor": []}, "distractor: unknown key"),
        (OWN | {"distractors": [{"title": "x"}]}, "distractors.0.text: Field required"),
        (["a", "list"], "a list; an object"),
        (NQ_OPEN, "text: Field required"),
    ],
)
def test_malformed_row_is_named(row: object, fault: str) -> None:
    with pytest.raises(SourceError, match=f"^f.jsonl, line 2: .*{fault}"):
        read(OWN, row)


def test_exact_duplicates_are_dropped_and_counted() -> None:
    read_back = read(NQ_OPEN, LOST | {"answer": ["eight"]}, NQ_OPEN, NQ_OPEN, format="nq_open")
    assert read_back.table["question"].to_pylist() == [NQ_OPEN["question"], LOST["question"]]
    assert read_back.duplicates == 2
    assert read(OWN, OWN).duplicates == 1


def test_one_id_for_two_questions_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"line 3: id 'fruit-1' .*line 1"):
        read(OWN, OWN | {"id": "fruit-2"}, OWN | {"text": "Another text."})


def test_ids_may_be_numbers() -> None:
    assert read(NQ_OPEN | {"id": 17}).table["question_id"].to_pylist() == ["17"]


def test_no_rows() -> None:
    with pytest.raises(SourceError, match=r"f\.jsonl: no rows"):
        read()


def lines(tmp_path: Path, content: bytes) -> list[tuple[str, Any]]:
    (tmp_path / "f").write_bytes(content)
    return list(read_json_lines(tmp_path / "f", "f"))


@pytest.mark.parametrize("packed", [False, True])
def test_lines_are_read_and_counted(tmp_path: Path, packed: bool) -> None:
    content = b'\xef\xbb\xbf{"a": "\xc3\xa9\xe2\x80\xa8"}\r\n\n  \n{"a": 2}'
    assert lines(tmp_path, gzip.compress(content) if packed else content) == [
        ("f, line 1", {"a": "é\u2028"}),
        ("f, line 4", {"a": 2}),
    ]
    assert count_questions(tmp_path / "f") == 2


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'{"a": 1}\n{"a": 1\n', "f, line 2: not JSON"),
        (b'{"a": 1}\n{"a": "\xff"}\n', "f, line 2: not UTF-8: byte 8 of the line is 0xff"),
        (gzip.compress(json.dumps(OWN).encode() * 99)[:-20], "f: the gzip stream breaks"),
        (b"\x1f\x8bnonsense, as it were", "f: the gzip stream breaks"),
    ],
)
def test_malformed_file_is_named(tmp_path: Path, content: bytes, fault: str) -> None:
    with pytest.raises(SourceError, match=fault):
        lines(tmp_path, content)


def test_counting_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.jsonl: no such file"):
        count_questions(tmp_path / "none.jsonl")
    with pytest.raises(SourceError, match="a folder"):
        count_questions(tmp_path)


@pytest.mark.parametrize("module", ["lenscore.sources.lines", "lenscore.sources.model_files"])
def test_what_the_snakefile_calls_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert module in loaded
    assert not loaded & {"torch", "pyarrow", "safetensors", "requests", "transformers", "datasets", "numpy", "pydantic"}
