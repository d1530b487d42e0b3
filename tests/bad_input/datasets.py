"""Bad files of datasets, and bad rows in them."""

import bz2
import gzip
import io
import json
import lzma
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lenscore.errors import LenscoreError
from lenscore.sources.datasets import fetch_dataset
from lenscore.sources.rows import count_rows
from lenscore.study.dataset import DatasetSpec
from tests.bad_input.case import Case

QUESTION: dict[str, Any] = {"question": "What colour is a lemon?", "answers": ["yellow"], "text": "A lemon is yellow."}
LINE = json.dumps(QUESTION).encode() + b"\n"


def _fetch(folder: Path, source: Path, **keys: Any) -> None:
    # What a start does, and then the job.
    with suppress(LenscoreError):
        count_rows(source)
    fetch_dataset(DatasetSpec(source=f"path:{source}", **keys), folder / "dataset")


def file(name: str, content: bytes | Callable[[], bytes], *words: str, **keys: Any) -> Case:
    """Return a case of a dataset's file; content that is large is made when it is needed."""

    def give(folder: Path) -> None:
        (folder / "data").write_bytes(content if isinstance(content, bytes) else content())
        _fetch(folder, folder / "data", **keys)

    return Case("file", name, give, words)


def rows(name: str, values: Sequence[object], *words: str, area: str = "row") -> Case:
    """Return a case of rows; text stands for itself."""
    lines = [value if isinstance(value, str) else json.dumps(value) for value in values]

    def give(folder: Path) -> None:
        (folder / "data").write_text("\n".join(lines) + "\n", encoding="utf-8")
        _fetch(folder, folder / "data")

    return Case(area, name, give, words)


def place(name: str, give: Callable[[Path], object], *words: str) -> Case:
    """Return a case of what a path leads to."""
    return Case("place", name, give, words)


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "data")
    _fetch(folder, folder / "data")


def _socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "s"))  # a socket's whole path may be long
        _fetch(folder, folder / "s")


def _no_permission(folder: Path) -> None:
    (folder / "data").write_bytes(LINE)
    (folder / "data").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read everything
    try:
        count_rows(folder / "data")
    finally:
        os.seteuid(user)


def _loop(folder: Path) -> None:
    (folder / "data").symlink_to(folder / "data")
    _fetch(folder, folder / "data")


def _members(compress: Callable[[bytes], bytes]) -> bytes:
    """Return a question and 80 MiB of blanks, compressed member by member."""
    return compress(LINE) + compress((b" " * ((1 << 20) - 1) + b"\n") * 8) * 10


def _zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


def _parquet(values: list[dict[str, Any]] | pa.Table) -> bytes:
    buffer = io.BytesIO()
    table = values if isinstance(values, pa.Table) else pa.Table.from_pylist(values)
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


LONG = json.dumps([QUESTION | {"id": str(number), "text": os.urandom(200).hex()} for number in range(50)]).encode()

