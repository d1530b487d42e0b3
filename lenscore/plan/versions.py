"""On which versions the result of a rule's jobs depends: of the project's code, and of libraries."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from lenscore.plan.code_versions import CodeVersions
from lenscore.study.lenses import LENSES

_MODEL_LIBRARIES = ("torch", "transformers", "tokenizers")
_LIBRARIES = {
    "train_lens": _MODEL_LIBRARIES,
    "extract_shard": _MODEL_LIBRARIES,
    "reference_means": _MODEL_LIBRARIES,
    "ablate_shard": _MODEL_LIBRARIES,
    "build_contexts": ("bm25s",),
    "load_database": ("duckdb", "tokenizers"),
    "render_charts": ("altair", "vl-convert-python"),
}

_version = cache(version)


class RuleVersions:
    """The versions that decide what the jobs of a rule make.

    Args:
        code: versions of the code.
        lenses: the study's, by name.
    """

    def __init__(self, code: CodeVersions, lenses: Sequence[str]):
        self._code = code
        self._lenses = lenses

    def of(self, rule: str, wildcards: Mapping[str, str]) -> dict[str, str]:
        """Return the versions of all code that a job's script can reach, and of libraries.

        Of an extraction, the code is one version a lens: what makes another lens's records is no part of it.
        """
        script = _script(rule)
        if rule == "extract_shard":
            code = {f"code of lens {name}": self._code.of(script, [LENSES[name].module]) for name in self._lenses}
        elif rule == "train_lens":
            code = {"code": self._code.of(script, [str(LENSES[wildcards["lens"]].training)])}
        else:
            code = {"code": self._code.of(script)}
        return code | {name: _version(name) for name in _LIBRARIES.get(rule, ())}

    @property
    def extraction_code(self) -> str:
        """One version of all code that extraction can reach, through whatever lens."""
        return self._code.of(_script("extract_shard"), [LENSES[name].module for name in self._lenses])


def _script(rule: str) -> Path:
    return Path(f"workflow_scripts/{rule}.py")
