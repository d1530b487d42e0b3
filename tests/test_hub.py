"""fetch_model and fetch_dataset through the real Hub clients, from a loopback server."""

import hashlib
import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel

import lenscore
from lenscore.errors import SourceError
from lenscore.sources.datasets import _check_cached_files
from tests.helpers_sources import SENTENCES, save_tiny_gpt2
from tests.hub_server import Hub, Repository, serve_hub
from tests.tiny_gguf import LAYERS, write_gguf

pytestmark = pytest.mark.slow

MODEL_REVISION = "1" * 40
DATASET_REVISION = "2" * 40
QUESTIONS = [
    {"question": "which colour has a ripe lemon", "answer": ["yellow"]},
    {"question": "how many legs has a spider", "answer": ["eight", "8"]},
    {"question": "which planet is nearest the sun", "answer": ["Mercury"]},
]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpt2")
    save_tiny_gpt2(folder)
    return folder


def parquet(rows: list[dict[str, object]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def gguf_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("gguf")
    write_gguf(folder / "tiny.gguf", tensors_a_file=12)
    return {f"Q4/{path.name}": path.read_bytes() for path in folder.glob("tiny-*.gguf")}


@pytest.fixture(scope="module")
def hub(model_folder: Path, gguf_files: dict[str, bytes]) -> Iterator[Hub]:
    saved = {path.name: path.read_bytes() for path in model_folder.iterdir()}
    others = {
        "README.md": b"# a card",
        "pytorch_model.bin": b"not to be fetched",
        "tf_model.h5": b"not to be fetched",
        "model.fp16.safetensors": b"not to be fetched",
        "onnx/config.json": b"{}",
        "onnx/model.onnx": b"not to be fetched",
        "onnx/model.safetensors": b"not to be fetched",
    }
    whole = Repository(MODEL_REVISION, saved | others)
    no_weights = {name: content for name, content in whole.files.items() if name != "model.safetensors"}
    hub = Hub(
        models={
            "lab/tiny": whole,
            "lab/bin-only": Repository(MODEL_REVISION, no_weights),
            "lab/gated": Repository(MODEL_REVISION, saved, gated=True),
            "lab/gguf": Repository(MODEL_REVISION, {"README.md": b"# a card", "Q8.gguf": b"GGUF", **gguf_files}),
        },
        datasets={
            "lab/open-questions": Repository(
                DATASET_REVISION,
                {
                    "README.md": b"---\nlicense: cc0-1.0\n---\n",
                    "data/train-00000-of-00001.parquet": parquet(QUESTIONS[:1]),
                    "data/validation-00000-of-00001.parquet": parquet(QUESTIONS),
                },
            ),
            "lab/lines": Repository(
                DATASET_REVISION, {"validation.jsonl": "".join(json.dumps(row) + "\n" for row in QUESTIONS).encode()}
            ),
        },
    )
    with serve_hub(hub):
        yield hub


# Before a client is imported: what it would wait between two tries is written down instead.
COUNTED_WAITS = (
    "import atexit, sys, time\n"
    "waits = []\n"
    "time.sleep = waits.append\n"
    "atexit.register(lambda: print('waited', sum(waits), file=sys.stderr))\n"
)


def fetch(
    what: str, spec: dict[str, object], target: Path, endpoint: str, home: Path, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run fetch_model or fetch_dataset in a new process: the clients read their settings when imported."""
    name = ", 'tiny'" if what == "model" else ""
    code = before + (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from lenscore.errors import SourceError\n"
        "from lenscore.study.dataset import DatasetSpec\n"
        "from lenscore.study.models import ModelSpec\n"
        f"from lenscore.sources.{what}s import fetch_{what}\n"
        "try:\n"
        f"    fetch_{what}({what.capitalize()}Spec(**json.loads(sys.argv[1])), Path(sys.argv[2]){name})\n"
        "except SourceError as error:\n"
        "    print(error)\n"
        "    sys.exit(3)\n"
    )
    return run_with_hub(code, [json.dumps(spec), str(target)], endpoint, home)


def run_with_hub(code: str, arguments: list[str], endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "NO_PROXY": "127.0.0.1,localhost",
        "OMP_NUM_THREADS": "1",
    }
    environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_notebook_loads_a_model_by_its_name(hub: Hub, model_folder: Path, tmp_path: Path) -> None:
    code = (
        "import lenscore\n"
        "model = lenscore.load('lab/tiny')\n"
        "print(model.name, model.read('The tower of', ' Paris').table()['probability'].tolist())\n"
        "try:\n"
        "    lenscore.load('lab/none')\n"
        "except lenscore.LenscoreError as error:\n"
        "    print(error)\n"
    )
    done = run_with_hub(code, [], hub.endpoint, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    read, refused = done.stdout.splitlines()
    expected = lenscore.load(model_folder).read("The tower of", " Paris").table()["probability"].tolist()
    name, _, numbers = read.partition(" ")
    assert name == "lab/tiny"
    assert json.loads(numbers) == pytest.approx(expected, rel=1e-5)
    assert refused.startswith("Hub model lab/none at revision main cannot be fetched: no such repository")
    assert refused.endswith("without the Hub, give the path of a folder with the model")


def refusal(done: subprocess.CompletedProcess[str], target: Path) -> str:
    """Return the one line of a SourceError, having seen that nothing is left where the target was to be."""
    assert done.returncode == 3, done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    assert not target.parent.exists() or list(target.parent.iterdir()) == []
    return done.stdout.strip()


def test_model_is_fetched_whole_and_nothing_else(hub: Hub, model_folder: Path, tmp_path: Path) -> None:
    hub.fetched.clear()
    target = tmp_path / "models" / "tiny"
    spec = {"source": "hub:lab/tiny", "revision": MODEL_REVISION}
    done = fetch("model", spec, target, hub.endpoint, tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr

    wanted = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in target.iterdir()} == wanted | {"manifest.json"}
    assert not any(path.is_symlink() for path in target.iterdir())
    for name in wanted:
        assert (target / name).read_bytes() == (model_folder / name).read_bytes()
    assert hub.fetched == wanted

    assert json.loads((target / "manifest.json").read_bytes()) == {
        "source": "hub:lab/tiny",
        "revision": MODEL_REVISION,
        "files": {name: hashlib.sha256((model_folder / name).read_bytes()).hexdigest() for name in wanted},
    }
    tokenizer = AutoTokenizer.from_pretrained(target)
    assert tokenizer.decode(tokenizer(SENTENCES[0]).input_ids) == SENTENCES[0]
    ids = torch.tensor([tokenizer(SENTENCES[1]).input_ids])
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(target)(ids).logits
        assert torch.equal(logits, GPT2LMHeadModel.from_pretrained(model_folder)(ids).logits)


def test_filled_cache_serves_without_the_hub(hub: Hub, tmp_path: Path) -> None:
    spec = {"source": "hub:lab/tiny", "revision": MODEL_REVISION}
    first, second = tmp_path / "first" / "tiny", tmp_path / "second" / "tiny"
    assert fetch("model", spec, first, hub.endpoint, tmp_path / "home").returncode == 0
    done = fetch("model", spec, second, closed_endpoint(), tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (first / "manifest.json").read_bytes() == (second / "manifest.json").read_bytes()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_is_not_the_one_the_hub_lists_is_refused(
    hub: Hub, model_folder: Path, tmp_path: Path, name: str
) -> None:
    """The Hub's client compares sizes alone: a bit that flipped on the way, or in its cache, is none of its concern."""
    spec = {"source": "hub:lab/tiny", "revision": MODEL_REVISION}
    first, second = tmp_path / "first" / "tiny", tmp_path / "second" / "tiny"
    assert fetch("model", spec, first, hub.endpoint, tmp_path / "home").returncode == 0
    (cached,) = (path.resolve() for path in (tmp_path / "home").rglob(name))
    content = bytearray(cached.read_bytes())
    content[-3] ^= 1
    cached.write_bytes(content)
    message = refusal(fetch("model", spec, second, hub.endpoint, tmp_path / "home"), second)
    assert f"lab/tiny at revision {MODEL_REVISION}: {name}: expected " in message
    assert message.endswith(f"; remove {cached} and run again")
    cached.unlink()
    done = fetch("model", spec, second, hub.endpoint, tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (second / name).read_bytes() == (model_folder / name).read_bytes()


@pytest.mark.parametrize(
    ("repository", "revision", "reason"),
    [
        ("lab/tiny", "3" * 40, "no such revision"),
        ("lab/none", MODEL_REVISION, "no such repository"),
        ("lab/gated", MODEL_REVISION, "gated"),
    ],
)
def test_model_that_cannot_be_fetched(hub: Hub, tmp_path: Path, repository: str, revision: str, reason: str) -> None:
    target = tmp_path / "models" / "tiny"
    done = fetch(
        "model", {"source": f"hub:{repository}", "revision": revision}, target, hub.endpoint, tmp_path / "home"
    )
    message = refusal(done, target)
    assert f"{repository} at revision {revision}" in message
    assert reason in message
    assert 'models.tiny.source: "path:<folder>"' in message


def test_repository_without_safetensors_names_what_it_has(hub: Hub, tmp_path: Path) -> None:
    hub.fetched.clear()
    target = tmp_path / "models" / "tiny"
    spec = {"source": "hub:lab/bin-only", "revision": MODEL_REVISION}
    message = refusal(fetch("model", spec, target, hub.endpoint, tmp_path / "home"), target)
    assert f"lab/bin-only at revision {MODEL_REVISION}: no safetensors weights" in message
    assert "pytorch_model.bin" in message
    assert "pytorch_model.bin" not in hub.fetched


def test_a_member_of_a_repository_is_dequantised(hub: Hub, gguf_files: dict[str, bytes], tmp_path: Path) -> None:
    hub.fetched.clear()
    target = tmp_path / "models" / "tiny"
    spec = {"source": "hub:lab/gguf", "revision": MODEL_REVISION, "member": min(gguf_files)}
    done = fetch("model", spec, target, hub.endpoint, tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    assert hub.fetched == set(gguf_files)
    manifest = json.loads((target / "manifest.json").read_bytes())
    assert {key: manifest[key] for key in spec} == spec
    assert len(manifest["gguf"]) == 2
    assert AutoModelForCausalLM.from_pretrained(target).config.num_hidden_layers == LAYERS

    other = tmp_path / "others" / "tiny"
    message = refusal(fetch("model", spec | {"member": "Q5.gguf"}, other, hub.endpoint, tmp_path / "home"), other)
    assert f"no member Q5.gguf; its GGUF files are: {', '.join(sorted([*gguf_files, 'Q8.gguf']))}" in message


def closed_endpoint() -> str:
    """Return a loopback address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("repository", ["lab/open-questions", "lab/lines"])
def test_dataset_rows_are_those_of_the_repository(hub: Hub, tmp_path: Path, repository: str) -> None:
    target = tmp_path / "datasets" / "open"
    spec = {"source": f"hub:{repository}", "revision": DATASET_REVISION, "split": "validation"}
    done = fetch("dataset", spec, target, hub.endpoint, tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in target.iterdir()} == {"questions.parquet", "manifest.json"}
    rows = pq.read_table(target / "questions.parquet").to_pylist()
    assert [{"question": row["question"], "answer": row["answers"]} for row in rows] == QUESTIONS
    assert all(row["gold"] is None and row["distractors"] == [] for row in rows)
    assert json.loads((target / "manifest.json").read_bytes()) == {
        "source": f"hub:{repository}",
        "revision": DATASET_REVISION,
        "config": None,
        "split": "validation",
        "format": "nq_open",
        "questions": 3,
        "least_distractors": 0,
        "duplicates_dropped": 0,
        "unanswerable_dropped": 0,
        "files": {"questions.parquet": hashlib.sha256((target / "questions.parquet").read_bytes()).hexdigest()},
    }


@pytest.mark.parametrize(
    ("repository", "name"),
    [("lab/open-questions", "validation-00000-of-00001.parquet"), ("lab/lines", "validation.jsonl")],
)
def test_a_dataset_that_is_not_the_one_the_hub_lists_is_refused(
    hub: Hub, tmp_path: Path, repository: str, name: str
) -> None:
    """A letter of an answer changes: rows are read as if nothing were wrong, from files of Git LFS and of git alike."""
    target = tmp_path / "datasets" / "open"
    spec = {"source": f"hub:{repository}", "revision": DATASET_REVISION, "split": "validation"}
    assert fetch("dataset", spec, tmp_path / "first" / "open", hub.endpoint, tmp_path / "home").returncode == 0
    (cached,) = (path.resolve() for path in (tmp_path / "home").rglob(name))
    content = cached.read_bytes()
    cached.write_bytes(content.replace(b"yellow", b"yallow"))
    assert cached.read_bytes() != content
    message = refusal(fetch("dataset", spec, target, hub.endpoint, tmp_path / "home"), target)
    assert f"{repository} at revision {DATASET_REVISION}: " in message
    assert f"{name}: expected {'SHA-256' if name.endswith('parquet') else 'git blob id'} {cached.name}, " in message
    assert message.endswith(f"; remove {cached} and run again")
    cached.unlink()
    # What was made of the damaged file is not read again.
    assert fetch("dataset", spec, target, hub.endpoint, tmp_path / "home").returncode == 0
    assert pq.read_table(target / "questions.parquet").to_pylist()[0]["answers"] == ["yellow"]


def test_a_damaged_dataset_that_cannot_be_read_is_named_all_the_same(hub: Hub, tmp_path: Path) -> None:
    target = tmp_path / "datasets" / "open"
    spec = {"source": "hub:lab/open-questions", "revision": DATASET_REVISION, "split": "validation"}
    assert fetch("dataset", spec, tmp_path / "first" / "open", hub.endpoint, tmp_path / "home").returncode == 0
    (cached,) = (path.resolve() for path in (tmp_path / "home").rglob("validation-00000-of-00001.parquet"))
    cached.write_bytes(cached.read_bytes()[:-8] + bytes(8))
    message = refusal(fetch("dataset", spec, target, hub.endpoint, tmp_path / "home"), target)
    assert message.endswith(f"; remove {cached} and run again")


def test_a_link_that_leads_nowhere_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever removes a damaged file, as they are told to, has one until the Hub answers again."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "datasets--lab--open" / "snapshots" / DATASET_REVISION
    snapshot.mkdir(parents=True)
    (snapshot / "gone.parquet").symlink_to(tmp_path / ("0" * 64))
    (snapshot / "there.jsonl").symlink_to(tmp_path / ("1" * 64))
    (tmp_path / ("1" * 64)).write_bytes(b"other")
    with pytest.raises(SourceError, match=r"there\.jsonl: expected SHA-256 1111"):
        _check_cached_files("lab/open", DATASET_REVISION)


def test_a_dataset_in_the_cache_serves_without_the_hub(hub: Hub, tmp_path: Path) -> None:
    spec = {"source": "hub:lab/lines", "revision": DATASET_REVISION, "split": "validation"}
    assert fetch("dataset", spec, tmp_path / "first" / "open", hub.endpoint, tmp_path / "home").returncode == 0
    done = fetch("dataset", spec, tmp_path / "second" / "open", closed_endpoint(), tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    manifests = [(tmp_path / place / "open" / "manifest.json").read_bytes() for place in ("first", "second")]
    assert manifests[0] == manifests[1]


@pytest.mark.parametrize(
    "change", [{"revision": "3" * 40}, {"source": "hub:lab/none"}, {"split": "tset"}, {"config": "other"}]
)
def test_dataset_that_cannot_be_fetched(hub: Hub, tmp_path: Path, change: dict[str, object]) -> None:
    target = tmp_path / "datasets" / "open"
    spec: dict[str, object] = {"source": "hub:lab/open-questions", "revision": DATASET_REVISION} | change
    message = refusal(fetch("dataset", spec, target, hub.endpoint, tmp_path / "home"), target)
    for value in change.values():
        assert str(value).removeprefix("hub:") in message
    assert 'dataset.source: "path:<file>"' in message


def seconds_of_waits(done: subprocess.CompletedProcess[str]) -> float:
    """Return how long a fetch with counted waits would have waited in all."""
    (waited,) = re.findall(r"^waited (\S+)$", done.stderr, re.MULTILINE)
    return float(waited)


@pytest.mark.parametrize(
    ("what", "repository", "revision", "way_out"),
    [
        ("model", "lab/tiny", MODEL_REVISION, 'models.tiny.source: "path:<folder>"'),
        ("dataset", "lab/open-questions", DATASET_REVISION, 'dataset.source: "path:<file>"'),
    ],
)
def test_without_a_network_one_line_says_what_to_do(
    tmp_path: Path, what: str, repository: str, revision: str, way_out: str
) -> None:
    endpoint, target = closed_endpoint(), tmp_path / "resources" / "tiny"
    spec: dict[str, object] = {"source": f"hub:{repository}", "revision": revision}
    done = fetch(what, spec, target, endpoint, tmp_path / "home", COUNTED_WAITS)
    message = refusal(done, target)
    assert f"{repository} at revision {revision}" in message
    assert way_out in message
    if what == "model":  # the other client names no address
        assert endpoint in message
    assert 10 < seconds_of_waits(done) < 120  # patient with a network that is away for a moment, and no more than that
