"""fetch_model from wheels and folders (the Hub: test_hub.py)."""

import hashlib
import json
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from lenscore.errors import SourceError, StoreError
from lenscore.extraction.checked_run import CheckedRun
from lenscore.extraction.tokens import TokenisedContext
from lenscore.sources.model_files import local_model_files
from lenscore.sources.models import fetch_model
from lenscore.study.models import ModelSpec
from tests.helpers_sources import SENTENCES, kill_at_the_line, save_tiny_gpt2, trained_tokenizer
from tests.tiny_gguf import LAYERS, write_gguf

MEMBER = "tiny_llm/tiny.Q4_1.gguf"


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpt2")
    save_tiny_gpt2(folder)
    return folder


def copy_of(folder: Path, target: Path, without: str = "") -> Path:
    target.mkdir()
    for path in folder.iterdir():
        if path.name != without:
            (target / path.name).write_bytes(path.read_bytes())
    return target


def test_folder_is_copied_and_stays_as_it_was(gpt2: Path, tmp_path: Path) -> None:
    source = copy_of(gpt2, tmp_path / "source")
    for name in ("pytorch_model.bin", "model.fp16.safetensors", "notes.txt"):
        (source / name).write_bytes(b"not wanted")
    (source / "onnx").mkdir()
    (source / "onnx" / "config.json").write_bytes(b"{}")
    target = tmp_path / "models" / "tiny"
    target.mkdir(parents=True)  # as Snakemake does
    fetch_model(ModelSpec(source=f"path:{source}"), target, "tiny")
    wanted = {path.name for path in gpt2.iterdir()}
    assert {path.name for path in target.iterdir()} == wanted | {"manifest.json"}
    assert json.loads((target / "manifest.json").read_bytes()) == {
        "source": f"path:{source}",
        "revision": None,
        "files": {name: hashlib.sha256((gpt2 / name).read_bytes()).hexdigest() for name in wanted},
    }
    (source / "config.json").write_bytes(b"changed in place")
    assert (target / "config.json").read_bytes() == (gpt2 / "config.json").read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["tiny"]


def test_shards_and_their_index_are_taken(tmp_path: Path) -> None:
    save_tiny_gpt2(tmp_path / "source", max_shard_size="60KB")
    shards = {path.name for path in (tmp_path / "source").glob("model-*.safetensors")}
    assert len(shards) > 1
    fetch_model(ModelSpec(source=f"path:{tmp_path / 'source'}"), tmp_path / "target", "tiny")
    assert {path.name for path in (tmp_path / "target").glob("model*")} == shards | {"model.safetensors.index.json"}
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "target").config.n_layer == 2

    (tmp_path / "source" / sorted(shards)[1]).unlink()
    with pytest.raises(SourceError, match=f"shards that are missing: {sorted(shards)[1]}"):
        fetch_model(ModelSpec(source=f"path:{tmp_path / 'source'}"), tmp_path / "target", "tiny")
    assert len(list((tmp_path / "target").glob("model-*.safetensors"))) == len(shards)


@pytest.mark.parametrize(
    "scheme",
    [
        "model-{0:05}-of-{1:06}.safetensors",
        "model-{0}-of-{1}.safetensors",
        "model.safetensors-{0:05}-of-{1:05}.safetensors",
    ],
)
def test_shards_may_be_numbered_otherwise(tmp_path: Path, scheme: str) -> None:
    source = tmp_path / "source"
    save_tiny_gpt2(source, max_shard_size="60KB")
    shards = sorted(path.name for path in source.glob("model-*.safetensors"))
    index = (source / "model.safetensors.index.json").read_text()
    names = [scheme.format(number, len(shards)) for number in range(1, len(shards) + 1)]
    for old, new in zip(shards, names, strict=True):
        (source / old).rename(source / new)
        index = index.replace(old, new)
    (source / "model.safetensors.index.json").write_text(index)
    fetch_model(ModelSpec(source=f"path:{source}"), tmp_path / "target", "tiny")
    assert sorted(path.name for path in (tmp_path / "target").glob("*.safetensors")) == sorted(names)


