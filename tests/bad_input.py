"""The catalogue of bad input: what is given to the project, and the words that its answer must have.

``make bad-input`` gives it all and prints the answers as a table; test_bad_input.py holds each of them.
"""

import bz2
import copy
import gzip
import io
import json
import lzma
import os
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from lenscore.contexts.build import build_contexts
from lenscore.contexts.questions import read_questions
from lenscore.errors import LenscoreError
from lenscore.records import read_table
from lenscore.sources.check import check_sources
from lenscore.sources.datasets import fetch_dataset
from lenscore.sources.rows import count_rows
from lenscore.sources.tables import QUESTIONS
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.dataset import DatasetSpec
from lenscore.study.prompt import read_template, template_path
from lenscore.study.study import read_study
from lenscore.study.yaml_files import check_config_file, read_yaml

LONGEST_MESSAGE = 2500  # characters
LONGEST_ANSWER = 30.0  # seconds; most are given in a hundredth


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        area: what it is bad as.
        name: what is wrong with it.
        give: gives it to the project, in an empty folder.
        words: parts that the message has.
    """

    area: str
    name: str
    give: Callable[[Path], object]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """The project's answer to a case, and what is wrong about that answer."""

    message: str
    fault: str | None


def outcome(case: Case, folder: Path) -> Outcome:
    """Give a case to the project: right is its own error, short and in one piece, and nothing left behind."""
    started = time.monotonic()
    try:
        case.give(folder)
    except LenscoreError as error:
        message = str(error)
    # Whatever else is raised would be a traceback to a user.
    except Exception as error:
        return Outcome(repr(error)[:200], f"a traceback: {type(error).__name__}")
    else:
        return Outcome("", "accepted")
    taken = time.monotonic() - started
    if missing := [words for words in case.words if words not in message]:
        return Outcome(message, f"does not say {missing}")
    if len(message) > LONGEST_MESSAGE:
        return Outcome(message[:200], f"{len(message):,} characters")
    if not all(character.isprintable() or character == "\n" for character in message):
        return Outcome(repr(message), "has characters that act on a terminal")
    if taken > LONGEST_ANSWER:
        return Outcome(message, f"took {taken:.0f} s")
    if (folder / "dataset").exists() or list(folder.glob(".part-*")):
        return Outcome(message, "left something behind")
    return Outcome(message, None)


# --- Datasets

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


def _loop(folder: Path) -> None:
    (folder / "data").symlink_to(folder / "data")
    _fetch(folder, folder / "data")


def _members(compress: Callable[[bytes], bytes]) -> bytes:
    """Return a question and 80 MiB of blanks, compressed member by member."""
    return compress(LINE) + compress((b" " * ((1 << 20) - 1) + b"\n") * 8) * 10


def _zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


def _parquet(values: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(values), buffer)
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
    file("Parquet of another kind", _parquet([{"a": 1}]), "row 1: a row of no known format; its keys are a"),
    file("wrong hash", LINE, "expected SHA-256 " + "0" * 64, "found", sha256="0" * 64),
    file("an array that ends early", b"[" + LINE.strip(), "not JSON: Expecting ',' delimiter"),
    file("an array of numbers", b"[1, 2]", "item 1: a int; an object"),
    file("an array with text after it", b"[]\n[]", "not JSON: Extra data"),
    file("an empty array", b"[]", "no rows"),
    file("CSV with a short row", b"question,answers,text\nq,a\n", "line 2: 2 values, but the header has 3 columns"),
    file("CSV with an open quote", b'question,answers,text\nq,a,"open\n', "not CSV"),
    file("CSV with a column twice", b"question,text,text\nq,a,b\n", "line 1: a column is there twice"),
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
    rows("an id of 5,000 letters", [QUESTION | {"id": "a" * 5000}], "id.", "at most 1000 characters"),
    rows("an id of white space", [QUESTION | {"id": " "}], "id."),
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

# --- Contexts


def _build(row: dict[str, Any], folder: Path, spec: dict[str, Any], **keys: Any) -> None:
    (folder / "data").write_text(json.dumps(row), encoding="utf-8")
    made = folder / "made"
    fetch_dataset(DatasetSpec(source=f"path:{folder / 'data'}"), made)
    dataset = read_questions(read_table(made / "questions.parquet", QUESTIONS).to_pylist())
    build_contexts(
        dataset, dataset, first_place=0, set_name="main", spec=ContextSetSpec(**spec), missing_answer="error",
        template=read_template(template_path("few_shot")), **keys,
    )  # fmt: skip


def context(name: str, row: dict[str, Any], spec: dict[str, Any], *words: str, **keys: Any) -> Case:
    """Return a case of a question of which contexts are built."""
    return Case("context", name, lambda folder: _build(QUESTION | row, folder, spec, **keys), words)


