"""How many jobs of each rule a change runs, where there are two models, two sets, and a last shard that is not full.

tests/test_incremental.py holds which rules they are, for every key.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.plans import jobs_of, plan_of, stale

Config = dict[str, Any]
# What a change of anything before it runs: the estimate; the database, and all that is made of it.
AFTER = ("estimate_study", "load_database", "analyse", "choose_examples", "render_charts", "render_report")
OF_A_MODEL = {"extract_shard": 4, "reference_means": 1, "ablate_shard": 1}


@pytest.fixture
def wide(study_config: Config) -> Config:
    """Three questions in shards of two; one of two sets has contexts for ablation; two models."""
    return {
        **study_config,
        "questions": 3,
        "context_sets": {
            "main": {"documents": [2, 3], "positions": 2, "overflow": "truncate_documents"},
            "other": {"documents": [2], "positions": 2, "seed": 1},
        },
        "models": {name: {"source": "path:tiny"} for name in ("first", "second")},
        "lenses": ["logit"],
        "ablation": {"questions": 1, "documents": [3], "replacements": ["mean"], "reference": 1},
    }


def put(*path: str, value: Any) -> Callable[[Config], None]:
    def change(study: Config) -> None:
        for name in path[:-1]:
            study = study[name]
        study[path[-1]] = value

    return change


def drop(*path: str) -> Callable[[Config], None]:
    def change(study: Config) -> None:
        for name in path[:-1]:
            study = study[name]
        del study[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        pytest.param(put("questions", value=4), {"build_contexts": 2, "extract_shard": 4}, id="the last shard filled"),
        pytest.param(put("questions", value=6), {"build_contexts": 4, "extract_shard": 8}, id="and a new one"),
        pytest.param(put("questions", value=2), {}, id="the last shard is left out"),
        pytest.param(
            put("questions", value=1),
            {"build_contexts": 2, "extract_shard": 4, "reference_means": 2, "ablate_shard": 2},
            id="the first shard is no longer full",
        ),
        pytest.param(
            put("shard_size", value=3),
            {"build_contexts": 2, "extract_shard": 4, "reference_means": 2, "ablate_shard": 2},
            id="one shard for all",
        ),
        pytest.param(
            put("context_sets", "more", value={"documents": [2], "positions": 2}),
            {"build_contexts": 2, "extract_shard": 4},
            id="another set",
        ),
        pytest.param(
            put("context_sets", "other", "seed", value=2),
            {"build_contexts": 2, "extract_shard": 4},
            id="a changed set",
        ),
        pytest.param(
            put("context_sets", "main", "overflow", value="skip"),
            {"extract_shard": 4, "reference_means": 2, "ablate_shard": 2},
            id="another reading of a set",
        ),
        pytest.param(drop("context_sets", "other"), {}, id="a set less"),
        pytest.param(
            put("models", "third", value={"source": "path:copy"}), {"fetch_model": 1, **OF_A_MODEL}, id="another model"
        ),
        pytest.param(
            put("models", "second", "source", value="path:copy"), {"fetch_model": 1, **OF_A_MODEL}, id="a changed model"
        ),
        pytest.param(put("models", "second", "window", value=1000), OF_A_MODEL, id="another reading of a model"),
        pytest.param(drop("models", "second"), {}, id="a model less"),
        pytest.param(put("ablation", "questions", value=3), {"ablate_shard": 4}, id="more questions with ablation"),
        pytest.param(put("tuned_lens", "steps", value=5), {}, id="a lens that the study has not"),
    ],
)
def test_a_change_runs_only_the_jobs_it_must(
    wide: Config, change: Callable[[Config], None], jobs: dict[str, int]
) -> None:
    changed = copy.deepcopy(wide)
    change(changed)
    found = stale(plan_of(wide), plan_of(changed))
    assert {rule: count for rule, count in found.items() if rule not in AFTER} == jobs
    assert found["load_database"] == 1


def test_two_models_of_one_name_have_folders_of_their_own(wide: Config) -> None:
    other = copy.deepcopy(wide)
    put("models", "second", "source", value="path:copy")(other)
    folders = [
        {job["outputs"]["folder"] for rule, job, _ in jobs_of(plan_of(config)).values() if rule == "fetch_model"}
        for config in (wide, other)
    ]
    assert len(folders[0]) == len(folders[1]) == 2
    assert len(folders[0] & folders[1]) == 1
