"""Kills and errors of the disk at every operation: what is live is right, and a rerun completes.

Small here, with a fixed seed; `make benchmark` runs the long sweep.
"""

import errno
import json
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.pipelines.corpus.interleaving import Turns, Worker
from tests.pipelines.corpus.stepped_commands import clean, embed, index, merge, remove
from tests.pipelines.corpus.stepped_store import SteppedStore

COMMANDS: dict[str, Any] = {
    "embed": embed({"a": "a2", "d": "d1", "e": "e1"}, slice_documents=2),
    "delete": remove(["a", "c"]),
    "purge": remove(["a", "c"], purged=True),
    "compact": merge,
    "vacuum": clean,
    "index": index,
}
FAULTS = ("kill", "EIO", "ENOSPC", "lost answer")


class Faulty:
    """A command whose n-th operation fails."""

    def __init__(self, run: Callable[[Worker, SteppedStore], None], fault: str, at: int) -> None:
        self._run, self._fault, self._left = run, fault, at
        self.struck = False

    def __call__(self, worker: Worker, store: SteppedStore) -> None:
        store.before, store.after = self._before(worker), self._after
        self._run(worker, store)

    def _strikes(self) -> bool:
        self._left -= 1
        return self._left == 0

    def _before(self, worker: Worker) -> Callable[[str], None]:
        def before(operation: str) -> None:
            if self._fault == "lost answer" or not self._strikes():
                return
            self.struck = True
            if self._fault == "kill":
                worker.killed = True
            elif self._fault == "EIO" or operation in ("open", "close", "create", "move"):
                code = getattr(errno, "EIO" if self._fault == "EIO" else "ENOSPC")
                raise OSError(code, os.strerror(code))

        return before

    def _after(self) -> None:
        if self._fault == "lost answer" and self._strikes():
            self.struck = True
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


def survive(command: str, fault: str, at: int) -> bool:
    """Let a command fail once and run it again; returns False if it ended before."""
    turns = Turns()
    try:
        turns.run("embed", embed({"a": "a1", "b": "b1", "c": "c1"}, slice_documents=1))
        turns.run("delete", remove(["b"]))
        faulty = Faulty(COMMANDS[command], fault, at)
        worker = turns.begin(command, faulty)
        while not worker.done:
            worker.step()
            turns.check()
        assert faulty.struck or worker.error is None, repr(worker.error)
        turns.run(command, COMMANDS[command])
        turns.run("purge", remove([], purged=True))
        assert not turns.on_disk() & turns.buried
        expected = {
            "embed": {"a": "a2", "c": "c1", "d": "d1", "e": "e1"},
            "delete": {},
            "purge": {},
        }.get(command, {"a": "a1", "c": "c1"})
        assert turns.live == expected
        return faulty.struck
    finally:
        turns.close()


def trials(count: int, seed: int) -> list[tuple[str, str, int]]:
    """Return so many (command, fault, operation), drawn at random."""
    rng = random.Random(seed)
    return [
        (rng.choice(sorted(COMMANDS)), rng.choice(FAULTS), round(2 ** rng.uniform(0, 8)))
        for _ in range(count)
    ]


@pytest.mark.parametrize(("command", "fault", "at"), trials(40, seed=20261127))
def test_a_command_survives_a_fault_at_any_operation(command: str, fault: str, at: int) -> None:
    survive(command, fault, at)


def test_most_of_the_faults_strike() -> None:
    struck = [survive(*trial) for trial in trials(12, seed=7)]
    assert sum(struck) >= 6


@pytest.mark.benchmark
def test_long_sweep_of_faults() -> None:
    """Print how many were tried, of which kind, and what was not survived."""
    tried: dict[str, int] = dict.fromkeys(FAULTS, 0)
    lost = []
    for trial in trials(2000, seed=1):
        try:
            tried[trial[1]] += survive(*trial)
        except Exception as error:
            lost.append((trial, repr(error)[:200]))
    print(json.dumps({"benchmark": "faults", "struck": tried, "not_survived": lost}))
    assert not lost
