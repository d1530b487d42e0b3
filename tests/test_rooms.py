"""The rooms of the library: who may import whom, and what a start loads. Held for every module, however deep."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

LIBRARY = ROOT / "lenscore"

# From left to right: a module imports only what is in its own room or to its left. What is to the left of all rooms
# is shared by all.
SHARED = ("databases", "errors", "files", "hashes", "installed", "jobs", "records")
ROOMS = (
    ("study",), ("plan",), ("sources",), ("contexts",), ("models",), ("prefix_tree",), ("lenses",), ("extraction",),
    ("ablation",), ("estimate",), ("store",), ("analysis",), ("report",), ("notebook",),
)  # fmt: skip
PLACE = {name: place for place, names in enumerate(ROOMS) for name in names}

# The plan is for the workflow alone: the rest of the library takes what it needs as arguments.
PLAN_IS_READ_BY = {"plan"}


def modules(room: str) -> list[Path]:
    return sorted((LIBRARY / room).rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Return the dotted names of all modules that a file imports, whoever made them, wherever in the file."""
    found = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []  # never runs
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def rooms_imported(file: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(file) if name.startswith("lenscore.")}


def reached(start: str) -> set[str]:
    """Return every module of the library that a module's imports lead to."""
    seen, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        path = ROOT.joinpath(*name.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in seen or not file.is_file():
            continue
        seen.add(name)
        waiting.append(name.rpartition(".")[0])  # importing a.b runs a first
        waiting += [found for found in imported(file) if found.startswith("lenscore.")]
    return seen


def test_every_folder_is_a_room_with_a_sign() -> None:
    folders = {path.name for path in LIBRARY.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(PLACE) | {"jobs"}
    for package in LIBRARY.rglob("__init__.py"):
        sign = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
        assert package.parent == LIBRARY or len(sign.split()) >= 25, f"{package}: says too little of what is there"


@pytest.mark.parametrize("room", PLACE)
def test_modules_import_only_what_is_to_their_left(room: str) -> None:
    for file in modules(room):
        for other in rooms_imported(file) - set(SHARED) - {room}:
            assert PLACE[other] < PLACE[room], f"{file} imports lenscore.{other}"
            assert other != "plan", f"{file} imports the plan"


def test_what_is_shared_imports_no_room() -> None:
    files = [path for name in SHARED for path in (LIBRARY / f"{name}.py", *modules(name)) if path.exists()]
    assert len(files) >= len(SHARED)
    for file in files:
        assert not rooms_imported(file) - set(SHARED), file


@pytest.mark.parametrize(
    ("room", "library"),
    [
        ("models", "pyarrow"),
        ("prefix_tree", "pyarrow"),
        ("analysis", "torch"),
        ("report", "torch"),
        ("analysis", "transformers"),
        ("report", "transformers"),
        ("study", "torch"),
        ("plan", "torch"),
    ],
)
def test_a_room_does_without_a_library(room: str, library: str) -> None:
    """Neither a module of the room imports it, nor what the room's modules import of ours."""
    start = {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in modules(room)}
    for name in set().union(*(reached(module.removesuffix(".__init__")) for module in start)):
        path = ROOT.joinpath(*name.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        assert library not in {found.partition(".")[0] for found in imported(file)}, file


def test_ablation_and_the_training_of_lenses_do_not_see_each_other() -> None:
    for file in modules("ablation"):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        assert not {"lenscore.lenses.training", "lenscore.lenses.texts"} & reached(name), file
    assert not any(name.startswith("lenscore.ablation") for name in reached("lenscore.lenses.training"))


def test_a_lens_is_named_in_its_own_modules_and_in_the_registry_alone() -> None:
    """Adding a lens touches one module of lenses/ and one line of the registry."""
    named = {
        str(file.relative_to(LIBRARY))
        for file in LIBRARY.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value == "tuned"
    }
    assert named == {"study/lenses.py"}


def loaded_by(code: str) -> set[str]:
    """Return the modules that Python has loaded after running some code in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


def test_the_snakefile_starts_without_heavy_imports() -> None:
    loaded = loaded_by("import lenscore.plan.plan, lenscore.sources.check, lenscore.jobs.checkout")
    heavy = {"torch", "transformers", "altair", "pandas", "duckdb", "pyarrow", "numpy", "bm25s", "safetensors"}
    assert not heavy & loaded


@pytest.mark.parametrize("script", sorted(path.stem for path in (ROOT / "workflow_scripts").glob("*.py")))
def test_a_script_starts_with_its_job_alone(script: str) -> None:
    """Before the log is open, a script loads the job's own module and what that is made of."""
    loaded = loaded_by(f"import runpy; runpy.run_path('workflow_scripts/{script}.py', run_name='imported')")
    ours = {name for name in loaded if name.startswith("lenscore.")}
    jobs = {name for name in ours if name.startswith("lenscore.plan.rules.")}
    assert jobs == {f"lenscore.plan.rules.{script}"}
    assert {name.split(".")[1] for name in ours} <= {"errors", "jobs", "plan", "study"}
    assert "lenscore.study.study" not in ours
    assert not {"torch", "transformers", "pandas", "duckdb", "pyarrow", "numpy"} & loaded
