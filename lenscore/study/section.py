"""What all sections of the config share: strictness, names, hashes, and how an impossible combination is reported."""

import hashlib
import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

NAME = r"^[a-z0-9][a-z0-9._-]*$"
SHA256 = r"^[0-9a-f]{64}$"
GIT_HASH = r"^[0-9a-f]{40}$"
PLAIN = r"^[^\x00]*$"

# A name becomes part of paths and a wildcard of the workflow.
Name = Annotated[str, StringConstraints(pattern=NAME, max_length=80)]
# Text that names something elsewhere. A pattern refuses halves of surrogate pairs, too.
PlainText = Annotated[str, StringConstraints(pattern=PLAIN, max_length=1000)]
Sha256 = Annotated[str, StringConstraints(pattern=SHA256)]
GitHash = Annotated[str, StringConstraints(pattern=GIT_HASH)]

# Numbers beyond these are slips of the pen: no study is as large.
MOST_QUESTIONS = 10_000_000
MOST_DOCUMENTS = 10_000
Seed = Annotated[int, Field(ge=0, lt=2**63)]

# What would be right, where pydantic speaks of patterns.
PATTERNS_IN_WORDS = {
    NAME: "must be a name of small letters, digits, '.', '_' and '-' that begins with a letter or digit",
    SHA256: "must be a SHA-256: 64 hex digits, letters small",
    GIT_HASH: "must be a full git id: 40 hex digits, letters small",
    PLAIN: "must not have the character NUL",
}


def short_hash(value: object) -> str:
    """Return 8 hex digits that tell JSON-able values apart in names of folders."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def impossible(key: str, message: str) -> PydanticCustomError:
    """Return the error of a combination that cannot be run; ``key`` is the one to change."""
    return PydanticCustomError("impossible", "{message}", {"key": key, "message": message})


class Section(BaseModel):
    """A part of the config: unknown keys are errors, types are not converted, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
