"""The log of a workflow job: opened before anything slow is imported, and every failure is written to it."""

import errno
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lenscore.errors import LenscoreError

logger = logging.getLogger(__name__)

# As the operating system words it; what libraries raise has it in their own errors.
_NO_SPACE = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT)))

# What a terminal acts upon (but line ends and tabs), what reverses the order of what is read, and halves of characters.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Also where the colon of https:// is missing, as the message that says so shows the address.
_CREDENTIALS = re.compile(r"//[^/\s@'\"]+@")


class _LogFile(logging.FileHandler):
    """A log that may lie on a full disk: what it cannot hold, stderr says."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class _Formatter(logging.Formatter):
    """Messages hold what was found in datasets and models, and may hold addresses: no terminal gets that raw."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def printable(text: str) -> str:
    r"""Return text that may be shown: control characters as ``\x1b``, no name or password in an address."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], _CREDENTIALS.sub("//…@", text))


def _is_shown(record: logging.LogRecord) -> bool:
    """Tell the project's own messages, and others' warnings, from what some libraries say whatever level is set."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] == "lenscore"


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


@contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Log to a new file at ``path`` and to stderr while the block runs.

    Shows the project's own messages from INFO on, of other libraries warnings only. An
    error that the user can mend is logged as its message alone, any other with its
    traceback; either ends the process with status 1. So that nothing is left half-written, a
    process that is told to end (SIGTERM) does so as by an exception.
    """
    before = signal.signal(signal.SIGTERM, _end)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # Read when the libraries are imported; a user's own setting stays.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers goes by it too
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_MININTERVAL", "5")  # seconds between two states of whatever bar is left
    file, stderr = _LogFile(path, mode="w", encoding="utf-8"), logging.StreamHandler(sys.stderr)
    for handler in (file, stderr):
        handler.addFilter(_is_shown)
        handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
    logging.getLogger("lenscore").setLevel(logging.INFO)
    logging.getLogger("transformers").addHandler(file)  # it keeps its messages from the root logger
    logging.captureWarnings(True)
    try:
        yield
    except LenscoreError as error:
        logger.error("%s", error)
        raise SystemExit(1) from None
    except Exception as error:
        if any(words in str(error) for words in _NO_SPACE):
            logger.error("%s. Make room and start the workflow again: it goes on where it was", error)
            raise SystemExit(1) from None
        logger.exception("the job failed")
        raise SystemExit(1) from None
    finally:
        signal.signal(signal.SIGTERM, before)
        logging.captureWarnings(False)
        logging.getLogger("transformers").removeHandler(file)
        for handler in (file, stderr):
            logging.getLogger().removeHandler(handler)
            with suppress(OSError):  # the log may be on the full disk too; stderr has the message
                handler.close()
