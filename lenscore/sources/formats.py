"""Rows of datasets in the formats that a config can name, converted to rows of ``sources.tables.QUESTIONS``."""

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lenscore.errors import SourceError
from lenscore.sources.tables import QUESTIONS

logger = logging.getLogger(__name__)

Text = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
Id = Text | int


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class _Document(_Part):
    title: str = ""
    text: Text


class _Row(_Part):
    """One row of a format."""

    id: Id | None = None

    @abstractmethod
    def as_question(self) -> dict[str, Any]:
        """Return the columns of ``sources.tables.QUESTIONS`` except the id."""


class _OwnDocument(_Document):
    model_config = ConfigDict(extra="forbid")


class _OwnRow(_Row):
    """The project's own JSON Lines. An unknown key is refused, since it is likely a misspelt one."""

    model_config = ConfigDict(extra="forbid")

    topic: str | None = None
    question: Text
    answers: Annotated[list[Text], Field(min_length=1)]
    title: str = ""
    text: Text
    distractors: list[_OwnDocument] = []

    def as_question(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "answers": self.answers,
            "topic": self.topic,
            "gold": {"title": self.title, "text": self.text},
            "distractors": [document.model_dump() for document in self.distractors],
        }


class _Passage(_Document):
    isgold: bool | None = None


class _LostInTheMiddleRow(_Row):
    """Lost in the Middle, multi-document QA: one gold document, or several with ``isgold`` (Liu et al. 2023)."""

    question: Text
    answers: Annotated[list[Text], Field(min_length=1)]
    ctxs: Annotated[list[_Passage], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_gold(self) -> "_LostInTheMiddleRow":
        marked = sum(passage.isgold is True for passage in self.ctxs)
        if marked != 1 and not (len(self.ctxs) == 1 and self.ctxs[0].isgold is None):
            raise ValueError(f"{marked} of the {len(self.ctxs)} ctxs have isgold; exactly one must")
        return self

    def as_question(self) -> dict[str, Any]:
        gold = next(passage for passage in self.ctxs if passage.isgold or len(self.ctxs) == 1)
        return {
            "question": self.question,
            "answers": self.answers,
            "topic": None,
            "gold": gold.model_dump(include={"title", "text"}),
            "distractors": [
                passage.model_dump(include={"title", "text"}) for passage in self.ctxs if passage is not gold
            ],
        }


class _NqOpenRow(_Row):
    """NaturalQuestions-Open: question and answers, no documents."""

    question: Text
    answer: Annotated[list[Text], Field(min_length=1)]

    def as_question(self) -> dict[str, Any]:
        return {"question": self.question, "answers": self.answer, "topic": None, "gold": None, "distractors": []}


class _KeyValueRow(_Row):
    """Lost in the Middle, key-value retrieval: each pair is a document, its key the title and its value the text."""

    ordered_kv_records: list[Annotated[list[Text], Field(min_length=2, max_length=2)]]
    key: Text
    value: Text

    @model_validator(mode="after")
    def _one_gold(self) -> "_KeyValueRow":
        values = [value for key, value in self.ordered_kv_records if key == self.key]
        if values != [self.value]:
            raise ValueError(f"ordered_kv_records gives key {self.key!r} the values {values}, not just {self.value!r}")
        return self

    def as_question(self) -> dict[str, Any]:
        return {
            "question": self.key,
            "answers": [self.value],
            "topic": None,
            "gold": {"title": self.key, "text": self.value},
            "distractors": [{"title": key, "text": value} for key, value in self.ordered_kv_records if key != self.key],
        }


FORMATS: Mapping[str, type[_Row]] = {
    "questions": _OwnRow,
    "lost_in_the_middle": _LostInTheMiddleRow,
    "nq_open": _NqOpenRow,
    "key_value": _KeyValueRow,
}


class Questions(NamedTuple):
    """The questions of a dataset."""

    table: pa.Table  # of the schema sources.tables.QUESTIONS, in the rows' order
    format: str
    duplicates: int  # rows dropped because an earlier one is the same question

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
        format: a key of ``FORMATS``, or "auto", which recognises it by the keys of the first row.

    Raises:
        SourceError: a row is malformed or of no known format, two different rows have one id,
            or there are no rows.
    """
    seen: dict[str, tuple[str, dict[str, Any]]] = {}
    duplicates = 0
    for place, row in rows:
        if not isinstance(row, Mapping):
            raise SourceError(f"{place}: a {type(row).__name__}; an object with the keys of a row is needed")
        if format == "auto":
            format = _recognise(row, place)
        try:
            parsed = FORMATS[format].model_validate(row)
        except ValidationError as error:
            raise SourceError(f"{place}: not a row of format {format}: {'; '.join(_faults(error))}") from None
        question = parsed.as_question()
        question_id = _derived_id(question) if parsed.id is None else str(parsed.id)
        if question_id not in seen:
            seen[question_id] = (place, question)
            continue
        earlier_place, earlier = seen[question_id]
        if question != earlier:
            if parsed.id is not None:
                raise SourceError(
                    f"{place}: id {question_id!r} is that of another question ({earlier_place}); ids must differ"
                )
            logger.warning("%s: dropped: question and gold document are those of %s", place, earlier_place)
        duplicates += 1
    if not seen:
        raise SourceError(f"{name}: no rows; a dataset needs at least one")
    items = [{"question_id": question_id, **question} for question_id, (_, question) in seen.items()]
    return Questions(pa.Table.from_pylist(items, schema=QUESTIONS), format, duplicates)


def _derived_id(question: Mapping[str, Any]) -> str:
    text = question["gold"]["text"] if question["gold"] else ""
    return "q-" + hashlib.sha256(f"{question['question']}\n{text}".encode()).hexdigest()[:12]


def _recognise(row: Mapping[str, object], place: str) -> str:
    needed = {
        name: [key for key, field in row_type.model_fields.items() if field.is_required()]
        for name, row_type in FORMATS.items()
    }
    fitting = [name for name, keys in needed.items() if all(key in row for key in keys)]
    if len(fitting) == 1:
        return fitting[0]
    known = "; ".join(f"{name} has {', '.join(keys)}" for name, keys in needed.items())
    found = ", ".join(map(str, row)) or "none"
    if fitting:
        raise SourceError(f"{place}: may be {' or '.join(fitting)} by its keys ({found}): set dataset.format")
    raise SourceError(f"{place}: a row of no known format; its keys are {found}, but {known}")


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        path = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "string_pattern_mismatch":
            message = "must not be empty"
        elif fault["type"] == "extra_forbidden":
            message = "unknown key"
        shown = (
            "" if fault["type"] in ("missing", "value_error", "extra_forbidden") else f"; found {fault['input']!r:.80}"
        )
        yield f"{path + ': ' if path else ''}{message}{shown}"
