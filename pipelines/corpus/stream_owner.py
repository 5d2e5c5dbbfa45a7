"""Which process streams into a corpus: a second one on the same machine is refused at once.

Elsewhere a dead process cannot be told from a live one; there the epoch decides.
"""

import os
import socket
from collections.abc import Mapping
from typing import Any


def this_process() -> dict[str, Any]:
    """Return what names this process: machine, process id, and when it started."""
    process = os.getpid()
    return {"machine": _machine(), "process": process, "started": _start_of(process)}


def is_running_here(owner: Mapping[str, Any]) -> bool:
    """Say whether an owner is another process of this machine that still runs."""
    if not owner or owner.get("process") == os.getpid() or owner.get("machine") != _machine():
        return False
    started = _start_of(int(owner["process"]))
    return started != "" and started == owner.get("started")


def _machine() -> str:
    """Name this machine and its table of processes; empty if the system does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        # Two containers of one host count their processes apart.
        return f"{socket.gethostname()}/{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start_of(process: int) -> str:
    """Return when a process started, in clock ticks since boot; empty if there is none."""
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (OSError, IndexError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]  # dead, but not yet buried
