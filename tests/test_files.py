"""Files are whole or absent, and hashes are those that other tools give."""

import subprocess
from pathlib import Path

import pytest

from lenscore.files import folder_written_whole, git_blob_id_of_file, sha256_of_file, write_json, written_whole


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


# No process has this number, which is above what Linux gives.
ENDED = 2**30


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
    (tmp_path / f".part-{ENDED}-study.duckdb.tmp").mkdir()
    for name in (
        f".part-{ENDED}-study.duckdb",
        f".part-{ENDED}-study.duckdb.wal",
        ".part-2-other",
        ".part-3-a-study.duckdb",
    ):
        (tmp_path / name).write_text("half")
    with written_whole(tmp_path / "study.duckdb") as beside:
        assert names(tmp_path) == [".part-2-other", ".part-3-a-study.duckdb"]
        beside.write_text("whole")
        beside.with_name(f"{beside.name}.wal").write_text("its own")
    assert names(tmp_path) == [".part-2-other", ".part-3-a-study.duckdb", "study.duckdb"]


def test_a_folder_that_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / f".part-{ENDED}-m").mkdir()
    (tmp_path / f".part-{ENDED}-m/weights").write_text("half")
    with folder_written_whole(tmp_path / "m") as beside:
        assert names(beside) == []
    assert names(tmp_path) == ["m"]


def test_what_another_process_is_writing_is_left_to_it(tmp_path: Path) -> None:
    running = tmp_path / ".part-1-table"  # the first process of every machine
    running.write_text("half")
    with written_whole(tmp_path / "table") as beside:
        beside.write_text("whole")
    assert names(tmp_path) == [".part-1-table", "table"]
