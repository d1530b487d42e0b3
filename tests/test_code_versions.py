"""Which rules a change of code makes stale: those whose scripts can reach it, and no other."""

from pathlib import Path

import pytest

from lenscore.plan.code_versions import CANNOT_CHANGE_A_RESULT, CodeVersions, read_module
from tests.conftest import ROOT, STUDY
from tests.plans import CODE, changed_code, jobs_of, plan_of

MODEL = {"train_lens", "extract_shard", "reference_means", "ablate_shard"}


BEFORE = jobs_of(plan_of(STUDY))


def stale(folder: Path, file: str, old: str, new: str) -> set[str]:
    """Return the rules of which a job has other versions after a change of code; what follows them is left out."""
    after = jobs_of(plan_of(STUDY, code=changed_code(folder, file, old, new)))
    found = {after[outputs][0] for outputs in after if BEFORE[outputs][2] != after[outputs][2]}
    return found - {"estimate_study"}  # it tries nearly everything, and is soon made anew


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
        # Tables of ablations and of fits: nothing else is made anew.
        ("lenscore/ablation/tables.py", "pa.schema(\n    [", 'pa.schema(\n    [\n        ("more", pa.int32()),',
         {"ablate_shard", "load_database"}),
        ("lenscore/lenses/training.py", "_PATIENCE = 3", "_PATIENCE = 4", {"train_lens"}),
        ("lenscore/lenses/tuned.py", "own = states.float()", "own = states.double()", {"train_lens", "extract_shard"}),
        ("lenscore/lenses/logit.py", "return states", "return 2 * states", {"extract_shard", "ablate_shard"}),
        ("lenscore/ablation/means.py", "torch.float64", "torch.float32", {"reference_means", "ablate_shard"}),
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
        ("lenscore/records.py", "# Most blocks", "# The most blocks"),
        ("lenscore/files.py", '"""Files that', '"""All files that'),
        ("lenscore/extraction/engine.py", "\n\n\n", "\n\n# A new comment.\n\n\n"),
        ("lenscore/jobs/log.py", "logging.INFO", "logging.DEBUG"),
        ("lenscore/errors.py", "class StoreError", "class OtherError(LenscoreError):\n    pass\n\n\nclass StoreError"),
        ("lenscore/study/tuned_lens.py", "Tokens sampled from each document.", "Tokens of each document."),
        ("lenscore/extraction/progress.py", "%d of %d contexts", "%d/%d contexts"),
        ("lenscore/data/prompts/few_shot.yaml", "description", "# A comment.\ndescription"),
    ],
)
def test_what_cannot_change_a_result_makes_nothing_stale(tmp_path: Path, file: str, old: str, new: str) -> None:
    assert stale(tmp_path, file, old, new) == set()


def test_a_lens_that_changes_leaves_the_records_of_others(tmp_path: Path) -> None:
    changed = changed_code(tmp_path, "lenscore/lenses/tuned.py", "own = states.float()", "own = states.double()")
    wildcards = {"model": "tiny", "set": "main", "shard": "0000"}
    before, after = (plan_of(STUDY, code=code).versions("extract_shard")(wildcards) for code in (CODE, changed))
    assert {name for name in before if before[name] != after[name]} == {"code of lens tuned"}


def test_a_lens_that_is_added_to_the_list_leaves_all_records(tmp_path: Path) -> None:
    entry = '    "more": LensEntry("lenscore.lenses.logit"),\n    "tuned"'
    assert stale(tmp_path, "lenscore/study/lenses.py", '    "tuned"', entry) == set()


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
        ("x = Field(default=1, description='one')", "x = Field(default=1, description='two')", True),
        ("x = Field(default=1, description='one')", "x = Field(default=2, description='one')", False),
        ("if TYPE_CHECKING:\n    import a", "if TYPE_CHECKING:\n    import b", True),
        ("if TYPE_CHECKING:\n    a\nelse:\n    b", "if TYPE_CHECKING:\n    a\nelse:\n    c", False),
    ],
)
def test_code_counts_by_its_syntax(one: str, other: str, same: bool) -> None:
    assert (read_module(one.encode()).syntax == read_module(other.encode()).syntax) is same


def test_a_relative_import_is_refused() -> None:
    with pytest.raises(ValueError, match="a relative import"):
        read_module(b"from . import x")
