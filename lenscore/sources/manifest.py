"""manifest.json: what a folder of resources contains, and where it was fetched from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenscore.errors import SourceError
from lenscore.files import sha256_of_file, write_json

MANIFEST = "manifest.json"


def hashes_of_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 in hex of every file of a folder, by its name; the manifest is not among them."""
    return {path.name: sha256_of_file(path) for path in folder.iterdir() if path.name != MANIFEST}


def write_manifest(folder: Path, facts: Mapping[str, Any], hashes: Mapping[str, str]) -> None:
    """Write ``manifest.json``: ``facts``, and ``hashes`` (of ``hashes_of_files``) under "files".

    It has no time and no path of this machine in it: the same content gives the same bytes.
    """
    write_json(folder / MANIFEST, {**facts, "files": hashes})


def check_unchanged(source: str, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Check that the files that were read are those that the run was planned for.

    Args:
        source: what messages call the source.
        found: SHA-256 in hex of each file that was read, by its name.
        expected: the same, as it was when the run was planned.

    Raises:
        SourceError: a file differs, was added or is gone.
    """
    changed = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if changed:
        raise SourceError(f"{source}: {', '.join(changed)} changed after the run had started; run again")
