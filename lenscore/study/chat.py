"""Section ``models.<model>.chat``: what a model's chat template is given besides the turns."""

import datetime
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from lenscore.errors import shown
from lenscore.study.section import PlainText, Section, impossible

DATE = r"^\d{4}-\d{2}-\d{2}$"
PATTERNS_IN_WORDS = {DATE: "must be a date as in 2025-01-31"}

# Beyond these, integers are no longer exact in every reader of JSON.
_Whole = Annotated[int, Field(gt=-(2**53), lt=2**53)]
Argument = PlainText | _Whole | float | bool | None

# What the library itself passes to a template, or reads: a study may not change it.
_OWN = frozenset(
    [
        "messages",
        "conversation",
        "tools",
        "documents",
        "chat_template",
        "add_generation_prompt",
        "continue_final_message",
        "sanitize_control_tokens",
        "self",
        "tokenize",
        "strftime_now",
        "study_date",
        "raise_exception",
        "return_assistant_tokens_mask",
        "return_tensors",
        "return_dict",
        "padding",
        "truncation",
        "max_length",
        "tokenizer_kwargs",
    ]
)


def _date_of_yaml(value: object) -> object:
    """Return the text of a date: YAML makes one of 2025-01-31 that is not in quotes."""
    return value.isoformat() if type(value) is datetime.date else value


class ChatSpec(Section):
    """What a model's chat template is given besides the turns; it matters for prompts with ``style: chat``."""

    date: Annotated[str, StringConstraints(pattern=DATE), BeforeValidator(_date_of_yaml)] = Field(
        default="2025-01-01",
        description="The date that templates which write today's are given, so that a study is the same on every day.",
    )
    arguments: dict[Annotated[str, StringConstraints(max_length=80)], Argument] = Field(
        default={}, description="Arguments of the template, as in {enable_thinking: false}."
    )

    @model_validator(mode="after")
    def _possible(self) -> "ChatSpec":
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError as error:
            raise impossible("date", f"{error}; found {shown(self.date)}") from None
        for name in self.arguments:
            if not name.isidentifier():
                raise impossible("arguments", f"{shown(name)} cannot be the name of an argument")
            if name in _OWN:
                raise impossible("arguments", f"must not have {name}, which is not a study's to set")
        return self
