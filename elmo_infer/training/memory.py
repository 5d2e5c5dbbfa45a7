"""The C library's memory, kept for the next batch."""

import ctypes
import platform

# glibc's malloc.h: what to set, and to what.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER = 2**31 - 1
_TOP_PAD_BYTES = 64 * 2**20


def keep_freed_memory() -> bool:
    """Let memory that is freed stay with the process, and return whether that can be done here.

    A step of training frees as much as the next one asks for. glibc hands large pieces back to the
    system and asks for them anew, and the system fills each page with zeros: 8 % of the processor
    time of a training run. The process stays as large as it ever was.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _TOP_PAD_BYTES))
    return all(mallopt(name, value) == 1 for name, value in settings)
