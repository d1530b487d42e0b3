"""What a change of each key runs again: docs/configuration.md says it in a table, and the plan does it.

tests/test_workflow.py has Snakemake itself agree on some of them.
"""

import copy
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from lenscore.plan import versions
from lenscore.study.section import Section
from lenscore.study.study import Study
from tests.conftest import ROOT
from tests.plans import MadeContents, changed_code, jobs_of, plan_of, stale

DATABASE = {"load_database", "analyse", "choose_examples", "render_charts", "render_report"}
STATISTICS = {"analyse", "render_charts", "render_report"}

# Key → a value that the study does not have.
CHANGES: dict[str, Any] = {
    "study": "another",
    "dataset.format": "questions",
    "questions": 6,
    "seed": 1,
    "shard_size": 3,
    "missing_answer": "skip",
    "answer_in_distractors": "drop",
    "context_sets.more": {"documents": [2], "positions": 2},
    "context_sets.main.documents": [2, 3],
    "context_sets.main.positions": [0, 1],
    "context_sets.main.distractors": "random",
    "context_sets.main.prompt": "examples_last",
    "context_sets.main.order": "ranked",
    "context_sets.main.orders": 2,
    "context_sets.main.controls": ["oracle"],
    "context_sets.main.seed": 1,
    "context_sets.main.overflow": "skip",
    "context_sets.main.cut": "start",
    "models.second": {"source": "path:tiny"},
    "models.tiny.source": "path:other",
    "models.tiny.weights": "untrained",
    "models.tiny.dtype": "bfloat16",
    "models.tiny.matmul": "bf16",
    "models.tiny.window": 1000,
    "models.tiny.chat.date": "2024-02-29",
    "models.tiny.chat.arguments": {"enable_thinking": False},
    "tuned_lens.questions": 9,
    "tuned_lens.held_out": 6,
    "tuned_lens.tokens_per_document": 9,
    "tuned_lens.steps": 5,
    "tuned_lens.batch": 128,
    "tuned_lens.learning_rate": 0.01,
    "tuned_lens.seed": 1,
    "tuned_lens.seeds": 2,
    "ablation.questions": 3,
    "ablation.documents": [4],
    "ablation.replacements": ["mean"],
    "ablation.reference": 1,
    "ablation.scopes": ["answer"],
    "extraction.top_k": 3,
    "extraction.device": "cpu",
    "analysis.resamples": 300,
    "analysis.confidence": 0.9,
    "analysis.seed": 1,
    "analysis.permutations": 299,
    "analysis.smallest_effect.share": 0.02,
    "analysis.smallest_effect.layers": 1.0,
    "analysis.first_token": "any",
    "analysis.jsd_threshold": 0.3,
    "analysis.primary.measure": "soft_depth",
    "analysis.primary.tokens": "all",
    "analysis.primary.population": "each_position",
    "analysis.primary.lens": "tuned",
    "analysis.regions": 2,
    "report.title": "Another title",
    "report.examples": 2,
}

# Keys whose change cannot be tried on a study of a folder's model and the embedded questions; what stands for them in
# the table is the row that they share with one that can.
SHARED = {
    "dataset.source", "dataset.config", "dataset.split", "dataset.revision", "dataset.sha256", "dataset.git_blob",
    "models.<model>.revision", "models.<model>.member", "models.<model>.sha256",
}  # fmt: skip


def rows_of_the_table() -> list[tuple[list[str], set[str]]]:
    """Return the keys and the rules of each row."""
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\| key \| rules \|.*?\n\|---.*?\n(.*?)\n\n", text, re.DOTALL)
    found = []
    for line in table.splitlines():
        keys, rules = line.strip("|").split("|")[:2]
        names = re.findall(r"`([^`]+)`", keys)
        first = names[0].rsplit(".", 1)[0]
        named = [first + name if name.startswith(".") else name for name in names]
        jobs = set(re.findall(r"`([^`]+)`", rules))
        jobs |= DATABASE if "the database" in rules else STATISTICS if "the statistics" in rules else set()
        found.append((named, jobs))
    return found


ROWS = rows_of_the_table()
# What a study takes is estimated anew whatever changes but the statistics and the page: the table does not repeat it.
RULES = {
    key: jobs if key.startswith(("analysis.", "report.")) else jobs | {"estimate_study"}
    for keys, jobs in ROWS
    for key in keys
}


def row_of(key: str) -> str:
    """Return the key of the table for a key of the tiny study: `models.tiny.window` is `models.<model>.window`."""
    key = re.sub(r"^context_sets\.\w+", "context_sets.<set>", key)
    return re.sub(r"^models\.\w+", "models.<model>", key)


def section_in(annotation: Any) -> type[Section] | None:
    """Return the section that a field holds: itself, or as the values of a mapping by name."""
    found = [annotation, *get_args(annotation)]
    return next((part for part in found if isinstance(part, type) and issubclass(part, Section)), None)


def keys_of(model: Any, prefix: str = "") -> Iterator[str]:
    """Return the paths of all keys of the config, from the models that check it."""
    for name, spec in model.model_fields.items():
        inner = section_in(spec.annotation)
        path = f"{prefix}{name}"
        named = {"context_sets": "<set>", "models": "<model>"}.get(name)
        if inner is None:
            yield path
            continue
        section = f"{path}.{named}" if named else path
        if named:
            yield section
        yield from keys_of(inner, f"{section}.")


