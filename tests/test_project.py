"""The project's own files: pins that agree, files that can be read in one sitting, a light start."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from lenscore.study.study import read_study
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = [*PROJECT["dependencies"], *(pin for pins in PROJECT["optional-dependencies"].values() for pin in pins)]


def test_every_dependency_is_pinned_as_in_the_constraints() -> None:
    constraints = {
        line.split("==")[0].lower().replace("_", "-"): line for line in (ROOT / "constraints.txt").read_text().split()
    }
    for pin in PINS:
        name, version = pin.split("==")
        assert constraints[name.lower().replace("_", "-")].split("==")[1] == version


@pytest.mark.parametrize("file", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda file: file.name)
def test_conda_environments_carry_the_same_pins(file) -> None:
    wanted = yaml.safe_load(file.read_text())["dependencies"][-1]["pip"]
    assert wanted
    assert set(wanted) <= set(PROJECT["dependencies"])


def test_the_snakefile_starts_without_heavy_imports() -> None:
    code = (
        "import sys; import lenscore.study.study, lenscore.contexts.prompts, lenscore.sources.lines; "
        "import lenscore.jobs.checkout; "
        "print({'torch', 'transformers', 'altair', 'pandas', 'duckdb', 'pyarrow', 'numpy', 'bm25s'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_workflow_scripts_read_no_config_by_themselves() -> None:
    for script in (ROOT / "workflow_scripts").glob("*.py"):
        assert "snakemake.config" not in script.read_text()


def test_logs_are_not_shared() -> None:
    paths = re.findall(r'log:\s+"([^"]+)"', "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk")))
    assert len(paths) == len(set(paths)) == 12


def test_every_rule_says_its_memory_and_time_and_asks_for_more_with_each_attempt() -> None:
    text = "".join(file.read_text() for file in sorted((ROOT / "rules").glob("*.smk")))
    rules = re.findall(r"^rule (\w+):\n((?: {4}.*\n|\n)+)", text, re.MULTILINE)
    assert len(rules) == 12
    for name, body in rules:
        assert re.search(r"^ {8}mem_mb=grows\(\d+\),\n {8}runtime=grows\(\d+\),$", body, re.MULTILINE), name
    models = {name for name, body in rules if "**GPU_OF_A_MODEL" in body}
    assert models == {"train_lens", "reference_means", "extract_shard", "ablate_shard"}


def test_rules_that_are_grouped_are_rules_that_run_no_model() -> None:
    profile = yaml.safe_load((ROOT / "profiles/default/profile.yaml").read_text())
    rules = re.findall(r"^rule (\w+):", "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk")), re.M)
    models = {"train_lens", "reference_means", "extract_shard", "ablate_shard"}
    downloads = {"fetch_model", "fetch_dataset"}
    assert set(profile["groups"]) == set(rules) - models - downloads


def test_no_file_is_too_long_to_read() -> None:
    for pattern in ("lenscore/**/*.py", "rules/*.smk", "workflow_scripts/*.py"):
        for file in ROOT.glob(pattern):
            assert len(file.read_text().splitlines()) <= 400, file


@pytest.mark.parametrize(
    "file", ["config.yaml", *(f"studies/{file.name}" for file in (ROOT / "studies").glob("*.yaml"))]
)
def test_every_study_of_the_project_is_valid(file: str) -> None:
    read_study(yaml.safe_load((ROOT / file).read_text()))


def test_modules_import_only_what_stands_to_their_left() -> None:
    order = ["sources", "contexts", "lenses", "extraction", "store", "analysis", "report"]
    allowed = {"lenses": {"extraction"}}
    for index, package in enumerate(order):
        for file in (ROOT / "lenscore" / package).glob("*.py"):
            for imported in re.findall(r"^\s*from lenscore\.(\w+)", file.read_text(), re.MULTILINE):
                if imported in order and imported not in allowed.get(package, set()):
                    assert order.index(imported) <= index, f"{file} imports lenscore.{imported}"
