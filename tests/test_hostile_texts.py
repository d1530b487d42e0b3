"""Texts, names and paths that would act, were they taken for code: they are data from the dataset to the page."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lenscore.contexts.questions import Document, Question
from lenscore.errors import ConfigError
from lenscore.jobs.checkout import importable_in_jobs
from lenscore.study.study import read_study
from tests.conftest import Checkout, copy_project
from tests.made_study import MadeStudy, write_page
from tests.opened_page import needs_browser, opened
from tests.small_study import SmallStudy

HOSTILE = (
    "'; drop table questions; --",
    "\"; attach 'x.duckdb'; --",
    "{study} {0} {{x}} {wildcards.model}",
    "<script>document.title = 'hit'</script>",
    "</script><img src=x onerror=\"document.title='hit'\">",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "$(touch hit) `touch hit`; touch hit | touch hit",
    "%s %(name)s %n \\",
    "\x1b[2J\x1b[31mred\x07 \u202egpj",
    "*.parquet [a-z]? ~ ../../etc/passwd",
)
ANSWERS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet")


def rows() -> list[dict[str, Any]]:
    """Return a question of each text, in its question, title, answer and document."""
    return [
        {
            "id": f"{number} {text}",
            "topic": text,
            "question": f"what is {text}",
            "answers": [word],
            "title": text,
            "text": f"{text} Here the answer is {word}, and {text} is no answer.",
        }
        for number, (text, word) in enumerate(zip(HOSTILE, ANSWERS, strict=True))
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, config: dict[str, Any]) -> Checkout:
    """A study of the hostile texts, from a dataset and in a checkout whose paths are odd too."""
    folder = tmp_path_factory.mktemp("odd") / "a <b> 'c' \"d\" $(touch hit) é 大 %s"
    folder.mkdir()
    checkout = copy_project(folder)
    (folder / "its {data}").mkdir()
    dataset = folder / "its {data}" / "q {0} <x> 'y' $(touch hit) é.jsonl"
    dataset.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    plain = {"questions": len(HOSTILE), "shard_size": len(HOSTILE), "lenses": ["logit"], "ablation": {"questions": 0}}
    source = {"source": f"path:{dataset.relative_to(folder)}"}
    checkout.run(checkout.write_config({**config, **plain, "dataset": source}, "its {study}.yaml"))
    return checkout


@pytest.mark.slow
def test_texts_are_stored_as_they_are_and_nothing_runs(made: Checkout) -> None:
    with duckdb.connect(str(made.folder / "results/tiny/tiny.duckdb"), read_only=True) as database:
        found = database.sql("select question_id, question, topic, gold_title, gold_text from questions").fetchall()
    assert sorted(found) == sorted(
        (row["id"], row["question"], row["topic"], row["title"], row["text"]) for row in rows()
    )
    assert not [path for path in made.folder.parent.rglob("hit")]


@pytest.mark.slow
def test_logs_hold_no_control_characters(made: Checkout) -> None:
    logs = list((made.folder / "logs").rglob("*.log"))
    assert logs
    for log in logs:
        assert not set(log.read_text(encoding="utf-8")) & set("\x1b\x07\u202e")


@pytest.mark.slow
@needs_browser
def test_the_page_shows_the_texts_and_runs_none(made: Checkout, browser: Any) -> None:
    seen = opened(browser, made.folder / "results/tiny/report/index.html")
    # Of charts that this small study leaves empty.
    assert [fault for fault in seen.faults if "Infinite extent" not in fault] == []
    assert seen.page.title() == "Where in its depth: tiny"
    assert seen.page.locator("img").count() == 0
    assert all(request.startswith("file:") for request in seen.requests)


@pytest.mark.slow
@needs_browser
def test_the_explorer_shows_the_texts_and_runs_none(tmp_path: Path, browser: Any) -> None:
    """In a made study, since the tiny model gets no answer right that could be explored."""
    study = MadeStudy(tmp_path)
    everything = " ".join(HOSTILE)
    study.questions = [replace(question, question=everything, topic=everything) for question in study.questions]
    study.documents = [replace(document, title=everything) for document in study.documents]
    study.load()
    seen = opened(browser, write_page(study, tmp_path))
    assert seen.faults == []
    assert seen.page.title() == "Where in its depth: small"
    assert seen.page.locator("img").count() == 0
    question = seen.page.locator("#explorer-question").inner_text()
    for text in HOSTILE:
        assert " ".join(text.split()) in question or "\x1b" in text


@pytest.mark.parametrize("character", ["{", "}", os.pathsep])
def test_a_checkout_whose_path_has_a_meaning_is_refused(character: str) -> None:
    with pytest.raises(ConfigError, match="the checkout lies in") as raised:
        importable_in_jobs(Path(f"/home/a{character}b/lens"))
    assert f"without {character}" in str(raised.value)


def test_a_run_in_such_a_checkout_starts_no_job(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = tmp_path / "a {b}"
    folder.mkdir()
    checkout = copy_project(folder)
    done = checkout.snakemake("--configfile", checkout.write_config(config), "--dry-run")
    assert done.returncode != 0
    assert "without { and }" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_names_and_texts_reach_the_database_as_parameters(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path)
    study.questions = [
        Question(f"q{i}", HOSTILE[i], (HOSTILE[4 + i],), HOSTILE[0], Document(f"q{i}", HOSTILE[i], HOSTILE[1]), ())
        for i in range(4)
    ]
    study.documents = [question.gold for question in study.questions if question.gold]
    study.load()
    found = study.query("select question, answers, topic, gold_title, gold_text from questions order by place")
    assert found == [(HOSTILE[i], [HOSTILE[4 + i]], HOSTILE[0], HOSTILE[i], HOSTILE[1]) for i in range(4)]
    assert study.query("select title from documents order by document_id") == [(HOSTILE[0],), (HOSTILE[1],)]


@pytest.mark.parametrize(
    "source",
    [
        "url:https://someone:pa55word@example.org/q.jsonl",
        "url:https://pa55word@example.org/q.jsonl",
        "url:https://example.org/q.jsonl?Token=pa55word",
        "url:https://example.org/q.jsonl?a=b&X-Amz-Signature=pa55word",
        "url:https://example.org/q.jsonl?a=b&X-Goog-Signature=pa55word",
        "url:https://example.org/q.jsonl?private_token=pa55word",
        "url:https://example.org/q.jsonl?sv=1&sig=pa55word",
        "url:https://example.org/q.jsonl?api%5Fkey=pa55word",
        "url:https://example.org/q.jsonl;token=pa55word",
        "url:https://example.org/q.jsonl#access_token=pa55word",
        *(
            f"url:https://example.org/q.jsonl?a=b&{name}=pa55word"
            for name in (
                "key",
                "KEY",
                "rlkey",
                "resourcekey",
                "authkey",
                "subscription-key",
                "x-functions-key",
                "apiKey",
                "jwt",
                "sign",
                "x-sig",
                "url_auth",
                "oauth",
                "PHPSESSID",
                "session_id",
                "hdnts.hmac",
                "%0Atoken",
            )
        ),
        "url:https://example.org/q.jsonl?key=pa55word.a/b=",
        "url:https://example.org/?key=q.jsonl&key=pa55word",
        "url:https://example.org/q.jsonl?token=pa55word.jsonl",
    ],
)
def test_an_address_with_a_password_is_refused_without_showing_it(study_config: dict[str, Any], source: str) -> None:
    with pytest.raises(ConfigError, match=r"dataset.source: the address holds a password, token or key,") as raised:
        read_study({**study_config, "dataset": {"source": source, "sha256": "0" * 64}})
    assert "pa55word" not in str(raised.value)


@pytest.mark.parametrize(
    "rest",
    [
        "", "?key=a/b.jsonl", "?key=my%20data%2Fq.json.gz", "?download=true&signed=no", "/token/q.jsonl#L1", "?sigma=1",
        "?author=x&session=45", "?keyword=lemon",
    ],
)  # fmt: skip
def test_an_address_without_a_password_is_taken(study_config: dict[str, Any], rest: str) -> None:
    source = f"url:https://example.org/q.jsonl{rest}"
    assert read_study({**study_config, "dataset": {"source": source, "sha256": "0" * 64}}).dataset.source == source


@pytest.mark.parametrize(
    "source", ["wheel:--index-url==1", "wheel:-r==1", "wheel:-e==1", "wheel:a==-1", "wheel:a==1 --pre", "wheel:.==1"]
)
def test_a_wheel_that_pip_would_take_for_an_option_is_refused(study_config: dict[str, Any], source: str) -> None:
    model = {"source": source, "member": "m.gguf", "sha256": "0" * 64}
    with pytest.raises(ConfigError, match=r"models.tiny.source: must be"):
        read_study({**study_config, "models": {"tiny": model}})


def test_pip_is_told_where_its_options_end() -> None:
    """Should a name ever come through that begins with a dash."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "--", "--version"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Invalid requirement: '--version'" in done.stderr
