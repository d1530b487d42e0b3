"""Whatever comes in is right or refused: the catalogue of bad input, and input that hypothesis makes up."""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lenscore.contexts.build import build_contexts
from lenscore.contexts.questions import read_questions as questions_of_table
from lenscore.errors import LenscoreError
from lenscore.sources.formats import read_questions
from lenscore.sources.rows import count_rows, rows_of_file
from lenscore.study.context_sets import ContextSetSpec
from lenscore.study.prompt import read_template, template_path
from lenscore.study.study import Study, read_study
from lenscore.study.yaml_files import read_config_file, read_yaml
from tests.bad_input import CASES
from tests.bad_input.case import Case, outcome
from tests.bad_input.configs import CONFIG
from tests.bad_input.datasets import QUESTION, rows


@pytest.mark.parametrize("case", CASES, ids=[f"{case.area}: {case.name}" for case in CASES])
def test_bad_input_is_refused_in_words(case: Case, tmp_path: Path) -> None:
    found = outcome(case, tmp_path)
    assert found.fault is None, found.message


def test_the_catalogue_is_large_and_names_each_case_once() -> None:
    assert len(CASES) >= 80
    assert max(Counter((case.area, case.name) for case in CASES).values()) == 1
    assert all(any(case.words) for case in CASES), "a case without words holds nothing"


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        (rows("good", [QUESTION]), "accepted"),
        (rows("other words", [[]], "no such words"), "does not say ['no such words']"),
        (Case("x", "a bug", lambda folder: 1 / 0, ()), "a traceback: ZeroDivisionError"),
    ],
)
def test_the_catalogue_tells_a_wrong_answer(case: Case, fault: str, tmp_path: Path) -> None:
    assert outcome(case, tmp_path).fault == fault


def refusal(call: Callable[[], object]) -> str | None:
    """Return the message of the project's own error; None where there was none. Another error is a bug, and passes."""
    try:
        call()
    except LenscoreError as error:
        return str(error)
    return None


# --- Rows that hypothesis makes up

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(str.strip)
TEXTS = st.lists(WORDS, min_size=1, max_size=5).map(" ".join)
DOCUMENT = st.fixed_dictionaries({"text": TEXTS}, optional={"title": st.none() | TEXTS})
OWN = st.fixed_dictionaries(
    {"question": TEXTS, "answers": TEXTS | st.lists(TEXTS | st.integers(-(10**20), 10**20), min_size=1, max_size=3),
     "text": TEXTS},
    optional={"id": st.integers() | WORDS, "title": st.none() | TEXTS, "topic": st.none() | TEXTS,
              "distractors": st.lists(DOCUMENT, max_size=3)},
)  # fmt: skip


@settings(max_examples=60)
@given(OWN)
def test_a_valid_row_is_read_and_its_contexts_are_built_or_refused(row: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        path.write_text(json.dumps(row) + "\n", encoding="utf-8")
        assert count_rows(path) == 1
        table = read_questions(rows_of_file(path, "f"), "f").table
    assert table.num_rows == 1
    dataset = questions_of_table(table.to_pylist())
    spec = ContextSetSpec(documents=[], controls=["oracle", "closed_book"])
    built = build_contexts(
        dataset, dataset, first_place=0, set_name="main", spec=spec, missing_answer="skip",
        template=read_template(template_path("few_shot")),
    )  # fmt: skip
    assert len(built.contexts) + 2 * len(built.left_out) == 2
    for context in built.contexts:
        # The answer stands in the document to the letter, but for its white space.
        assert context.answer.strip() in " ".join(row["text"].split()) or context.condition == "closed_book"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([
            "question", "answers", "answer", "text", "title", "id", "ctxs", "context", "input", "output", "distractors",
            "isgold", "value", "data", "paragraphs", "qas", "positive_ctxs", "ordered_kv_records", "key",
        ]),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(JSON, min_size=1, max_size=3))
def test_any_json_is_read_or_refused(values: list[Any]) -> None:
    lines = "\n".join(json.dumps(value) for value in values).encode()
    for content in (lines, json.dumps(values).encode()):
        _read_or_refuse(content)


