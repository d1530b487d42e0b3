"""Which of a model's files are read: weights, config and tokenizer, and nothing else in its folder.

Standard library only, since the Snakefile calls this module on every start.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from lenscore.errors import SourceError, shown_name

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
# As transformers names them, and as others do: DeepSeek-V3's have six digits, Kimi's one or two, some keep the suffix.
SHARDS = ("model-*-of-*.safetensors", "model.safetensors-*-of-*.safetensors")
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
SETTINGS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
_GGUF_PART = re.compile(r"(?P<model>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})(?P<suffix>\.gguf)", re.IGNORECASE)


def select_files(names: Iterable[str], where: str) -> list[str]:
    """Return the names of those files that are read, sorted; weights in other formats are not.

    Args:
        names: files at the top of a model's folder.
        where: what messages call the folder.

    Raises:
        SourceError: safetensors, config.json or a tokenizer is missing.
    """
    there = set(names)
    shards = {name for name in there if any(fnmatchcase(name, pattern) for pattern in SHARDS)}
    # As in transformers, one whole file takes precedence over shards.
    weights = {WEIGHTS} if WEIGHTS in there else shards | {INDEX} if shards and INDEX in there else set()
    tokenizer = there.intersection(TOKENIZERS)
    pickled = sorted(name for name in there if name.endswith(PICKLED))
    advice = ""
    if pickled:
        advice = f" (loading {pickled[0]} can run code, so it is not read: save the model as safetensors)"
    elif gguf := sorted(filter(is_gguf, there)):
        advice = f" (to read a GGUF file, name it: path:<folder>/{gguf[0]}, or member: {gguf[0]} of a hub: model)"
    for found, needed in (
        (weights, f"no safetensors weights ({WEIGHTS}, or {INDEX} and its shards){advice}"),
        ("config.json" in there, "no config.json"),
        (tokenizer, f"no tokenizer (one of {', '.join(TOKENIZERS)})"),
    ):
        if not found:
            raise SourceError(f"{where}: {needed}; it has {', '.join(sorted(there)) or 'no files'}")
    return sorted(weights | tokenizer | there.intersection(SETTINGS))


def is_gguf(file: str) -> bool:
    """Return whether a file's name is that of a GGUF model or of a part of one."""
    return file.lower().endswith(".gguf")


def gguf_parts(file: str) -> list[str]:
    """Return the names of the files that a GGUF model consists of, in order.

    Args:
        file: its only file, or any of those into which it was split, named …-00001-of-00003.gguf.
    """
    split = _GGUF_PART.fullmatch(file)
    if split is None:
        return [file]
    numbers = range(1, max(int(split["parts"]), 1) + 1)
    return [f"{split['model']}-{number:05}-of-{split['parts']}{split['suffix']}" for number in numbers]


def local_model_files(source: str, name: str) -> list[Path]:
    """Return the files that are read of a ``path:`` model, in order; none for sources that are not on this machine.

    Args:
        source: the model's ``source``; a relative ``path:`` counts from the working directory.
        name: the model's name in the config, for messages.

    Raises:
        SourceError: there is no such folder or GGUF file, or it lacks safetensors, config.json, a tokenizer or a part.
    """
    kind, _, place = source.partition(":")
    if kind != "path":
        return []
    try:
        return _files_at(Path(place), f"models.{name}.source")
    except OSError as error:  # a name that is too long, a folder that must not be read
        raise SourceError(f"models.{name}.source: {shown_name(place)}: cannot be read: {error.strerror}") from None


def _files_at(folder: Path, key: str) -> list[Path]:
    where = f"(the working directory is {shown_name(str(Path.cwd()))})"
    if is_gguf(folder.name) and not folder.is_dir():
        files = [folder.with_name(part) for part in gguf_parts(folder.name)]
        if missing := [shown_name(str(file)) for file in files if not file.is_file()]:
            named = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            raise SourceError(f"{key}: no file {named} {where}; all files of a GGUF model are needed")
        return files
    if not folder.is_dir():
        raise SourceError(
            f"{key}: no folder {shown_name(str(folder))} {where}; "
            "a folder with config.json, tokenizer and safetensors, or a GGUF file, is needed"
        )
    names = (path.name for path in folder.iterdir() if path.is_file())
    return [folder / file for file in select_files(names, f"{key}: {shown_name(str(folder))}")]
