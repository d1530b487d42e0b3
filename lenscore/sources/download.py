"""One file over HTTP: complete and with the right hash, or absent; whatever the server does."""

import logging
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError, LocationParseError

from lenscore.errors import SourceError
from lenscore.files import git_blob_id_of_file, sha256_of_file, written_whole
from lenscore.sources.counted import counted_session

logger = logging.getLogger(__name__)

_CHUNK = 1 << 18
_TIMEOUT = (10.0, 60.0)  # seconds: to connect, and between two packets
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MOST_REDIRECTS = 5
# A file of questions is smaller; more comes from a server that does not end.
_LARGEST = 50_000_000_000  # bytes
_MOST_DIGITS = 18  # of a number of bytes
_LONGEST_SAID = 200  # characters of a server's that a message has
# A server that sends less than this many bytes a second for this many seconds has as good as stopped.
_SLOWEST, _SLOW_FOR = 1_000, 60.0
_BETWEEN_REPORTS = 10.0  # seconds

# How often a file is asked for where the connection breaks, and where the server asks to come back later.
_ATTEMPTS, _ATTEMPTS_IF_BUSY = 3, 5
_BUSY = (408, 425, 429, 500, 502, 503, 504)
# Seconds: the first wait, which doubles each time; and the longest, whatever Retry-After says.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0


class _PassingError(Exception):
    """What may be over when the file is asked for again.

    Attributes:
        what: happened.
        why: it did, as far as is known.
        attempts: how often it may happen.
        retry_after: seconds after which the server asks to come back, if it does.
    """

    def __init__(self, what: str, why: str = "", attempts: int = _ATTEMPTS, retry_after: float | None = None):
        super().__init__(what)
        asked = "" if retry_after is None else f"the server asks to come back after {retry_after:,.0f} s"
        self.what, self.why, self.attempts, self.retry_after = what, why or asked, attempts, retry_after


class _EndlessError(Exception):
    """A server has sent more bytes than any file has."""


class _Pace:
    """Counts the bytes of one answer, from its status to what follows the body."""

    def __init__(self) -> None:
        self._all, self._since, self._started = 0, 0, time.monotonic()

    def __call__(self, n_bytes: int) -> None:
        """Count bytes that have come.

        Raises:
            _PassingError: they come too slowly.
            _EndlessError: there are too many.
        """
        self._all += n_bytes
        self._since += n_bytes
        if self._all > _LARGEST:
            raise _EndlessError
        if (seconds := time.monotonic() - self._started) > _SLOW_FOR:
            if self._since < _SLOWEST * seconds:
                raise _PassingError("was too slow", f"{self._since:,} bytes came in {seconds:.0f} s")
            self._started, self._since = time.monotonic(), 0


def download(url: str, target: Path, *, sha256: str | None = None, git_blob: str | None = None) -> None:
    """Fetch a file beside ``target`` and rename it once its hash is right.

    A connection that fails or breaks off, and the statuses 429 and 5xx, are tried again after a growing pause, or the
    one that the server asks for in Retry-After, up to a minute. A file is fetched again from its start.

    Args:
        url: an https address (http on the loopback interface only). Credentials are read from ~/.netrc.
        target: the file to write; its folder is made.
        sha256: the expected SHA-256 in hex.
        git_blob: the expected git blob id in hex.

    Raises:
        SourceError: the address, a redirect, status, length or hash is wrong, or the server is too slow or does not
            end; nothing is left behind.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_loopback(parts):
        raise SourceError(f"{shown(url)}: not an https address")
    with written_whole(target) as beside, counted_session(_Pace) as session:
        kind = _fetch(session, url, beside)
        try:
            check_hash(beside, shown(url), sha256=sha256, git_blob=git_blob)
        except SourceError as error:
            page = "; the server sent a page, perhaps of an error" if kind.startswith("text/html") else ""
            raise SourceError(f"{error}{page}") from None


def shown(url: str) -> str:
    """Return an address as it may be shown: without a user's name, a password, and what follows the question mark."""
    parts = urlsplit(url)
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return f"{place}?…" if parts.query else place


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


def _is_loopback(parts: SplitResult) -> bool:
    return parts.scheme == "http" and parts.hostname in _LOOPBACK


def _fetch(session: requests.Session, url: str, path: Path) -> str:
    """Write what an address has to a file, and return what kind of content the server says it is."""
    attempt = 1
    while True:
        try:
            return _get(session, url, path)
        except _PassingError as error:
            if attempt >= error.attempts:
                why = f": {error.why}" if error.why else ""
                raise SourceError(f"{shown(url)}: {error.what} {attempt} times{why}") from None
            wait = min(error.retry_after or _FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT)
            why = f" ({error.why})" if error.why else ""
            logger.warning("%s: %s%s; trying again in %.1f s", shown(url), error.what, why, wait)
            time.sleep(wait)
            attempt += 1


