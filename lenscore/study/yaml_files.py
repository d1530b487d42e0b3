"""YAML files that a user writes: read as YAML 1.1, with what it would silently make something else of refused."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from lenscore.errors import ConfigError, repeated_key, shown, shown_name

LARGEST = 10 << 20  # bytes of a file
MOST_NODES = 100_000  # with every alias written out
_MOST_DIGITS = 100  # of a whole number
_EXPONENT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")  # YAML 1.1 wants both the point and the sign
_LEADING_ZERO = re.compile(r"[+-]?0[0-9_]+")
_BASE_60 = re.compile(r"[+-]?\d[\d_]*(:[0-5]?\d)+(\.\d*)?")


def read_yaml(path: Path) -> Any:
    """Return the value of a YAML file in UTF-8.

    Raises:
        ConfigError: it cannot be read, is no YAML, or is too large with its aliases written out; a key is there twice,
            or a number is not what it seems to be.
    """
    return _loaded(_text(path), shown_name(str(path)))


def read_config_file(path: Path) -> dict[Any, Any]:
    """Return the config of a file that says what it seems to; it is JSON, or YAML.

    Raises:
        ConfigError: it cannot be read; an object of JSON names a key twice; it is no mapping; or as :func:`read_yaml`.
    """
    text, name = _text(path), shown_name(str(path))
    try:
        # Snakemake takes a config that is JSON as JSON, in which 1e-3 is a number.
        config = json.loads(text, object_pairs_hook=lambda pairs: _without_doubles(pairs, name))
    except (ValueError, RecursionError):
        config = _loaded(text, name)
    if not isinstance(config, dict):
        raise ConfigError(f"{name}: must hold keys and values, such as study: my-study; found {shown(config)}")
    return config


def _loaded(text: str, name: str) -> Any:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            _Checked(name).size(root)
        return yaml.safe_load(text)
    except RecursionError:
        raise ConfigError(f"{name}: not YAML: nested too deeply") from None
    # ValueError: a date with a 13th month, a number of thousands of digits.
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{name}: not YAML: {_one_line(error)}") from None
    # The library's own fault at "!!bool x" and "!!timestamp x".
    except (KeyError, AttributeError):
        raise ConfigError(f"{name}: not YAML: a tag (!!bool, !!timestamp) before a value that is none") from None


class _Checked:
    """One walk over the nodes of a file."""

    def __init__(self, name: str):
        self._name = name
        self._sizes: dict[int, int | None] = {}  # None: on the way to the node itself

    def size(self, node: yaml.Node) -> int:
        """Return the number of nodes below and at a node, with aliases written out, and check each once."""
        if id(node) in self._sizes:
            known = self._sizes[id(node)]
            if known is None:
                raise self._error(node, "an alias that holds itself")
            return known
        self._sizes[id(node)] = None
        size = 1 + sum(map(self.size, self._parts(node)))
        if size > MOST_NODES:
            raise self._error(node, f"with its aliases written out it has more than {MOST_NODES:,} values")
        self._sizes[id(node)] = size
        return size

    def _parts(self, node: yaml.Node) -> list[yaml.Node]:
        if isinstance(node, yaml.ScalarNode):
            self._check_scalar(node)
            return []
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    earlier = f"key {shown(key.value)} is there already, in line {seen[key.value]}"
                    raise self._error(key, f"{earlier}; each may be there once")
                seen[key.value] = _line(key)
        # A key that is text is a name: 0e0 and 08 are names as good as any.
        return [part for key, value in node.value for part in (key, value) if part is value or _kind(key) != "str"]

    def _check_scalar(self, node: yaml.ScalarNode) -> None:
        written = node.value
        if node.style is not None:
            return  # in quotes, or a block: text as it stands
        kind = _kind(node)
        if kind == "int" and len(written) > _MOST_DIGITS:
            raise self._error(node, f"a number of {len(written):,} digits; put it in quotes if it is text")
        if kind == "str" and _EXPONENT.fullmatch(written):
            mantissa, exponent = re.split("[eE]", written)
            point, sign = "" if "." in mantissa else ".0", "" if exponent[0] in "+-" else "+"
            right = f"{mantissa}{point}e{sign}{exponent}"
            raise self._error(
                node,
                f"{shown(written)} is text to YAML, not a number; write {right}, or put it in quotes if it is text",
            )
        if kind in ("int", "str") and _LEADING_ZERO.fullmatch(written):
            made = f"{shown(_value(node))} (octal)" if kind == "int" else "text"
            raise self._error(
                node,
                f"{shown(written)} is {made} to YAML, as it begins with 0; write the number without that 0, or put it "
                "in quotes if it is text",
            )
        if kind in ("int", "float") and _BASE_60.fullmatch(written):
            raise self._error(
                node,
                f"{shown(written)} is {shown(_value(node))} to YAML, which reads it to the base 60; write that number, "
                "or put it in quotes if it is text",
            )

    def _error(self, node: yaml.Node, message: str) -> ConfigError:
        return ConfigError(f"{self._name}, line {_line(node)}: {message}")


def _kind(node: yaml.Node) -> str:
    """Return what YAML takes a node for, such as str, int, float or map."""
    return node.tag.rpartition(":")[2]


def _text(path: Path) -> str:
    name = shown_name(str(path))
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{name}: more than {LARGEST >> 20} MiB, which nobody wrote")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ConfigError(f"{name}: not YAML in UTF-8: byte {error.start + 1} is {byte:#04x}") from None
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror}") from None


def _without_doubles(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    if fault := repeated_key([key for key, _ in pairs]):
        raise ConfigError(f"{name}: {fault}")
    return dict(pairs)


def _value(node: yaml.ScalarNode) -> object:
    return yaml.SafeLoader("").construct_object(node)  # as safe_load makes it


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."
