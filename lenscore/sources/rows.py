"""The rows of a dataset's file: JSON Lines, a JSON document, CSV, TSV or Parquet, told by content and not by name.

Standard library but for Parquet and zstd, since the Snakefile calls this module on every start.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from lenscore.errors import SourceError, shown, shown_name
from lenscore.sources.compression import MOST_EXPANSION, kind_of, largest_content, unpacked
from lenscore.sources.strict_json import IncompleteJsonError, parse_json

Row = tuple[str, object]  # what messages call its place, and its value

LONGEST_LINE = 64 << 20  # bytes
LARGEST_DOCUMENT = 1 << 30  # bytes of what has to be read whole: a JSON document, a compressed Parquet file
_HEAD = 1 << 16
_ROWS_AT_ONCE = 16  # of Parquet; each may be large

_SOURCES = "a dataset is JSON Lines, a JSON array, CSV, TSV or Parquet"
# What files begin with that are something else.
_OTHERS = {
    b"PK\x03\x04": "a zip archive (or a spreadsheet)",
    b"%PDF": "a PDF document",
    b"<": "HTML or XML, perhaps the page of an error",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: run git lfs pull",
    b"ARROW1": "an Arrow file: write it as Parquet",
    b"SQLite format 3": "a SQLite database",
    b"\x80\x04": "a Python pickle",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\xff\xfe": "UTF-16: save it as UTF-8",
    b"\xfe\xff": "UTF-16: save it as UTF-8",
}
_BOM = b"\xef\xbb\xbf"
_PARTS = ("data", "Data", "paragraphs", "qas")  # keys of lists of what holds questions
_MAY_HOLD_SEVERAL = re.compile(rb'"(?:data|Data|paragraphs|qas|header)"')

_Kind = Literal["parquet", "json", "csv"]

# Columns of CSV that hold lists, or objects, as JSON.
_LISTS = ("answers", "answer", "distractors", "ctxs", "positive_ctxs", "negative_ctxs", "hard_negative_ctxs", "output")


def rows_of_file(path: Path, name: str) -> Iterator[Row]:
    """Yield (place, row) of each row of a file; a place reads ``<name>, line <n>``, ``row <n>`` or ``item <n>``.

    Documents that hold several questions, as SQuAD's own files do, are taken apart.

    Args:
        path: the file, plain or compressed.
        name: what messages call it (where it was fetched from, rather than where it is).

    Raises:
        SourceError: the file cannot be read, is of another kind, or breaks off; or a row is malformed.
    """
    for place, value in _values(path, shown_name(name)):
        yield from questions_of(place, value)


def count_rows(path: Path) -> int:
    """Return how many different rows a file has, which is at least the number of its questions.

    Copies that are written in another way are counted too, as is what ``fetch_dataset`` drops for another reason. Lines
    of JSON are not parsed, but where one may hold several questions; of Parquet all rows are counted.

    Raises:
        SourceError: the file cannot be read, or breaks off.
    """
    name = shown_name(str(path))
    kind = _kind(path, name)
    if kind == "json" and (lines := _lines_of_objects(path, name)) is not None:
        seen: set[int] = set()
        for number, line in lines:
            if _MAY_HOLD_SEVERAL.search(line):
                rows = questions_of(f"{name}, line {number}", _parsed(line, f"{name}, line {number}"))
                seen.update(hash(repr(row)) for _, row in rows)
            else:
                seen.add(hash(line.strip()))
        return len(seen)
    if kind == "parquet":
        return _rows_of_parquet(path, name)
    return len({hash(repr(row)) for _, row in rows_of_file(path, name)})


def questions_of(place: str, value: object) -> Iterator[Row]:
    """Yield the rows of what may hold several: SQuAD's files, articles and paragraphs, TriviaQA's files, MRQA's lines.

    Args:
        place: what messages call the value.
        value: an object of a JSON file; what has no questions in it, or is one itself, is a row.
    """
    if not isinstance(value, Mapping) or "question" in value:
        yield place, value
        return
    for key in _PARTS:
        inner = value.get(key)
        if isinstance(inner, list):
            shared = {name: value[name] for name in ("title", "context") if name in value}
            for number, part in enumerate(inner, start=1):
                whole = {**shared, **part} if isinstance(part, Mapping) else part
                yield from questions_of(f"{place}, {key} {number}", whole)
            return
    if set(value) != {"header"}:  # the first line of MRQA's files
        yield place, value


def _values(path: Path, name: str) -> Iterator[Row]:
    match _kind(path, name):
        case "parquet":
            yield from _parquet(path, name)
        case "json":
            lines = _lines_of_objects(path, name)
            if lines is None:
                yield from _document(path, name)
            else:
                for number, line in lines:
                    yield f"{name}, line {number}", _parsed(line, f"{name}, line {number}")
        case "csv":
            yield from _csv(path, name)


def _kind(path: Path, name: str) -> _Kind | None:
    """Return of what kind a file is by its first bytes; None for one that is empty."""
    with unpacked(path, name) as stream:
        head = stream.read(_HEAD)
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            raise SourceError(f"{name}: {what}; {_SOURCES}")
    if (packed := kind_of(head)) is not None:
        raise SourceError(f"{name}: compressed twice; unpack the {packed} file that is in it")
    if head.startswith(b"PAR1"):
        return "parquet"
    text = head.removeprefix(_BOM).lstrip()
    if not text and len(head) == _HEAD:
        raise SourceError(f"{name}: begins with {_HEAD:,} bytes of white space; {_SOURCES}")
    if not text:
        return None
    if b"\0" in head:
        raise SourceError(f"{name}: has bytes that are 0: UTF-16, or no text; {_SOURCES}, in UTF-8")
    if text.startswith((b"{", b"[")):
        return "json"
    first = text.partition(b"\n")[0].rstrip(b"\r").decode("utf-8", "replace")
    if "\r" in first:
        raise SourceError(f"{name}: its lines end in CR alone; save it with the line ends of Unix or Windows")
    if "question" not in map(str.lower, _cells(first, _delimiter(first))):
        raise SourceError(
            f"{name}: neither JSON nor a table with a column question; its first line is {shown(first)}; {_SOURCES}"
        )
    return "csv"


def _lines_of_objects(path: Path, name: str) -> Iterator[tuple[int, bytes]] | None:
    """Return (number, line) of the lines that are not blank; None for a JSON document, which goes over lines."""
    lines = ((number, line) for number, line in _lines(path, name) if line.strip())
    first = next(lines, None)
    if first is None:
        return lines
    number, line = first
    if line.lstrip().startswith(b"["):
        return None
    try:
        _parsed(line, f"{name}, line {number}")
    except IncompleteJsonError:
        second = next(lines, None)
        if second is not None and not second[1].lstrip().startswith(b"{"):
            return None
        return chain([first], [] if second is None else [second], lines)
    except SourceError:
        return chain([first], lines)  # who reads the lines meets the fault again
    return chain([first], lines)


def _lines(path: Path, name: str) -> Iterator[tuple[int, bytes]]:
    with unpacked(path, name) as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise SourceError(
                    f"{name}, line {number}: longer than {LONGEST_LINE >> 20} MiB; a line of JSON Lines is one question"
                )
            if number == 1:
                line = line.removeprefix(_BOM)
            yield number, line


def _parsed(line: bytes, place: str) -> object:
    return parse_json(_decoded(line, place), place)


def _decoded(line: bytes, place: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{place}: not UTF-8: byte {error.start + 1} of the line is {line[error.start]:#04x}"
        ) from None


def _document(path: Path, name: str) -> Iterator[Row]:
    """Yield the items of a JSON array, or the one object that a file is."""
    value = _parsed(_whole(path, name).removeprefix(_BOM), name)
    if isinstance(value, list):
        for number, item in enumerate(value, start=1):
            yield f"{name}, item {number}", item
    else:
        yield name, value


def _whole(path: Path, name: str) -> bytes:
    with unpacked(path, name) as stream:
        content = stream.read(LARGEST_DOCUMENT + 1)
    if len(content) > LARGEST_DOCUMENT:
        raise SourceError(
            f"{name}: more than {LARGEST_DOCUMENT >> 20:,} MiB that have to be read whole; write it as JSON Lines, or "
            "as Parquet that is not compressed once more"
        )
    return content


def _csv(path: Path, name: str) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_LINE)
    lines = _lines(path, name)
    number, first = next((number, line) for number, line in lines if line.strip())
    header_line = _decoded(first, f"{name}, line {number}")
    delimiter = _delimiter(header_line)
    header = _cells(header_line, delimiter)
    if len(set(header)) < len(header):
        raise SourceError(f"{name}, line {number}: a column is there twice: {shown(header)}")
    place = f"{name}, line {number}"

    def texts() -> Iterator[str]:
        nonlocal place
        for number, line in lines:
            place = f"{name}, line {number}"
            yield _decoded(line, place)

    reader = csv.reader(texts(), delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SourceError(f"{place}: not CSV: {error}") from None
        if not "".join(cells).strip() and len(cells) < 2:
            continue  # a blank line; one within quotes is a part of its text
        if len(cells) != len(header):
            raise SourceError(f"{place}: {len(cells)} values, but the header has {len(header)} columns")
        # A cell without text is a value that is not there.
        yield place, {key: _cell(key, cell, place) for key, cell in zip(header, cells, strict=True) if cell}


def _delimiter(header: str) -> str:
    return max(",\t;", key=header.count)


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line.strip("\r\n")], delimiter=delimiter), [])


def _cell(key: str, cell: str, place: str) -> object:
    return parse_json(cell, f"{place}, {key}") if key in _LISTS and re.match(r"\s*[\[{]", cell) else cell


def _parquet(path: Path, name: str) -> Iterator[Row]:
    with _parquet_file(path, name) as file:
        unpacked_bytes = n_before = 0
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            # A text that is in many rows stands in the file once.
            unpacked_bytes += batch.nbytes
            _check_expansion(unpacked_bytes, path, name)
            for number, row in enumerate(batch.to_pylist(), start=n_before + 1):
                yield f"{name}, row {number}", row
            n_before += batch.num_rows


def _rows_of_parquet(path: Path, name: str) -> int:
    with _parquet_file(path, name) as file:
        return int(file.metadata.num_rows)


@contextmanager
def _parquet_file(path: Path, name: str) -> Iterator[Any]:
    # Slow to import, and needed by no other kind.
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as plain:
        is_plain = plain.read(4) == b"PAR1"
    try:
        with pq.ParquetFile(path if is_plain else io.BytesIO(_whole(path, name))) as file:
            groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
            _check_expansion(sum(group.total_byte_size for group in groups), path, name)
            columns = file.schema_arrow.names
            if len(set(columns)) < len(columns):
                raise SourceError(f"{name}: a column is there twice: {shown(columns)}")
            yield file
    # ValueError, OverflowError: of a value that Python does not have, such as a date in the year 3,000,000.
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise SourceError(f"{name}: not Parquet that can be read: {' '.join(str(error).split())}") from None


def _check_expansion(size: int, path: Path, name: str) -> None:
    if size > (limit := largest_content(path)):
        raise SourceError(
            f"{name}: Parquet that unpacks to more than {limit >> 20:,} MiB, over {MOST_EXPANSION} times its own size, "
            "as no text does; if it is good, write it as JSON Lines"
        )
