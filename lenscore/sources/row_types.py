"""The rows of datasets in the formats that are read: what each may hold, and the question that it is."""

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from lenscore.errors import shown


def _without_nul(text: str) -> str:
    # JSON with one is refused before; CSV, Parquet and the Hub bring it here.
    if "\0" in text:
        raise ValueError("has the character NUL; remove it")
    return text


def _text_of_id(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_Characters = Annotated[str, AfterValidator(_without_nul)]
_VISIBLE = r"[^\s\u00AD\u200B\u2060\uFEFF]"  # what no white space is, nor invisible (contexts.words)
Text = Annotated[str, StringConstraints(min_length=1, pattern=_VISIBLE), AfterValidator(_without_nul)]
Id = Annotated[Text, StringConstraints(max_length=1000), BeforeValidator(_text_of_id)]


@runtime_checkable
class _Info(Protocol):
    """What pydantic tells a validator."""

    @property
    def context(self) -> Any:
        """A counter, where what is read in a lenient way is to be said."""


def _note(info: _Info, what: str) -> None:
    """Count, in the context of a validation, what was read in another way than it is written."""
    if info.context is not None:
        info.context[what] += 1


def _text_of_answer(value: object, info: _Info) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, float) and (not math.isfinite(value) or value.is_integer() or "e" in str(value)):
        raise ValueError("a number that may be written in several ways; put it in quotes as the documents have it")
    _note(info, "numbers as answers are read as text")
    return str(value)


def _list_of_answers(value: object, info: _Info) -> object:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        _note(info, "one answer that is no list is read as a list of one")
        return [value]
    return value


def _text_of_title(value: object, info: _Info) -> object:
    if value is None:
        _note(info, "a title that is null is read as none")
        return ""
    return value


def _empty_list(value: object) -> object:
    return [] if value is None else value


