"""Which rules a change of code makes stale: those whose scripts can reach it, and no other."""

from pathlib import Path

import pytest

from lenscore.plan.code_versions import CANNOT_CHANGE_A_RESULT, CodeVersions, read_module
from tests.conftest import ROOT
from tests.plans import CODE, changed_code

SCRIPTS = sorted(path.stem for path in (ROOT / "workflow_scripts").glob("*.py"))
MODEL = {"train_lens", "extract_shard", "reference_means", "ablate_shard"}
LENS = {"extract_shard": "lenscore.lenses.tuned", "train_lens": "lenscore.lenses.training"}


def versions(code: CodeVersions) -> dict[str, str]:
    """Return the version of each script, with the lens modules that a study with both lenses has them import."""
    return {
        name: code.of(Path(f"workflow_scripts/{name}.py"), (LENS[name],) if name in LENS else ()) for name in SCRIPTS
    }


def stale(folder: Path, file: str, old: str, new: str) -> set[str]:
    before, after = versions(CODE), versions(changed_code(folder, file, old, new))
    return {name for name in SCRIPTS if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "old", "new", "rules"),
    [
        # What once kept a lens of a model that was loaded, or whose blocks were read, in another way.
        ("lenscore/models/blocks.py", "return ", "return 1 and ", MODEL),
        ("lenscore/models/loading.py", "model.eval()", "model.train()", MODEL),
        # What once kept a lens trained on the texts of another order.
        (
            "lenscore/contexts/questions.py",
            "sorted(questions, key=sort_key)",
            "sorted(questions, key=sort_key, reverse=True)",
            {"build_contexts", "train_lens", "load_database"},
        ),
        # What once extracted everything anew, and then failed to load.
        (
            "lenscore/lenses/divergences.py",
            "pa.schema(\n    [",
            'pa.schema(\n    [\n        ("more", pa.int32()),',
            {"train_lens", "load_database"},
        ),
        ("lenscore/lenses/training.py", "_PATIENCE = 3", "_PATIENCE = 4", {"train_lens"}),
        ("lenscore/lenses/tuned.py", "own = states.float()", "own = states.double()", {"train_lens", "extract_shard"}),
        ("lenscore/ablation/means.py", "torch.float64", "torch.float32", {"reference_means"}),
        ("lenscore/extraction/record_cache.py", "key[:2]", "key[:3]", {"extract_shard"}),
        ("lenscore/contexts/positions.py", "2 * place * last", "3 * place * last", {"build_contexts"}),
        ("lenscore/store/views/7_token_flips.sql", "n_runs - ends_right", "n_runs + ends_right", {"load_database"}),
        ("lenscore/analysis/curves.py", "n_tokens", "n_all_tokens", set()),  # in a docstring
        ("lenscore/report/page/templates/page.css", "body", "main", {"render_report"}),
        ("workflow_scripts/analyse.py", "write_json(", "print(", {"analyse"}),
    ],
)  # fmt: skip
def test_a_change_makes_stale_what_can_reach_it(tmp_path: Path, file: str, old: str, new: str, rules: set[str]) -> None:
    assert stale(tmp_path, file, old, new) == rules


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("lenscore/records.py", "# results/", "# elsewhere: results/"),
        ("lenscore/files.py", '"""Files that', '"""All files that'),
        ("lenscore/extraction/engine.py", "\n\n\n", "\n\n# A new comment.\n\n\n"),
        ("lenscore/jobs/log.py", "logging.INFO", "logging.DEBUG"),
        ("lenscore/errors.py", "class StoreError", "class OtherError(LenscoreError):\n    pass\n\n\nclass StoreError"),
        ("lenscore/data/prompts/few_shot.yaml", "description", "# A comment.\ndescription"),
    ],
)
def test_what_cannot_change_a_result_makes_nothing_stale(tmp_path: Path, file: str, old: str, new: str) -> None:
    assert stale(tmp_path, file, old, new) == set()


def test_modules_that_are_left_out_are_there() -> None:
    for name in CANNOT_CHANGE_A_RESULT:
        assert (ROOT / f"{name.replace('.', '/')}.py").is_file(), name


def test_a_closure_is_what_python_imports(tmp_path: Path) -> None:
    """By hand: packages of an imported module, imports within functions, names that are attributes, data files."""
    for file, text in {
        "lenscore/__init__.py": "",
        "lenscore/a/__init__.py": "from lenscore import b\n",
        "lenscore/a/used.py": "def f():\n    from lenscore.c import something\n",
        "lenscore/a/unused.py": "x = 1\n",
        "lenscore/b.py": "import lenscore.d\n",
        "lenscore/c.py": "something = 1\n",
        "lenscore/d.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lenscore.e import x\n",
        "lenscore/e.py": "x = 1\n",
        "lenscore/a/query.sql": "select 1",
        "lenscore/a/views/more.sql": "select 2",
        "lenscore/a/inner/__init__.py": "",
        "lenscore/a/inner/other.sql": "select 3",
        "script.py": "from lenscore.a.used import f\nimport os\n",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    closure = CodeVersions(tmp_path).closure(Path("script.py"))
    assert set(closure) == {
        "script.py", "lenscore", "lenscore.a", "lenscore.a.used", "lenscore.b", "lenscore.c", "lenscore.d",
        "lenscore/a/query.sql", "lenscore/a/views/more.sql",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("x = 1", "x = 1  # a comment", True),
        ("x = 1", "\n\nx = (1)", True),
        ("def f():\n    return 1", 'def f():\n    """Say one."""\n    return 1', True),
        ('"""A module."""\nx = 1', "x = 1", True),
        ("x = 1", "x = 2", False),
        ("x = '1'", "x = 1", False),
        ("x = a.b", "x = a.c", False),
        ("f(a, b)", "f(a)", False),
        ("f(a, b)", "f(b, a)", False),
        ("[a, [b]]", "[[a], b]", False),
        ("if a:\n    b\nc", "if a:\n    b\n    c", False),
        ("def f(a=1, *, b): ...", "def f(a, *, b=1): ...", False),
        ("x = 1\n'text'", "x = 1", False),
    ],
)
def test_code_counts_by_its_syntax(one: str, other: str, same: bool) -> None:
    assert (read_module(one.encode()).syntax == read_module(other.encode()).syntax) is same
