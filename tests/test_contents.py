"""Files known by their content: hashed once, and again when something else is in their place."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from lenscore import hashes
from lenscore.hashes import KnownHashes
from tests.conftest import ROOT


class Hashing:
    """Counts which files are read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, file: Path) -> str:
        self.read.append(file.name)
        return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Hashing:
    counted = Hashing()
    monkeypatch.setattr(hashes, "sha256_of_file", counted)
    return counted


def test_a_file_is_hashed_once(tmp_path: Path, hashing: Hashing) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    for _ in range(2):
        # A new process remembers what an earlier one has hashed.
        known = KnownHashes(tmp_path / "memory.json")
        assert known.sha256(file) == hashlib.sha256(b"one").hexdigest()
    assert hashing.read == ["weights"]


def test_files_of_a_folder_are_forgotten(tmp_path: Path, hashing: Hashing) -> None:
    files = [tmp_path / name / "file" for name in ("resources", "resources-of-others", "results")]
    known = KnownHashes(tmp_path / "memory.json")
    for file in files:
        file.parent.mkdir()
        file.write_bytes(b"one")
        known.sha256(file)
    hashing.read.clear()
    for at_once in (known, KnownHashes(tmp_path / "memory.json")):
        at_once.forget([tmp_path / "resources", tmp_path / "nowhere"])
        for file in files:
            at_once.sha256(file)
    assert hashing.read == ["file"] * 2  # once after each time that it was forgotten


def test_a_file_that_is_replaced_by_an_older_one_of_its_size_is_noticed(tmp_path: Path, hashing: Hashing) -> None:
    file, other = tmp_path / "weights", tmp_path / "other"
    other.write_bytes(b"two")
    file.write_bytes(b"one")
    status = file.stat()
    known = KnownHashes(tmp_path / "memory.json")
    known.sha256(file)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))  # as cp -p and rsync -t keep a date
    other.replace(file)
    assert file.stat().st_mtime_ns == status.st_mtime_ns
    assert known.sha256(file) == hashlib.sha256(b"two").hexdigest()


def test_a_file_that_is_only_touched_has_the_same_content(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    known = KnownHashes(tmp_path / "memory.json")
    before = known.sha256(file)
    os.utime(file, (1, 1))
    assert known.sha256(file) == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}'])
def test_a_damaged_memory_is_forgotten(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.json").write_text(text)
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    assert KnownHashes(tmp_path / "memory.json").sha256(file) == hashlib.sha256(b"one").hexdigest()


def test_two_processes_may_remember_at_once(tmp_path: Path) -> None:
    """A dry run is started beside a run: neither fails, whatever of the other's it forgets."""
    for number in range(40):
        (tmp_path / f"file-{number}").write_text(str(number))
    code = (
        "import sys; from pathlib import Path; from lenscore.hashes import KnownHashes\n"
        "known = KnownHashes(Path('memory.json'))\n"
        "for file in sorted(Path().glob('file-*')): known.sha256(file)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
        for _ in range(2)
    ]
    assert [process.wait(60) for process in running] == [0, 0]
    assert not list(tmp_path.glob(".part-*"))
    assert KnownHashes(tmp_path / "memory.json").sha256(tmp_path / "file-7") == hashlib.sha256(b"7").hexdigest()


def test_a_memory_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "no-folder").write_text("a file")
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    known = KnownHashes(tmp_path / "no-folder/memory.json")
    assert known.sha256(file) == hashlib.sha256(b"one").hexdigest()


def test_a_memory_that_is_only_read_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a user's resources/ are a folder of others."""
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    known = KnownHashes(tmp_path / "memory.json")
    known.sha256(file)
    monkeypatch.setattr(hashes, "write_json", Mock(side_effect=PermissionError("Permission denied")))
    known.forget([tmp_path])
    assert known.sha256(file) == hashlib.sha256(b"one").hexdigest()
