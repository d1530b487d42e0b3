"""One file over HTTP: complete and with the right hash, or absent."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from lenscore.errors import SourceError
from lenscore.files import git_blob_id_of_file, sha256_of_file, written_whole

logger = logging.getLogger(__name__)

_CHUNK = 1 << 18
_TIMEOUT = (10.0, 60.0)  # seconds: to connect, and between two packets
_ATTEMPTS = 3  # of a whole file, where the connection breaks within the body
_BETWEEN_REPORTS = 10.0  # seconds
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _BrokenOffError(Exception):
    """The connection ended within the body, which the adapter's retries do not cover."""


def download(url: str, target: Path, *, sha256: str | None = None, git_blob: str | None = None) -> None:
    """Fetch a file beside ``target`` and rename it once its hash is right.

    Refused connections and the statuses 429 and 5xx are tried again after a growing pause;
    a body that breaks off is fetched again from its start.

    Args:
        url: an https address (http on the loopback interface only).
        target: the file to write; its folder is made.
        sha256: the expected SHA-256 in hex.
        git_blob: the expected git blob id in hex.

    Raises:
        SourceError: the address, status, length or hash is wrong; nothing is left behind.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise SourceError(f"{url}: not an https address")
    with written_whole(target) as beside, requests.Session() as session:
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=_retries()))
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                _get(session, url, beside)
                break
            except _BrokenOffError as error:
                if attempt == _ATTEMPTS:
                    raise SourceError(f"{url}: broke off {attempt} times: {error}") from error
                logger.warning("%s: broke off (%s); trying again", url, error)
            except requests.exceptions.RequestException as error:
                raise SourceError(f"{url}: could not be fetched: {one_line(error)}") from error
        check_hash(beside, url, sha256=sha256, git_blob=git_blob)


def check_hash(path: Path, name: str, *, sha256: str | None = None, git_blob: str | None = None) -> None:
    """Check a file against the hashes that are given.

    Args:
        path: the file.
        name: what the message calls it.
        sha256: the expected SHA-256 in hex.
        git_blob: the expected git blob id in hex.

    Raises:
        SourceError: one differs; the message has the expected and the found hash.
    """
    for kind, expected, hash_of in (
        ("SHA-256", sha256, sha256_of_file),
        ("git blob id", git_blob, git_blob_id_of_file),
    ):
        if expected and (found := hash_of(path)) != expected:
            raise SourceError(f"{name}: expected {kind} {expected}, found {found} ({path.stat().st_size:,} bytes)")


def one_line(error: BaseException) -> str:
    """Return an error's message as one line without a full stop, to be part of another message."""
    return " ".join(str(error).split()).rstrip(".")


def _retries() -> Retry:
    return Retry(
        total=4,
        connect=2,
        read=2,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=["GET"],
        raise_on_status=False,  # the last response is returned, so that its status can be reported
    )


def _get(session: requests.Session, url: str, path: Path) -> None:
    # The hash is that of the file on the server: no compression on the way.
    with session.get(url, stream=True, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"}) as response:
        response.raise_for_status()
        total = int(response.headers.get("Content-Length", 0)) / 1e6
        logger.info("%s: fetching%s", url, f" {total:.1f} MB" if total else "")
        done, reported = 0, time.monotonic()
        with path.open("wb") as file:
            for chunk in _body(response):
                done += file.write(chunk)
                if time.monotonic() - reported > _BETWEEN_REPORTS:
                    reported = time.monotonic()
                    logger.info("%s: %.1f%s MB", url, done / 1e6, f" of {total:.1f}" if total else "")


def _body(response: requests.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_content(_CHUNK)
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError) as error:
        raise _BrokenOffError(one_line(error)) from error
