"""Which process streams into a corpus: a second one on the same machine is refused at once.

Elsewhere a dead process cannot be told from a live one; there the epoch decides.
"""

import os
from collections.abc import Mapping
from typing import Any

from pipelines.corpus.processes import start_of, this_machine


def this_process() -> dict[str, Any]:
    """Return what names this process: machine, process id, and when it started."""
    process = os.getpid()
    return {"machine": this_machine(), "process": process, "started": start_of(process)}


def is_running_here(owner: Mapping[str, Any]) -> bool:
    """Say whether an owner is another process of this machine that still runs."""
    if not owner or owner.get("process") == os.getpid() or owner.get("machine") != this_machine():
        return False
    started = start_of(int(owner["process"]))
    return started != "" and started == owner.get("started")
