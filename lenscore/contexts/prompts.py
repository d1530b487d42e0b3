"""A context's prompt: a template filled with its question and documents."""

from collections.abc import Iterator, Mapping

from lenscore.contexts.context import Segment
from lenscore.contexts.questions import Document
from lenscore.study.prompt import FIELD, Template, WithDocuments


def render_prompt(
    template: Template, question: str, documents: list[Document] | None, answer: str
) -> tuple[list[Segment], str]:
    """Return a context's segments, and the answer as it follows them.

    Args:
        template: the wording.
        question: the question's words.
        documents: in their order; None for a closed-book context.
        answer: the answer's words.

    Returns:
        The segments up to the answer, and the answer with the space before it
        (tokenizers like GPT-2's join a word to the space before it, not after it).
    """
    wording = template.closed_book if documents is None else template.with_documents
    turn, reply_turn = ("user", "assistant") if template.style == "chat" else (None, None)
    segments = [Segment("frame", None, "system", template.system)] if template.system is not None else []
    segments += _fill(wording.head, {"question": question}, turn, None)
    if documents is not None:
        segments += _render_documents(template.with_documents, documents, turn)
    segments += _fill(wording.tail, {"question": question}, turn, None)
    lead = wording.reply.removesuffix("{answer}")
    segments += _fill(lead.rstrip(" "), {"question": question}, reply_turn, None)
    space = lead[len(lead.rstrip(" ")) :]
    return [segment for segment in segments if segment.text or segment.kind == "document"], space + answer


def _render_documents(wording: WithDocuments, documents: list[Document], role: str | None) -> Iterator[Segment]:
    for place, document in enumerate(documents):
        if place:
            yield Segment("frame", None, role, wording.separator)
        values = {"number": str(place + 1), "title": document.title, "text": document.text}
        yield from _fill(wording.document, values, role, place)


def _fill(wording: str, values: Mapping[str, str], role: str | None, document: int | None) -> Iterator[Segment]:
    """Split a part of a template at its fields, and fill them; a field's value is not searched for fields again.

    A question that ends with a question mark does not get a second one from the template.
    """
    frame = ""
    pieces = FIELD.split(wording)
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            frame += piece
        elif piece in ("text", "question"):
            value = values[piece]
            if piece == "question" and pieces[index + 1].startswith("?"):
                value = value.rstrip().removesuffix("?").rstrip()
            yield Segment("frame", document, role, frame)
            yield Segment("document" if piece == "text" else "question", document, role, value)
            frame = ""
        else:
            frame += values[piece]
    yield Segment("frame", document, role, frame)
