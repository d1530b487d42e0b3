"""Memory of mapped safetensors: what has been copied elsewhere need not stay resident."""

import ctypes
import logging
import os
import sys

import psutil

_log = logging.getLogger(__name__)

_MADV_DONTNEED = 4


def release_mapped_weights() -> None:
    """Take the pages of mapped safetensors out of this process's memory; the page cache may keep them.

    Nothing is lost: a page that is touched again is read from the file. A mapping that was written to
    is left alone. Works on Linux only; on other systems the weights stay in memory in addition to their copies.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for mapping in psutil.Process().memory_maps(grouped=False):
        if mapping.path.endswith(".safetensors") and mapping.rss > 0 and mapping.anonymous + mapping.swap == 0:
            start, end = (int(address, 16) for address in mapping.addr.split("-"))
            if libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED) != 0:
                _log.warning("%s stays in memory: %s", mapping.path, os.strerror(ctypes.get_errno()))
