"""The questions of a dataset: its format recognised, its rows validated, copies dropped, ids told apart."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from lenscore.errors import SourceError, shown
from lenscore.sources.row_types import NOT_READ, ROW_TYPES
from lenscore.sources.tables import QUESTIONS

logger = logging.getLogger(__name__)

_MOST_FAULTS = 5  # of a row, in its message
_MOST_NOTES = 20  # on a dataset, in the log
_LONGEST_KEY = 40  # characters, of one that is shown as it is


class Questions(NamedTuple):
    """The questions of a dataset."""

    table: pa.Table  # of the schema sources.tables.QUESTIONS, in the rows' order
    format: str
    duplicates: int  # rows dropped because an earlier one is the same question
    unanswerable: int = 0  # rows dropped because the dataset says that they have no answer

    @property
    def least_distractors(self) -> int:
        """The least number of distractors of a question."""
        return int(pc.min(pc.list_value_length(self.table["distractors"])).as_py())


def read_questions(rows: Iterable[tuple[str, object]], name: str, format: str = "auto") -> Questions:
    """Convert the rows of a dataset to questions.

    A question's id is the row's own ``id``, else ``q-`` and the first 12 hex digits of the
    SHA-256 of the question, a newline and the gold document's text.

    Args:
        rows: (place, row) pairs; a place is what messages call the row, such as "file, line 3".
        name: what messages call the dataset.
        format: a key of ``ROW_TYPES``, or "auto", which recognises it by the keys of the first row.

    Raises:
        SourceError: a row is malformed or of no known format, two different rows have one id,
            or there are no rows.
    """
    seen: dict[str, tuple[str, dict[str, Any]]] = {}
    notes: Counter[str] = Counter()
    duplicates = unanswerable = 0
    for place, row in rows:
        if not isinstance(row, Mapping):
            raise SourceError(f"{place}: a {type(row).__name__}; an object with the keys of a row is needed")
        if format == "auto":
            format = _recognise(row, place)
        row_id, question = _parsed(row, format, place, notes)
        if question is None:
            unanswerable += 1
            continue
        question_id = _derived_id(question) if row_id is None else row_id
        if question_id not in seen:
            seen[question_id] = (place, question)
            continue
        earlier_place, earlier = seen[question_id]
        if question != earlier:
            if row_id is not None:
                raise SourceError(
                    f"{place}: id {shown(question_id)} is that of another question ({earlier_place}); ids must differ"
                )
            logger.warning("%s: dropped: question and gold document are those of %s", place, earlier_place)
        duplicates += 1
    if unanswerable:
        notes["questions without an answer are left out"] += unanswerable
    for note, count in notes.most_common(_MOST_NOTES):
        logger.warning("%s: %s (%d times)", name, note, count)
    if len(notes) > _MOST_NOTES:
        logger.warning("%s: and %d more of such kinds", name, len(notes) - _MOST_NOTES)
    if not seen:
        raise SourceError(f"{name}: no rows{' with an answer' if unanswerable else ''}; a dataset needs at least one")
    items = [{"question_id": question_id, **question} for question_id, (_, question) in seen.items()]
    return Questions(pa.Table.from_pylist(items, schema=QUESTIONS), format, duplicates, unanswerable)


def _parsed(
    row: Mapping[str, object], format: str, place: str, notes: Counter[str]
) -> tuple[str | None, dict[str, Any] | None]:
    """Return a row's own id, and the question that it is; what was read in a lenient way is counted in ``notes``."""
    if format == "questions":
        _check_unknown_keys(row, place, notes)
    try:
        parsed = ROW_TYPES[format].model_validate(row, context=notes)
    except ValidationError as error:
        raise SourceError(f"{place}: not a row of format {format}: {_faults(error)}") from None
    return parsed.id, parsed.as_question()


def _check_unknown_keys(row: Mapping[str, object], place: str, notes: Counter[str]) -> None:
    """Refuse keys that are likely misspelt ones of the project's own format; others are ignored, and said once."""
    known = ROW_TYPES["questions"].model_fields
    for key in row.keys() - known.keys():
        missing = [name for name in known if name not in row]
        if meant := get_close_matches(key, missing, n=1, cutoff=0.8):
            raise SourceError(
                f"{place}: not a row of format questions: {shown(key)}: unknown key; did you mean {meant[0]}?"
            )
        notes[f"key {shown(key)} is ignored"] += 1


def _derived_id(question: Mapping[str, Any]) -> str:
    text = question["gold"]["text"] if question["gold"] else ""
    return "q-" + hashlib.sha256(f"{question['question']}\n{text}".encode()).hexdigest()[:12]


def _recognise(row: Mapping[str, object], place: str) -> str:
    for name, (keys, reason) in NOT_READ.items():
        if all(key in row for key in keys):
            raise SourceError(f"{place}: a row of {name}, which is not read: {reason}")
    fitting = [name for name, row_type in ROW_TYPES.items() if row_type.fits(row)]
    if len(fitting) == 1:
        return fitting[0]
    names = list(map(str, row))
    plain = all(key.isidentifier() and len(key) <= _LONGEST_KEY for key in names)
    found = (", ".join(names[:20]) if plain else shown(names)) or "none"
    if fitting:
        raise SourceError(f"{place}: may be {' or '.join(fitting)} by its keys ({found}): set dataset.format")
    known = "; ".join(f"{name} has {', '.join(of.needed)}" for name, of in ROW_TYPES.items())
    raise SourceError(f"{place}: a row of no known format; its keys are {found}, but {known}")


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_url=False)
    parts = [_fault(dict(fault)) for fault in faults[:_MOST_FAULTS]]
    if len(faults) > _MOST_FAULTS:
        parts.append(f"and {len(faults) - _MOST_FAULTS} more")
    return "; ".join(parts)


def _fault(fault: Mapping[str, Any]) -> str:
    path = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] in ("string_pattern_mismatch", "string_too_short"):
        message = "must not be empty"
    shows_nothing = fault["type"] == "missing" or (fault["type"] == "value_error" and not path)
    found = "" if shows_nothing else f"; found {shown(fault['input'])}"
    return f"{path + ': ' if path else ''}{message}{found}"
