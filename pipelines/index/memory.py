"""Measure the peak memory of a piece of work, and hand back what an earlier one has left."""

import ctypes
import re
import resource
from pathlib import Path

import pyarrow as pa


def release_memory() -> None:
    """Hand memory that is free, but still kept by Arrow and by glibc, back to the system.

    Both keep what was freed for the next who asks, in blocks that suit another size: the steps of
    an index build would each add their own to what those before have left.
    """
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)


class PeakMemory:
    """The peak of resident memory since it was made.

    Linux forgets the peak of a process's past on demand; elsewhere, and where /proc may not be
    written, the peak is that of the process's whole life.

    Args:
      clear: the file through which Linux forgets.

    Attributes:
      since: `build` if the past was forgotten, else `process`.
    """

    _STATUS = Path("/proc/self/status")

    def __init__(self, clear: Path = Path("/proc/self/clear_refs")) -> None:
        try:
            # proc(5): 5 sets the peak to the memory held now.
            clear.write_text("5")
            self.since = "build" if self._peak() is not None else "process"
        except OSError:
            self.since = "process"

    def bytes(self) -> int:
        """Return the peak so far."""
        peak = self._peak() if self.since == "build" else None
        if peak is not None:
            return peak
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def _peak(self) -> int | None:
        try:
            found = re.search(r"VmHWM:\s*(\d+) kB", self._STATUS.read_text())
        except OSError:
            return None
        return None if found is None else int(found[1]) * 1024
