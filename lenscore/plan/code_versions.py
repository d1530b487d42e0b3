"""The version of a rule's code: one hash of everything that its script can reach within the library.

What a script reaches is its static import closure, read from the syntax trees. A module counts with its syntax tree
without docstrings and comments, a package with its data files too. So a changed comment makes nothing stale, and a
changed function makes stale every rule that can reach it, and no other. The description of a field of the config counts
as documentation.
"""

import ast
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = "lenscore"

# Data that code reads from its own package. Prompts and questions are not among it: jobs hold their content.
DATA_SUFFIXES = (".sql", ".j2", ".css", ".js")

# Modules that cannot change a result, each with the reason.
CANNOT_CHANGE_A_RESULT = {
    f"{PACKAGE}.errors": "names of exceptions; a job that raises one has no result",
    f"{PACKAGE}.jobs.log": "says what happens, to a file that no job reads",
    f"{PACKAGE}.jobs.spent": "measures time, which the page alone shows",
    f"{PACKAGE}.jobs.claims": "has a workflow wait for another",
    f"{PACKAGE}.jobs.checkout": "finds the library, whose own versions count",
    f"{PACKAGE}.study.messages": "words of errors about a config that is not run",
    f"{PACKAGE}.lenses.overlap": "refuses a study; a job that does has no result",
    f"{PACKAGE}.extraction.progress": "writes to the log how far a job is",
}


@dataclass(frozen=True)
class Module:
    """What one file of code contributes.

    Attributes:
        imports: dotted names within the library that it imports, wherever in the file.
        syntax: hash of its syntax tree, without docstrings.
    """

    imports: frozenset[str]
    syntax: str


class CodeVersions:
    """The code versions of scripts that use one copy of the library.

    Args:
        checkout: the folder that holds the package.
    """

    def __init__(self, checkout: Path):
        self._checkout = checkout
        self._module = cache(self._read_module)
        self._data = cache(self._read_data)
        self._version = cache(self._read_version)

    def of(self, script: Path, also: Sequence[str] = ()) -> str:
        """Return the version of a script: 16 hex digits.

        Args:
            script: relative to the checkout.
            also: modules that the script imports by a name it is given.
        """
        return self._version(script, tuple(also))

    def _read_version(self, script: Path, also: tuple[str, ...]) -> str:
        return _digest(f"{name} {version}" for name, version in sorted(self.closure(script, also).items()))

    def closure(self, script: Path, also: Sequence[str] = ()) -> dict[str, str]:
        """Return the hash of everything that a script can reach: modules by name, data files by path."""
        start = read_module((self._checkout / script).read_bytes())
        found = {script.as_posix(): start.syntax}
        waiting = [*start.imports, *also]
        seen = set(CANNOT_CHANGE_A_RESULT)
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            # Importing a.b.c runs a and a.b first. A name that is no module is an attribute of one.
            waiting.append(name.rpartition(".")[0] or PACKAGE)
            if (file := self._file(name)) is None:
                continue
            module = self._module(file)
            found[name] = module.syntax
            found.update(self._data(file.parent))
            waiting.extend(module.imports)
        return found

    def _file(self, name: str) -> Path | None:
        path = self._checkout.joinpath(*name.split("."))
        return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)

    def _read_module(self, file: Path) -> Module:
        return read_module(file.read_bytes())

    def _read_data(self, package: Path) -> dict[str, str]:
        """Return the hashes of a package's data files, in its folder or in folders below that are no packages."""
        return {
            path.relative_to(self._checkout).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in _data_files(package)
        }


def _data_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not (path / "__init__.py").exists():
            yield from _data_files(path)
        elif path.suffix in DATA_SUFFIXES:
            yield path


@cache
def read_module(source: bytes) -> Module:
    """Return what a file of Python code contributes."""
    tree = ast.parse(source)
    imports: set[str] = set()
    parts: list[str] = []
    _read(tree, parts, imports)
    return Module(frozenset(imports), _digest(parts))


def _digest(parts: Iterator[str] | Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _read(node: ast.AST, parts: list[str], imports: set[str]) -> None:
    """Write a syntax tree down, depth first, and collect the library's modules that it imports.

    Empty fields are left out: versions of Python differ in which of them there are.
    """
    parts.append(type(node).__name__)
    if isinstance(node, ast.ImportFrom) and node.level:
        raise ValueError(f"a relative import, which is not followed: {ast.unparse(node)}")
    if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == PACKAGE:
        imports.add(node.module)
        imports.update(f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Import):
        imports.update(alias.name for alias in node.names if alias.name.partition(".")[0] == PACKAGE)
    elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        node.body = []  # never runs
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Field":
        node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
    for name in node._fields:
        value = getattr(node, name, None)
        if name == "body" and isinstance(value, list):
            value = _without_docstring(node, value)
        if isinstance(value, list):
            for item in value:
                _read_value(name, item, parts, imports)
        elif value is not None and name != "ctx":
            _read_value(name, value, parts, imports)
    parts.append(")")


def _read_value(name: str, value: object, parts: list[str], imports: set[str]) -> None:
    parts.append(name)
    if isinstance(value, ast.AST):
        _read(value, parts, imports)
    else:
        parts.append(repr(value))


def _without_docstring(node: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if documented and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        return body[1:] if isinstance(body[0].value.value, str) else body
    return body
