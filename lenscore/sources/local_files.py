"""Files of datasets on this machine: which one a source names, and that it can be read.

Standard library only, since the Snakefile calls this module on every start.
"""

import stat
from pathlib import Path

from lenscore.errors import SourceError, shown_name

EMBEDDED = Path(__file__).parent.parent / "data" / "questions.jsonl"


def local_file(source: str) -> Path | None:
    """Return the file that a dataset's ``source`` names, if it is on this machine; None for url: and hub:.

    A relative ``path:`` counts from the working directory.
    """
    kind, _, rest = source.partition(":")
    if kind == "embedded":
        return EMBEDDED
    return Path(rest) if kind == "path" else None


def check_readable(path: Path, name: str) -> None:
    """Refuse what is no file with an end, before anything of it is read.

    Args:
        path: the file.
        name: what messages call it.

    Raises:
        SourceError: it is missing, a folder, a pipe, a device or a socket, or must not be read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            with path.open("rb"):
                return
    except FileNotFoundError:
        raise SourceError(
            f"{shown_name(name)}: no such file (the working directory is {shown_name(str(Path.cwd()))})"
        ) from None
    # ValueError: a path with a NUL.
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SourceError(f"{shown_name(name)}: cannot be read: {reason}") from None
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    kind = next((words for test, words in kinds if test(mode)), "a device")
    raise SourceError(f"{shown_name(name)}: {kind}; a file with questions is needed")
