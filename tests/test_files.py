"""Files are whole or absent, and hashes are those that other tools give."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lenscore import files
from lenscore.files import folder_written_whole, git_blob_id_of_file, sha256_of_file, write_json, written_whole
from tests.conftest import ROOT


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("content", "sha256", "blob"),
    [
        # The digests of the empty input and of "abc" are given in FIPS 180-2; the blob ids are git's own.
        (
            b"",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        ),
        (
            b"abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f",
        ),
    ],
)
def test_hashes_of_known_content(tmp_path: Path, content: bytes, sha256: str, blob: str) -> None:
    (tmp_path / "file").write_bytes(content)
    assert sha256_of_file(tmp_path / "file") == sha256
    assert git_blob_id_of_file(tmp_path / "file") == blob


def test_hashes_of_a_file_of_several_chunks(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 10_000 + b"end")
    printed = subprocess.run(["git", "hash-object", "--no-filters", path], capture_output=True, text=True, check=True)
    assert git_blob_id_of_file(path) == printed.stdout.strip()
    printed = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    assert sha256_of_file(path) == printed.stdout.split()[0]


def test_written_whole_makes_folders_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "new" / "table.csv.gz"
    for content in ("one", "two"):
        with written_whole(target) as beside:
            assert beside.parent == target.parent
            assert beside.suffixes[-2:] == [".csv", ".gz"]
            beside.write_text(content)
            assert not target.exists() or target.read_text() == "one"
        assert target.read_text() == content
        assert names(target.parent) == ["table.csv.gz"]


@pytest.mark.parametrize("earlier", [None, "earlier"])
def test_written_whole_leaves_nothing_behind_when_it_fails(tmp_path: Path, earlier: str | None) -> None:
    target = tmp_path / "table.csv"
    if earlier:
        target.write_text(earlier)

    def fail() -> None:
        with written_whole(target) as beside:
            beside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == (["table.csv"] if earlier else [])
    assert not earlier or target.read_text() == earlier


def test_block_that_writes_nothing_is_an_error_and_keeps_the_target(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("earlier")
    with pytest.raises(FileNotFoundError), written_whole(target):
        pass
    assert target.read_text() == "earlier"


def test_folder_replaces_the_whole_of_an_earlier_one(tmp_path: Path) -> None:
    target = tmp_path / "models" / "m"
    for content in ("one", "two"):
        with folder_written_whole(target) as beside:
            assert names(beside) == []
            (beside / f"{content}.txt").write_text(content)
        assert names(target) == [f"{content}.txt"]
        assert names(target.parent) == ["m"]


def test_folder_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    target = tmp_path / "m"
    target.mkdir()
    (target / "weights").write_text("earlier")

    def fail() -> None:
        with folder_written_whole(target) as beside:
            (beside / "weights").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert names(tmp_path) == ["m"]
    assert (target / "weights").read_text() == "earlier"


def test_equal_values_are_equal_bytes_of_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    write_json(tmp_path / "b.json", {"a": "é", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": 1\n}\n'


def test_value_that_is_no_json_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": Path("x")})
    assert names(tmp_path) == []


def test_what_a_killed_process_left_is_removed_and_no_other_file(tmp_path: Path) -> None:
    (tmp_path / ".part-0123abcd-study.duckdb.tmp").mkdir()
    for name in (
        ".part-0123abcd-study.duckdb",
        ".part-0123abcd-study.duckdb.wal",
        ".part-study.duckdb.lock",
        ".part-0123abcd-other",
        ".part-0123abcd-a-study.duckdb",
    ):
        (tmp_path / name).write_text("half")
    others = [".part-0123abcd-a-study.duckdb", ".part-0123abcd-other"]
    with written_whole(tmp_path / "study.duckdb") as beside:
        assert names(tmp_path) == [*others, ".part-study.duckdb.lock"]
        beside.write_text("whole")
        beside.with_name(f"{beside.name}.wal").write_text("its own")
    assert names(tmp_path) == [*others, "study.duckdb"]


def test_a_folder_that_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    for left in (".part-0123abcd-m", ".part-0123abcd-m.old"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "weights").write_text("half")
    with folder_written_whole(tmp_path / "m") as beside:
        assert names(beside) == []
    assert names(tmp_path) == ["m"]


def test_what_belongs_to_an_earlier_target_is_removed_with_it(tmp_path: Path) -> None:
    for name in ("study.duckdb", "study.duckdb.wal", "other.duckdb.wal"):
        (tmp_path / name).write_text("earlier")
    with written_whole(tmp_path / "study.duckdb", beside_target=[".wal"]) as beside:
        beside.write_text("new")
        assert (tmp_path / "study.duckdb.wal").exists()
    assert names(tmp_path) == ["other.duckdb.wal", "study.duckdb"]
    assert (tmp_path / "study.duckdb").read_text() == "new"


def writing(folder: Path, text: str, write: str) -> subprocess.Popen[str]:
    """Start a process that writes the target ``t`` of a folder: it says when it has begun, and ends it when told to."""
    code = (
        "import sys; from pathlib import Path; from lenscore.files import folder_written_whole, written_whole\n"
        f"with {write}(Path('t')) as beside:\n"
        f"    (beside / 'x' if beside.is_dir() else beside).write_text({text!r})\n"
        "    print('begun', flush=True); sys.stdin.readline()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def begun(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"


@pytest.mark.parametrize("write", ["written_whole", "folder_written_whole"])
def test_of_two_processes_that_write_a_target_one_waits_for_the_other(tmp_path: Path, write: str) -> None:
    first = writing(tmp_path, "first", write)
    begun(first)
    second = writing(tmp_path, "second", write)
    (mine,) = [path for path in tmp_path.iterdir() if path.name.startswith(".part-") and path.suffix != ".lock"]
    time.sleep(0.5)  # long enough for the second to have begun, did it not wait
    assert mine.exists()
    assert len([path for path in tmp_path.iterdir() if path.suffix != ".lock"]) == 1
    assert first.communicate("go on\n", timeout=60) == ("", None)
    begun(second)
    assert second.communicate("go on\n", timeout=60) == ("", None)
    assert (first.returncode, second.returncode) == (0, 0)
    assert names(tmp_path) == ["t"]
    target = tmp_path / "t"
    assert (target / "x" if target.is_dir() else target).read_text() == "second"


def test_a_lock_of_a_process_that_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    killed = writing(tmp_path, "half", "written_whole")
    begun(killed)
    killed.kill()
    killed.wait()
    assert len(names(tmp_path)) == 2  # the part, and its lock
    with written_whole(tmp_path / "t") as beside:
        beside.write_text("whole")
    assert names(tmp_path) == ["t"]
    assert (tmp_path / "t").read_text() == "whole"


def test_many_processes_that_take_turns_leave_no_lock(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from lenscore.files import locked\n"
        "for _ in range(200):\n"
        "    with locked(Path('lock')):\n"
        "        n = int(Path('n').read_text()); Path('n').write_text(str(n + 1))\n"
    )
    (tmp_path / "n").write_text("0")
    running = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
        for _ in range(4)
    ]
    assert [process.wait(60) for process in running] == [0] * 4
    assert (tmp_path / "n").read_text() == "800"
    assert names(tmp_path) == ["n"]


def test_a_file_system_without_locks_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", none)
    (tmp_path / ".part-0123abcd-t").write_text("another may be writing it")
    with written_whole(tmp_path / "t") as beside:
        beside.write_text("whole")
    assert (tmp_path / "t").read_text() == "whole"
    assert (tmp_path / ".part-0123abcd-t").exists()
    assert "one workflow at a time" in caplog.text


def test_the_disk_has_a_file_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power loss a name must not stand for bytes that were never written."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name.rpartition('-')[2]}")
        fsync(descriptor)

    def noted_rename(self: Path, target: Path) -> Path:
        done.append(f"rename {target.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_rename)
    with written_whole(tmp_path / "file") as beside:
        beside.write_text("whole")
    assert done == ["sync file", "rename file", f"sync {tmp_path.name.rpartition('-')[2]}"]
    done.clear()
    with folder_written_whole(tmp_path / "m") as folder:
        (folder / "weights").write_text("whole")
    assert done == ["sync weights", "sync m", "rename m", f"sync {tmp_path.name.rpartition('-')[2]}"]