@pytest.mark.parametrize(
    ("without", "fault"),
    [
        (
            "model.safetensors",
            r"no safetensors weights .*pytorch_model\.bin can run code.*save the model as safetensors.*it has ",
        ),
        ("config.json", r"no config\.json"),
        ("tokenizer.json", r"no tokenizer \(one of tokenizer\.json, "),
    ],
)
def test_incomplete_folder_is_refused(gpt2: Path, tmp_path: Path, without: str, fault: str) -> None:
    source = copy_of(gpt2, tmp_path / "source", without)
    (source / "pytorch_model.bin").write_bytes(b"not wanted")
    with pytest.raises(SourceError, match=fault):
        fetch_model(ModelSpec(source=f"path:{source}"), tmp_path / "target", "tiny")
    assert list(tmp_path.iterdir()) == [source]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"models\.tiny\.source: no folder .*none"):
        fetch_model(ModelSpec(source=f"path:{tmp_path / 'none'}"), tmp_path / "folder", "tiny")


def test_files_of_a_folder_are_known_before_any_job(
    gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = copy_of(gpt2, tmp_path / "source")
    for name in ("README.md", "pytorch_model.bin", "optimizer.safetensors"):
        (source / name).write_bytes(b"not wanted")
    monkeypatch.chdir(tmp_path)
    assert local_model_files("path:source", "tiny") == sorted(Path("source", path.name) for path in gpt2.iterdir())
    assert local_model_files("hub:lab/tiny", "tiny") == []
    assert local_model_files("wheel:tiny==1.0", "tiny") == []
    (source / "config.json").unlink()
    with pytest.raises(SourceError, match=r"^models\.tiny\.source: source: no config\.json; it has README\.md, "):
        local_model_files("path:source", "tiny")
    with pytest.raises(SourceError, match=r"^models\.tiny\.source: no folder none \(the working directory is "):
        local_model_files("path:none", "tiny")


def test_folder_that_is_as_expected_is_taken(gpt2: Path, tmp_path: Path) -> None:
    expected = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in gpt2.iterdir()}
    fetch_model(ModelSpec(source=f"path:{gpt2}"), tmp_path / "target", "tiny", expected)
    assert json.loads((tmp_path / "target/manifest.json").read_bytes())["files"] == expected


@pytest.mark.parametrize("changed", ["config.json", "model.safetensors", "generation_config.json", "merges.txt"])
def test_folder_that_changed_after_it_was_hashed_is_refused(gpt2: Path, tmp_path: Path, changed: str) -> None:
    source = copy_of(gpt2, tmp_path / "source")
    expected = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in source.iterdir()}
    if changed == "generation_config.json":
        (source / changed).unlink()
    else:  # merges.txt is new
        (source / changed).write_bytes(b"changed")
    with pytest.raises(SourceError) as raised:
        fetch_model(ModelSpec(source=f"path:{source}"), tmp_path / "target", "tiny", expected)
    assert str(raised.value) == f"models.tiny.source: {source}: {changed} changed after the run had started; run again"
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


PINNED = {"member": "a.gguf", "sha256": "0" * 64}


def test_models_of_different_sources_have_different_folders() -> None:
    specs = [
        ModelSpec(source="path:one"),
        ModelSpec(source="path:two"),
        ModelSpec(source="hub:lab/one", revision="1" * 40),
        ModelSpec(source="hub:lab/one", revision="2" * 40),
        ModelSpec(source="wheel:one==1.0", **PINNED),
        ModelSpec(source="wheel:one==1.0", **{**PINNED, "member": "b.gguf"}),
        ModelSpec(source="wheel:one==1.0", **{**PINNED, "sha256": "1" * 64}),
    ]
    names = [spec.folder_name("tiny", 0) for spec in specs]
    assert len(set(names)) == len(specs)
    assert all(re.fullmatch("tiny-[0-9a-f]{8}", name) for name in names)
    # How a model is run has no part in what is fetched.
    same = ModelSpec(source="path:one", dtype="bfloat16", window=64)
    assert same.folder_name("tiny", 0) == names[0]
    assert specs[0].folder_name("other", 0) == names[0].replace("tiny", "other")
    # The study's seed has a part in what is drawn, and none in what is fetched.
    drawn = ModelSpec(source="path:one", weights="untrained")
    assert specs[0].folder_name("tiny", 1) == names[0]
    assert len({names[0], drawn.folder_name("tiny", 0), drawn.folder_name("tiny", 1)}) == 3


