"""Whatever the order of two or three writers' file operations: nothing lost, nothing doubled.

The machine embeds, changes, deletes, purges, compacts, vacuums and indexes, kills writers and
takes living ones for dead, and compares what is live with a dictionary after every change.
"""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.pipelines.corpus.interleaving import Turns
from tests.pipelines.corpus.stepped_commands import clean, embed, index, merge, remove

IDS = st.sampled_from("abc")
STEPS = st.one_of(st.integers(1, 12), st.sampled_from([20, 40, 80, 160, 400]))
# Where an order of two writers matters most: before and after these.
POINTS = st.sampled_from(
    [
        ("create", "snapshots"),
        ("names", "snapshots"),
        ("read", "snapshots"),
        ("create", "segments"),
        ("files", ""),
        ("remove", ""),
    ]
)


class Interleaving(RuleBasedStateMachine):
    """Two or three writers at once."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns()
        self.versions = 0

    @initialize(ids=st.sets(IDS))
    def fill(self, ids: set[str]) -> None:
        self.turns.run("embed", embed(self._new_versions(ids)))

    def _new_versions(self, ids: set[str]) -> dict[str, str]:
        self.versions += 1
        return {doc_id: f"{doc_id}{self.versions}" for doc_id in sorted(ids)}

    def _busy(self) -> list[Any]:
        return [worker for worker in self.turns.workers if not worker.done]

    @precondition(lambda self: len(self._busy()) < 3)
    @rule(ids=st.sets(IDS, min_size=1), slice_documents=st.integers(1, 2))
    def embed(self, ids: set[str], slice_documents: int) -> None:
        self.turns.begin("embed", embed(self._new_versions(ids), slice_documents))

    @precondition(lambda self: len(self._busy()) < 3)
    @rule(ids=st.sets(IDS, min_size=1), purged=st.booleans())
    def delete(self, ids: set[str], purged: bool) -> None:
        self.turns.begin("purge" if purged else "delete", remove(sorted(ids), purged=purged))

    @precondition(lambda self: len(self._busy()) < 3)
    @rule(command=st.sampled_from([merge, clean, index]))
    def maintain(self, command: Any) -> None:
        self.turns.begin(command.__name__, command)

    @precondition(lambda self: self._busy())
    @rule(which=st.integers(0, 2), operations=STEPS)
    def go_on(self, which: int, operations: int) -> None:
        busy = self._busy()
        self.turns.step(busy[which % len(busy)], operations)

    @precondition(lambda self: self._busy())
    @rule(which=st.integers(0, 2), point=POINTS)
    def go_to(self, which: int, point: tuple[str, str]) -> None:
        busy = self._busy()
        self.turns.go_to(busy[which % len(busy)], *point)

    @precondition(lambda self: self._busy())
    @rule(which=st.integers(0, 2))
    def kill(self, which: int) -> None:
        busy = self._busy()
        busy[which % len(busy)].kill()

    @precondition(lambda self: self._busy())
    @rule(which=st.integers(0, 2))
    def take_for_dead(self, which: int) -> None:
        busy = self._busy()
        busy[which % len(busy)].given_up = True

    def teardown(self) -> None:
        try:
            for worker in self._busy():
                self.turns.finish(worker)
            self.turns.check()
            self.turns.run("purge", remove([], purged=True))
            left = self.turns.on_disk() & self.turns.buried
            assert not left, f"still on the disk after a purge: {left}"
        finally:
            self.turns.close()


TestInterleaving = Interleaving.TestCase
TestInterleaving.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
