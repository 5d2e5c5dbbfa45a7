"""A process is known again by its machine, its id and its start."""

import os
import subprocess
import sys

import pytest

from pipelines.corpus.processes import start_of, this_machine


@pytest.mark.skipif(this_machine() == "", reason="the system does not name its processes in /proc")
def test_a_process_has_one_start_as_long_as_it_runs_and_none_after_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = start_of(child.pid)
    assert started == start_of(child.pid) != ""
    assert int(started) >= int(start_of(os.getpid()))
    child.kill()
    # Until its parent asks for its status, it has ended and is still listed.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_of(child.pid) == ""
    child.wait()
    assert start_of(child.pid) == ""
    child.communicate()


def test_the_machine_is_the_same_for_all_of_its_processes() -> None:
    program = "from pipelines.corpus.processes import this_machine; print(this_machine())"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said.stdout.strip() == this_machine()