@pytest.mark.parametrize("max_shard_size", ["5GB", "60KB"])
def test_untrained_weights_are_those_of_a_new_model_of_the_config(tmp_path: Path, max_shard_size: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    save_tiny_gpt2(source, max_shard_size=max_shard_size)
    spec = ModelSpec(source=f"path:{source}", weights="untrained")
    state = torch.get_rng_state()
    fetch_model(spec, target, "tiny", seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    manifest = json.loads((target / "manifest.json").read_bytes())
    assert (manifest["source"], manifest["weights"], manifest["seed"]) == (spec.source, "untrained", 3)
    files = {path.name for path in target.iterdir()} - {"manifest.json"}
    assert manifest["files"] == {name: hashlib.sha256((target / name).read_bytes()).hexdigest() for name in files}
    others = {path.name for path in source.iterdir() if not path.name.startswith("model")}
    assert files == others | {"model.safetensors"}
    assert all((target / name).read_bytes() == (source / name).read_bytes() for name in others)

    trained, drawn = (AutoModelForCausalLM.from_pretrained(folder) for folder in (source, target))
    torch.manual_seed(3)
    new = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(source)).state_dict()
    assert drawn.state_dict().keys() == new.keys()
    for name, weight in drawn.state_dict().items():
        assert torch.equal(weight, new[name]), name
    # GPT-2 draws its embeddings from a normal distribution as wide as initializer_range, and has norms of ones.
    embeddings = drawn.transformer.wte.weight
    assert embeddings.std().item() == pytest.approx(drawn.config.initializer_range, rel=0.1)
    assert not torch.allclose(embeddings, trained.transformer.wte.weight, atol=1e-3)
    assert (drawn.transformer.ln_f.weight == 1).all()
    run = CheckedRun.load(target, device="cpu")
    list(run.states([[TokenisedContext([5, 6, 7, 8, 9], 3, False)]]))  # its self-check holds as for any model
    assert run.self_check_difference is not None

    fetch_model(spec, tmp_path / "again", "tiny", seed=3)
    fetch_model(spec, tmp_path / "other", "tiny", seed=4)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("target", "again", "other")]
    assert weights[0] == weights[1] != weights[2]


def test_git_lfs_pointer_is_not_weights(gpt2: Path, tmp_path: Path) -> None:
    source = copy_of(gpt2, tmp_path / "source")
    (source / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(SourceError, match=r"model\.safetensors .*is not a safetensors file.*git lfs pull"):
        fetch_model(ModelSpec(source=f"path:{source}"), tmp_path / "target", "tiny")


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A wheel with a GGUF member, and the tensors that are encoded in the member."""
    folder = tmp_path_factory.mktemp("index")
    meant = write_gguf(folder / "tiny.gguf")
    write_gguf(folder / "holed.gguf", without="blk.1.ffn_up.weight")
    wheel = folder / "tiny_llm-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(folder / "tiny.gguf", MEMBER)
        archive.write(folder / "holed.gguf", "tiny_llm/holed.gguf")
        archive.writestr("tiny_llm/short.gguf", "GGUF and no more")
        archive.writestr("tiny_llm/text.gguf", "not GGUF")
        info = "tiny_llm-1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-llm\nVersion: 1.0\nRequires-Dist: none-such\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel, meant


@pytest.fixture
def wheel_spec(tiny_llama: tuple[Path, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The wheel as a config names it; pip is set, as a user may, to find it in a folder and nothing elsewhere."""
    wheel, _ = tiny_llama
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return {"source": "wheel:tiny-llm==1.0", "member": MEMBER, "sha256": sha256}


def test_wheel_is_dequantised(
    tiny_llama: tuple[Path, dict[str, np.ndarray]], wheel_spec: dict[str, str], tmp_path: Path
) -> None:
    target = tmp_path / "models" / "tiny"
    fetch_model(ModelSpec(**wheel_spec), target, "tiny")
    assert [path.name for path in target.parent.iterdir()] == ["tiny"]
    weights, meant = load_file(target / "model.safetensors"), tiny_llama[1]
    assert weights.keys() == meant.keys()
    for name, tensor in meant.items():
        assert weights[name].dtype == np.float32
        np.testing.assert_allclose(weights[name], tensor, atol=1e-6, err_msg=name)

    manifest = json.loads((target / "manifest.json").read_bytes())
    assert {key: manifest[key] for key in ("source", "member", "sha256")} == wheel_spec
    assert manifest["files"] == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in target.iterdir()
        if path.name != "manifest.json"
    }
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= manifest["files"].keys()

    tokenizer = AutoTokenizer.from_pretrained(target)
    assert tokenizer(SENTENCES[0]).input_ids == trained_tokenizer()(SENTENCES[0]).input_ids
    model = AutoModelForCausalLM.from_pretrained(target)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.num_hidden_layers == LAYERS

    again = tmp_path / "models" / "again"
    fetch_model(ModelSpec(**wheel_spec), again, "tiny")
    assert (again / "manifest.json").read_bytes() == (target / "manifest.json").read_bytes()


