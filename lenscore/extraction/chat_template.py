"""A model's own chat template, filled: the same text on every day."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, cast

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from lenscore.errors import ContextError, shown
from lenscore.study.run_settings import Chat

# Put before a chat template: strftime_now, by which templates ask for the date, answers with the study's. The library's
# own answers with today's, and what is passed to a template cannot be a function.
_STRFTIME_NOW = (
    "{%- macro strftime_now(format) -%}"
    "{%- set made = namespace(text=format) -%}"
    "{%- for directive, value in study_date.items() -%}"
    "{%- set made.text = made.text.replace(directive, value) -%}"
    "{%- endfor -%}"
    "{{ made.text }}"
    "{%- endmacro %}\n"  # the line break is dropped with the block: the template begins on a line of its own
)


def filled_chat_template(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Mapping[str, str]], chat: Chat) -> str:
    """Return the turns in the wording of the model's chat template, the assistant's turn opened.

    Args:
        tokenizer: the model's.
        turns: each with role and content.
        chat: the date that the template is given, and its arguments.

    Raises:
        ContextError: the model has no chat template, or one that refuses the turns or the arguments.
    """
    if tokenizer.chat_template is None:
        raise ContextError(
            "the context set's prompt is a chat, but the model's tokenizer has no chat template: "
            "use a prompt with style: text"
        )
    template = tokenizer.get_chat_template()
    for name in chat.arguments:
        if not re.search(rf"\b{name}\b", template):
            raise ContextError(
                f"chat.arguments: the model's chat template has no argument {name}, so that it would change nothing; "
                "correct or remove it"
            )
    given: dict[str, Any] = {"study_date": _directives(date.fromisoformat(chat.date)), **chat.arguments}
    try:
        filled = tokenizer.apply_chat_template(
            [dict(turn) for turn in turns],
            chat_template=_STRFTIME_NOW + template,
            tokenize=False,
            add_generation_prompt=True,
            **given,
        )
    # TypeError, ValueError: of what a template does with an argument.
    except (TemplateError, TypeError, ValueError) as error:
        roles = ", ".join(turn["role"] for turn in turns)
        arguments = f" and the arguments {shown(dict(chat.arguments))}" if chat.arguments else ""
        raise ContextError(
            f"the model's chat template refuses the turns of the context set's prompt ({roles}){arguments}: {error}; "
            "use or write a prompt with other turns (many models have no system role)"
        ) from error
    return cast("str", filled)


def _directives(day: date) -> dict[str, str]:
    """Return what each directive of strftime is on a day, as in {"%Y": "2025"}; "%-d" is the 5 of 05."""
    plain = {f"%{letter}": day.strftime(f"%{letter}") for letter in "aAbBcdHIjmMpSUwWxXyYFG"}
    short = {f"%-{letter}": str(int(day.strftime(f"%{letter}"))) for letter in "dmHIMSj"}
    return {**short, **plain, "%%": "%"}
