"""Rows of every format become questions, and malformed ones an error that says where."""

import gzip
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lenscore.errors import SourceError
from lenscore.sources.formats import Questions, read_questions
from lenscore.sources.rows import count_rows, rows_of_file
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


@pytest.mark.parametrize("documents", [{"title": "Mercury", "text": "Mercury is nearest."}, {"ctxs": LOST["ctxs"]}])
def test_questions_with_documents_are_not_read_without_them(documents: dict[str, Any]) -> None:
    with pytest.raises(
        SourceError, match=r"a row of no known format; its keys are question, answer, .*question, answers"
    ):
        read(NQ_OPEN | documents)


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
    for part in ("line 1", "prompt, completion", "ctxs", "ordered_kv_records", "answer", "text", "context", "output"):
        assert part in message


def test_a_row_that_may_be_two_formats_is_asked_about() -> None:
    with pytest.raises(SourceError, match=r"questions or squad.*dataset\.format"):
        read({key: OWN[key] for key in ("question", "answers", "text")} | {"context": "yellow"})
    (row,) = read(NQ_OPEN | {"answers": ["x"], "text": "y"}, format="nq_open").table.to_pylist()
    assert row["answers"] == ["Mercury"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({key: value for key, value in OWN.items() if key != "text"}, "text: Field required"),
        (OWN | {"answers": []}, "answers: "),
        (OWN | {"answers": ["yellow", " "]}, "answers.1: must not be empty"),
        (OWN | {"answers": {"text": "yellow"}}, "answers: .*found {'text': 'yellow'}"),
        (OWN | {"answers": [True]}, "answers.0: .*found True"),
        (OWN | {"answers": [3.0]}, "answers.0: a number that may be written in several ways; put it in quotes"),
        (OWN | {"question": 3}, "question: .*found 3"),
        (OWN | {"question": ""}, "question: "),
        (OWN | {"text": None}, "text: .*found None"),
        ({k: OWN[k] for k in OWN if k != "topic"} | {"topics": "x"}, "'topics': unknown key; did you mean topic?"),
        (OWN | {"distractor": []}, "'distractor': unknown key; did you mean distractors?"),
        (OWN | {"answers": [" "] * 99}, "answers.4: must not be empty; found ' '; and 94 more"),
        (OWN | {"distractors": [{"title": "x"}]}, "distractors.0.text: Field required"),
        (["a", "list"], "a list; an object"),
        (NQ_OPEN, "'answer': unknown key; did you mean answers?"),
        (OWN | {"answers": [1e-7]}, "answers.0: a number that may be written in several ways"),
        (OWN | {"text": "yellow\0"}, "text: has the character NUL; remove it"),
        (OWN | {"title": "\0"}, "title: has the character NUL; remove it"),
        (OWN | {"topic": "\0"}, "topic: has the character NUL; remove it"),
        (OWN | {"id": "a\0"}, "has the character NUL; remove it"),
    ],
)
def test_malformed_row_is_named(row: object, fault: str) -> None:
    with pytest.raises(SourceError, match=f"^f.jsonl, line 2: .*{re.escape(fault) if '?' in fault else fault}"):
        read(OWN, row)