def test_a_gguf_file_is_dequantised_as_a_wheels_is(tmp_path: Path) -> None:
    source = tmp_path / "tiny model.gguf"
    meant = write_gguf(source)
    expected = {source.name: hashlib.sha256(source.read_bytes()).hexdigest()}
    assert local_model_files(f"path:{source}", "tiny") == [source]
    fetch_model(ModelSpec(source=f"path:{source}"), tmp_path / "target", "tiny", expected)
    weights = load_file(tmp_path / "target" / "model.safetensors")
    assert weights.keys() == meant.keys()
    for name, tensor in meant.items():
        np.testing.assert_allclose(weights[name], tensor, atol=1e-6, err_msg=name)
    manifest = json.loads((tmp_path / "target" / "manifest.json").read_bytes())
    assert (manifest["source"], manifest["gguf"]) == (f"path:{source}", expected)
    assert {path.name for path in (tmp_path / "target").iterdir()} == {*manifest["files"], "manifest.json"}

    source.write_bytes(source.read_bytes() + b"more")
    with pytest.raises(SourceError, match=r"tiny model\.gguf changed after the run had started"):
        fetch_model(ModelSpec(source=f"path:{source}"), tmp_path / "other", "tiny", expected)


@pytest.mark.parametrize("kept", [4, 20, 24, 2_000, 8_000, 40_000, -1])
def test_a_gguf_file_that_is_cut_off_is_told_to_be(tmp_path: Path, kept: int) -> None:
    """In its head, its metadata, its list of tensors, its weights."""
    source = tmp_path / "tiny.gguf"
    write_gguf(source)
    content = source.read_bytes()[:kept]
    source.write_bytes(content)
    with pytest.raises(
        SourceError, match=rf"^tiny\.gguf \({len(content):,} bytes\) is cut off or damaged, .*; fetch it "
    ):
        fetch_model(ModelSpec(source=f"path:{source}"), tmp_path / "target", "tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]


def gguf_with(value: bytes) -> bytes:
    """Return a GGUF file of one array, whose item type and length, and what follows, are given."""
    return b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<I", 9) + value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(struct.pack("<IQ", 6, 2**40) + bytes(64), id="a length that no file has"),
        pytest.param(struct.pack("<IQ", 9, 1) * 3000 + struct.pack("<IQI", 4, 1, 7), id="arrays in arrays"),
    ],
)
def test_a_gguf_file_whose_metadata_does_not_end_is_refused_at_once(tmp_path: Path, value: bytes) -> None:
    source = tmp_path / "tiny.gguf"
    source.write_bytes(gguf_with(value))
    with pytest.raises(SourceError, match=r"^tiny\.gguf \([\d,]+ bytes\) is cut off or damaged, .*; fetch it again"):
        fetch_model(ModelSpec(source=f"path:{source}"), tmp_path / "target", "tiny")


