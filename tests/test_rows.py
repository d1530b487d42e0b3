"""Files of datasets are told by their content: the same questions from every form that is read."""

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lenscore.errors import SourceError
from lenscore.sources import rows
from lenscore.sources.compression import unpacked
from lenscore.sources.formats import read_questions
from lenscore.sources.rows import count_rows, rows_of_file

ROWS: list[dict[str, Any]] = [
    {"question": "What, and why?", "answers": ["naïve", "b"], "title": "A", "text": 'The naïve "b",\nand more.'},
    {"question": "Which year?", "answers": ["1937"], "title": "", "text": "In 1937 大桥."},
]


def as_lines() -> bytes:
    return "\n".join(json.dumps(row) for row in ROWS).encode()


def as_table(delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(ROWS[0])
    writer.writerows([[json.dumps(v) if isinstance(v, list) else v for v in row.values()] for row in ROWS])
    return text.getvalue().encode()


def as_parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), buffer)
    return buffer.getvalue()


FORMS: dict[str, tuple[Callable[[], bytes], list[str]]] = {
    "lines": (as_lines, ["line 1", "line 2"]),
    "lines with a byte order mark": (lambda: b"\xef\xbb\xbf" + as_lines(), ["line 1", "line 2"]),
    "array": (lambda: json.dumps(ROWS).encode(), ["item 1", "item 2"]),
    "indented array": (lambda: json.dumps(ROWS, indent=2).encode(), ["item 1", "item 2"]),
    "indented object": (lambda: json.dumps({"data": ROWS}, indent=2).encode(), ["data 1", "data 2"]),
    "CSV": (lambda: as_table(","), ["line 3", "line 4"]),  # of a row that goes over two lines, the second
    "TSV": (lambda: as_table("\t"), ["line 3", "line 4"]),
    "semicolons": (lambda: as_table(";"), ["line 3", "line 4"]),
    "Parquet": (as_parquet, ["row 1", "row 2"]),
}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda content: bytes(pa.Codec("zstd").compress(content, asbytes=True)),
}


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_same_questions(form: str, packed: str, tmp_path: Path) -> None:
    made, places = FORMS[form]
    path = tmp_path / "a name that says nothing"
    path.write_bytes(PACKED[packed](made()))
    found = list(rows_of_file(path, "f"))
    assert [place.removeprefix("f, ") for place, _ in found] == places
    (path.with_name("lines")).write_bytes(as_lines())
    wanted = read_questions(rows_of_file(path.with_name("lines"), "f"), "f").table
    assert read_questions(found, "f").table.equals(wanted)
    assert count_rows(path) == 2


SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "Fruit",
            "paragraphs": [
                {
                    "context": "A lemon is yellow. A lime is green.",
                    "qas": [
                        {"id": "1", "question": "Lemon?", "answers": [{"text": "yellow", "answer_start": 11}]},
                        {"id": "2", "question": "Lime?", "answers": [{"text": "green", "answer_start": 29}]},
                    ],
                },
                {"context": "Oak.", "qas": [{"id": "3", "question": "Tree?", "answers": [{"text": "Oak"}]}]},
            ],
        }
    ],
}


@pytest.mark.parametrize("indent", [None, 2])
def test_squad_files_are_taken_apart(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(SQUAD, indent=indent))
    assert count_rows(path) == 3, "a line count is not a row count"
    found = list(rows_of_file(path, "f"))
    assert found[1][0].endswith("data 1, paragraphs 1, qas 2")
    questions = read_questions(found, "f")
    assert questions.format == "squad"
    assert questions.table["question_id"].to_pylist() == ["1", "2", "3"]
    assert questions.table["gold"].to_pylist()[1] == {"title": "Fruit", "text": "A lemon is yellow. A lime is green."}
    assert questions.table["answers"].to_pylist() == [["yellow"], ["green"], ["Oak"]]


