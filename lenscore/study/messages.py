"""Errors of a config in a user's words: pydantic's own name its classes."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from lenscore.errors import shown, shown_name

_FAULTS_IN_WORDS = {
    "model_type": "must be a section of keys",
    "dict_type": "must be a section of keys",
    "string_type": "must be text; put it in quotes",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "list_type": "must be a list, as in [a, b]",
    "too_short": "must not be empty",
    "finite_number": "must be a finite number",
    "string_unicode": "must be text; it has half a surrogate pair",
}


def fault_in_words(
    fault: Mapping[str, Any], config: object, schema: Mapping[str, Any], patterns: Mapping[str, str]
) -> str:
    """Return one fault in a line: the key's path, what would be right, and what was found there.

    Args:
        fault: an entry of pydantic's ``errors()``. One of the type ``impossible`` names in its context the key that
            is to be changed.
        config: what was validated.
        schema: the config's JSON schema.
        patterns: what would be right, by the pattern that did not match.
    """
    kind, context = fault["type"], fault.get("ctx", {})
    path = _path_in(config, fault["loc"])
    if kind == "missing":
        path.append(fault["loc"][-1])
        message = "is missing, and has no default"
    elif kind == "extra_forbidden":
        message = _unknown_key(str(path[-1]), _keys_of_section(path[:-1], schema))
    elif kind == "impossible":
        path.append(context["key"])
        message = fault["msg"]
    else:
        words = patterns.get(context.get("pattern")) or _FAULTS_IN_WORDS.get(kind) or _bound(context) or fault["msg"]
        message = f"{words}; found {shown(fault['input'])}"
    return f"{'.'.join(shown_name(str(part)) for part in path) or '(top level)'}: {message}"


def _bound(context: Mapping[str, Any]) -> str | None:
    """Return what a number has to be; None for a fault of another kind."""
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    return next((f"must be {said} {context[bound]}" for bound, said in words.items() if bound in context), None)


def _unknown_key(key: str, known: Sequence[str]) -> str:
    meant = get_close_matches(key, known, n=1)
    return f"unknown key; {f'did you mean {meant[0]}? ' if meant else ''}those known here are {', '.join(known)}"


def _path_in(config: Any, loc: Sequence[str | int]) -> list[str | int]:
    """Return the parts of a fault's place that the config has: pydantic adds names that the config does not have."""
    path: list[str | int] = []
    for part in loc:
        stands = part in config if isinstance(config, Mapping) else isinstance(config, list) and isinstance(part, int)
        if stands:
            config = config[part]
            path.append(part)
    return path


def _keys_of_section(path: Sequence[str | int], schema: Mapping[str, Any]) -> list[str]:
    """Return the keys that the section at ``path`` may have."""
    section = schema
    for key in path:
        named = section.get("patternProperties", {}).values()  # sections that the user names: context sets, models
        section = section.get("properties", {}).get(key) or next(iter(named))
        if "$ref" in section:
            section = schema["$defs"][section["$ref"].rpartition("/")[2]]
    return list(section["properties"])
