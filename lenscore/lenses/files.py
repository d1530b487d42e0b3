"""The files of a trained lens: its tensors, its manifest, its divergences."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lenscore.errors import SourceError
from lenscore.files import sha256_of_file, write_json, written_whole
from lenscore.records import write_table
from lenscore.sources.manifest import MANIFEST
from lenscore.sources.model_files import select_files

_ADVICE = "train the lens anew (delete the file, or snakemake --forcerun train_lens)"


@dataclass(frozen=True)
class TrainedLens:
    """What a training makes.

    Attributes:
        tensors: of the lens, by name.
        divergences: ``lenscore.lenses.divergences.LENS_DIVERGENCES``.
        facts: what the manifest says of model, texts, settings and versions; JSON-able.
    """

    tensors: Mapping[str, Tensor]
    divergences: pa.Table
    facts: Mapping[str, Any]

    def write(self, file: Path, manifest: Path, divergences: Path) -> None:
        """Write safetensors, the manifest with their SHA-256, and the divergences."""
        with written_whole(file) as beside:
            save_file({name: tensor.contiguous() for name, tensor in self.tensors.items()}, beside)
        write_table(self.divergences, divergences)
        write_json(manifest, {**self.facts, "sha256": sha256_of_file(file)})


def model_files(model_folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each of a model's files: from its manifest, if the workflow has fetched it."""
    try:
        manifest = json.loads((model_folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        names = (path.name for path in model_folder.iterdir() if path.is_file())
        return {name: sha256_of_file(model_folder / name) for name in select_files(names, str(model_folder))}
    files: dict[str, str] = manifest["files"]
    return files


def read_lens(file: Path, model_folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a lens that was trained for a model.

    Args:
        file: the safetensors, with their manifest beside them as ``<name>.json``.
        model_folder: of the model that is to be read through the lens.

    Raises:
        SourceError: the file is missing, not what its manifest says, or was trained for another model.
    """
    try:
        manifest = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        found, expected, trained_for = sha256_of_file(file), manifest["sha256"], manifest["model"]["files"]
        tensors = load_file(file)
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise SourceError(f"{file}: not a trained lens ({type(error).__name__}: {error}); {_ADVICE}") from error
    if found != expected:
        raise SourceError(f"{file}: its SHA-256 is {found}, in its manifest {expected}; {_ADVICE}")
    files = model_files(model_folder)
    if differing := sorted(name for name in {*files, *trained_for} if files.get(name) != trained_for.get(name)):
        raise SourceError(
            f"{file}: was trained for another model than {model_folder.name}: {', '.join(differing)} differ; {_ADVICE}"
        )
    return tensors


def read_manifest(manifest: Path) -> dict[str, Any]:
    """Return what a lens's manifest says.

    Raises:
        SourceError: it is no manifest.
    """
    try:
        facts: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{manifest}: not the manifest of a trained lens ({error}); {_ADVICE}") from error
    return facts


def wrong_tensors(file: Path, fault: str) -> SourceError:
    """Return the error of a lens whose tensors do not fit the model."""
    return SourceError(f"{file}: {fault}; {_ADVICE}")