def test_mrqa_lines_have_a_header_and_several_questions(tmp_path: Path) -> None:
    path = tmp_path / "SQuAD.jsonl.gz"
    lines = [
        {"header": {"dataset": "SQuAD", "split": "train"}},
        {
            "id": "",
            "context": "A lemon is yellow.",
            "qas": [
                {"qid": "a", "question": "Colour?", "answers": ["yellow"], "detected_answers": []},
                {"qid": "b", "question": "Fruit?", "answers": ["lemon"]},
            ],
        },
    ]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    questions = read_questions(rows_of_file(path, "f"), "f")
    assert questions.table["question_id"].to_pylist() == ["a", "b"]
    assert count_rows(path) == 2


def test_copies_are_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(as_lines() + b"\n \n" + as_lines() + b"\n")
    assert count_rows(path) == 2
    path.write_text(json.dumps([*ROWS, ROWS[0]]))
    assert count_rows(path) == 2


def test_a_cell_without_text_is_a_value_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("id,question,answers,text,topic\n007,q,yellow,It is yellow.,\n")
    ((_, row),) = rows_of_file(tmp_path / "f", "f")
    assert row == {"id": "007", "question": "q", "answers": "yellow", "text": "It is yellow."}


def test_blank_lines_in_quotes_are_part_of_a_cell(tmp_path: Path) -> None:
    content = '\n \nquestion,answers,text\n\nq,a,"one\n\n  \na"\n   \nr,a,a\n\n'
    (tmp_path / "f").write_text(content)
    assert [row["text"] for _, row in rows_of_file(tmp_path / "f", "f")] == ["one\n\n  \na", "a"]  # type: ignore[index]


def test_a_column_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("PK,question,answers,text\n1,q,a,a\n")
    assert count_rows(tmp_path / "f") == 1


@pytest.mark.parametrize("key", ["data", "Data", "paragraphs", "qas"])
def test_questions_of_one_line_are_all_counted(tmp_path: Path, key: str) -> None:
    (tmp_path / "f").write_text(json.dumps({key: ROWS}))
    assert count_rows(tmp_path / "f") == 2 == len(list(rows_of_file(tmp_path / "f", "f")))


@pytest.mark.parametrize("key", ["data", "Data", "paragraphs", "qas"])
def test_a_question_is_a_row_whatever_else_it_has(tmp_path: Path, key: str) -> None:
    (tmp_path / "f").write_text(json.dumps(ROWS[0] | {key: []}))
    assert count_rows(tmp_path / "f") == 1 == len(list(rows_of_file(tmp_path / "f", "f")))


def test_what_must_be_read_whole_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LARGEST_DOCUMENT", 100)
    for content in (json.dumps(ROWS).encode(), gzip.compress(as_parquet())):
        (tmp_path / "f").write_bytes(content)
        with pytest.raises(SourceError, match="that have to be read whole; write it as JSON Lines"):
            list(rows_of_file(tmp_path / "f", "f"))


def test_a_long_line_is_refused_before_it_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LONGEST_LINE", 500)
    (tmp_path / "f").write_bytes(as_lines() + b"\n" + b'{"question": "' + b"a" * 10_000)
    for read in (lambda: list(rows_of_file(tmp_path / "f", "f")), lambda: count_rows(tmp_path / "f")):
        with pytest.raises(SourceError, match="line 3: longer than"):
            read()


def test_a_large_passage_is_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(json.dumps(ROWS[0] | {"text": "naïve " * 2_000_000}))
    (row,) = read_questions(rows_of_file(tmp_path / "f", "f"), "f").table.to_pylist()
    assert len(row["gold"]["text"]) == 12_000_000


def test_a_small_file_may_be_packed_well(tmp_path: Path) -> None:
    content = as_lines() + b"\n" * 1_000_000
    (tmp_path / "f").write_bytes(gzip.compress(content))
    with unpacked(tmp_path / "f", "f") as stream:
        assert stream.read() == content
    assert count_rows(tmp_path / "f") == 2
