"""A download is whole and of the right hash, or it is not there."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from lenscore.errors import SourceError
from lenscore.sources import download as downloads
from lenscore.sources.download import download, shown
from tests.misbehaving_server import FAULTS, Misbehaving, self_signed

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


ADDRESS_WITH_SECRETS = "http://someone:pa55word@127.0.0.1:{port}{path}?token=t0ken"


@pytest.fixture
def misbehaving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Misbehaving]:
    """A server that misbehaves as the address says, and a client whose patience is short."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    for name, value in (("_SLOW_FOR", 0.3), ("_TIMEOUT", (5.0, 1.0)), ("_LARGEST", 5_000_000)):
        monkeypatch.setattr(downloads, name, value)
    with Misbehaving() as server:
        yield server


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client would have waited, in seconds."""
    waited: list[float] = []
    monkeypatch.setattr(downloads.time, "sleep", waited.append)
    return waited


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_a_server_does_there_is_no_half_file(
    misbehaving: Misbehaving, waits: list[float], tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "file").write_bytes(b"earlier")
    url = ADDRESS_WITH_SECRETS.format(port=misbehaving.port, path=f"/{fault}")
    with pytest.raises(SourceError, match=FAULTS[fault].message) as raised:
        download(url, tmp_path / "file", sha256=SHA256)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"earlier"}
    assert len(misbehaving.asked) == FAULTS[fault].asked
    assert max(waits, default=0) <= 60
    said = f"{raised.value}\n{caplog.text}"
    assert f"127.0.0.1:{misbehaving.port}/{fault}" in said
    for secret in ("pa55word", "someone", "t0ken"):
        assert secret not in said
    assert "\n" not in str(raised.value)


def test_a_wait_of_a_day_is_logged_and_cut_short(
    misbehaving: Misbehaving, waits: list[float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SourceError, match=r"answers 503 .* 5 times: the server asks to come back after 86,400 s"):
        download(misbehaving.url("/retry-after-a-day"), tmp_path / "file", sha256=SHA256)
    assert waits == [60] * 4
    assert "asks to come back after 86,400 s" in caplog.text
    assert "trying again in 60.0 s" in caplog.text


@pytest.mark.parametrize("fault", [fault for fault, said in FAULTS.items() if said.asked in (3, 5)])
def test_what_passes_is_waited_for(misbehaving: Misbehaving, waits: list[float], tmp_path: Path, fault: str) -> None:
    misbehaving.faults = 1
    download(misbehaving.url(f"/{fault}"), tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(misbehaving.asked) == 2
    assert len(waits) == 1


@pytest.mark.parametrize(("path", "shown_as"), [("/a/b", "/a/b"), ("/a?token=x#y", "/a?…")])
def test_an_address_is_shown_without_what_is_nobodys_business(path: str, shown_as: str) -> None:
    assert shown(f"https://user:secret@example.org:8080{path}") == f"https://example.org:8080{shown_as}"


def test_a_redirect_from_https_to_http_is_refused_and_one_to_https_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a certificate of its own, which the client is told to trust."""
    key, certificate = self_signed(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    (tmp_path / "made").mkdir()
    target = tmp_path / "made" / "file"
    with Misbehaving() as plain, Misbehaving(key, certificate) as secure:
        secure.redirect = f"https://localhost:{secure.port}/whole"
        download(f"https://localhost:{secure.port}/redirect", target, sha256=SHA256)
        assert target.read_bytes() == CONTENT
        target.unlink()
        secure.redirect = f"http://localhost:{plain.port}/whole"
        with pytest.raises(SourceError, match=rf"redirects to http://localhost:{plain.port}/whole, which is not"):
            download(f"https://localhost:{secure.port}/redirect", target, sha256=SHA256)
        assert plain.asked == []
    assert list(target.parent.iterdir()) == []


def test_nobody_listens(server: _Server, tmp_path: Path) -> None:
    server.server_close()
    with pytest.raises(SourceError, match="could not be fetched") as raised:
        download(server.url("/whole/0"), tmp_path / "file")
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []
