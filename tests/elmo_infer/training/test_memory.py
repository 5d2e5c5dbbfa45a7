"""What is freed is used again, without the system's help."""

import json
import platform
import subprocess
import sys

import pytest

# Ten pieces of 64 MB, one after the other, and the pages that the system had to fill for them.
PROGRAM = """
import json, resource, sys
from elmo_infer.training.memory import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
b"x" * 2**26
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for n in range(10):
    bytes([n]) * 2**26
print(json.dumps([kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before]))
"""


def pages_filled(how: str) -> tuple[bool | None, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
    )
    kept, pages = json.loads(done.stdout)
    return kept, pages


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told")
def test_freed_memory_is_used_again() -> None:
    kept, pages = pages_filled("keep")
    assert kept is True
    assert pages < 0.1 * pages_filled("leave")[1]


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from elmo_infer.training.memory import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False
