"""Where a study's numbers come from, as the page lists it: counts, models, dataset, extraction jobs, versions."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from lenscore.databases import opened
from lenscore.report.page.tables import records

# What the jobs of the analysis and the report run with; the database has the versions of the jobs before.
_SOFTWARE = ("altair", "pandas", "numpy")


def read_provenance(database: Path) -> dict[str, Any]:
    """Return what the section on provenance shows.

    Args:
        database: the study's DuckDB file.

    Returns:
        ``counts`` by table; ``models``, rows with their ``manifest``; ``extractions``, as :func:`_extractions` pools
        them; ``dataset``, its manifest; ``extraction_code``; ``software``, versions by name.
    """
    with opened(database) as connection:
        facts = {key: json.loads(value) for key, value in connection.sql("select key, value from study").fetchall()}
        models = connection.sql("select * from models order by model").df()
        extractions = connection.sql("select * from extractions order by all").df()
        counts = connection.sql(
            """select
                (select count(*) from questions) as questions,
                (select count(*) from contexts) as contexts,
                (select count(*) from answer_tokens) as answer_tokens,
                (select count(*) from layer_records) as layer_records"""
        ).df()
    return {
        "counts": counts.iloc[0].to_dict(),
        "models": [_model(row) for row in models.to_dict("records")],
        "extractions": _extractions(extractions),
        "dataset": facts["dataset"],
        "extraction_code": facts["extraction_code"],
        "software": {**facts["versions"], **{name: version(name) for name in _SOFTWARE}},
    }


def _model(row: Mapping[Any, Any]) -> dict[str, Any]:
    window = None if pd.isna(row["attention_window"]) else int(row["attention_window"])
    return {**row, "attention_window": window, "manifest": json.loads(row["manifest"])}


def _extractions(jobs: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one row for all jobs that differ only in their shard: a large study has thousands."""
    alike = ["model", "context_set", "device", "prefix_sharing", "versions"]
    grouped = jobs.groupby(alike, as_index=False).agg(
        shards=("shard", "count"), difference=("self_check_difference", "max")
    )
    return [{**row, "versions": json.loads(row["versions"])} for row in records(grouped)]
