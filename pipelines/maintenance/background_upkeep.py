"""Maintenance beside a stream: merges, index builds and vacuums while commits go on."""

import logging
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from types import TracebackType

from pipelines.corpus.view import CorpusView
from pipelines.errors import CorpusError, UsageError
from pipelines.maintenance.compact import compact_while
from pipelines.maintenance.merge_policy import next_merge
from pipelines.maintenance.vacuum import vacuum

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_PAUSE_SECONDS = 30.0
_STOP_SECONDS = 10.0
_VACUUM_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class UpkeepOptions:
    """What is done beside a stream.

    Attributes:
      compact_every: segments of like size that are merged into one; 0 merges none.
      index_every_seconds: between two builds of the index; None builds none.
      index_memory: peak memory of a build, as `sensegrep index --max-memory` takes it.
      vacuum_older_than_seconds: age of snapshots and unnamed files that go.
    """

    compact_every: int = 10
    index_every_seconds: float | None = None
    index_memory: str = "2G"
    vacuum_older_than_seconds: float = 86400.0

    def __post_init__(self) -> None:
        if self.compact_every < 0 or self.compact_every == 1:
            raise UsageError(
                f"--compact-every is {self.compact_every}, expected 2 or more segments, or 0 to"
                " merge none"
            )
        if self.index_every_seconds is not None and self.index_every_seconds <= 0:
            raise UsageError(f"--index-every is {self.index_every_seconds}s, expected more than 0s")


class BackgroundUpkeep:
    """Looks after a corpus in a thread of its own, from `with` to its end.

    What fails is logged and tried again later: the writer beside it goes on.

    Args:
      corpus: path or URL; it need not be there yet.
      options: what is done.
      single_writer: nobody else writes to the corpus.
    """

    def __init__(self, corpus: str, options: UpkeepOptions, single_writer: bool = False) -> None:
        self._corpus = corpus
        self._options = options
        self._single_writer = single_writer
        self._view: CorpusView | None = None
        self._indexed: tuple[object, ...] = ()
        self._index_due = time.monotonic() + (options.index_every_seconds or 0.0)
        self._vacuum_due = time.monotonic() + self._vacuum_pause()
        self._builder: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def __enter__(self) -> "BackgroundUpkeep":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._builder is not None:
            self._builder.terminate()
        # What is not done by then is left: nothing of it is visible, and a vacuum removes it.
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        pause = _LOOK_SECONDS
        while not self._ended.wait(pause):
            try:
                self.tend()
                pause = _LOOK_SECONDS
            except (CorpusError, OSError, ValueError) as error:
                logger.warning("upkeep of %s failed and is tried again: %s", self._corpus, error)
                pause = _PAUSE_SECONDS

    def tend(self) -> None:
        """Do what is due now."""
        if self._view is None:
            self._view = CorpusView.open_or_create(self._corpus, single_writer=self._single_writer)
        self._view = self._view.refresh()
        if self._options.compact_every:
            self._merge()
        if self._options.index_every_seconds is not None:
            self._index(self._options.index_every_seconds)
        if time.monotonic() >= self._vacuum_due and self._view.snapshot.number:
            self._vacuum_due = time.monotonic() + self._vacuum_pause()
            older = self._options.vacuum_older_than_seconds
            vacuum(self._view, older_than_seconds=older)

    def _merge(self) -> None:
        assert self._view is not None
        choose = partial(next_merge, fan_in=self._options.compact_every)
        self._view = compact_while(self._view, choose, self._ended.is_set)

    def _index(self, every: float) -> None:
        assert self._view is not None
        if self._builder is not None:
            status = self._builder.poll()
            if status is None:
                return
            self._builder = None
            if status:
                logger.warning("building the index of %s failed (status %d)", self._corpus, status)
        snapshot = self._view.snapshot
        state = (snapshot.segments, snapshot.tombstones)
        has_sentences = any(segment.counts["sentences"] for segment in self._view.segments)
        if time.monotonic() < self._index_due or state == self._indexed or not has_sentences:
            return
        self._index_due, self._indexed = time.monotonic() + every, state
        # A process of its own: its memory is bounded, and given back.
        command = [sys.executable, "-m", "pipelines", "index", "--corpus", self._corpus]
        self._builder = subprocess.Popen(
            [*command, "--max-memory", self._options.index_memory],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def _vacuum_pause(self) -> float:
        return min(
            _VACUUM_SECONDS, max(_LOOK_SECONDS, self._options.vacuum_older_than_seconds / 10)
        )
