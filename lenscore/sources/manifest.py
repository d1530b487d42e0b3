"""What a folder of resources says about itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenscore.files import sha256_of_file, write_json

MANIFEST = "manifest.json"


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``manifest.json``: ``facts``, and under "files" the SHA-256 of every other file of the folder.

    It holds no time and no path of this machine: the same content gives the same bytes.
    """
    files = {path.name: sha256_of_file(path) for path in folder.iterdir() if path.name != MANIFEST}
    write_json(folder / MANIFEST, {**facts, "files": files})
