"""The project's own files: pins that agree, files that can be read in one sitting, a light start."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from lenscore.plan import paths
from lenscore.study.study import read_study
from tests.conftest import ROOT
from tests.plans import CODE
from tests.test_rooms import imported

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


def test_workflow_scripts_read_no_config_by_themselves() -> None:
    for script in (ROOT / "workflow_scripts").glob("*.py"):
        assert "snakemake.config" not in script.read_text()


RUN_A_MODEL = {"estimate_study", "train_lens", "reference_means", "extract_shard", "ablate_shard"}


def rules() -> dict[str, str]:
    """Return the text of each rule."""
    text = "".join(file.read_text() for file in sorted((ROOT / "rules").glob("*.smk")))
    return dict(re.findall(r"^(?:rule|checkpoint) (\w+):\n((?: {4}.*\n|\n)+)", text, re.MULTILINE))


def test_every_rule_has_outputs_log_and_script_of_its_own() -> None:
    found = rules()
    assert "output:" not in found.pop("verify")
    assert set(found) == set(paths.OUTPUTS) == set(paths.JOBS)
    for name, body in found.items():
        for line in (f'paths.log("{name}"),', f'PLAN.job("{name}"),', f'"../workflow_scripts/{name}.py"'):
            assert line in body, name
    for path in (paths.log, paths.benchmark):
        assert len({path(name) for name in found}) == len(found)


def test_paths_of_results_are_spelled_in_the_plan_alone() -> None:
    spelled = {
        str(file.relative_to(ROOT))
        for folder in ("lenscore", "rules", "workflow_scripts")
        for pattern in ("*.py", "*.smk")
        for file in (ROOT / folder).rglob(pattern)
        for node in ast.walk(_tree(file))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.match(r"(results|resources)/", node.value)
    }
    assert spelled == {"lenscore/plan/paths.py"}


def _tree(file: Path) -> ast.Module:
    """Return a file's syntax tree; of a rule file, that of its strings alone."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".smk":
        text = "\n".join(re.findall(r'r?"[^"\n]*"', text))
    return ast.parse(text)


# Packages by the names of what is imported from them, where these differ.
IMPORTED_AS = {"yaml": "pyyaml", "huggingface_hub": "huggingface-hub", "vl_convert": "vl-convert-python"}
# What belongs to jinja2, to pydantic, and to Snakemake, which runs the job.
INDIRECT = {"markupsafe", "pydantic_core", "snakemake"}


@pytest.mark.parametrize("rule", sorted(paths.JOBS))
def test_the_environment_of_a_rule_has_what_its_script_imports(rule: str) -> None:
    env = re.search(r'"\.\./envs/(\w+\.yaml)"', rules()[rule])
    assert env is not None
    pins = yaml.safe_load((ROOT / "envs" / env[1]).read_text())["dependencies"][-1]["pip"]
    found = set()
    for name in CODE.closure(Path(f"workflow_scripts/{rule}.py")):
        file = ROOT / name if name.endswith(".py") else ROOT.joinpath(*name.split(".")).with_suffix(".py")
        found |= {module.partition(".")[0] for module in imported(file)} if file.is_file() else set()
    found -= {*sys.stdlib_module_names, *INDIRECT, "lenscore"}
    assert {IMPORTED_AS.get(name, name) for name in found} <= {pin.split("==")[0] for pin in pins}


def test_the_rules_common_file_holds_no_logic() -> None:
    assert len((ROOT / "rules/common.smk").read_text().splitlines()) <= 80


def test_every_rule_says_its_memory_and_time_and_asks_for_more_with_each_attempt() -> None:
    found = rules()
    for name, body in found.items():
        assert re.search(r"^ {8}mem_mb=grows\(\d+\),\n {8}runtime=grows\(\d+\),$", body, re.MULTILINE), name
    models = {name for name, body in found.items() if "**GPU_OF_A_MODEL" in body}
    assert models == RUN_A_MODEL


def test_rules_that_are_grouped_are_rules_that_run_no_model() -> None:
    profile = yaml.safe_load((ROOT / "profiles/default/profile.yaml").read_text())
    local = {"fetch_model", "fetch_dataset", "verify"}
    assert set(profile["groups"]) == set(rules()) - RUN_A_MODEL - local


def test_no_file_is_too_long_to_read() -> None:
    for pattern in ("lenscore/**/*.py", "rules/*.smk", "workflow_scripts/*.py"):
        for file in ROOT.glob(pattern):
            assert len(file.read_text().splitlines()) <= 400, file


@pytest.mark.parametrize(
    "file", ["config.yaml", *(f"studies/{file.name}" for file in (ROOT / "studies").glob("*.yaml"))]
)
def test_every_study_of_the_project_is_valid(file: str) -> None:
    read_study(yaml.safe_load((ROOT / file).read_text()))