DATASETS = [
    place("missing", lambda folder: _fetch(folder, folder / "none.jsonl"), "none.jsonl: no such file",
         "working directory"),
    place("a folder", lambda folder: _fetch(folder, folder), "a folder; a file with questions is needed"),
    place("a pipe", _pipe, "a pipe; a file"),
    place("a socket", _socket, "a socket; a file"),
    place("a device", lambda folder: _fetch(folder, Path("/dev/zero")), "/dev/zero: a device; a file"),
    place("no permission", _no_permission, "cannot be read: Permission denied"),
    place("a link to itself", _loop, "cannot be read: Too many levels of symbolic links"),
    place("a path below a file", lambda folder: _fetch(folder, Path(__file__, "x")), "cannot be read: Not a directory"),
    place("a name of 5,000 letters", lambda folder: _fetch(folder, folder / ("a" * 5000)), "File name too long"),
    place("a name with an escape sequence", lambda folder: _fetch(folder, folder / "\x1b[2J"), "\\x1b[2J",
         "no such file"),
    file("empty", b"", "no rows; a dataset needs at least one"),
    file("blank lines", b"\n  \n\n", "no rows"),
    file("byte order mark alone", b"\xef\xbb\xbf", "no rows"),
    file("empty gzip", gzip.compress(b""), "no rows"),
    file("UTF-16", LINE.decode().encode("utf-16"), "UTF-16: save it as UTF-8"),
    file("UTF-16 without a mark", LINE.decode().encode("utf-16-le"), "bytes that are 0: UTF-16"),
    file("NUL bytes", b'{"question": "\0"}', "bytes that are 0"),
    file("invalid UTF-8", LINE + LINE[:20] + b"\xff" + LINE[20:], "line 2: not UTF-8: byte 21 of the line is 0xff"),
    file("half a surrogate pair as bytes", b'{"question": "\xed\xa0\x80"}', "line 1: not UTF-8: byte 15"),
    file("gzip cut off", _cut(gzip.compress(LONG)), "the gzip stream breaks after", "bytes of content"),
    file("gzip with a wrong checksum", gzip.compress(LINE)[:-8] + b"12345678", "the gzip stream breaks"),
    file("gzip that is none", b"\x1f\x8bnonsense, as it were", "the gzip stream breaks"),
    file("bz2 cut off", _cut(bz2.compress(LONG)), "the bz2 stream breaks"),
    file("bz2 damaged", bz2.compress(LONG)[:40] + b"0000" + bz2.compress(LONG)[44:], "the bz2 stream breaks"),
    file("xz cut off", _cut(lzma.compress(LONG)), "the xz stream breaks"),
    file("xz damaged", lzma.compress(LONG)[:40] + b"0000" + lzma.compress(LONG)[44:], "the xz stream breaks"),
    file("zstd cut off", _cut(_zstd(LONG)), "the zstd stream breaks"),
    file("zstd damaged", b"\x28\xb5\x2f\xfdnonsense, as it were", "the zstd stream breaks"),
    file("gzip bomb", partial(_members, gzip.compress), "unpacks to more than 64 MiB", "unpack it with gzip"),
    file("bz2 bomb", partial(_members, bz2.compress), "unpacks to more than 64 MiB"),
    file("xz bomb", partial(_members, lzma.compress), "unpacks to more than 64 MiB"),
    file("zstd bomb", partial(_members, _zstd), "unpacks to more than 64 MiB"),
    file("gzip in gzip", gzip.compress(gzip.compress(LINE)), "compressed twice; unpack the gzip file that is in it"),
    file("64 KiB of blanks", b" " * (1 << 16) + LINE, "begins with 65,536 bytes of white space"),
    file("a line of 65 MiB", lambda: LINE + b'{"question": "' + b"a" * (65 << 20), "line 2: longer than 64 MiB"),
    file("a zip archive", b"PK\x03\x04" + bytes(30), "a zip archive", "JSON Lines, a JSON array, CSV, TSV or Parquet"),
    file("the page of an error", b"<!DOCTYPE html><title>404</title>", "HTML or XML, perhaps the page of an error"),
    file("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"),
    file("a PDF", b"%PDF-1.7\n", "a PDF document"),
    file("an Arrow file", b"ARROW1\0\0", "an Arrow file: write it as Parquet"),
    file("a pickle", b"\x80\x04\x95", "a Python pickle"),
    file("a picture", b"\x89PNG\r\n\x1a\n\0\0", "bytes that are 0"),
    file("prose", b"Once upon a time there was a lemon.\n", "neither JSON nor a table", "'Once upon a time"),
    file("escape sequences", b"\x1b[31mred\x07\n", "neither JSON nor a table", "\\x1b[31mred\\x07"),
    file("Parquet cut off", _cut(_parquet([QUESTION])), "not Parquet that can be read"),
    file("Parquet that is none", b"PAR1nonsense, as it were", "not Parquet that can be read"),
    file("a Parquet bomb", lambda: _parquet([QUESTION | {"text": "a" * (65 << 20)}]),
         "Parquet that unpacks to more than 64 MiB", "write it as JSON Lines"),
    file("a Parquet bomb of one text in many rows", lambda: _parquet([QUESTION | {"text": "a" * (1 << 20)}] * 80),
         "Parquet that unpacks to more than 64 MiB"),
    file("Parquet with a date in the year 2,941,764",
         _parquet(pa.table({"question": ["q"], "day": pa.array([2**30], pa.date32())})), "not Parquet that can be"),
    file("Parquet with a column twice", _parquet(pa.table([["q"], ["a"], ["a"]], ["question", "text", "text"])),
         "a column is there twice: ['question', 'text', 'text']"),
    file("Parquet of another kind", _parquet([{"a": 1}]), "row 1: a row of no known format; its keys are a"),
    file("wrong hash", LINE, "expected SHA-256 " + "0" * 64, "found", sha256="0" * 64),
    file("an array that ends early", b"[" + LINE.strip(), "not JSON: Expecting ',' delimiter"),
    file("an array of numbers", b"[1, 2]", "item 1: a int; an object"),
    file("an array with text after it", b"[]\n[]", "not JSON: Extra data"),
    file("an empty array", b"[]", "no rows"),
    file("CSV with a short row", b"question,answers,text\nq,a\n", "line 2: 2 values, but the header has 3 columns"),
    file("CSV with an open quote", b'question,answers,text\nq,a,"open\n', "not CSV"),
    file("CSV with a column twice", b"question,text,text\nq,a,b\n", "line 1: a column is there twice"),
    file("CSV with the line ends of old Macs", b"question,answers,text\rq,a,a\r", "its lines end in CR alone"),
    file("CSV with a broken list", b'question,answers,text\nq,"[a",b\n', "line 2, answers: not JSON"),
    file("CSV without a text", b"question,answers,text\nq,a,a\nr,a,\n", "line 3: ", "text: Field required"),
]  # fmt: skip