TWO = {"documents": [2], "positions": "all"}
CONTEXTS = [
    context("the answer is not in the gold document", {"text": "It is sour."}, TWO,
            "question 'q-", "none of the accepted answers ['yellow'] occurs in the gold document",
            "missing_answer: skip"),
    context("the answer is a part of a word", {"text": "It is yellowish."}, TWO, "none of the accepted answers"),
    context("the answer is inflected", {"answers": ["вода"], "text": "Он пил воду."}, TWO,
         "none of the accepted answers"),
    context("10,000 answers, none there", {"answers": ["x" * 300] * 10_000}, TWO,
         "none of the accepted answers ['xxx"),
    context("no distractor", {}, TWO, "1 distractors are needed", "finds 0"),
    context("a distractor with the answer", {"distractors": [{"text": "Yellow, too."}]}, TWO,
            "holds one of its answers ['yellow']", "set answer_in_distractors to keep or drop",
            answer_in_distractors="error"),
    context("a distractor with the answer, in Chinese",
            {"answers": ["黄色"], "text": "它是黄色的。", "distractors": [{"text": "香蕉是黄色的。"}]}, TWO,
            "holds one of its answers", answer_in_distractors="error"),
    context("too few after distractors are dropped", {"distractors": [{"text": "Yellow, too."}]}, TWO, "finds 0",
            "answer_in_distractors: drop leaves out 1", answer_in_distractors="drop"),
]  # fmt: skip

# --- Configs