@pytest.mark.parametrize(
    ("row", "read_as", "note"),
    [
        (OWN | {"answers": [1937, "x"]}, {"answers": ["1937", "x"]}, "numbers as answers are read as text (1 times)"),
        (OWN | {"answers": 2.5}, {"answers": ["2.5"]}, "one answer that is no list is read as a list of one (1 times)"),
        (OWN | {"answers": "yellow"}, {"answers": ["yellow"]}, "one answer that is no list is read as a list of one"),
        (OWN | {"title": None}, {"gold": {"title": "", "text": OWN["text"]}},
         "a title that is null is read as none (1 times)"),
        (OWN | {"distractors": None}, {"distractors": []}, None),
        (OWN | {"source": "mine"}, {"topic": "fruit"}, "key 'source' is ignored (1 times)"),
        (NQ_OPEN | {"answer": "Mercury"}, {"answers": ["Mercury"]}, "one answer that is no list is read as a list"),
        (LOST | {"answers": 8}, {"answers": ["8"]}, "numbers as answers are read as text (1 times)"),
    ],
)  # fmt: skip
def test_what_is_plainly_meant_is_read_and_said_once(
    row: dict[str, Any], read_as: dict[str, Any], note: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    (found,) = read(row).table.to_pylist()
    assert {key: found[key] for key in read_as} == read_as
    assert (note in caplog.text) if note else not caplog.records


SQUAD = {
    "id": "s1", "title": "Lemon", "context": "A ripe lemon is yellow.", "question": "What colour?",
    "answers": {"text": ["yellow", "yellow"], "answer_start": [16, 16]},
}  # fmt: skip
TRIVIA = {
    "question": "What colour is a lemon?", "question_id": "t1", "entity_pages": {"title": []},
    "search_results": {"search_context": ["A lemon is yellow."]}, "answer": {"value": "Yellow", "aliases": ["yellow"]},
}  # fmt: skip
KILT = {
    "id": "k1", "input": "what colour is a lemon",
    "output": [{"answer": "yellow", "provenance": [{"title": "Lemon"}]}, {"provenance": []}, {"answer": "yellow"}],
}  # fmt: skip
DPR = {
    "question": "what colour is a lemon", "answers": ["yellow"],
    "positive_ctxs": [{"title": "Lemon", "text": "A lemon is yellow.", "score": 9}, {"title": "L", "text": "Yellow."}],
    "hard_negative_ctxs": [{"title": "Lime", "text": "A lime is green."}],
    "negative_ctxs": [{"title": "Key", "text": "Keys are brass."}],
}  # fmt: skip
NO_DOCUMENTS: dict[str, Any] = {"topic": None, "gold": None, "distractors": []}


@pytest.mark.parametrize(
    ("row", "format", "question"),
    [
        (SQUAD, "squad", {"question_id": "s1", "question": "What colour?", "answers": ["yellow"], "topic": None,
                          "gold": {"title": "Lemon", "text": "A ripe lemon is yellow."}, "distractors": []}),
        (SQUAD | {"answers": [{"text": "yellow", "answer_start": 16}]}, "squad", {"answers": ["yellow"]}),
        (TRIVIA, "trivia_qa", {"question_id": "t1", "answers": ["Yellow", "yellow"], **NO_DOCUMENTS}),
        ({"Question": "q?", "QuestionId": "t2", "Answer": {"Value": "A", "Aliases": ["B"]}}, "trivia_qa",
         {"question_id": "t2", "question": "q?", "answers": ["A", "B"], **NO_DOCUMENTS}),
        (KILT, "kilt", {"question_id": "k1", "question": "what colour is a lemon", "answers": ["yellow"],
                        **NO_DOCUMENTS}),
        (DPR, "dpr", {"answers": ["yellow"], "gold": {"title": "Lemon", "text": "A lemon is yellow."},
                      "distractors": [{"title": "Lime", "text": "A lime is green."},
                                      {"title": "Key", "text": "Keys are brass."}]}),
    ],
)  # fmt: skip
def test_published_formats(row: dict[str, Any], format: str, question: dict[str, Any]) -> None:
    read_back = read(row)
    assert read_back.format == format
    (found,) = read_back.table.to_pylist()
    assert {key: found[key] for key in question} == question


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"paragraphs": [], "question": "q", "question_decomposition": [], "answer": "a"}, "MuSiQue"),
        ({"question": "q", "answer": "a", "context": {}, "supporting_facts": {}}, "HotpotQA or 2WikiMultihopQA"),
        ({"index": 0, "input": "...", "outputs": ["4081"], "length": 512}, "RULER"),
        ({"input": "q", "context": "...", "answers": ["a"], "all_classes": None}, "LongBench"),
        ({"document": {}, "question": {}, "annotations": {}}, "Natural Questions (whole pages)"),
        ({"query": "q", "passages": {}, "answers": ["a"]}, "MS MARCO"),
    ],
)
def test_formats_that_are_not_read_are_refused_by_name(row: dict[str, Any], name: str) -> None:
    with pytest.raises(SourceError) as raised:
        read(row)
    assert str(raised.value).startswith(f"f.jsonl, line 1: a row of {name}, which is not read: ")
    assert "write rows of your own: question, answers, title, text" in str(raised.value)


def test_retrieved_passages_without_a_gold_mark_are_refused() -> None:
    passages = [{"title": "a", "text": text, "score": 1.5, "has_answer": True} for text in ("one", "two")]
    with pytest.raises(SourceError, match=r"0 of the 2 ctxs have isgold.*retrieved passages \(DPR, KILT\).*set isgold"):
        read(LOST | {"ctxs": passages})


def test_questions_without_an_answer_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    without = [
        SQUAD | {"id": "s2", "answers": {"text": [], "answer_start": []}},
        SQUAD | {"id": "s3", "is_impossible": True},
    ]
    read_back = read(without[0], SQUAD, without[1])
    assert read_back.table["question_id"].to_pylist() == ["s1"]
    assert read_back.unanswerable == 2
    assert "questions without an answer are left out (2 times)" in caplog.text
    with pytest.raises(SourceError, match="no rows with an answer"):
        read(*without)


def test_the_log_is_no_longer_than_a_page_whatever_the_keys_are(caplog: pytest.LogCaptureFixture) -> None:
    read(*(OWN | {"id": number, f"key {number}": 1} for number in range(50)))
    assert len(caplog.records) == 21
    assert "f.jsonl: and 30 more of such kinds" in caplog.text


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
    return list(rows_of_file(tmp_path / "f", "f"))


@pytest.mark.parametrize("packed", [False, True])
def test_lines_are_read_and_counted(tmp_path: Path, packed: bool) -> None:
    content = b'\xef\xbb\xbf{"a": "\xc3\xa9\xe2\x80\xa8"}\r\n\n  \n{"a": 2}'
    assert lines(tmp_path, gzip.compress(content) if packed else content) == [
        ("f, line 1", {"a": "é\u2028"}),
        ("f, line 4", {"a": 2}),
    ]
    assert count_rows(tmp_path / "f") == 2


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
        count_rows(tmp_path / "none.jsonl")
    with pytest.raises(SourceError, match="a folder"):
        count_rows(tmp_path)


@pytest.mark.parametrize("module", ["lenscore.sources.rows", "lenscore.sources.model_files"])
def test_what_the_snakefile_calls_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert module in loaded
    assert not loaded & {"torch", "pyarrow", "safetensors", "requests", "transformers", "datasets", "numpy", "pydantic"}
