"""JSON Lines files, plain or gzipped: their rows, and how many there are.

Standard library only, since the Snakefile calls this module on every start.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from lenscore.errors import SourceError

EMBEDDED = Path(__file__).parent.parent / "data" / "questions.jsonl"

_GZIP_MAGIC = b"\x1f\x8b"


def local_file(source: str) -> Path | None:
    """Return the file that a dataset's ``source`` names, if it is on this machine; None for url: and hub:.

    A relative ``path:`` counts from the working directory.
    """
    kind, _, rest = source.partition(":")
    if kind == "embedded":
        return EMBEDDED
    return Path(rest) if kind == "path" else None


def count_questions(path: Path) -> int:
    """Count the rows of a JSON Lines file without parsing them.

    Rows that ``fetch_dataset`` would drop as exact duplicates are counted too.

    Raises:
        SourceError: the file is missing or its gzip stream is broken.
    """
    return sum(1 for _ in _filled_lines(path, str(path)))


def read_json_lines(path: Path, name: str) -> Iterator[tuple[str, object]]:
    """Yield (place, value) of each line that is not blank; a place reads ``<name>, line <n>``, n from 1.

    Args:
        path: a JSON Lines file in UTF-8; gzip is recognised by its first bytes, not by its name.
        name: what messages call the file (where it was fetched from, rather than where it is).

    Raises:
        SourceError: the file is missing, its gzip stream is broken, or a line is not JSON.
    """
    for number, line in _filled_lines(path, name):
        place = f"{name}, line {number}"
        try:
            value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{place}: not UTF-8: byte {error.start + 1} of the line is {line[error.start]:#04x}"
            ) from None
        except json.JSONDecodeError as error:
            raise SourceError(
                f"{place}: not JSON: {error.msg} at column {error.colno}; one object a line is needed"
            ) from None
        yield place, value


def _filled_lines(path: Path, name: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with path.open("rb") as raw:
            zipped = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            raw.seek(0)
            with gzip.open(raw) if zipped else raw as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield number, line
    except FileNotFoundError:
        raise SourceError(f"{name}: no such file (the working directory is {Path.cwd()})") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(f"{name}: the gzip stream breaks after line {number}: {error}") from None
    except IsADirectoryError:
        raise SourceError(f"{name}: a folder; a JSON Lines file is needed") from None
