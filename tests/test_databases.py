"""A study's database is read as it was loaded, whatever another session did to it, or not at all."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from lenscore.databases import opened
from lenscore.errors import DamagedFileError, LenscoreError, StoreError
from tests.small_study import SmallStudy

KILLED_SESSION = """
import duckdb, os, signal, sys
database = duckdb.connect(sys.argv[1])
database.execute("create table mine as select 1 as one")
database.execute("update layer_records set target_rank = 99")
os.kill(os.getpid(), signal.SIGKILL)
"""
WRITING_SESSION = """
import duckdb, sys
database = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    study = SmallStudy(tmp_path)
    study.load()
    return study


def changes(study: SmallStudy) -> Path:
    return study.target.with_name("study.duckdb.wal")


@pytest.fixture
def killed(study: SmallStudy) -> SmallStudy:
    """A study beside whose database a killed session has left its changes."""
    subprocess.run([sys.executable, "-c", KILLED_SESSION, str(study.target)], check=False)
    assert changes(study).stat().st_size > 0
    return study


def test_changes_that_a_killed_session_left_are_no_part_of_the_study(killed: SmallStudy) -> None:
    before = killed.target.read_bytes()
    with pytest.raises(StoreError, match=r"study\.duckdb\.wal: .*--forcerun") as raised, opened(killed.target):
        pytest.fail("opened")
    assert "\n" not in str(raised.value)
    assert killed.target.read_bytes() == before


def test_a_database_is_replaced_together_with_what_a_killed_session_left(killed: SmallStudy) -> None:
    killed.load()
    assert not changes(killed).exists()
    with opened(killed.target) as database:
        assert database.execute("select max(target_rank) from layer_records").fetchall() == [(3,)]
        names = database.execute("select table_name from information_schema.tables").fetchall()
    assert ("mine",) not in names


def test_a_load_that_fails_leaves_both_files(killed: SmallStudy) -> None:
    before = changes(killed).read_bytes()
    del killed.record_shards[1]
    with pytest.raises(StoreError):
        killed.load()
    assert changes(killed).read_bytes() == before
    assert killed.target.exists()


@pytest.fixture
def writer(study: SmallStudy) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING_SESSION, str(study.target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    yield process
    process.communicate("\n", timeout=60)


def test_a_session_that_writes_is_named(study: SmallStudy, writer: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(StoreError, match=rf"another session .*PID {writer.pid}") as raised,
        opened(study.target),
    ):
        pytest.fail("opened")
    assert "\n" not in str(raised.value)


def test_a_flipped_bit_is_refused_or_changes_nothing(study: SmallStudy) -> None:
    """DuckDB's own checksums, without any file of hashes; the jobs' hashes find what these leave."""
    content = study.target.read_bytes()
    tables = ("layer_records", "contexts", "questions", "answer_tokens", "fits")
    rows = {name: study.query(f"select * from {name} order by all") for name in tables}
    draw = random.Random(0)
    messages = []
    for _ in range(60):
        damaged = bytearray(content)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        study.target.write_bytes(damaged)
        try:
            with opened(study.target) as database:
                found = {name: database.execute(f"select * from {name} order by all").fetchall() for name in tables}
        except LenscoreError as error:
            messages.append(str(error))
            continue
        assert found == rows
    assert messages
    for message in messages:
        assert message.startswith(f"{study.target}: ")
        assert "--forcerun" in message
        assert "\n" not in message


@pytest.mark.parametrize("left", [0, 10, 5000])
def test_a_truncated_database_is_named_with_what_mends_it(study: SmallStudy, left: int) -> None:
    os.truncate(study.target, left)
    with pytest.raises(DamagedFileError, match="--forcerun") as raised, opened(study.target) as database:
        database.execute("select * from layer_records").fetchall()
    assert "\n" not in str(raised.value)


def test_an_error_of_a_query_is_no_fault_of_the_file(study: SmallStudy) -> None:
    with pytest.raises(duckdb.CatalogException), opened(study.target) as database:
        database.execute("select * from no_such_table")
