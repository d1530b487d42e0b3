"""What several test modules share: a tiny model on disk, and a copy of the project to run the workflow in."""

import copy
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent

# In tests and in the jobs that they start, a bug must not pass for a model that cannot share prefixes
# (lenscore.prefix_tree.sharing).
os.environ["LENSCORE_ON_SHARING_ERROR"] = "raise"

# Where the tests are started in the background, a shell has had them ignore SIGINT, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A test fails for what it finds, never for a machine that has something else to do.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


# The files that take minutes go first: what comes last should be short, where several processes share the tests.
LONGEST = (
    "test_real_model.py", "test_kill.py", "test_slurm.py", "test_cloud.py", "test_incremental.py",
    "test_incremental_jobs.py", "test_same_output.py", "test_workflow.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@dataclass(frozen=True)
class Checkout:
    """A copy of the project in which the workflow runs, so that a test may edit its code."""

    folder: Path

    def write_config(self, config: dict[str, Any], name: str = "study.yaml") -> str:
        (self.folder / name).write_text(yaml.safe_dump(config, sort_keys=False))
        return name

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, config: str) -> str:
        """Run a study to its end, and return what Snakemake said."""
        done = self.snakemake("--configfile", config)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def planned(self, config: str) -> Counter[str]:
        """Return how many jobs of each rule a run would start, `all` left out."""
        done = self.snakemake("--configfile", config, "--dry-run", "--quiet", "host")
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        if "Nothing to be done" in said:
            return Counter()
        lines = said[said.index("Job stats:") :].splitlines()[3:]
        jobs: Counter[str] = Counter()
        for line in lines:
            if not line.strip() or line.startswith("total"):
                break
            rule, count = line.split()
            jobs[rule] = int(count)
        del jobs["all"]
        return jobs


def copy_project(folder: Path) -> Checkout:
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(ROOT / name, folder / name)
    for name in ("rules", "lenscore", "workflow_scripts", "reports", "envs", "profiles", "studies"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return Checkout(folder)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return copy_project(tmp_path_factory.mktemp("checkout"))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that the first of the processes that share the tests has filled, and the others find."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / name
    with FileLock(root / f"{name}.lock"):
        if not folder.exists():
            beside = root / f"{name}.part"
            beside.mkdir()
            make(beside)
            beside.rename(folder)
    return folder


def save_tiny_gpt2(folder: Path) -> None:
    """Save a random GPT-2 of two layers with a byte-level tokenizer trained on the embedded questions."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed

    trained = ByteLevelBPETokenizer()
    trained.train([str(ROOT / "lenscore/data/questions.jsonl")], vocab_size=600, min_frequency=2, show_progress=False)
    PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer).save_pretrained(folder)
    set_seed(1)
    config = GPT2Config(vocab_size=600, n_positions=1024, n_embd=32, n_layer=2, n_head=4)
    model = GPT2LMHeadModel(config)
    assert sum(parameter.numel() for parameter in model.parameters()) < 300_000
    model.save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random GPT-2 of two layers; nobody may change it."""
    return made_once(tmp_path_factory, "tiny-gpt2", save_tiny_gpt2)


@pytest.fixture(scope="session")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a made study: two models, two lenses, two lengths, and texts that look like HTML."""
    from tests.made_study import MadeStudy, write_page

    study = MadeStudy(tmp_path_factory.mktemp("browser"))
    study.load()
    return write_page(study, study.folder)


@pytest.fixture(scope="session")
def small_page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the hand-worked study, which ablates nothing; its database is ``study.duckdb``."""
    from tests.made_study import write_page
    from tests.small_study import SmallStudy

    study = SmallStudy(tmp_path_factory.mktemp("small-page"))
    study.load()
    return write_page(study, study.folder)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    from tests.opened_page import BROWSER

    with sync_playwright() as playwright:
        # A container's user may have no sandbox to give.
        running = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def fresh(browser: Any, page_file: Path) -> Iterator[Any]:
    """The page, just opened; whatever a test does with it, it says and loads nothing."""
    from tests.opened_page import opened

    seen = opened(browser, page_file)
    yield seen
    seen.page.context.close()
    assert seen.faults == []
    assert seen.requests == [page_file.as_uri()]


# A study that takes seconds, of everything that a study can have.
STUDY: dict[str, Any] = {
    "study": "tiny",
    "dataset": {"source": "embedded:questions"},
    "questions": 4,
    "shard_size": 2,
    "context_sets": {
        "main": {
            "documents": [2, 4],
            "positions": 2,
            "controls": ["closed_book", "oracle"],
            "overflow": "truncate_documents",
        }
    },
    "models": {"tiny": {"source": "path:tiny"}},
    "lenses": ["logit", "tuned"],
    "tuned_lens": {"questions": 8, "held_out": 4, "tokens_per_document": 8, "steps": 4},
    "ablation": {"questions": 2, "documents": [2], "replacements": ["skip", "mean"], "reference": 2},
    "analysis": {"resamples": 200, "permutations": 199},
}


@pytest.fixture
def study_config() -> dict[str, Any]:
    """The config of the tiny study, for a plan: it names a model that nobody fetches."""
    return copy.deepcopy(STUDY)


@pytest.fixture(scope="session")
def config(tiny_gpt2: Path) -> dict[str, Any]:
    """The config of the tiny study, for a run."""
    return {**copy.deepcopy(STUDY), "models": {"tiny": {"source": f"path:{tiny_gpt2}"}}}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, config: dict[str, Any]) -> Checkout:
    """A checkout in which the study has been run to its end: a copy for each process that shares the tests."""

    def run(folder: Path) -> None:
        checkout = copy_project(folder)
        checkout.run(checkout.write_config(config, "finished.yaml"))

    folder = tmp_path_factory.mktemp("finished") / "checkout"
    shutil.copytree(made_once(tmp_path_factory, "finished-study", run), folder)
    return Checkout(folder)