def test_every_key_has_a_row_and_every_row_is_tried() -> None:
    tried = {row_of(key) for key in CHANGES} | {"lenses"}
    assert set(RULES) == set(keys_of(Study))
    assert set(RULES) == tried | SHARED
    assert all(any(key in tried for key in keys) for keys, _ in ROWS)
    assert sum(len(keys) for keys, _ in ROWS) == len(RULES)


def defaults_of(model: Any, prefix: str = "") -> dict[str, Any]:
    """Return the defaults of the config's keys, by the paths of :func:`keys_of`."""
    found = {}
    for name, spec in model.model_fields.items():
        inner = section_in(spec.annotation)
        named = {"context_sets": ".<set>", "models": ".<model>"}.get(name, "")
        if inner is None:
            found[f"{prefix}{name}"] = None if spec.is_required() else spec.get_default(call_default_factory=True)
        else:
            found |= defaults_of(inner, f"{prefix}{name}{named}.")
    return found


def test_every_key_is_explained_once_with_its_default() -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\| key \| default \|.*?\n\|---.*?\n(.*?)\n\n", text, re.DOTALL)
    defaults = defaults_of(Study)
    explained = []
    for line in table.splitlines():
        keys, said = line.strip("|").split("|")[:2]
        names = re.findall(r"`([^`]+)`", keys.replace("….", "context_sets.<set>."))
        section = names[0].rsplit(".", 1)[0]
        named = [section + name if name.startswith(".") else name for name in names]
        values = said.split(",") if len(named) > 1 else [said]
        for key, value in zip(named, values + [""] * (len(named) - len(values)), strict=True):
            explained.append(key)
            if defaults[key] is None:
                assert value.strip() in ("", "all", "the model's", "the study's name", "the study's first"), key
            else:
                assert yaml.safe_load(value.replace("`", "")) == defaults[key], key
    assert sorted(explained) == sorted(defaults)


def changed(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return the config with another value for a key."""
    made = copy.deepcopy(config)
    *sections, last = key.split(".")
    section = made
    for name in sections:
        section = section.setdefault(name, {})
    section[last] = value
    return made


@pytest.mark.parametrize("key", CHANGES)
def test_a_change_runs_what_the_table_says(study_config: dict[str, Any], key: str) -> None:
    after = plan_of(changed(study_config, key, CHANGES[key]))
    jobs = stale(plan_of(study_config), after)
    assert set(jobs) == RULES[row_of(key)]
    if key in ("questions", "context_sets.more", "models.second"):
        # Of the two shards that there were, none is made again.
        new = {"questions": 1, "context_sets.more": 2, "models.second": 2}[key]
        assert jobs["extract_shard"] == new


def test_nothing_runs_without_a_change(study_config: dict[str, Any]) -> None:
    assert stale(plan_of(study_config), plan_of(copy.deepcopy(study_config))) == {}


def test_the_reference_of_the_means_is_nothing_where_there_are_none(study_config: dict[str, Any]) -> None:
    """Without means, of what `ablation.reference` runs only the change to no means is left."""
    without = changed(study_config, "ablation.replacements", ["skip"])
    jobs = stale(plan_of(study_config), plan_of(changed(without, "ablation.reference", 2)))
    assert set(jobs) == RULES["ablation.replacements"]


@pytest.mark.parametrize("lenses", [["logit"], ["tuned"]])
def test_a_lens_that_is_taken_away_runs_what_the_table_says(study_config: dict[str, Any], lenses: list[str]) -> None:
    jobs = stale(plan_of(study_config), plan_of(changed(study_config, "lenses", lenses)))
    assert set(jobs) == RULES["lenses"] - {"train_lens"}


def test_a_lens_that_is_added_runs_what_the_table_says(study_config: dict[str, Any]) -> None:
    jobs = stale(plan_of(changed(study_config, "lenses", ["logit"])), plan_of(study_config))
    assert set(jobs) == RULES["lenses"]


def test_other_content_of_a_dataset_or_a_model_runs_all_that_is_made_of_it(study_config: dict[str, Any]) -> None:
    before = plan_of(study_config)
    of_dataset = stale(before, plan_of(study_config, MadeContents(dataset="replaced")))
    assert set(of_dataset) == RULES["dataset.source"]
    of_model = stale(before, plan_of(study_config, MadeContents(model="replaced")))
    assert set(of_model) == RULES["models.<model>.source"]


MODEL = {"train_lens", "extract_shard", "reference_means", "ablate_shard"}


@pytest.mark.parametrize(
    ("library", "rules"),
    [
        ("torch", MODEL),
        ("transformers", MODEL),
        ("tokenizers", MODEL | {"load_database"}),
        ("duckdb", {"load_database"}),
        ("altair", {"render_charts"}),
        ("vl-convert-python", {"render_charts"}),
        ("bm25s", {"build_contexts"}),
        ("snakemake", set()),
    ],
)
def test_another_version_of_a_library_runs_what_depends_on_it(
    study_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, library: str, rules: set[str]
) -> None:
    before = jobs_of(plan_of(study_config))
    monkeypatch.setattr(versions, "_version", lambda name: "99" if name == library else version(name))
    after = jobs_of(plan_of(study_config))
    differing = {found[0] for outputs, found in after.items() if before[outputs] != found}
    assert differing == rules


def test_no_job_knows_where_the_checkout_is(study_config: dict[str, Any], tmp_path: Path) -> None:
    moved = changed_code(tmp_path, "lenscore/__init__.py", '"""', '"""')
    assert jobs_of(plan_of(study_config, code=moved)) == jobs_of(plan_of(study_config))
    assert str(ROOT) not in repr(jobs_of(plan_of(study_config)))