ROWS = [
    rows("JSON that ends early", [QUESTION, '{"question": "q"'],
         "line 2: not JSON: Expecting ',' delimiter at column 17"),
    rows("no JSON", [QUESTION, "yellow"], "line 2: not JSON: Expecting value at column 1"),
    rows("single quotes", ["{'question': 'q'}"], "line 1: not JSON: Expecting property name enclosed in double quotes"),
    rows("a row that is a list", [QUESTION, ["a"]], "line 2: a list; an object with the keys of a row is needed"),
    rows("a row that is null", [QUESTION, None], "line 2: a NoneType; an object"),
    rows("no keys", [{}], "line 1: a row of no known format; its keys are none"),
    rows("unknown keys", [{"prompt": "x"}], "a row of no known format; its keys are prompt", "squad has context"),
    rows("a key of 1 MB", [{"a" * 1_000_000: 1}], "a row of no known format; its keys are ['aaa", "squad has context"),
    rows("a key twice", ['{"question": "q", "question": "r"}'], "line 1: key 'question' is there twice in one object"),
    rows("a number of 5,000 digits", ['{"question": "q", "answers": [' + "1" * 5000 + '], "text": "t"}'],
         "line 1: a number of 5,000 digits"),
    rows("a number beyond all", ['{"question": "q", "answers": [1e999], "text": "t"}'],
         "the number '1e999' is too large"),
    rows("not a number", ['{"question": "q", "answers": [NaN], "text": "t"}'], "NaN is no JSON"),
    rows("200,000 levels", ["[" * 200_000], "nested more than 50 levels deep"),
    rows("200,000 levels in a row", ['{"question": ' + "[" * 200_000 + "]" * 200_000 + "}"],
         "line 1: nested more than 50"),
    rows("60 levels", ['{"question": "q", "x": ' + "[" * 60 + "]" * 60 + "}"], "line 1: nested more than 50 levels"),
    rows("half a surrogate pair in a title", [json.dumps(QUESTION)[:-1] + ', "title": "a\\ud800b"}'],
         "line 1: half a surrogate pair in 'a\\ud800b'"),
    rows("half a surrogate pair in a key", ['{"a\\udfff": 1}'], "line 1: half a surrogate pair"),
    rows("an escaped NUL", ['{"question": "a\\u0000"}'], "line 1: the character NUL in 'a\\x00'"),
    rows("no answers", [QUESTION | {"answers": []}], "answers: List should have at least 1 item"),
    rows("an answer of white space", [QUESTION | {"answers": ["yellow", " \u00a0"]}], "answers.1: must not be empty"),
    rows("an answer that nobody sees", [{"question": "q", "answer": ["\u200b\ufeff"]}], "answer.0: must not be empty"),
    rows("an empty question", [QUESTION | {"question": ""}], "question: must not be empty"),
    rows("a question that is a number", [QUESTION | {"question": 3}],
         "question: Input should be a valid string; found 3"),
    rows("an answer that is true", [QUESTION | {"answers": [True]}], "answers.0: ", "found True"),
    rows("an answer that is an object", [QUESTION | {"answers": {"a": 1}}], "answers: ", "found {'a': 1}"),
    rows("an answer that is null", [QUESTION | {"answers": None}], "answers: ", "found None"),
    rows("10,000 bad answers", [QUESTION | {"answers": [""] * 10_000}], "answers.4: must not be empty",
         "and 9995 more"),
    rows("an answer of 10 MB in the wrong place", [QUESTION | {"text": ["a" * 10_000_000]}], "text: ", "found ['aaa"),
    rows("a misspelt key", [QUESTION | {"titel": "x"}], "'titel': unknown key; did you mean title?"),
    rows("a distractor without text", [QUESTION | {"distractors": [{"title": "x"}]}],
         "distractors.0.text: Field required"),
    rows("an id twice", [QUESTION | {"id": 7}, QUESTION | {"id": "7", "text": "Other."}],
         "line 2: id '7' is that of another question", "line 1", "ids must differ"),
    rows("an id of escape sequences twice", [QUESTION | {"id": "\x1b[2J"}, QUESTION | {"id": "\x1b[2J", "text": "x"}],
         "id '\\x1b[2J' is that of another question"),
    rows("an id of 5,000 letters", [QUESTION | {"id": "a" * 5000}], "questions: id: ", "at most 1000"),
    rows("an id of white space", [QUESTION | {"id": " "}], "questions: id: must not be empty; found ' '"),
    rows("an id that is true", [QUESTION | {"id": True}], "questions: id: Input should be a valid string; found True"),
    rows("two gold documents", [{"question": "q", "answers": ["a"], "ctxs": [{"text": "a", "isgold": True}] * 2}],
         "2 of the 2 ctxs have isgold; exactly one must", "set isgold"),
    rows("no gold document", [{"question": "q", "answers": ["a"], "ctxs": [{"text": "a", "has_answer": True}] * 2}],
         "0 of the 2 ctxs have isgold", "retrieved passages (DPR, KILT)"),
    rows("no documents", [{"question": "q", "answers": ["a"], "ctxs": []}], "ctxs: List should have at least 1 item"),
    rows("a key without its pair", [{"ordered_kv_records": [["a", "b"]], "key": "c", "value": "b"}],
         "ordered_kv_records gives key 'c' the values []"),
    rows("a pair of three", [{"ordered_kv_records": [["a", "b", "c"]], "key": "a", "value": "b"}], "at most 2 items"),
    rows("another format on a later line", [{"question": "q", "answer": ["a"]}, QUESTION],
         "line 2: not a row of format nq_open: answer: Field required"),
    rows("MuSiQue", [{"paragraphs": [], "question_decomposition": [], "question": "q", "answer": "a"}],
         "a row of MuSiQue"),
    rows("HotpotQA", [{"question": "q", "answer": "a", "context": {}, "supporting_facts": {}}], "HotpotQA"),
    rows("RULER", [{"index": 0, "input": "x", "outputs": ["1"]}], "a row of RULER, which is not read",
         "write rows of your"),
    rows("LongBench", [{"input": "q", "context": "c", "answers": ["a"], "all_classes": None}], "a row of LongBench"),
    rows("MS MARCO", [{"query": "q", "passages": {}, "answers": []}], "a row of MS MARCO"),
    rows("SQuAD without one answer", [{"context": "c", "question": "q", "answers": {"text": [], "answer_start": []}}],
         "no rows with an answer"),
]  # fmt: skip
