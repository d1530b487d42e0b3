"""What a change of each key runs again: docs/configuration.md says it in a table, and `snakemake -n` does it."""

import copy
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from lenscore.study.section import Section
from lenscore.study.study import Study
from tests.conftest import ROOT, Checkout

pytestmark = pytest.mark.slow

DATABASE = {"load_database", "analyse", "choose_examples", "render_chart", "render_report"}
STATISTICS = {"analyse", "render_chart", "render_report"}

# Key → a value that the finished study does not have. {…} stands for a name of the study's own.
CHANGES: dict[str, Any] = {
    "study": "another",
    "dataset.format": "questions",
    "questions": 6,
    "seed": 1,
    "shard_size": 3,
    "missing_answer": "skip",
    "context_sets.more": {"documents": [2], "positions": 2},
    "context_sets.main.documents": [2, 3],
    "context_sets.main.positions": [0, 1],
    "context_sets.main.distractors": "random",
    "context_sets.main.prompt": "examples_last",
    "context_sets.main.orders": 2,
    "context_sets.main.controls": ["oracle"],
    "context_sets.main.seed": 1,
    "context_sets.main.overflow": "skip",
    "context_sets.main.cut": "start",
    "models.second": {"source": "path:{model}"},
    "models.tiny.source": "path:{other model}",
    "models.tiny.dtype": "bfloat16",
    "models.tiny.matmul": "bf16",
    "models.tiny.window": 1000,
    "tuned_lens.questions": 9,
    "tuned_lens.held_out": 6,
    "tuned_lens.tokens_per_document": 9,
    "tuned_lens.steps": 5,
    "tuned_lens.batch": 128,
    "tuned_lens.learning_rate": 0.01,
    "tuned_lens.seed": 1,
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
    "analysis.smallest_effect": 1.0,
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
RULES = {key: jobs for keys, jobs in ROWS for key in keys}


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
                assert value.strip() in ("", "all", "the model's", "the study's name"), key
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


@pytest.fixture(scope="module")
def other_model(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other") / "model"
    shutil.copytree(tiny_gpt2, folder)
    return folder


@pytest.mark.parametrize("key", CHANGES)
def test_a_change_runs_what_the_table_says(
    finished: Checkout, config: dict[str, Any], tiny_gpt2: Path, other_model: Path, key: str
) -> None:
    value = CHANGES[key]
    if key == "models.second":
        value = {"source": f"path:{tiny_gpt2}"}
    if key == "models.tiny.source":
        value = f"path:{other_model}"
    planned = finished.planned(finished.write_config(changed(config, key, value), "changed.yaml"))
    assert set(planned) == RULES[row_of(key)]
    if key in ("questions", "context_sets.more", "models.second"):
        # Of the two shards that there were, none is made again.
        new = {"questions": 1, "context_sets.more": 2, "models.second": 2}[key]
        assert planned["extract_shard"] == new


def test_the_reference_of_the_means_is_nothing_where_there_are_none(finished: Checkout, config: dict[str, Any]) -> None:
    """Without means, of what `ablation.reference` runs only the change to no means is left."""
    without = changed(config, "ablation.replacements", ["skip"])
    planned = finished.planned(finished.write_config(changed(without, "ablation.reference", 2), "changed.yaml"))
    assert set(planned) == RULES["ablation.replacements"]


def test_a_lens_that_is_added_is_extracted_alone(checkout: Checkout, config: dict[str, Any]) -> None:
    """The records are those of a study that had both lenses from the start."""

    def records(study: str, lenses: list[str]) -> pa.Table:
        """Make the study's one file of records, and read it."""
        changed = {**config, "study": study, "questions": 1, "shard_size": 1, "lenses": lenses}
        name = checkout.write_config({**changed, "ablation": {"questions": 0}}, f"{study}.yaml")
        file = f"results/{study}/records/tiny/main/shard-0000.parquet"
        done = checkout.snakemake(file, "--configfile", name)
        assert done.returncode == 0, done.stderr
        return pq.read_table(checkout.folder / file)

    log = checkout.folder / "logs/grown/extract_shard/tiny/main/0000.log"
    records("grown", ["logit"])
    assert "kept" not in log.read_text()
    both = records("grown", ["logit", "tuned"])
    assert "kept: the records of lens logit;" in log.read_text()
    assert set(both["lens"].to_pylist()) == {"logit", "tuned"}
    assert both.equals(records("at-once", ["logit", "tuned"]))
    # One that is taken away is dropped, without the model.
    fewer = records("grown", ["logit"])
    assert "kept: the records of lens logit;" in log.read_text()
    assert "self-check" not in log.read_text()
    assert fewer.equals(both.filter(pc.equal(both["lens"], "logit")))


@pytest.mark.parametrize("lenses", [["logit"], ["tuned"]])
def test_a_lens_that_is_taken_away_runs_what_the_table_says(
    finished: Checkout, config: dict[str, Any], lenses: list[str]
) -> None:
    planned = finished.planned(finished.write_config(changed(config, "lenses", lenses), "changed.yaml"))
    assert set(planned) == RULES["lenses"] - {"train_lens"}
