"""Bad configs, YAML files and prompts."""

import copy
from pathlib import Path
from typing import Any

import yaml

from lenscore.sources.check import check_sources
from lenscore.study.config_arguments import check_config_arguments
from lenscore.study.prompt import read_template
from lenscore.study.study import read_study
from lenscore.study.yaml_files import read_config_file
from tests.bad_input.case import Case

CONFIG: dict[str, Any] = {
    "study": "s",
    "dataset": {"source": "embedded:questions"},
    "questions": 3,
    "context_sets": {"main": {"documents": [5]}},
    "models": {"m": {"source": "path:model"}},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """Return the least config with one key set; sections on the way are made where they are missing."""
    made = copy.deepcopy(CONFIG)
    section = made
    *parents, last = path.split("/")
    for key in parents:
        section = section.setdefault(key, {})
    section[last] = value
    return made


def config(path: str, value: object, *words: str, name: str | None = None) -> Case:
    """Return a case of a config with one bad key."""
    shown = name or f"{path.replace('/', '.')}: {value!r}"
    return Case("config", shown, lambda folder: read_study(changed(path, value)), ("the config cannot be run:", *words))


def text(name: str, content: str | bytes, *words: str) -> Case:
    """Return a case of a config's file, added to that of the least config."""

    def give(folder: Path) -> None:
        plain = content if isinstance(content, bytes) else content.encode()
        (folder / "study.yaml").write_bytes(yaml.safe_dump(CONFIG).encode() + plain)
        read_study(read_config_file(folder / "study.yaml"))

    return Case("yaml", name, give, words)


def argument(name: str, given: list[str], *words: str) -> Case:
    """Return a case of settings on the command line."""
    return Case("config", f"--config, {name}", lambda folder: check_config_arguments(given), words)


def whole_text(name: str, content: str, *words: str) -> Case:
    """Return a case of a config's file."""

    def give(folder: Path) -> None:
        (folder / "study.yaml").write_text(content)
        read_config_file(folder / "study.yaml")

    return Case("yaml", name, give, words)


def _check(changes: dict[str, Any], folder: Path) -> None:
    study = CONFIG | {"models": {"m": {"source": "hub:a/b", "revision": "0" * 40}}} | changes
    check_sources(read_study(study), folder / "manifest.json")


def prompt(name: str, content: str, *words: str) -> Case:
    """Return a case of a prompt of one's own."""

    def give(folder: Path) -> None:
        (folder / "prompt.yaml").write_text(content)
        read_template(folder / "prompt.yaml")

    return Case("prompt", name, give, words)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

CONFIGS = [
    config("study", "a/b", "study: must be a name of small letters", "'a/b'"),
    config("study", "../x", "study: must be a name"),
    config("study", "a b", "study: must be a name"),
    config("study", 'it"s', "study: must be a name"),
    config("study", "$(reboot)", "study: must be a name"),
    config("study", "{wildcards.model}", "study: must be a name"),
    config("study", "a\nb", "study: must be a name", "'a\\nb'"),
    config("study", "studie-ü", "study: must be a name"),
    config("study", "a" * 81, "study: ", "at most 80 characters"),
    config("study", 7, "study: must be text; put it in quotes; found 7"),
    config("study", True, "study: must be text; put it in quotes; found True"),
    config("questons", 3, "questons: unknown key; did you mean questions?"),
    config("contextsets", {}, "contextsets: unknown key; did you mean context_sets?"),
    config("analysis/resample", 3, "analysis.resample: unknown key; did you mean resamples?"),
    config("models/m/dtyp", "x", "models.m.dtyp: unknown key; did you mean dtype?"),
    config("zzz", 3, "zzz: unknown key; those known here are study, "),
    config("\x1b[2J", 3, "'\\x1b[2J': unknown key"),
    config("questions", "3", "questions: must be a whole number; found '3'"),
    config("questions", 3.0, "questions: must be a whole number; found 3.0"),
    config("questions", True, "questions: must be a whole number; found True"),
    config("questions", 0, "questions: must be at least 1; found 0"),
    config("questions", 10**9, "questions: must be at most 10000000; found 1000000000"),
    config("questions", 10**30, "questions: must be at most 10000000", name="questions: 10**30"),
    config("questions", int("9" * 4000), "questions: ", name="questions of 4,000 digits"),
    config("questions", None, "questions: must be a whole number; found None"),
    config("questions", [[["x"] * 1000] * 1000] * 1000,
         "questions: must be a whole number", name="a list of 10^9 words"),
    config("seed", -1, "seed: must be at least 0; found -1"),
    config("seed", 2**63, "seed: must be less than"),
    config("shard_size", 0, "shard_size: must be at least 1"),
    config("missing_answer", "keep", "missing_answer: ", "'error' or 'skip'", "found 'keep'"),
    config("answer_in_distractors", "skip", "answer_in_distractors: ", "'keep', 'drop' or 'error'"),
    config("dataset", "my.jsonl", "dataset: must be a section of keys"),
    config("dataset/source", "my.jsonl",
         "dataset.source: must be embedded:questions, path:<file>, url:<https address>"),
    config("dataset/source", "ftp://x", "dataset.source: must be"),
    config("dataset/source", "path:", "dataset.source: must be"),
    config("dataset/source", "path:a\nb", "dataset.source: must be"),
    config("dataset/source", "url:https://x/y", "dataset.sha256: a url: dataset needs sha256 or git_blob"),
    config("dataset/source", "hub:a/b", "dataset.revision: a hub: dataset needs its revision"),
    config("dataset/sha256", "abc", "dataset.sha256: must be a SHA-256: 64 hex digits"),
    config("dataset/format", "squat", "dataset.format: ", "'squad'", "found 'squat'"),
    config("context_sets", {}, "context_sets: must not be empty"),
    config("context_sets", [], "context_sets: must be a section of keys"),
    config("context_sets/a b", {"documents": [2]}, "context_sets", "must be a name"),
    config("context_sets/main", {"documents": []}, "documents: must not be empty where no controls are asked for"),
    config("context_sets/main/documents", 5, "documents: must be a list, as in [a, b]; found 5"),
    config("context_sets/main/documents", [0], "documents.0: must be at least 1; found 0"),
    config("context_sets/main/documents", [10**6], "documents.0: must be at most 10000"),
    config("context_sets/main/documents", [5, 5], "documents: must not name a value twice"),
    config("context_sets/main/documents", list(range(5, 2000)), "documents: ", name="2,000 numbers of documents"),
    config("context_sets/main/positions", 1, "positions: must be at least 2; found 1"),
    config("context_sets/main/positions", 6, "positions: asks for 6 places among 5 documents; at most 5"),
    config("context_sets/main/positions", [5], "positions: has gold index 5, but the last of 5 has index 4"),
    config("context_sets/main/positions", [-1], "positions", "must be at least 0"),
    config("context_sets/main/positions", [1, 1], "positions: must be one or more different gold indices"),
    config("context_sets/main/positions", "some", "positions: must be all, a count of 2 or more, or a list"),
    config("context_sets/main/distractors", "bm52", "distractors: ", "found 'bm52'"),
    config("context_sets/main/orders", 10**6, "orders: must be at most 1000"),
    config("models", {}, "models: must not be empty"),
    config("models/m/source", "gpt2", "models.m.source: must be hub:<owner/name>"),
    config("models/m/source", "wheel:--index-url==1", "models.m.source: must be hub:<owner/name>"),
    config("models/m/window", 7, "models.m.window: must be at least 8"),
    config("models/m/window", 2**31, "models.m.window: must be at most 2147483647"),
    config("models/m/chat", {"date": "today"}, "models.m.chat.date: must be a date as in 2025-01-31; found 'today'"),
    config("models/m/chat", {"date": "2025-02-30"}, "models.m.chat.date: day is out of range", "2025-02-30"),
    config("models/m/chat", {"arguments": {"messages": "x"}}, "models.m.chat.arguments: must not have messages"),
    config("models/m/chat", {"arguments": {"a b": 1}}, "models.m.chat.arguments: 'a b' cannot be the name"),
    config("models/m/chat", {"arguments": {"x": [1]}}, "models.m.chat.arguments.x"),
    config("models/m/chat", {"arguments": {"x": 10**4400}}, "models.m.chat.arguments.x: must be less than",
           name="an argument of 4,400 digits"),
    config("models/m/chat", {"arguments": {"x": "\ud800"}}, "models.m.chat.arguments.x: must be text; it has half a"),
    config("models/m/chat", {"arguments": {"study_date": "x"}}, "models.m.chat.arguments: must not have study_date"),
    config("models/m/member", "a" * 2000, "models.m.member: ", "at most 1000 characters", name="a long member"),
    config("dataset/split", "a\ud800", "dataset.split: must be text; it has half a surrogate pair"),
    config("context_sets/main/prompt", "a\0", "context_sets.main.prompt: must not have the character NUL"),
    config("lenses", ["logit", "logit"], "lenses: must not name a value twice"),
    config("lenses", ["logits"], "lenses.0: must be one of logit, tuned, trimmed; found 'logits'"),
    config("tuned_lens/learning_rate", float("nan"), "tuned_lens.learning_rate: must be a finite number; found nan"),
    config("tuned_lens/learning_rate", float("inf"), "tuned_lens.learning_rate: must be"),
    config("tuned_lens/learning_rate", 10**400, "tuned_lens.learning_rate: ", name="a learning rate of 10**400"),
    config("analysis/confidence", 95, "analysis.confidence: must be less than 1.0; found 95"),
    config("analysis/confidence", 0.5, "analysis.confidence: must be more than 0.5; found 0.5"),
    config("analysis/resamples", 10**12, "analysis.resamples: must be at most 1000000"),
    config("ablation/questions", 4, "ablation.questions: 4 are asked for, but the study has 3"),
    config("ablation/documents", [4], "ablation.documents: [4] are numbers of no context set; there are [5]"),
    config("report/title", "a" * 2000, "report.title: ", "at most 1000 characters", name="a title of 2,000 letters"),
    Case("config", "30 unknown keys", lambda folder: read_study(CONFIG | {f"k{i}": i for i in range(30)}),
         ("k9: unknown key", "and 20 more faults")),
    Case("config", "more questions than the dataset has", lambda folder: _check({"questions": 9999}, folder),
         ("questions: 9999 are asked for, but embedded:questions has",)),
    Case("config", "a model's folder with a name of 5,000 letters",
         lambda folder: _check({"models": {"m": {"source": "path:" + "a" * 5000}}}, folder),
         ("models.m.source: 'aaa", "cannot be read: File name too long")),
    Case("config", "a model's folder with an escape sequence",
         lambda folder: _check({"models": {"m": {"source": "path:\x1b[2J"}}}, folder),
         ("models.m.source: no folder '\\x1b[2J'",)),
    Case("config", "a prompt that is not there",
         lambda folder: _check({"context_sets": {"main": {"documents": [5], "prompt": "few_shots"}}}, folder),
         ("prompt 'few_shots': no such template; available: ",)),
    Case("config", "a prompt of 900 letters",
         lambda folder: _check({"context_sets": {"main": {"documents": [5], "prompt": "x" * 900}}}, folder),
         ("prompt 'xxx", "no such template; available: ")),
    text("a key twice", "questions: 5\n", "line ", "key 'questions' is there already, in line ",
         "each may be there once"),
    text("a key twice, deeper", "analysis: {seed: 1, seed: 2}\n", "key 'seed' is there already"),
    text("010", "seed: 010\n", "'010' is 8 (octal) to YAML", "write the number without that 0"),
    text("08", "seed: 08\n", "'08' is text to YAML"),
    text("1:10", "seed: 1:10\n", "'1:10' is 70 to YAML, which reads it to the base 60"),
    text("1e-3", "tuned_lens: {learning_rate: 1e-3}\n", "'1e-3' is text to YAML, not a number; write 1.0e-3"),
    text("1.5e3", "tuned_lens: {learning_rate: 1.5e3}\n", "'1.5e3' is text to YAML", "write 1.5e+3"),
    text("a number of 6,000 digits", f"seed: {'1' * 6000}\n", "line ", "a number of 6,000 digits"),
    text("a tag that does not fit", "seed: !!bool x\n", "not YAML: a tag"),
    text("a date that is none", "seed: !!timestamp x\n", "not YAML: a tag"),
    text("an infinity", "tuned_lens: {learning_rate: .inf}\n", "tuned_lens.learning_rate: must be", "found inf"),
    text("yes as a title", "report: {title: yes}\n", "report.title: must be text; put it in quotes; found True"),
    text("a date as a title", "report: {title: 2025-01-31}\n", "report.title: must be text; put it in quotes"),
    text("aliases that grow", BOMB, "with its aliases written out it has more than 100,000 values"),
    text("an alias that holds itself", "a: &a [*a]\n", "an alias that holds itself"),
    text("an unknown alias", "a: *b\n", "not YAML: found undefined alias"),
    text("a tab", "\tseed: 1\n", "not YAML"),
    text("not UTF-8", b"seed: \xff\n", "not YAML in UTF-8: byte "),
    text("a Python object", "seed: !!python/object/apply:os.system [ls]\n",
         "not YAML: could not determine a constructor"),
    whole_text("brackets without end", "[" * 100_000, "not YAML: nested too deeply"),
    whole_text("JSON with a key twice", '{"study": "a", "study": "b"}', "key 'study' is there twice in one object"),
    whole_text("a list", "[study]", "must hold keys and values, such as study: my-study; found ['study']"),
    whole_text("empty", "", "must hold keys and values, such as study: my-study; found None"),
    whole_text("broken off", '{"study": ', "not YAML: while parsing"),
    Case("yaml", "a folder", read_config_file, ("cannot be read: Is a directory",)),
    Case("yaml", "not there", lambda folder: read_config_file(folder / "none"), ("cannot be read: No such file",)),
    argument("a name twice", ["questions=4", "seed=1", "questions=5"],
             "--config: 'questions' is given 2 times; give it once"),
    argument("a key twice in a section", ["questions=4", "report={title: a, title: b}"],
             "--config 'report': key 'title' is there twice in one object"),
    argument("a key twice in a list", ["models=[{a: 1, b: {c: 2, c: 2}}]"],
             "--config 'models': key 'c' is there twice"),
    prompt("no YAML", "a: [", "not YAML"),
    prompt("a key twice", "description: a\ndescription: b\n", "key 'description' is there already"),
    prompt("a list", "[1]", "not a prompt template: (top level): must be a section of keys"),
    prompt("empty", "", "not a prompt template: (top level): must be a section of keys"),
    prompt("aliases that grow", BOMB, "more than 100,000 values"),
    prompt("a 13th month", "description: 2025-13-01\n", "not YAML: month must be in 1..12"),
]  # fmt: skip
