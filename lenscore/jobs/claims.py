"""Claims of a workflow on what it is going to fetch, since workflows of several checkouts may share resources/.

Before Snakemake starts a job it removes what the job is going to make. So two workflows that both find a model missing
would take it from each other. Hence the first claims it, and the second waits until it is there.
"""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

_log = logging.getLogger(__name__)

_BETWEEN_LOOKS = 1.0  # seconds


def claim(targets: Iterable[Path], folder: Path) -> list[int]:
    """Claim those files that are missing; wait for those that another workflow has claimed, until they are there.

    A claim is a lock on a file, which the operating system lets go when the process ends, however it ends. All
    workflows claim in the same order, so that no two wait for each other.

    Args:
        targets: files that this workflow is going to make; none is looked at before another is claimed.
        folder: of the claims. It is shared by all workflows that share the targets.

    Returns:
        The descriptors of the claims. They hold until they are closed, or the process ends.
    """
    claims = []
    for target in sorted(targets):
        descriptor = _claim(target, folder)
        if descriptor is not None:
            claims.append(descriptor)
    return claims


def _claim(target: Path, folder: Path) -> int | None:
    """Return the claim on a target; None where it needs none."""
    told = False
    while not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{target.parent.name}-{target.name}"
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                raise
            return None  # a file system without locks: docs/restarts.md
        else:
            if target.exists():  # made since it was looked for
                os.close(descriptor)
                return None
            os.truncate(descriptor, 0)
            os.write(descriptor, str(Path.cwd()).encode())
            return descriptor
        if file.read_bytes() == str(Path.cwd()).encode():
            return None  # another workflow in this very folder: Snakemake refuses this one
        if not told:
            _log.warning("%s: another workflow fetches it; waiting until it is there", target)
            told = True
        time.sleep(_BETWEEN_LOOKS)
    return None