CONFIG: dict[str, Any] = {
    "study": "s",
    "dataset": {"source": "embedded:questions"},
    "questions": 3,
    "context_sets": {"main": {"documents": [5]}},
    "models": {"m": {"source": "path:model"}},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the least config with one key set; sections on the way are made where they are missing."""
    made = copy.deepcopy(CONFIG)
    section = made
    *parents, last = path.split("/")
    for key in parents:
        section = section.setdefault(key, {})
    section[last] = value
    return made


def config(path: str, value: object, *words: str, name: str | None = None) -> Case:
    """Return a case of a config with one bad key."""
    shown = name or f"{path.replace('/', '.')}: {value!r}"
    return Case("config", shown, lambda folder: read_study(changed(path, value)), ("the config cannot be run:", *words))


def text(name: str, content: str | bytes, *words: str) -> Case:
    """Return a case of a config's file, added to that of the least config."""

    def give(folder: Path) -> None:
        plain = content if isinstance(content, bytes) else content.encode()
        (folder / "study.yaml").write_bytes(yaml.safe_dump(CONFIG).encode() + plain)
        check_config_file(folder / "study.yaml")
        read_study(read_yaml(folder / "study.yaml"))

    return Case("yaml", name, give, words)


def whole_text(name: str, content: str, *words: str) -> Case:
    """Return a case of a config's file."""

    def give(folder: Path) -> None:
        (folder / "study.yaml").write_text(content)
        check_config_file(folder / "study.yaml")

    return Case("yaml", name, give, words)


def _check(changes: dict[str, Any], folder: Path) -> None:
    (folder / "model").mkdir()
    study = CONFIG | {"models": {"m": {"source": f"path:{folder / 'model'}"}}} | changes
    check_sources(read_study(study), folder / "manifest.json")


def prompt(name: str, content: str, *words: str) -> Case:
    """Return a case of a prompt of one's own."""

    def give(folder: Path) -> None:
        (folder / "prompt.yaml").write_text(content)
        read_template(folder / "prompt.yaml")

    return Case("prompt", name, give, words)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

CONFIGS = [
    config("study", "a/b", "study: must be a name of small letters", "'a/b'"),
    config("study", "../x", "study: must be a name"),
    config("study", "a b", "study: must be a name"),
    config("study", 'it"s', "study: must be a name"),
    config("study", "$(reboot)", "study: must be a name"),
    config("study", "{wildcards.model}", "study: must be a name"),
    config("study", "a\nb", "study: must be a name", "'a\\nb'"),
    config("study", "studie-ü", "study: must be a name"),
    config("study", "a" * 81, "study: ", "at most 80 characters"),
    config("study", 7, "study: must be text; put it in quotes; found 7"),
    config("study", True, "study: must be text; put it in quotes; found True"),
    config("questons", 3, "questons: unknown key; did you mean questions?"),
    config("contextsets", {}, "contextsets: unknown key; did you mean context_sets?"),
    config("analysis/resample", 3, "analysis.resample: unknown key; did you mean resamples?"),
    config("models/m/dtyp", "x", "models.m.dtyp: unknown key; did you mean dtype?"),
    config("zzz", 3, "zzz: unknown key; those known here are study, "),
    config("\x1b[2J", 3, "'\\x1b[2J': unknown key"),
    config("questions", "3", "questions: must be a whole number; found '3'"),
    config("questions", 3.0, "questions: must be a whole number; found 3.0"),
    config("questions", True, "questions: must be a whole number; found True"),
    config("questions", 0, "questions: must be at least 1; found 0"),
    config("questions", 10**9, "questions: must be at most 10000000; found 1000000000"),
    config("questions", 10**30, "questions: must be at most 10000000", name="questions: 10**30"),
    config("questions", int("9" * 4000), "questions: ", name="questions of 4,000 digits"),
    config("questions", None, "questions: must be a whole number; found None"),
    config("questions", [[["x"] * 1000] * 1000] * 1000,
         "questions: must be a whole number", name="a list of 10^9 words"),
    config("seed", -1, "seed: must be at least 0; found -1"),
    config("seed", 2**63, "seed: must be less than"),
    config("shard_size", 0, "shard_size: must be at least 1"),
    config("missing_answer", "keep", "missing_answer: ", "'error' or 'skip'", "found 'keep'"),
    config("answer_in_distractors", "skip", "answer_in_distractors: ", "'keep', 'drop' or 'error'"),
    config("dataset", "my.jsonl", "dataset: must be a section of keys"),
    config("dataset/source", "my.jsonl",
         "dataset.source: must be embedded:questions, path:<file>, url:<https address>"),
    config("dataset/source", "ftp://x", "dataset.source: must be"),
    config("dataset/source", "path:", "dataset.source: must be"),
    config("dataset/source", "path:a\nb", "dataset.source: must be"),
    config("dataset/source", "url:https://x/y", "dataset.sha256: a url: dataset needs sha256 or git_blob"),
    config("dataset/source", "hub:a/b", "dataset.revision: a hub: dataset needs its revision"),
    config("dataset/sha256", "abc", "dataset.sha256: must be a SHA-256: 64 hex digits"),
    config("dataset/format", "squat", "dataset.format: ", "'squad'", "found 'squat'"),
    config("context_sets", {}, "context_sets: must not be empty"),
    config("context_sets", [], "context_sets: must be a section of keys"),
    config("context_sets/a b", {"documents": [2]}, "context_sets", "must be a name"),
    config("context_sets/main", {"documents": []}, "documents: must not be empty where no controls are asked for"),
    config("context_sets/main/documents", 5, "documents: must be a list, as in [a, b]; found 5"),
    config("context_sets/main/documents", [0], "documents.0: must be at least 1; found 0"),
    config("context_sets/main/documents", [10**6], "documents.0: must be at most 10000"),
    config("context_sets/main/documents", [5, 5], "documents: must not name a value twice"),
    config("context_sets/main/documents", list(range(5, 2000)), "documents: ", name="2,000 numbers of documents"),
    config("context_sets/main/positions", 1, "positions: must be at least 2; found 1"),
    config("context_sets/main/positions", 6, "positions: asks for 6 places among 5 documents; at most 5"),
    config("context_sets/main/positions", [5], "positions: has gold index 5, but the last of 5 has index 4"),
    config("context_sets/main/positions", [-1], "positions", "must be at least 0"),
    config("context_sets/main/positions", [1, 1], "positions: must be one or more different gold indices"),
    config("context_sets/main/positions", "some", "positions: must be all, a count of 2 or more, or a list"),
    config("context_sets/main/distractors", "bm52", "distractors: ", "found 'bm52'"),
    config("context_sets/main/orders", 10**6, "orders: must be at most 1000"),
    config("models", {}, "models: must not be empty"),
    config("models/m/source", "gpt2", "models.m.source: must be hub:<owner/name>"),
    config("models/m/source", "wheel:--index-url==1", "models.m", "a wheel: model needs member"),
    config("models/m/window", 7, "models.m.window: must be at least 8"),
    config("models/m/window", 2**31, "models.m.window: must be at most 2147483647"),
    config("models/m/chat", {"date": "today"}, "models.m.chat.date: must be a date as in 2025-01-31; found 'today'"),
    config("models/m/chat", {"date": "2025-02-30"}, "models.m.chat.date: day is out of range", "2025-02-30"),
    config("models/m/chat", {"arguments": {"messages": "x"}}, "models.m.chat.arguments: must not have messages"),
    config("models/m/chat", {"arguments": {"a b": 1}}, "models.m.chat.arguments: 'a b' cannot be the name"),
    config("models/m/chat", {"arguments": {"x": [1]}}, "models.m.chat.arguments.x"),
    config("lenses", ["logit", "logit"], "lenses: must not name a value twice"),
    config("lenses", ["logits"], "lenses.0: must be logit or tuned; found 'logits'"),
    config("tuned_lens/learning_rate", float("nan"), "tuned_lens.learning_rate: must be a finite number; found nan"),
    config("tuned_lens/learning_rate", float("inf"), "tuned_lens.learning_rate: must be"),
    config("tuned_lens/learning_rate", 10**400, "tuned_lens.learning_rate: ", name="a learning rate of 10**400"),
    config("analysis/confidence", 95, "analysis.confidence: must be less than 1.0; found 95"),
    config("analysis/confidence", 0.5, "analysis.confidence: must be more than 0.5; found 0.5"),
    config("analysis/resamples", 10**12, "analysis.resamples: must be at most 1000000"),
    config("ablation/questions", 4, "ablation.questions: 4 are asked for, but the study has 3"),
    config("ablation/documents", [4], "ablation.documents: [4] are numbers of no context set; there are [5]"),
    config("report/title", "a" * 2000, "report.title: ", "at most 1000 characters", name="a title of 2,000 letters"),
    Case("config", "30 unknown keys", lambda folder: read_study(CONFIG | {f"k{i}": i for i in range(30)}),
         ("k9: unknown key", "and 20 more faults")),
    Case("config", "more questions than the dataset has", lambda folder: _check({"questions": 9999}, folder),
         ("m",)),
    Case("config", "a prompt that is not there",
         lambda folder: _check({"context_sets": {"main": {"documents": [5], "prompt": "few_shots"}}}, folder),
         ("prompt 'few_shots': no such template; available: ",)),
    text("a key twice", "questions: 5\n", "line ", "key 'questions' is there already, in line ",
         "each may be there once"),
    text("a key twice, deeper", "analysis: {seed: 1, seed: 2}\n", "key 'seed' is there already"),
    text("010", "seed: 010\n", "'010' is 8 (octal) to YAML", "write the number without that 0"),
    text("08", "seed: 08\n", "'08' is text to YAML"),
    text("1:10", "seed: 1:10\n", "'1:10' is 70 to YAML, which reads it to the base 60"),
    text("1e-3", "tuned_lens: {learning_rate: 1e-3}\n", "'1e-3' is text to YAML, not a number; write 1.0e-3"),
    text("1.5e3", "tuned_lens: {learning_rate: 1.5e3}\n", "'1.5e3' is text to YAML", "write 1.5e+3"),
    text("an infinity", "tuned_lens: {learning_rate: .inf}\n", "tuned_lens.learning_rate: must be", "found inf"),
    text("yes as a title", "report: {title: yes}\n", "report.title: must be text; put it in quotes; found True"),
    text("a date as a title", "report: {title: 2025-01-31}\n", "report.title: must be text; put it in quotes"),
    text("aliases that grow", BOMB, "with its aliases written out it has more than 100,000 values"),
    text("an alias that holds itself", "a: &a [*a]\n", "an alias that holds itself"),
    text("an unknown alias", "a: *b\n", "not YAML: found undefined alias"),
    text("a tab", "\tseed: 1\n", "not YAML"),
    text("not UTF-8", b"seed: \xff\n", "not YAML in UTF-8: byte "),
    text("a Python object", "seed: !!python/object/apply:os.system [ls]\n",
         "not YAML: could not determine a constructor"),
    whole_text("brackets without end", "[" * 100_000, "not YAML: nested too deeply"),
    whole_text("JSON with a key twice", '{"study": "a", "study": "b"}', "key 'study' is there twice in one object"),
    Case("yaml", "not there", lambda folder: check_config_file(folder / "none"), ("cannot be read: No such file",)),
    prompt("no YAML", "a: [", "not YAML"),
    prompt("a key twice", "description: a\ndescription: b\n", "key 'description' is there already"),
    prompt("a list", "[1]", "not a prompt template: (top level): must be a section of keys"),
    prompt("empty", "", "not a prompt template: (top level): must be a section of keys"),
    prompt("aliases that grow", BOMB, "more than 100,000 values"),
    prompt("a 13th month", "description: 2025-13-01\n", "not YAML: month must be in 1..12"),
]  # fmt: skip

CASES = [*DATASETS, *ROWS, *CONTEXTS, *CONFIGS]


def main() -> int:
    """Print the answers to all cases, and how many there are of which kind; return 1 where one is not right."""
    counts: Counter[tuple[str, bool]] = Counter()
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            found = outcome(case, Path(folder))
            message = (
                found.message.replace(folder, "…").removeprefix("the config cannot be run:\n  ").replace("\n", " ")
            )
        counts[case.area, found.fault is None] += 1
        print(f"{case.area:8} {case.name[:45]:45} {found.fault or 'refused':12} {message[:140]}")
    print()
    for area in dict.fromkeys(case.area for case in CASES):
        print(f"{area:8} {counts[area, True]:4} refused well {counts[area, False]:4} not")
    faults = sum(count for (_, good), count in counts.items() if not good)
    print(f"all      {len(CASES) - faults:4} refused well {faults:4} not")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
