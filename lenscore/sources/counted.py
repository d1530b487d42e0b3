"""A session that counts every byte that a server sends: its status, headers and what frames the body, too.

Who watches the body alone is held for ever by a server that sends its headers a byte a second, or one interim answer
after the other: each single byte comes in time.
"""

import io
from collections.abc import Callable, Generator
from http.client import HTTPResponse
from typing import Any

import requests
from requests.adapters import HTTPAdapter

# Is told how many bytes came; what it raises ends the download.
Count = Callable[[int], None]

_BUFFER = 1 << 18


def counted_session(new_count: Callable[[], Count]) -> requests.Session:
    """Return a session that counts what comes, and follows no redirect by itself.

    Args:
        new_count: is called for each answer; returns what counts it.
    """
    session = _Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(new_count))
    return session


class _Session(requests.Session):
    def resolve_redirects(self, *arguments: Any, **named: Any) -> Generator[requests.Response, None, None]:
        """Yield nothing: otherwise the whole body of a redirect is read first, also where none is to be followed."""
        yield from ()


class _Adapter(HTTPAdapter):
    """Has its connections, through a proxy or not, count what comes."""

    def __init__(self, new_count: Callable[[], Count]):
        super().__init__()

        class Response(HTTPResponse):
            def __init__(self, *arguments: Any, **named: Any):
                super().__init__(*arguments, **named)
                self.fp = io.BufferedReader(_Counted(self.fp.detach(), new_count()), _BUFFER)

        self._response_class = Response

    def get_connection_with_tls_context(self, *arguments: Any, **named: Any) -> Any:
        pool = super().get_connection_with_tls_context(*arguments, **named)
        of_pool: Any = type(pool).ConnectionCls
        pool.ConnectionCls = type("Connection", (of_pool,), {"response_class": self._response_class})
        return pool


class _Counted(io.RawIOBase):
    """The bytes of a connection, each counted."""

    def __init__(self, raw: io.RawIOBase, count: Count):
        super().__init__()
        self._raw, self._count = raw, count

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        n_bytes: int | None = self._raw.readinto(buffer)
        self._count(n_bytes or 0)
        return n_bytes

    def close(self) -> None:
        self._raw.close()
        super().close()