@pytest.mark.parametrize("content", [b"", b"GGU", b"<html>an error</html>"])
def test_a_file_that_is_no_gguf_is_told_by_how_it_begins(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "tiny.gguf"
    source.write_bytes(content)
    begins = re.escape(repr(content[:4]))
    with pytest.raises(
        SourceError, match=rf"^tiny\.gguf \({len(content)} bytes\) is no GGUF file: it begins with {begins},"
    ):
        fetch_model(ModelSpec(source=f"path:{source}"), tmp_path / "target", "tiny")


def test_a_gguf_model_in_several_files_is_the_model(tmp_path: Path) -> None:
    write_gguf(tmp_path / "whole.gguf")
    write_gguf(tmp_path / "tiny.gguf", tensors_a_file=8)
    parts = sorted(tmp_path.glob("tiny-*.gguf"))
    assert [part.name for part in parts] == [f"tiny-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert local_model_files(f"path:{parts[1]}", "tiny") == parts
    for source, target in (("whole.gguf", "whole"), (parts[0].name, "joined")):
        fetch_model(ModelSpec(source=f"path:{tmp_path / source}"), tmp_path / target, "tiny")
    whole, joined = (load_file(tmp_path / target / "model.safetensors") for target in ("whole", "joined"))
    assert whole.keys() == joined.keys()
    assert all(np.array_equal(whole[name], joined[name]) for name in whole)
    for name in ("config.json", "tokenizer.json"):
        assert (tmp_path / "joined" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    parts[2].unlink()
    with pytest.raises(SourceError, match=r"models\.tiny\.source: no file .*tiny-00003-of-00003\.gguf "):
        local_model_files(f"path:{parts[0]}", "tiny")


def test_missing_files_of_a_gguf_model_are_counted(tmp_path: Path) -> None:
    (tmp_path / "tiny-00001-of-99999.gguf").write_bytes(b"GGUF")
    with pytest.raises(SourceError, match=r"no file \S+tiny-00002-of-99999\.gguf, .* and 99995 more \(") as raised:
        local_model_files(f"path:{tmp_path / 'tiny-00001-of-99999.gguf'}", "tiny")
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"without": "output_norm.weight"}, r"missing are model\.norm\.weight"),
        ({"blocks": 1}, r"its metadata has 1 blocks \(block_count\), its weights 2"),
        ({"blocks": 3}, r"missing are model\.layers\.2\."),
    ],
)
def test_a_gguf_file_that_lacks_or_has_too_much(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    write_gguf(tmp_path / "tiny.gguf", **options)
    with pytest.raises(SourceError, match=says):
        fetch_model(ModelSpec(source=f"path:{tmp_path / 'tiny.gguf'}"), tmp_path / "target", "tiny")
    assert not (tmp_path / "target").exists()


def test_a_folder_of_gguf_files_says_how_to_name_one(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    with pytest.raises(SourceError, match=r"name it: path:<folder>/tiny\.gguf"):
        local_model_files(f"path:{tmp_path}", "tiny")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"sha256": "0" * 64}, ["tiny_llm-1.0-py3-none-any.whl", "expected SHA-256 " + "0" * 64, "found "]),
        ({"member": "tiny_llm/other.gguf"}, ["no member tiny_llm/other.gguf", f"{MEMBER}, tiny_llm/holed.gguf"]),
        ({"member": "tiny_llm/text.gguf"}, ["text.gguf (8 bytes) is no GGUF file: it begins with b'not '"]),
        ({"member": "tiny_llm/short.gguf"}, ["short.gguf (16 bytes) is cut off or damaged", "fetch it again"]),
        ({"member": "tiny_llm/holed.gguf"}, ["holed.gguf: ", "missing are model.layers.1.mlp.up_proj.weight"]),
        (
            {"source": "wheel:tiny-llm==2.0"},
            ["wheel tiny-llm==2.0", "No matching", 'models.tiny.source: "path:<folder>"'],
        ),
    ],
)
def test_wheel_that_will_not_do(
    wheel_spec: dict[str, str], tmp_path: Path, change: dict[str, str], parts: list[str]
) -> None:
    with pytest.raises(SourceError) as raised:
        fetch_model(ModelSpec(**(wheel_spec | change)), tmp_path / "models" / "tiny", "tiny")
    for part in parts:
        assert part in str(raised.value)
    if "sha256" in change:
        assert wheel_spec["sha256"] in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list((tmp_path / "models").iterdir()) == []


HUNG = """
import json, sys, time
from pathlib import Path
from lenscore.sources import models
from lenscore.study.models import ModelSpec

def hang(*arguments, **hashes):
    print("the wheel is there", flush=True)
    time.sleep(600)

models.check_hash = hang
models.fetch_model(ModelSpec(**json.loads(sys.argv[1])), Path(sys.argv[2]), "tiny")
"""


def test_what_a_killed_fetch_left_is_removed_by_the_next(wheel_spec: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / "models" / "tiny-0a1b2c3d"
    kill_at_the_line("the wheel is there", HUNG, json.dumps(wheel_spec), str(target))
    assert len(list(target.parent.rglob("*.whl"))) == 1
    assert not target.exists()
    fetch_model(ModelSpec(**wheel_spec), target, "tiny")
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    manifest = json.loads((target / "manifest.json").read_bytes())
    assert {path.name for path in target.iterdir()} == manifest["files"].keys() | {"manifest.json"}


def test_a_model_with_more_blocks_than_the_database_holds_is_refused(gpt2: Path, tmp_path: Path) -> None:
    source = copy_of(gpt2, tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"n_layer": 127}))
    with pytest.raises(StoreError, match=r"models\.tiny: path:.* has 127 blocks; .*room for 126"):
        fetch_model(ModelSpec(source=f"path:{source}"), tmp_path / "target", "tiny")
    assert not (tmp_path / "target").exists()
