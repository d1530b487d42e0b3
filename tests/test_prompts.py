"""The wording of contexts: the project's templates to the letter, and what a template must be."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lenscore.contexts.context import Segment
from lenscore.contexts.prompts import render_prompt
from lenscore.contexts.questions import Document
from lenscore.errors import ContextError
from lenscore.study.prompt import PROMPTS, Template, read_template, template_path

TEMPLATES = sorted(path.stem for path in PROMPTS.glob("*.yaml"))
QUESTION = "which planet is nearest the sun"
DOCUMENTS = [
    Document("a", "Venus", "Venus is the hottest planet."),
    Document("b", "Mercury", "Mercury is the nearest planet to the Sun."),
]

DOCUMENTS_TEXT = (
    "Document [1](Title: Venus) Venus is the hottest planet.\n"
    "Document [2](Title: Mercury) Mercury is the nearest planet to the Sun."
)
TASK = (
    "Answer the question with the help of the documents below. "
    "Only one of them holds the answer; the others may mislead.\n\n"
)
EXAMPLES = [
    (
        "Document [1](Title: Marie Curie) Marie Curie was born in Warsaw in 1867. With her husband Pierre she "
        "discovered polonium and radium.",
        "Question: where was marie curie born?\nAnswer: Warsaw",
    ),
    (
        "Document [1](Title: Apollo 11) Apollo 11 landed on the Moon in July 1969. Neil Armstrong was the first to "
        "step out, followed by Buzz Aldrin.",
        "Question: who was the first person to walk on the moon?\nAnswer: Neil Armstrong",
    ),
    (
        "Document [1](Title: Lake Baikal) Lake Baikal, in southern Siberia, is the deepest lake on Earth and reaches "
        "1,642 metres below its surface.",
        "Question: how deep is lake baikal?\nAnswer: 1,642 metres",
    ),
]


def template(name: str) -> Template:
    return read_template(template_path(name))


def text_of(segments: list[Segment]) -> str:
    return "".join(segment.text for segment in segments)


@pytest.mark.parametrize(
    ("name", "prompt", "answer"),
    [
        (
            "lost_in_the_middle",
            f"{TASK}{DOCUMENTS_TEXT}\n\nQuestion: which planet is nearest the sun\nAnswer:",
            " Mercury",
        ),
        (
            "few_shot",
            "".join(f"{document}\n\n{asked}\n\n" for document, asked in EXAMPLES)
            + f"{DOCUMENTS_TEXT}\n\nQuestion: which planet is nearest the sun?\nAnswer:",
            " Mercury",
        ),
        (
            "key_value",
            "The JSON object below maps keys to values. Find the value of the key that is asked for.\n\n"
            '{"Venus": "Venus is the hottest planet.",\n "Mercury": "Mercury is the nearest planet to the Sun."}\n\n'
            'Key: "which planet is nearest the sun"\nValue: "',
            "Mercury",
        ),
    ],
)
def test_prompt_to_the_letter(name: str, prompt: str, answer: str) -> None:
    segments, answer_text = render_prompt(template(name), QUESTION, DOCUMENTS, "Mercury")
    assert text_of(segments) == prompt
    assert answer_text == answer
    assert {segment.role for segment in segments} == {None}


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("lost_in_the_middle", "Answer the question.\n\nQuestion: which planet is nearest the sun\nAnswer:"),
        (
            "few_shot",
            "".join(f"{asked}\n\n" for _, asked in EXAMPLES) + "Question: which planet is nearest the sun?\nAnswer:",
        ),
        (
            "key_value",
            'Find the value of the key that is asked for.\n\nKey: "which planet is nearest the sun"\nValue: "',
        ),
    ],
)
def test_closed_book_prompt_to_the_letter(name: str, prompt: str) -> None:
    segments, _ = render_prompt(template(name), QUESTION, None, "Mercury")
    assert text_of(segments) == prompt
    assert "document" not in {segment.kind for segment in segments}


SYSTEM = "You answer questions briefly, with a name, a number or a few words taken from the documents."


def test_chat_turns_to_the_letter() -> None:
    segments, answer_text = render_prompt(template("chat"), QUESTION, DOCUMENTS, "Mercury")
    assert [(s.role, s.text) for s in segments if s.role == "system"] == [("system", SYSTEM)]
    users = [segment for segment in segments if segment.role == "user"]
    assert text_of(users) == f"{TASK}{DOCUMENTS_TEXT}\n\nQuestion: which planet is nearest the sun?"
    assert segments == [segments[0], *users], "the answer alone is the assistant's"
    assert answer_text == "Mercury"


def test_chat_that_opens_the_reply() -> None:
    segments, answer_text = render_prompt(template("chat_sentence"), QUESTION, None, "Mercury")
    assert [segment.role for segment in segments][-1] == "assistant"
    assert segments[-1].text == "The answer to this question is"
    assert answer_text == " Mercury"


def test_segments_say_what_may_be_cut() -> None:
    segments, _ = render_prompt(template("lost_in_the_middle"), QUESTION, DOCUMENTS, "Mercury")
    assert segments == [
        Segment("frame", None, None, TASK),
        Segment("frame", 0, None, "Document [1](Title: Venus) "),
        Segment("document", 0, None, "Venus is the hottest planet."),
        Segment("frame", None, None, "\n"),
        Segment("frame", 1, None, "Document [2](Title: Mercury) "),
        Segment("document", 1, None, "Mercury is the nearest planet to the Sun."),
        Segment("frame", None, None, "\n\nQuestion: "),
        Segment("question", None, None, QUESTION),
        Segment("frame", None, None, "\n"),
        Segment("frame", None, None, "Answer:"),
    ]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("documents", [DOCUMENTS, DOCUMENTS[1:], None])
def test_every_template_of_the_project_renders(name: str, documents: list[Document] | None) -> None:
    read = template(name)
    segments, answer_text = render_prompt(read, QUESTION, documents, "Mercury")
    assert answer_text in ("Mercury", " Mercury")
    assert not text_of(segments).endswith(" "), "the space belongs to the answer"
    assert [s.text for s in segments if s.kind == "document"] == [document.text for document in documents or []]
    assert [s.document for s in segments if s.kind == "document"] == list(range(len(documents or [])))
    assert [s.text for s in segments if s.kind == "question"] == [QUESTION]
    assert all(segment.text for segment in segments)
    assert ({segment.role for segment in segments} == {None}) == (read.style == "text")
    for field in ("{number}", "{title}", "{text}", "{question}", "{answer}"):
        assert field not in text_of(segments)


@pytest.mark.parametrize("name", TEMPLATES)
def test_braces_in_a_dataset_are_never_filled(name: str) -> None:
    fields = "{number} {title} {text} {question} {answer} {{0}} %s"
    documents = [Document("a", f"T {fields}", f"D {fields}"), Document("b", "B", "plain")]
    segments, answer_text = render_prompt(template(name), f"Q {fields}", documents, f"A {fields}")
    assert [s.text for s in segments if s.kind == "document"] == [f"D {fields}", "plain"]
    assert [s.text for s in segments if s.kind == "question"] == [f"Q {fields}"]
    assert f"T {fields}" in text_of(segments)
    assert answer_text.lstrip() == f"A {fields}"


def test_document_without_words_keeps_its_place() -> None:
    segments, _ = render_prompt(template("few_shot"), QUESTION, [Document("a", "Empty", ""), DOCUMENTS[1]], "Mercury")
    assert [(s.document, s.text) for s in segments if s.kind == "document"] == [(0, ""), (1, DOCUMENTS[1].text)]


@pytest.mark.parametrize(
    "asked", ["which planet is nearest?", "which planet is nearest ?", "which planet is nearest? "]
)
def test_question_mark_stands_once(asked: str) -> None:
    segments, _ = render_prompt(template("few_shot"), asked, DOCUMENTS, "Mercury")
    assert text_of(segments).endswith("\n\nQuestion: which planet is nearest?\nAnswer:")
    segments, _ = render_prompt(template("lost_in_the_middle"), asked, DOCUMENTS, "Mercury")
    assert text_of(segments).endswith(f"\n\nQuestion: {asked}\nAnswer:")


OWN: dict[str, Any] = {
    "description": "own",
    "style": "text",
    "with_documents": {
        "head": "Think of: {question}\n",
        "document": "({number}) {text} <{title}>",
        "separator": " / ",
        "tail": "\nQ {question}",
        "reply": " A {question}: {answer}",
    },
    "closed_book": {"tail": "Q {question}", "reply": "\n{answer}"},
}


def own(tmp_path: Path, change: dict[str, Any] | None = None, part: str | None = None) -> Path:
    """Write the own template with some keys changed, those of a part if one is named; None takes a key away."""
    content: dict[str, Any] = {key: dict(value) if isinstance(value, dict) else value for key, value in OWN.items()}
    section = content[part] if part else content
    section.update(change or {})
    for key in [key for key, value in section.items() if value is None]:
        del section[key]
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_template_of_one_s_own(tmp_path: Path) -> None:
    path = own(tmp_path)
    assert template_path(str(path)) == path
    read = read_template(path)
    segments, answer_text = render_prompt(read, "where", DOCUMENTS, "Mercury")
    assert text_of(segments) == (
        "Think of: where\n(1) Venus is the hottest planet. <Venus> / "
        "(2) Mercury is the nearest planet to the Sun. <Mercury>\nQ where A where:"
    )
    assert answer_text == " Mercury"
    segments, answer_text = render_prompt(read, "where", None, "Mercury")
    assert (text_of(segments), answer_text) == ("Q where\n", "Mercury")


def test_unknown_template_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match=r"prompt 'fewshot': no such template; available: .*few_shot.*key_value"):
        template_path("fewshot")
    with pytest.raises(ContextError, match=r"missing\.yaml'"):
        template_path(str(tmp_path / "missing.yaml"))


@pytest.mark.parametrize(
    ("part", "change", "fault"),
    [
        (None, {"style": "prose"}, "style: Input should be 'text' or 'chat'"),
        (None, {"style": None}, "style: is missing"),
        (None, {"closed_book": None}, "closed_book: is missing"),
        (None, {"sytem": "x"}, "sytem: unknown key"),
        (None, {"system": "x"}, "system is a turn of a chat"),
        (None, {"closed_book": "x"}, "closed_book: must be a section of keys"),
        ("with_documents", {"document": "Document {title}"}, "with_documents.document: must contain {text}"),
        ("with_documents", {"tail": "Question?"}, "with_documents.tail: must contain {question}"),
        ("with_documents", {"tail": 5}, "with_documents.tail: Input should be a valid string"),
        ("with_documents", {"reply": "Answer:"}, "with_documents.reply: must contain {answer}"),
        ("with_documents", {"reply": "{answer}."}, "with_documents.reply: must end with {answer}"),
        ("with_documents", {"reply": "{answer} {answer}"}, "with_documents.reply: must end with {answer}, and contain"),
        ("with_documents", {"separator": "{number}"}, "with_documents.separator: contains {number}, .* allowed: none"),
        (
            "with_documents",
            {"document": "{text} {question}"},
            "with_documents.document: contains {question}, wh",
        ),
        ("with_documents", {"head": "{answer}"}, "with_documents.head: contains {answer}, .* allowed: {question}"),
        ("closed_book", {"tail": "{question} {text}"}, "closed_book.tail: contains {text}, which has no value here"),
        ("closed_book", {"separator": "x"}, "closed_book.separator: unknown key"),
    ],
)
def test_fault_of_a_template_names_file_and_key(
    tmp_path: Path, part: str | None, change: dict[str, Any], fault: str
) -> None:
    path = own(tmp_path, change, part)
    with pytest.raises(ContextError, match=f"own.yaml: not a prompt template: .*{fault}"):
        read_template(path)


@pytest.mark.parametrize("content", [b"a: [1\nb: 2", b"description: caf\xe9\n"])
def test_file_that_is_not_yaml(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.yaml").write_bytes(content)
    with pytest.raises(ContextError, match=r"own\.yaml: not YAML") as raised:
        read_template(tmp_path / "own.yaml")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["", "- a\n", "text\n"])
def test_file_that_is_no_mapping(tmp_path: Path, content: str) -> None:
    (tmp_path / "own.yaml").write_text(content)
    with pytest.raises(ContextError, match=r"own\.yaml: not a prompt template: \(top level\): must be a section"):
        read_template(tmp_path / "own.yaml")
