"""A download is whole and of the right hash, or it is not there."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from lenscore.errors import SourceError
from lenscore.sources.download import download

CONTENT = b"hello\n"
SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
GIT_BLOB = "ce013625030ba8dba906f756967f9e9ca394464a"  # what git hash-object says


class _Server(ThreadingHTTPServer):
    """Answers /<fault>/<times>: ``times`` faulty answers, then whole ones."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        fault, times = self.path.strip("/").split("/")
        faulty = self.server.asked.count(self.path) <= int(times)
        self.send_response(int(fault) if faulty and fault.isdigit() else 200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:3] if faulty and fault == "short" else CONTENT)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with _Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("expected", [{"sha256": SHA256}, {"git_blob": GIT_BLOB}, {}])
def test_right_hash(server: _Server, tmp_path: Path, expected: dict[str, str]) -> None:
    target = tmp_path / "folder" / "file"
    download(server.url("/whole/0"), target, **expected)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(("kind", "found"), [("sha256", SHA256), ("git_blob", GIT_BLOB)])
def test_wrong_hash_leaves_nothing(server: _Server, tmp_path: Path, kind: str, found: str) -> None:
    expected = "0" * len(found)
    with pytest.raises(SourceError) as raised:
        download(server.url("/whole/0"), tmp_path / "file", **{kind: expected})
    for part in (server.url("/whole/0"), expected, found):
        assert part in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_failure_keeps_what_was_there(server: _Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"earlier")
    with pytest.raises(SourceError):
        download(server.url("/whole/0"), tmp_path / "file", sha256="0" * 64)
    assert (tmp_path / "file").read_bytes() == b"earlier"


def test_missing_page_names_address_and_status(server: _Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="404") as raised:
        download(server.url("/404/9"), tmp_path / "file", sha256=hashlib.sha256(CONTENT).hexdigest())
    assert server.url("/404/9") in str(raised.value)
    assert server.asked == ["/404/9"]
    assert list(tmp_path.iterdir()) == []


def test_truncated_body_is_not_taken_for_the_file(server: _Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="broke off 3 times") as raised:
        download(server.url("/short/9"), tmp_path / "file")
    assert server.url("/short/9") in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["short", "503", "429"])
def test_passing_faults_are_tried_again(server: _Server, tmp_path: Path, fault: str) -> None:
    download(server.url(f"/{fault}/1"), tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize("url", ["http://example.org/file", "ftp://127.0.0.1/file", "file:///etc/hostname", "x"])
def test_only_https(tmp_path: Path, url: str) -> None:
    with pytest.raises(SourceError, match="not an https address"):
        download(url, tmp_path / "file")


def test_nobody_listens(server: _Server, tmp_path: Path) -> None:
    server.server_close()
    with pytest.raises(SourceError, match="could not be fetched") as raised:
        download(server.url("/whole/0"), tmp_path / "file")
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []
