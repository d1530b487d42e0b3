"""The config's one shape: what it refuses and in which words, its defaults, and the schema made from it."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from lenscore.errors import ConfigError
from lenscore.study.config_arguments import check_config_arguments
from lenscore.study.study import Study, read_study

ROOT = Path(__file__).resolve().parent.parent
SHA256 = "0123456789abcdef" * 4
COMMIT = "0123456789" * 4
WHEEL = {"source": "wheel:tiny==1.0", "member": "tiny/tiny.gguf", "sha256": SHA256}

LEAST: dict[str, Any] = {
    "study": "s",
    "dataset": {"source": "embedded:questions"},
    "questions": 3,
    "context_sets": {"main": {"documents": [5]}},
    "models": {"m": {"source": "path:model"}},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the least config with one key set; sections on the way are made where they are missing."""
    config = copy.deepcopy(LEAST)
    section = config
    *parents, last = path.split("/")
    for key in parents:
        section = section.setdefault(key, {})
    section[last] = value
    return config


def faults(config: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read_study(config)
    first, *lines = str(raised.value).splitlines()
    assert first == "the config cannot be run:"
    assert all(line.startswith("  ") for line in lines)
    return [line[2:] for line in lines]


def test_defaults() -> None:
    study = read_study(LEAST)
    assert study.model_dump(mode="json") == {
        "study": "s",
        "dataset": {
            "source": "embedded:questions",
            "format": "auto",
            "sha256": None,
            "git_blob": None,
            "revision": None,
            "config": None,
            "split": "validation",
        },
        "questions": 3,
        "seed": 0,
        "shard_size": 25,
        "missing_answer": "error",
        "answer_in_distractors": "keep",
        "context_sets": {
            "main": {
                "documents": [5],
                "positions": 5,
                "distractors": "auto",
                "prompt": "few_shot",
                "order": "shuffled",
                "orders": 1,
                "controls": [],
                "overflow": "error",
                "cut": "answer",
                "seed": 0,
            }
        },
        "models": {
            "m": {
                "source": "path:model",
                "revision": None,
                "member": None,
                "sha256": None,
                "weights": "trained",
                "dtype": "float32",
                "matmul": "exact",
                "window": None,
                "chat": {"date": "2025-01-01", "arguments": {}},
            }
        },
        "lenses": ["logit"],
        "tuned_lens": {
            "questions": 200,
            "held_out": 50,
            "tokens_per_document": 32,
            "steps": 32,
            "batch": 256,
            "learning_rate": 1e-3,
            "seed": 0,
            "seeds": 1,
        },
        "ablation": {
            "questions": 0,
            "documents": None,
            "replacements": ["skip"],
            "scopes": ["all", "answer"],
            "reference": 8,
        },
        "extraction": {"top_k": 5, "device": "auto"},
        "analysis": {
            "resamples": 2000,
            "confidence": 0.95,
            "seed": 0,
            "permutations": 4999,
            "smallest_effect": {"share": 0.0167, "layers": None},
            "first_token": "content",
            "jsd_threshold": 0.125,
            "primary": {
                "measure": "refinement_depth",
                "tokens": "content",
                "population": "every_position",
                "lens": None,
            },
            "regions": 3,
        },
        "report": {"title": None, "examples": 1},
    }
    assert Study.model_validate(study.model_dump(mode="json")) == study


@pytest.mark.parametrize(
    ("section", "known"),
    [
        ("", "study, dataset, questions"),
        ("dataset/", "source, format"),
        ("context_sets/main/", "documents, positions"),
        ("models/m/", "source, revision"),
        ("extraction/", "top_k, device"),
        ("analysis/", "resamples, confidence"),
        ("report/", "title"),
    ],
)
def test_unknown_key_is_refused_at_every_level(section: str, known: str) -> None:
    (line,) = faults(changed(section + "sede", 1))
    assert line.startswith(f"{section.replace('/', '.')}sede: unknown key; ")
    assert f"those known here are {known}" in line


@pytest.mark.parametrize(
    "path", ["study", "dataset", "questions", "context_sets", "models", "dataset/source", "context_sets/main/documents"]
)
def test_missing_key_is_named(path: str) -> None:
    config = copy.deepcopy(LEAST)
    section = config
    *parents, last = path.split("/")
    for key in parents:
        section = section[key]
    del section[last]
    assert faults(config) == [f"{path.replace('/', '.')}: is missing, and has no default"]


WHOLE_NUMBERS = [
    "questions",
    "seed",
    "shard_size",
    "context_sets/main/seed",
    "models/m/window",
    "extraction/top_k",
    "analysis/resamples",
    "analysis/seed",
    "analysis/regions",
    "report/examples",
]


@pytest.mark.parametrize("path", WHOLE_NUMBERS)
@pytest.mark.parametrize("value", [True, 128.0, "128", [128]])
def test_whole_number_is_not_taken_from_another_type(path: str, value: object) -> None:
    assert faults(changed(path, value)) == [f"{path.replace('/', '.')}: must be a whole number; found {value!r}"]


@pytest.mark.parametrize(
    ("path", "least"),
    [
        ("questions", 1),
        ("seed", 0),
        ("shard_size", 1),
        ("models/m/window", 8),
        ("extraction/top_k", 1),
        ("report/examples", 0),
    ],
)
def test_least_values(path: str, least: int) -> None:
    read_study(changed(path, least))
    (line,) = faults(changed(path, least - 1))
    assert re.fullmatch(rf"{path.replace('/', '.')}: must be at least {least}; found {least - 1}", line)


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("analysis/confidence", True, "analysis.confidence: must be a number; found True"),
        ("analysis/confidence", "0.9", "analysis.confidence: must be a number; found '0.9'"),
        ("analysis/confidence", 1.0, "analysis.confidence: must be less than 1.0; found 1.0"),
        ("analysis/confidence", 0.5, "analysis.confidence: must be more than 0.5; found 0.5"),
        ("analysis/smallest_effect", 0.5, "analysis.smallest_effect: must be a section of keys; found 0.5"),
        ("analysis/smallest_effect", {}, "analysis.smallest_effect.share: give either the share or the layers, .*"),
        (
            "analysis/smallest_effect",
            {"share": 0.1, "layers": 1.0},
            "analysis.smallest_effect.share: give either the share or the layers, .*",
        ),
        ("analysis/smallest_effect", {"layers": 0}, "analysis.smallest_effect.layers: must be more than 0.*"),
        ("context_sets/main/documents", 5, r"context_sets.main.documents: must be a list, as in \[a, b\]; found 5"),
        ("context_sets/main/documents", [5, True], "context_sets.main.documents.1: must be a whole number; found True"),
        ("context_sets/main/documents", ["5"], "context_sets.main.documents.0: must be a whole number; found '5'"),
        ("context_sets/main/documents", [0], "context_sets.main.documents.0: must be at least 1; found 0"),
        ("context_sets/main/distractors", "bm52", "context_sets.main.distractors: .*'bm25'.*; found 'bm52'"),
        ("context_sets/main/overflow", "cut", "context_sets.main.overflow: .*'truncate_documents'; found 'cut'"),
        ("context_sets/main/controls", ["gold"], "context_sets.main.controls.0: .* or 'shuffled_gold'; found 'gold'"),
        ("context_sets/main", None, "context_sets.main: must be a section of keys; found None"),
        ("context_sets", {}, "context_sets: must not be empty; found {}"),
        ("models", ["gpt2"], r"models: must be a section of keys; found \['gpt2'\]"),
        ("models/m/dtype", "float64", "models.m.dtype: .*'float16'; found 'float64'"),
        ("models/m/matmul", "tf32", "models.m.matmul: .*'bf16'; found 'tf32'"),
        ("dataset", "embedded:questions", "dataset: must be a section of keys; found 'embedded:questions'"),
        ("dataset/source", "embedded:others", "dataset.source: must be embedded:questions, path:<file>, .*'embedded:o"),
        ("dataset/source", "url:file:///x", "dataset.source: .*url:<https address>"),
        ("dataset/split", 1, "dataset.split: must be text; put it in quotes; found 1"),
        ("models/m/source", "gpt2", "models.m.source: must be hub:<owner/name>, .*; found 'gpt2'"),
        ("models/m/source", "wheel:tiny", "models.m.source: must be .* wheel:<package>==<version>"),
        ("models/m/source", "hub:a/b/c", "models.m.source: must be hub:<owner/name>"),
        ("lenses", "logit", "lenses: must be a list"),
        ("lenses", [], r"lenses: must not be empty; found \[\]"),
        ("lenses", ["probe"], "lenses.0: must be one of logit, tuned, trimmed; found 'probe'"),
        ("lenses", ["logit", "logit"], "lenses: must not name a value twice"),
        ("ablation", {"scopes": ["all", "all"]}, "ablation.scopes: must not name a value twice"),
        (
            "ablation",
            {"documents": [5, 7]},
            r"ablation.documents: \[7\] are numbers of no context set; there are \[5\]",
        ),
        ("ablation", {"questions": 4}, "ablation.questions: 4 are asked for, but the study has 3"),
        ("context_sets/main/orders", 0, "context_sets.main.orders: must be at least 1; found 0"),
    ],
)
def test_wrong_value_is_named_with_what_would_be_right(path: str, value: object, line: str) -> None:
    (found,) = faults(changed(path, value))
    assert re.match(line, found), found


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"documents": []}, "documents"),
        ({"documents": [5, 10, 5]}, "documents"),
        ({"documents": [5], "controls": ["oracle", "oracle"]}, "controls"),
    ],
)
def test_impossible_context_set(section: dict[str, Any], key: str) -> None:
    (line,) = faults(changed("context_sets/main", section))
    assert line.startswith(f"context_sets.main.{key}: must not ")


def test_controls_alone_are_a_context_set() -> None:
    read_study(changed("context_sets/main", {"documents": [], "controls": ["closed_book"]}))


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"source": "hub:lab/x"}, "dataset.revision: a hub: dataset needs its revision, the 40 hex digits of a commit"),
        ({"source": "hub:lab/x", "revision": "main"}, "dataset.revision: must be a full git id: 40 hex digits.*'main'"),
        ({"source": "hub:lab/x", "revision": COMMIT, "sha256": SHA256}, "dataset.sha256: belongs to path: and url: "),
        ({"source": "url:https://example.org/x"}, "dataset.sha256: a url: dataset needs sha256 or git_blob"),
        ({"source": "url:https://example.org/x", "sha256": "ab"}, "dataset.sha256: must be a SHA-256: 64 hex .*'ab'"),
        ({"source": "url:https://example.org/x", "sha256": SHA256.upper()}, "dataset.sha256: .*letters small"),
        ({"source": "path:x", "revision": COMMIT}, "dataset.revision: belongs to hub: datasets, not to path:"),
        ({"source": "path:x", "config": "c"}, "dataset.config: belongs to hub: datasets, not to path:"),
        ({"source": "embedded:questions", "git_blob": COMMIT}, "dataset.git_blob: belongs to .* not to embedded:"),
    ],
)
def test_dataset_that_is_not_pinned_or_has_another_kinds_key(section: dict[str, Any], line: str) -> None:
    (found,) = faults(changed("dataset", section))
    assert re.match(line, found), found


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"source": "hub:lab/x"}, "models.m.revision: a hub: model needs its revision, the 40 hex digits of a commit"),
        ({"source": "hub:lab/x", "revision": "v1"}, "models.m.revision: must be a full git id"),
        (WHEEL | {"member": None}, "models.m.member: a wheel: model needs member, the path of the GGUF file"),
        (WHEEL | {"sha256": None}, "models.m.sha256: a wheel: model needs sha256"),
        (WHEEL | {"revision": COMMIT}, "models.m.revision: belongs to hub: models, not to wheel:"),
        ({"source": "path:x", "sha256": SHA256}, "models.m.sha256: belongs to wheel: models, not to path:"),
        (
            {"source": "path:x", "matmul": "bf16", "dtype": "float16"},
            "models.m.matmul: bf16 is for dtype: float32; with ",
        ),
        ({"source": "hub:x", "revision": COMMIT, "member": "y"}, "models.m.member: must be a GGUF file"),
        ({"source": "path:x", "member": "y.gguf"}, "models.m.member: belongs to wheel: and hub: models, not to path:"),
    ],
)
def test_model_that_is_not_pinned_or_has_keys_that_cannot_be(section: dict[str, Any], line: str) -> None:
    (found,) = faults(changed("models/m", section))
    assert re.match(line, found), found


@pytest.mark.parametrize(
    "section",
    [WHEEL, {"source": "hub:gpt2", "revision": COMMIT}, {"source": "hub:lab/gpt2", "revision": COMMIT, "window": 64}],
)
def test_pinned_models(section: dict[str, Any]) -> None:
    read_study(changed("models/m", section))


# A name stands in paths, and between the others in a wildcard's pattern.
@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "../a", ".a", "_a", "a{b}", "a|b", "a\n", "é", "a" * 81])
@pytest.mark.parametrize("path", ["study", "models", "context_sets"])
def test_names_that_cannot_stand_in_paths(path: str, name: str) -> None:
    config = changed("study", name) if path == "study" else changed(path, {name: next(iter(LEAST[path].values()))})
    with pytest.raises(ConfigError, match=r"must be a name of small letters|at most 80"):
        read_study(config)


@pytest.mark.parametrize("name", ["a", "7b", "smollm2-1.7b_q4", "a" * 80])
def test_names_that_can(name: str) -> None:
    config = changed("models", {name: LEAST["models"]["m"]})
    assert list(read_study(config | {"study": name}).models) == [name]


def test_path_of_a_key_is_as_the_user_wrote_it() -> None:
    (line,) = faults(changed("models", {"smollm2-1.7b": {"source": "path:x", "window": "8"}}))
    assert line.startswith("models.smollm2-1.7b.window: ")
    lines = faults(changed("models", {"a(b)[c]": {"source": "path:x", "size": 1}}))
    assert [line.partition(": ")[0] for line in lines] == ["models.a(b)[c]", "models.a(b)[c].size"]


def test_every_fault_is_told_at_once() -> None:
    config = changed("context_sets/main/positions", True)
    config["questions"] = "3"
    config["models"]["m"]["sorce"] = "x"
    assert [line.partition(": ")[0] for line in faults(config)] == [
        "questions",
        "context_sets.main.positions",
        "models.m.sorce",
    ]


def test_dataset_names_are_paths_of_their_own() -> None:
    def name(**spec: str) -> str:
        return read_study(changed("dataset", spec)).dataset.name

    assert name(source="embedded:questions") == "embedded-questions"
    first = name(source="path:some/My Questions.jsonl.gz")
    assert re.fullmatch(r"my-questions-[0-9a-f]{8}", first)
    assert first == name(source="path:some/My Questions.jsonl.gz")
    others = {
        first,
        name(source="path:other/My Questions.jsonl.gz"),
        name(source="path:some/My Questions.jsonl.gz", format="questions"),
        name(source="path:some/My Questions.jsonl.gz", sha256=SHA256),
        name(source="url:https://example.org/My%20Questions.jsonl", sha256=SHA256),
    }
    assert len(others) == 5
    assert re.fullmatch(r"path-[0-9a-f]{8}", name(source="path:data/.jsonl"))


@pytest.mark.parametrize("value", ["4", "", "a=b", "[1", "{a: &a [*a], b: *a}", "{a: {c: 1}, b: {c: 1}}", "[" * 5000])
def test_settings_of_the_command_line_that_name_no_key_twice_pass(value: str) -> None:
    check_config_arguments([f"questions={value}", f"seed={value}", "other"])
