"""Prompt templates: files that say how a context is worded, as context sets name them."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lenscore.errors import ConfigError, ContextError, shown, shown_name
from lenscore.study.yaml_files import read_yaml

PROMPTS = Path(__file__).parent.parent / "data" / "prompts"

FIELD = re.compile(r"\{(number|title|text|question|answer)\}")


def _fields(*known: str, needed: str | None = None) -> AfterValidator:
    """Return the check that a part of a template uses only fields that have a value there."""

    def check(part: str) -> str:
        found = FIELD.findall(part)
        for field in found:
            if field not in known:
                allowed = ", ".join(f"{{{field}}}" for field in known) or "none"
                raise ValueError(f"contains {{{field}}}, which has no value here; allowed: {allowed}")
        if needed and needed not in found:
            raise ValueError(f"must contain {{{needed}}}")
        return part

    return AfterValidator(check)


def _answer_last(reply: str) -> str:
    if reply.find("{answer}") != len(reply) - len("{answer}"):
        raise ValueError("must end with {answer}, and contain it only there")
    return reply


class _Wording(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    head: Annotated[str, _fields("question")] = Field(
        default="", description="Text before the documents; may contain {question}."
    )
    tail: Annotated[str, _fields("question", needed="question")] = Field(
        description="Text after the documents; contains {question}."
    )
    reply: Annotated[str, _fields("question", "answer", needed="answer"), AfterValidator(_answer_last)] = Field(
        description="Leads up to {answer}, which ends it; may contain {question}."
    )


class WithDocuments(_Wording):
    """The wording of contexts with documents."""

    document: Annotated[str, _fields("number", "title", "text", needed="text")] = Field(
        description="One document; contains {text}, and {number} (from 1) and {title} if wanted."
    )
    separator: Annotated[str, _fields()] = Field(default="\n", description="Text between two documents.")


class Template(BaseModel):
    """A prompt template: how contexts with and without documents are worded.

    In ``style: text`` the parts follow one another. In ``style: chat`` head, documents and tail
    are the user's turn and the reply opens the assistant's; the model's own chat template is
    put around them when the context is tokenised.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    style: Literal["text", "chat"]
    system: str | None = None
    with_documents: WithDocuments
    closed_book: _Wording

    @model_validator(mode="after")
    def _system_in_chat(self) -> "Template":
        if self.system is not None and self.style != "chat":
            raise ValueError("system is a turn of a chat; with style: text, put the text into head")
        return self


def template_path(prompt: str) -> Path:
    """Return the file of a template, named as in ``context_sets.<set>.prompt``.

    Raises:
        ContextError: there is no such file.
    """
    path = Path(prompt) if prompt.endswith((".yaml", ".yml")) else PROMPTS / f"{prompt}.yaml"
    try:
        found = path.is_file()
    except OSError:  # a name that is too long
        found = False
    if not found:
        known = ", ".join(sorted(file.stem for file in PROMPTS.glob("*.yaml")))
        raise ContextError(
            f"prompt {shown(prompt)}: no such template; available: {known}; or give the path of a .yaml file"
        )
    return path


def read_template(path: Path) -> Template:
    """Read and validate a template file.

    Raises:
        ContextError: it is not YAML, or not a template; the message names file and key.
    """
    try:
        return Template.model_validate(read_yaml(path))
    except ConfigError as error:
        raise ContextError(str(error)) from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or '(top level)'}: {_in_words(fault['type'], fault['msg'])}"
            for fault in error.errors()
        )
        raise ContextError(f"{shown_name(str(path))}: not a prompt template: {faults}") from None


def _in_words(kind: str, message: str) -> str:
    words = {"extra_forbidden": "unknown key", "missing": "is missing", "model_type": "must be a section of keys"}
    return words.get(kind) or message.removeprefix("Value error, ")
