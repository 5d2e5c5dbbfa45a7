"""What names a process across machines: its machine, its id and when it started."""

import os
import socket


def this_machine() -> str:
    """Name this machine and its table of processes; empty if the system does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        # Two containers of one host count their processes apart.
        return f"{socket.gethostname()}/{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def start_of(process: int) -> str:
    """Return when a process started, in clock ticks since boot; empty if there is none."""
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]  # dead, but not yet buried
    except (OSError, IndexError):
        return ""
