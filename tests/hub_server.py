"""A loopback server that speaks as much of the Hub's HTTP API as downloads use.

Weights and Parquet files are answered as the Hub answers files of Git LFS: a redirect to
another host (here the loopback interface by its other name), with the hash and the size of
what lies there in its headers.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".bin", ".h5", ".onnx", ".parquet")


@dataclass
class Repository:
    """Files of one commit of a repository; a gated one refuses whoever asks."""

    revision: str
    files: Mapping[str, bytes]
    gated: bool = False


@dataclass
class Hub:
    """What the server offers, and what was taken."""

    models: dict[str, Repository] = field(default_factory=dict)
    datasets: dict[str, Repository] = field(default_factory=dict)
    endpoint: str = ""
    fetched: set[str] = field(default_factory=set)  # paths in repositories of the files that were read


def git_blob_id(content: bytes) -> str:
    """Return the id git gives these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serve_hub(hub: Hub) -> Iterator[Hub]:
    """Serve ``hub`` on a free loopback port while the block runs; sets its ``endpoint``."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    server: ThreadingHTTPServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output free of requests."""

    def do_HEAD(self) -> None:
        self._answer_any()

    def do_GET(self) -> None:
        self._answer_any()

    def do_POST(self) -> None:
        self._answer_any()

    def _answer_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        parts = path.strip("/").split("/")
        if parts[0] == "lfs":
            self._lfs(parts[1])
        elif parts[0] == "api" and parts[1] in ("models", "datasets"):
            self._api(parts[1], parts[2:], body)
        elif parts[0] == "datasets":
            self._resolve("datasets", parts[1:])
        else:
            self._resolve("models", parts)

    def _repository(self, kind: str, parts: list[str], revision: str | None) -> Repository | None:
        """Find a repository by the two parts of its name; answer the request itself if there is none."""
        repository = getattr(self.hub, kind).get("/".join(parts[:2]))
        if repository is None:
            self._fault(401, "RepoNotFound")  # to who is not logged in, as if it were private
        elif repository.gated:
            self._fault(403, "GatedRepo")
        elif revision not in (None, "main", repository.revision):
            self._fault(404, "RevisionNotFound")
        else:
            return repository
        return None

    def _api(self, kind: str, parts: list[str], body: bytes) -> None:
        verb = parts[2] if len(parts) > 2 else "revision"
        repository = self._repository(kind, parts, parts[3] if len(parts) > 3 else None)
        if repository is None:
            return
        if verb == "revision":
            siblings = [{"rfilename": path} for path in repository.files]
            self._json(
                {"id": "/".join(parts[:2]), "sha": repository.revision, "siblings": siblings, "private": False}
                | {"gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}
            )
        elif verb == "tree":
            folder = "/".join(parts[4:])
            recursive = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() in ("1", "true")
            entries = [
                entry
                for entry in _entries(repository.files)
                if (not folder or entry["path"].startswith(folder + "/"))
                and (recursive or "/" not in entry["path"].removeprefix(folder).strip("/"))
            ]
            self._json(entries) if entries or not folder else self._fault(404, "EntryNotFound")
        elif verb == "paths-info":
            given = json.loads(body) if body.startswith(b"{") else parse_qs(body.decode())
            self._json([entry for entry in _entries(repository.files) if entry["path"] in given["paths"]])
        else:
            self._fault(404, "EntryNotFound")

    def _resolve(self, kind: str, parts: list[str]) -> None:
        if len(parts) < 5 or parts[2] != "resolve":
            self._fault(404, "EntryNotFound")
            return
        repository = self._repository(kind, parts, parts[3])
        if repository is None:
            return
        path = "/".join(parts[4:])
        commit = {"X-Repo-Commit": repository.revision}
        if path not in repository.files:
            self._fault(404, "EntryNotFound", commit)
            return
        content = repository.files[path]
        if path.endswith(LFS_SUFFIXES):
            sha256 = hashlib.sha256(content).hexdigest()
            linked = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(content))}
            self._send(
                302, b"", commit | linked | {"Location": f"http://localhost:{self.server.server_port}/lfs/{sha256}"}
            )
        else:
            self._send_file(path, content, commit | {"ETag": f'"{git_blob_id(content)}"'})

    def _lfs(self, sha256: str) -> None:
        for repository in (*self.hub.models.values(), *self.hub.datasets.values()):
            for path, content in repository.files.items():
                if hashlib.sha256(content).hexdigest() == sha256:
                    self._send_file(path, content, {"ETag": f'"{sha256}"'})
                    return
        self._fault(404, "EntryNotFound")

    def _send_file(self, path: str, content: bytes, headers: Mapping[str, str]) -> None:
        if self.command == "GET":
            self.hub.fetched.add(path)
        self._send(200, content, headers)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _fault(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})})

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _entries(files: Mapping[str, bytes]) -> list[dict[str, object]]:
    """Describe files and folders as the Hub's tree does."""
    folders = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}
    entries: list[dict[str, object]] = [
        {"type": "directory", "path": path, "oid": "0" * 40} for path in sorted(folders)
    ]
    for path, content in files.items():
        entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": git_blob_id(content)}
        if path.endswith(LFS_SUFFIXES):
            sha256 = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 130}
        entries.append(entry)
    return entries