Answer = Annotated[Text, BeforeValidator(_text_of_answer)]
Answers = Annotated[list[Answer], Field(min_length=1), BeforeValidator(_list_of_answers)]
Title = Annotated[_Characters, BeforeValidator(_text_of_title)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", populate_by_name=True)


class _Document(_Part):
    title: Title = ""
    text: Text

    def as_document(self) -> dict[str, str]:
        return {"title": self.title, "text": self.text}


class Row(_Part):
    """One row of a format.

    Attributes:
        needed: keys that a row of the format has.
        without: keys that tell a row to be of another format.
    """

    needed: ClassVar[tuple[str, ...]]
    without: ClassVar[tuple[str, ...]] = ()

    id: Id | None = Field(default=None, validation_alias=AliasChoices("id", "_id", "question_id", "QuestionId"))

    @classmethod
    def fits(cls, row: Mapping[str, object]) -> bool:
        """Return whether a row is of the format, by its keys."""
        return all(key in row for key in cls.needed) and not any(key in row for key in cls.without)

    @abstractmethod
    def as_question(self) -> dict[str, Any] | None:
        """Return the columns of ``sources.tables.QUESTIONS`` except the id; None where the question has no answer."""


def _question(
    question: str,
    answers: Collection[str],
    gold: _Document | None,
    distractors: Collection[_Document] = (),
    topic: str | None = None,
) -> dict[str, Any]:
    return {
        "question": question,
        "answers": list(answers),
        "topic": topic,
        "gold": gold.as_document() if gold else None,
        "distractors": [document.as_document() for document in distractors],
    }


class _OwnRow(Row):
    """The project's own rows."""

    needed = ("question", "answers", "text")

    id: Id | None = None
    topic: _Characters | None = None
    question: Text
    answers: Answers
    title: Title = ""
    text: Text
    distractors: Annotated[list[_Document], BeforeValidator(_empty_list)] = []

    def as_question(self) -> dict[str, Any]:
        gold = _Document(title=self.title, text=self.text)
        return _question(self.question, self.answers, gold, self.distractors, self.topic)


class _Passage(_Document):
    isgold: bool | None = None


class _LostInTheMiddleRow(Row):
    """Lost in the Middle, multi-document QA: one gold document, or several with ``isgold`` (Liu et al. 2023)."""

    needed = ("question", "answers", "ctxs")

    id: Id | None = None
    question: Text
    answers: Answers
    ctxs: Annotated[list[_Passage], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_gold(self) -> "_LostInTheMiddleRow":
        marked = sum(passage.isgold is True for passage in self.ctxs)
        if marked != 1 and not (len(self.ctxs) == 1 and self.ctxs[0].isgold is None):
            unmarked = "; retrieved passages (DPR, KILT) do not say which one the study is to move"
            raise ValueError(
                f"{marked} of the {len(self.ctxs)} ctxs have isgold; exactly one must"
                f"{'' if marked else unmarked}: set isgold: true in the one gold document alone"
            )
        return self

    def as_question(self) -> dict[str, Any]:
        gold = next(passage for passage in self.ctxs if passage.isgold or len(self.ctxs) == 1)
        others = [passage for passage in self.ctxs if passage is not gold]
        return _question(self.question, self.answers, gold, others)


class _DprRow(Row):
    """The training data of DPR: the first positive passage is the gold document (Karpukhin et al. 2020)."""

    needed = ("question", "answers", "positive_ctxs")

    question: Text
    answers: Answers
    positive_ctxs: Annotated[list[_Document], Field(min_length=1)]
    hard_negative_ctxs: list[_Document] = []
    negative_ctxs: list[_Document] = []

    def as_question(self) -> dict[str, Any]:
        return _question(
            self.question, self.answers, self.positive_ctxs[0], [*self.hard_negative_ctxs, *self.negative_ctxs]
        )


class _NqOpenRow(Row):
    """NaturalQuestions-Open: question and answers, no documents."""

    needed = ("question", "answer")
    # With documents it is another's row, perhaps one with a misspelt key.
    without = (
        "context", "contexts", "ctxs", "passage", "paragraphs", "documents", "text", "distractors", "search_results",
        "entity_pages",
    )  # fmt: skip

    id: Id | None = None
    question: Text
    answer: Answers

    @classmethod
    def fits(cls, row: Mapping[str, object]) -> bool:
        """Return whether a row is of the format: an object as answer is TriviaQA's."""
        return super().fits(row) and not isinstance(row["answer"], Mapping)

    def as_question(self) -> dict[str, Any]:
        return _question(self.question, self.answer, None)


class _TriviaAnswer(_Part):
    value: Text = Field(validation_alias=AliasChoices("value", "Value"))
    aliases: list[Text] = Field(default=[], validation_alias=AliasChoices("aliases", "Aliases"))


class _TriviaQaRow(Row):
    """TriviaQA: question and answer with its other names (Joshi et al. 2017).

    Its pages and search results are not read: none is marked as the one with the answer.
    """

    needed = ("question", "answer")

    question: Text = Field(validation_alias=AliasChoices("question", "Question"))
    answer: _TriviaAnswer = Field(validation_alias=AliasChoices("answer", "Answer"))

    @classmethod
    def fits(cls, row: Mapping[str, object]) -> bool:
        """Return whether a row is of the format: its answer is an object."""
        return any(isinstance(row.get(key), Mapping) for key in ("answer", "Answer"))

    @model_validator(mode="before")
    @classmethod
    def _without_pages(cls, row: Any, info: _Info) -> Any:
        if isinstance(row, Mapping) and any(key in row for key in ("entity_pages", "search_results", "EntityPages")):
            _note(
                info, "TriviaQA's pages are not read, as none is marked as gold: only closed_book contexts can be made"
            )
        return row

    def as_question(self) -> dict[str, Any]:
        return _question(self.question, dict.fromkeys([self.answer.value, *self.answer.aliases]), None)


class _KiltOutput(_Part):
    answer: str | None = None


class _KiltRow(Row):
    """KILT: input and outputs; its provenance names pages of Wikipedia, whose text is elsewhere (Petroni 2021)."""

    needed = ("input", "output")

    input: Text
    output: list[_KiltOutput]

    def as_question(self) -> dict[str, Any] | None:
        answers = [output.answer for output in self.output if output.answer and output.answer.strip()]
        return _question(self.input, dict.fromkeys(answers), None) if answers else None


class _SpanTexts(_Part):
    text: list[str]


class _Span(_Part):
    text: str


class _SquadRow(Row):
    """SQuAD: a paragraph, and answers that are spans of it (Rajpurkar et al. 2016, 2018); also MRQA's lines."""

    needed = ("context", "question", "answers")

    id: Id | None = Field(default=None, validation_alias=AliasChoices("id", "qid"))
    title: Title = ""
    context: Text
    question: Text
    answers: _SpanTexts | list[_Span] | list[Answer]
    is_impossible: bool = False

    def as_question(self) -> dict[str, Any] | None:
        spans = self.answers.text if isinstance(self.answers, _SpanTexts) else self.answers
        texts = [span.text if isinstance(span, _Span) else span for span in spans]
        answers = [text for text in texts if text.strip()]
        if self.is_impossible or not answers:
            return None
        return _question(self.question, dict.fromkeys(answers), _Document(title=self.title, text=self.context))


class _KeyValueRow(Row):
    """Lost in the Middle, key-value retrieval: each pair is a document, its key the title and its value the text."""

    needed = ("ordered_kv_records", "key", "value")

    ordered_kv_records: list[Annotated[list[Text], Field(min_length=2, max_length=2)]]
    key: Text
    value: Text

    @model_validator(mode="after")
    def _one_gold(self) -> "_KeyValueRow":
        values = [value for key, value in self.ordered_kv_records if key == self.key]
        if values != [self.value]:
            raise ValueError(
                f"ordered_kv_records gives key {shown(self.key)} the values {shown(values)}, not just "
                f"{shown(self.value)}"
            )
        return self

    def as_question(self) -> dict[str, Any]:
        pairs = [_Document(title=key, text=value) for key, value in self.ordered_kv_records if key != self.key]
        return _question(self.key, [self.value], _Document(title=self.key, text=self.value), pairs)


ROW_TYPES: Mapping[str, type[Row]] = {
    "questions": _OwnRow,
    "lost_in_the_middle": _LostInTheMiddleRow,
    "nq_open": _NqOpenRow,
    "key_value": _KeyValueRow,
    "squad": _SquadRow,
    "trivia_qa": _TriviaQaRow,
    "kilt": _KiltRow,
    "dpr": _DprRow,
}

_WRITE_ROWS = (
    "write rows of your own: question, answers, title, text (the document that holds the answer) and distractors"
)

# Rows that are known but not read: what they are called, the keys that they have, and why.
NOT_READ: Mapping[str, tuple[tuple[str, ...], str]] = {
    "MuSiQue": (
        ("paragraphs", "question_decomposition"),
        f"its questions rest on several paragraphs, where a study moves one gold document; {_WRITE_ROWS}",
    ),
    "HotpotQA or 2WikiMultihopQA": (
        ("context", "supporting_facts"),
        f"its questions rest on several documents, where a study moves one gold document; {_WRITE_ROWS}",
    ),
    "RULER": (
        ("input", "outputs"),
        f"its prompts are built already, where a study places the gold document itself; {_WRITE_ROWS}",
    ),
    "LongBench": (
        ("input", "context", "all_classes"),
        f"its documents are one text, where a study places the gold document itself; {_WRITE_ROWS}",
    ),
    "Natural Questions (whole pages)": (
        ("document", "question", "annotations"),
        f"its documents are whole pages of HTML; take NQ-Open, or {_WRITE_ROWS}",
    ),
    "MS MARCO": (
        ("query", "passages"),
        f"its answers were written by people and are seldom words of a passage; {_WRITE_ROWS}",
    ),
}