def _get(session: requests.Session, url: str, path: Path) -> str:
    try:
        with _response(session, url) as response:
            total = _length(response, url)
            logger.info("%s: fetching%s", shown(url), f" {total / 1e6:.1f} MB" if total is not None else "")
            done, reported = 0, time.monotonic()
            with path.open("wb") as file:
                for chunk in _body(response):
                    done += file.write(chunk)
                    if time.monotonic() - reported > _BETWEEN_REPORTS:
                        reported = time.monotonic()
                        logger.info("%s: %.1f MB", shown(url), done / 1e6)
            if total is not None and done != total:
                raise _PassingError("broke off", f"after {done:,} of {total:,} bytes")
            return str(response.headers.get("Content-Type", ""))
    except _EndlessError:
        raise SourceError(f"{shown(url)}: sends more than {_LARGEST / 1e9:g} GB, and was left") from None
    except requests.exceptions.SSLError as error:
        raise SourceError(f"{shown(url)}: could not be fetched: {_reason(error)}") from None
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
        raise _PassingError("could not be fetched", _reason(error)) from None
    except (requests.exceptions.RequestException, LocationParseError) as error:
        raise SourceError(f"{shown(url)}: could not be fetched: {_reason(error)}") from None


def _response(session: requests.Session, url: str) -> requests.Response:
    """Return the answer of an address, or of the one that it redirects to: over https from the first to the last."""
    place = url
    for _ in range(_MOST_REDIRECTS + 1):
        # The hash is that of the file on the server: no compression on the way.
        response = session.get(
            place, stream=True, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"}, allow_redirects=False
        )
        before, target = urlsplit(place), _redirect_target(session, response, place, url)
        if target is None:
            _check_status(response, url)
            return response
        response.close()
        place, parts = target, urlsplit(target)
        if parts.scheme != "https" and not (_is_loopback(before) and _is_loopback(parts)):
            said = shown(place)[:_LONGEST_SAID]
            raise SourceError(f"{shown(url)}: redirects to {said}, which is not an https address")
    raise SourceError(f"{shown(url)}: redirects more than {_MOST_REDIRECTS} times")


def _redirect_target(session: requests.Session, response: requests.Response, place: str, url: str) -> str | None:
    """Return the address to which an answer redirects, if it does."""
    try:
        said = session.get_redirect_target(response)
        target = None if said is None else urljoin(place, said)
        if target is not None:
            _ = urlsplit(target).port  # only who asks for it is told that it is none
        return target
    except ValueError as error:
        raise SourceError(f"{shown(url)}: redirects to what is no address: {one_line(error)}") from None


def _check_status(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status == 200:
        return
    response.close()
    said = f"answers {status} {response.reason or ''}"[:_LONGEST_SAID].rstrip()
    if status in _BUSY:
        raise _PassingError(said, attempts=_ATTEMPTS_IF_BUSY, retry_after=_retry_after(response))
    raise SourceError(f"{shown(url)}: could not be fetched: it {said}")


def _retry_after(response: requests.Response) -> float | None:
    """Return for how many seconds a server asks to be left alone; None where it does not say so in proper form."""
    said = response.headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _length(response: requests.Response, url: str) -> int | None:
    """Return the number of bytes that a server says it sends; None where it does not say."""
    said = response.headers.get("Content-Length")
    if said is None:
        return None
    if not (said.isascii() and said.isdecimal() and len(said) <= _MOST_DIGITS):
        said = said[:_LONGEST_SAID]
        raise SourceError(f"{shown(url)}: answers with Content-Length: {said!r}, which is no number of bytes")
    if int(said) > _LARGEST:
        raise SourceError(f"{shown(url)}: says that it sends {int(said):,} bytes; {_LARGEST / 1e9:g} GB is the most")
    return int(said)


def _body(response: requests.Response) -> Iterator[bytes]:
    """Yield the body in the pieces in which it comes: who waits for whole chunks waits for days where bytes trickle."""
    try:
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            yield chunk
    except (HTTPError, OSError) as error:
        raise _PassingError("broke off", one_line(error)) from None


def _reason(error: Exception) -> str:
    """Return why a request failed, without the address, which may hold what is not to be shown."""
    reason: object = error
    while isinstance(reason, BaseException):
        inner = getattr(reason, "reason", None) or next((a for a in reason.args if isinstance(a, BaseException)), None)
        if inner is None:
            break
        reason = inner
    return " ".join(str(reason).split()).rstrip(".")
