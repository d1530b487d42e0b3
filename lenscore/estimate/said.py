"""An estimate in words that an earlier run made: a run that has nothing new to estimate says it again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def said_before(file: Path, config: Mapping[str, Any]) -> list[str]:
    """Return the lines of an estimate; none where there is none, or where it is of another config.

    Args:
        file: the estimate.
        config: of the study.
    """
    try:
        estimate = json.loads(file.read_text(encoding="utf-8"))
        return [str(line) for line in estimate["lines"]] if estimate["config"] == config else []
    except (OSError, ValueError, KeyError, TypeError):
        return []  # a job is going to make it
