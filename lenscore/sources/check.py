"""What a study names, checked against what is on this machine, before any job starts."""

import json
from pathlib import Path

from lenscore.errors import ConfigError
from lenscore.sources.local_files import local_file
from lenscore.sources.model_files import local_model_files
from lenscore.sources.rows import count_rows
from lenscore.study.prompt import read_template, template_path
from lenscore.study.study import Study


def check_sources(study: Study, dataset: Path) -> None:
    """Refuse a study whose files are not there, or have fewer questions than it asks.

    Args:
        study: the config.
        dataset: manifest of the study's dataset, if it was fetched already.

    Raises:
        LenscoreError: a prompt, a model's folder or a dataset's file is missing or not what it should be, or there are
            too few questions.
    """
    for contexts in study.context_sets.values():
        read_template(template_path(contexts.prompt))
    for name, model in study.models.items():
        local_model_files(model.source, name)
    found = _number_of_questions(study, dataset)
    if found is not None and study.questions > found:
        raise ConfigError(f"questions: {study.questions} are asked for, but {study.dataset.source} has {found}")
    if found is not None and study.questions + study.questions_of_lens > found:
        raise ConfigError(
            f"tuned_lens: {study.questions_of_lens} questions outside the study are needed (questions + held_out), "
            f"but {study.dataset.source} has {found} and the study asks {study.questions} of them"
        )


def _number_of_questions(study: Study, dataset: Path) -> int | None:
    """Return how many questions the dataset has at most; None for one that is yet to be fetched."""
    if (file := local_file(study.dataset.source)) is not None:
        return count_rows(file)
    if not dataset.is_file():
        return None
    questions: int = json.loads(dataset.read_text(encoding="utf-8"))["questions"]
    return questions
