"""Compressed files of datasets: recognised by their first bytes, and unpacked up to a largest size."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from lenscore.errors import SourceError, shown_name
from lenscore.sources.local_files import check_readable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Text is seldom packed to less than a twentieth: a file that unpacks to more than both of these is no text.
MOST_EXPANSION = 200
LEAST_LIMIT = 64 << 20  # bytes


def _zstd(raw: IO[bytes]) -> Any:
    # Slow to import, and needed by no other kind.
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")


class _Kind(NamedTuple):
    magic: bytes
    unpacked: Callable[[IO[bytes]], Any]


_KINDS: Mapping[str, _Kind] = {
    "gzip": _Kind(b"\x1f\x8b", lambda raw: gzip.GzipFile(fileobj=raw)),
    "bz2": _Kind(b"BZh", bz2.BZ2File),
    "xz": _Kind(b"\xfd7zXZ\x00", lzma.LZMAFile),
    "zstd": _Kind(b"\x28\xb5\x2f\xfd", _zstd),
}
_LONGEST_MAGIC = max(len(kind.magic) for kind in _KINDS.values())


def kind_of(start: bytes) -> str | None:
    """Return how a file is compressed, by its first bytes; None where it is not."""
    return next((kind for kind, entry in _KINDS.items() if start.startswith(entry.magic)), None)


def largest_content(path: Path) -> int:
    """Return how many bytes a compressed file may unpack to."""
    return max(LEAST_LIMIT, MOST_EXPANSION * path.stat().st_size)


@contextmanager
def unpacked(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file for reading its content: as it is, or unpacked where it is gzip, bz2, xz or zstd.

    Args:
        path: the file.
        name: what messages call it.

    Raises:
        SourceError: it cannot be read; while it is read: its stream is broken, or unpacks to more than
            ``MOST_EXPANSION`` times its size and more than ``LEAST_LIMIT`` bytes.
    """
    check_readable(path, name)
    with path.open("rb") as raw:
        start = raw.read(_LONGEST_MAGIC)
        raw.seek(0)
        kind = kind_of(start)
        if kind is None:
            yield raw
            return
        with _KINDS[kind].unpacked(raw) as stream:
            yield io.BufferedReader(_Unpacked(stream, kind, largest_content(path), shown_name(name)), 1 << 18)


class _Unpacked(io.RawIOBase):
    """What a compressed stream unpacks to; whatever its library raises becomes the project's own error."""

    def __init__(self, stream: Any, kind: str, limit: int, name: str):
        super().__init__()
        self._stream, self._kind, self._limit, self._name = stream, kind, limit, name
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        target = memoryview(buffer).cast("B")
        try:
            data = self._stream.read(len(target))
        # OSError: of bz2 and of Arrow, whose errors derive from it or from ValueError.
        except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
            reason = " ".join(str(error).split())
            raise SourceError(
                f"{self._name}: the {self._kind} stream breaks after {self._read:,} bytes of content: {reason}"
            ) from None
        self._read += len(data)
        if self._read > self._limit:
            raise SourceError(
                f"{self._name}: unpacks to more than {self._limit >> 20:,} MiB, over {MOST_EXPANSION} times "
                f"its own size, as no text does; if it is good, unpack it with {self._kind} and give the unpacked file"
            )
        target[: len(data)] = data
        return len(data)