@settings(max_examples=150)
@given(st.binary(max_size=60), st.sampled_from([b"", b"{", b"[", b"question,answers,text\n", b"\x1f\x8b\x08", b"PAR1"]))
def test_any_bytes_are_read_or_refused(content: bytes, start: bytes) -> None:
    _read_or_refuse(start + content)


def _read_or_refuse(content: bytes) -> None:
    """Read a file: the project's own error may end it, and no other."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        path.write_bytes(content)
        refused = refusal(lambda: read_questions(rows_of_file(path, "f"), "f"))
        if refused is None:
            assert count_rows(path) >= read_questions(rows_of_file(path, "f"), "f").table.num_rows > 0
        else:
            assert len(refused) < 2500
            with suppress(LenscoreError):  # who counts rows may be content with less
                count_rows(path)


# --- Configs that hypothesis makes up

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["all", "hub:a/b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from([*Study.model_fields, "unknown", "", "a.b"])


@settings(max_examples=150)
@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_any_config_is_valid_or_refused(changes: dict[str, Any]) -> None:
    refused = refusal(lambda: read_study(CONFIG | changes))
    if refused is None:
        study = read_study(CONFIG | changes)
        assert read_study(study.model_dump(mode="json")) == study
    else:
        assert refused.startswith("the config cannot be run:\n  ")
        assert len(refused) < 5000


NUMBERS = st.fixed_dictionaries(
    {
        "questions": st.integers(1, 10_000_000),
        "seed": st.integers(0, 2**63 - 1),
        "shard_size": st.integers(1, 1000),
        "context_sets": st.dictionaries(
            st.from_regex(r"[a-z0-9][a-z0-9._-]{0,10}", fullmatch=True),
            st.fixed_dictionaries({"documents": st.lists(st.integers(2, 99), min_size=1, max_size=3, unique=True),
                                   "positions": st.just("all") | st.just(2)}),
            min_size=1, max_size=2,
        ),
    }
)  # fmt: skip


@settings(max_examples=60)
@given(NUMBERS)
# Names that would be refused as numbers where a number belongs.
@example(
    dict(
        questions=1,
        seed=0,
        shard_size=1,
        context_sets={name: {"documents": [2], "positions": 2} for name in ("0e0", "08")},
    )
)
def test_a_valid_config_is_taken_and_its_file_says_what_it_says(changes: dict[str, Any]) -> None:
    study = read_study(CONFIG | changes)
    assert study.questions == changes["questions"]
    with tempfile.TemporaryDirectory() as folder:
        for written in (yaml.safe_dump(CONFIG | changes), json.dumps(CONFIG | changes)):
            (Path(folder) / "study.yaml").write_text(written, encoding="utf-8")
            assert read_study(read_config_file(Path(folder) / "study.yaml")) == study


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"seed: !!bool x\n", "study.yaml: not YAML: a tag (!!bool, !!timestamp) before a value that is none"),
        (b"a: &a [*a]\n", "study.yaml, line 1: an alias that holds itself"),
        (b"study: \xff\n", "study.yaml: not YAML in UTF-8: byte 8 is 0xff"),
        (b"study: a\n", "the config cannot be run:"),
        (None, "study.yaml: cannot be read: No such file or directory"),
    ],
)
def test_a_broken_file_is_told_in_words_before_snakemake_reads_it(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "study.yaml").write_bytes(content)
    told = checked("study.yaml", tmp_path)
    assert told.returncode == 1
    assert told.stdout == ""
    assert told.stderr.startswith(said)
    assert "Traceback" not in told.stderr


def test_a_valid_file_names_its_study(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(CONFIG | {"study": "mine"}))
    assert checked("study.yaml", tmp_path).stdout == "mine\n"


def checked(file: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lenscore.study", file]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@settings(max_examples=150)
@given(st.text(st.sampled_from("ab: -[]{}&*!|>'\"#%@`,\n\t01.e?<~="), max_size=40))
def test_any_yaml_is_read_or_refused(content: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.yaml").write_text(content, encoding="utf-8")
        for read in (read_yaml, read_config_file, read_template):
            assert len(refusal(partial(read, Path(folder) / "x.yaml")) or "") < 2500
