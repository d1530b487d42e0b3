"""The trained lenses of a study: how far they are from their models, and on which texts they were trained."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from lenscore.contexts.questions import Question
from lenscore.errors import StoreError
from lenscore.lenses.divergences import LENS_DIVERGENCES
from lenscore.records import read_table
from lenscore.store.rows import insert_rows


def insert_divergences(connection: duckdb.DuckDBPyConnection, model: str, files: Mapping[str, Path]) -> None:
    """Insert how far each trained lens of a model is from it.

    Args:
        connection: to the database.
        model: its name.
        files: by lens, the table that its training has written.
    """
    for lens, file in files.items():
        connection.register("new_divergences", read_table(file, LENS_DIVERGENCES))
        connection.execute(
            "insert into lens_divergences by name select $model as model, $lens as lens, * from new_divergences",
            {"model": model, "lens": lens},
        )


def insert_lens_texts(
    connection: duckdb.DuckDBPyConnection, model: str, manifests: Mapping[str, Path], dataset: Sequence[Question]
) -> None:
    """Insert the texts that each trained lens of a model was trained on, stopped by and measured on.

    Args:
        connection: to the database.
        model: its name.
        manifests: by lens, its manifest, which names its texts by their questions.
        dataset: all questions.

    Raises:
        StoreError: a text is none of the dataset's.
    """
    texts = {question.question_id: question.gold.text for question in dataset if question.gold}
    rows = []
    for lens, manifest in manifests.items():
        facts = json.loads(manifest.read_text(encoding="utf-8"))
        for part in ("train", "validation", "held_out"):
            if unknown := sorted(set(facts[part]) - texts.keys()):
                raise StoreError(
                    f"{manifest}: {len(unknown)} of the lens's texts are not in the dataset, the first is "
                    f"{unknown[0]}: train the lens anew from the dataset as it is now"
                )
            rows += [(model, lens, part, name, texts[name]) for name in facts[part]]
    insert_rows(connection, "lens_texts", ["model", "lens", "part", "document_id", "document_text"], rows)
