"""What a folder of resources says about itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenscore.errors import SourceError
from lenscore.files import sha256_of_file, write_json

MANIFEST = "manifest.json"
_IDENTITY = ("source", "revision", "member", "sha256")


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``manifest.json``: ``facts``, and under "files" the SHA-256 of every other file of the folder.

    It holds no time and no path of this machine: the same content gives the same bytes.
    """
    files = {path.name: sha256_of_file(path) for path in folder.iterdir() if path.name != MANIFEST}
    write_json(folder / MANIFEST, {**facts, "files": files})


def check_source(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Hold a model's folder to have been fetched from where the study says.

    Snakemake notices another source by what it remembers of the fetching, and it forgets where its own folder,
    ``.snakemake``, is removed.

    Args:
        folder: ``resources/models/<model>``.
        wanted: source, revision, member and sha256, of a ModelSpec.

    Raises:
        SourceError: it was not.
    """
    found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for key in _IDENTITY:
        if found.get(key) != wanted.get(key):
            raise SourceError(
                f"{folder} was fetched with {key} {found.get(key)!r}, and models.{folder.name}.{key} is "
                f"{wanted.get(key)!r}: fetch it anew (snakemake --forcerun fetch_model)"
            )
