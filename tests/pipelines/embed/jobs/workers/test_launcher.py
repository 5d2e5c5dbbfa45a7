"""Worker processes forked from a launcher: messages both ways, ends told, none left behind."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pipelines
from pipelines.embed.jobs.workers.launcher import WorkerLauncher
from pipelines.errors import UsageError

ROOT = Path(pipelines.__file__).parents[1]
# Workers without Beam and torch: they answer, end as they are told, or print what is no message.
PROGRAM = """
import json, os, sys, time
from pipelines.embed.jobs.workers.launcher import launch

def work(requests, report):
    for line in requests:
        request = json.loads(line)
        if "exit" in request:
            os._exit(request["exit"])
        print("a library's chatter")
        sys.stdout.flush()
        report({"echo": request["say"], "pid": os.getpid()})

launch(work)
"""


class Conversation:
    """The launcher's side of the pipes, as WorkerLauncher speaks it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def say(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout=60)


@pytest.fixture
def launched() -> Iterator[Conversation]:
    """A launcher whose workers echo."""
    conversation = Conversation()
    yield conversation
    conversation.process.kill()
    conversation.process.wait()
    for stream in (conversation.process.stdin, conversation.process.stdout):
        assert stream is not None
        stream.close()


def is_running(process_id: int) -> bool:
    """Whether a process is there and no zombie that nobody has waited for."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def eventually(what: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not what() and time.monotonic() < deadline:
        time.sleep(0.01)
    return what()


def test_messages_reach_the_worker_they_name_and_come_back(launched: Conversation) -> None:
    launched.say(fork=3)
    process_ids = launched.hear()["forked"]
    assert len(set(process_ids)) == 3
    for worker in (2, 0, 1, 0):
        launched.say(worker=worker, say=f"to {worker}")
        assert launched.hear() == {
            "worker": worker, "echo": f"to {worker}", "pid": process_ids[worker],
        }  # fmt: skip


@pytest.mark.parametrize("status", [0, 7])
def test_workers_end_is_told_with_its_status(launched: Conversation, status: int) -> None:
    launched.say(fork=2)
    launched.hear()
    launched.say(worker=1, exit=status)
    assert launched.hear() == {"ended": 1, "status": status}
    launched.say(worker=0, say="still here")
    assert launched.hear()["echo"] == "still here"


def test_all_end_with_the_launchers_standard_input(launched: Conversation) -> None:
    launched.say(fork=2)
    process_ids = launched.hear()["forked"]
    assert all(map(is_running, process_ids))
    assert launched.end() == 0
    assert eventually(lambda: not any(map(is_running, process_ids)))


def test_workers_do_not_outlive_a_launcher_that_was_killed(launched: Conversation) -> None:
    launched.say(fork=2)
    process_ids = launched.hear()["forked"]
    launched.process.kill()
    assert eventually(lambda: not any(map(is_running, process_ids)))


def test_launcher_that_is_told_nothing_ends(launched: Conversation) -> None:
    assert launched.end() == 0


@pytest.fixture
def quick_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerLauncher]:
    """A launcher of two processes that import nothing large: they fork at once."""
    stand_in = tmp_path / "python"
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    stand_in.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(sys, "executable", str(stand_in))
    with WorkerLauncher(2) as launcher:
        yield launcher


def test_what_workers_say_is_received_without_their_number_being_lost(
    quick_launcher: WorkerLauncher,
) -> None:
    received: list[dict[str, Any]] = []
    came = threading.Event()

    def receive(message: dict[str, Any]) -> None:
        received.append(message)
        if len(received) == 2:
            came.set()

    quick_launcher.fork(receive, lambda _: None)
    for worker in (1, 0):
        quick_launcher.send({"worker": worker, "say": "hello"})
    assert came.wait(60)
    assert {message["worker"] for message in received} == {0, 1}
    assert {message["pid"] for message in received} == set(quick_launcher.process_ids)


@pytest.mark.parametrize(("status", "how"), [(7, "with status 7"), (0, "with status 0")])
def test_end_of_a_worker_is_told_in_words(
    quick_launcher: WorkerLauncher, status: int, how: str
) -> None:
    told: list[str] = []
    came = threading.Event()

    def fail(message: str) -> None:
        told.append(message)
        came.set()

    quick_launcher.fork(lambda _: None, fail)
    quick_launcher.send({"worker": 1, "exit": status})
    assert came.wait(60)
    number = quick_launcher.process_ids[1]
    assert told[0].startswith(f"worker process {number} ended {how} in the middle of its work;")
    assert "run the command again (fewer --workers" in told[0]


def test_system_without_fork_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "fork")
    with pytest.raises(UsageError, match="--workers needs a system that can fork processes"):
        WorkerLauncher(2)
