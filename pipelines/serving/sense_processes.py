"""Senses induced in processes of their own, so that no search of another word waits for them.

To induce the senses of a word takes a core for a while; in a thread of the server it would also
hold Python's lock. A process opens the same snapshot and hands back what is kept beside the index,
so that an answer is the same whoever induced the senses, and when.
"""

import logging
import multiprocessing
import os
import signal
import threading
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from pickle import PicklingError

from threadpoolctl import threadpool_limits

from pipelines.corpus.view import CorpusView
from pipelines.errors import CorpusError
from pipelines.index.reader import OpenIndex
from pipelines.search.occurrences import WordForms
from pipelines.senses.options import MIN_OCCURRENCES
from pipelines.senses.service import constants_of, induce_senses, kept_senses, word_senses
from pipelines.senses.store import WordSenses, from_bytes, to_bytes

logger = logging.getLogger(__name__)

MOST = 4
# Where no process can be had (no semaphores, no memory), or it dies, or cannot open the index.
_FAULTS = (BrokenExecutor, CorpusError, OSError, ImportError, NotImplementedError, PicklingError)
_open: dict[tuple[str, int], OpenIndex] = {}


class SenseProcesses:
    """Tells senses: from beside the index, or induced in a process; each is started when needed.

    Args:
      cache_dir: for files of a remote corpus's index.
      count: most processes; None takes half of the processors, and MOST at most.
    """

    def __init__(self, cache_dir: str | None = None, count: int | None = None) -> None:
        self._cache_dir = cache_dir
        self._count = count or max(1, min(MOST, (os.cpu_count() or 1) // 2))
        self._pool: ProcessPoolExecutor | None = None
        self._waiting = 0
        self._lock = threading.Lock()

    def prepare(self, corpus: CorpusView) -> None:
        """Start a process and let it open the index, so that the first word waits for neither."""
        try:
            self._running().submit(_opened, corpus, self._cache_dir)
        except _FAULTS as error:
            self._complain(error)

    @property
    def waiting(self) -> int:
        """Words that are being induced or wait for it."""
        return self._waiting

    def __call__(self, index: OpenIndex, forms: WordForms) -> WordSenses:
        """Return the senses of a word's forms in an open index.

        Raises:
          CorpusError: if what is kept of them is damaged.
        """
        kept = kept_senses(index, forms)
        if kept is not None:
            return kept
        if forms.indexed < MIN_OCCURRENCES:  # one sense, told sooner than asked for
            return induce_senses(index, forms)
        with self._lock:
            self._waiting += 1
        try:
            arguments = (index.corpus, self._cache_dir, forms)
            data = self._running().submit(_induce, *arguments).result()
        except _FAULTS as error:
            self._complain(error)
            return word_senses(index, forms)
        finally:
            with self._lock:
                self._waiting -= 1
        return from_bytes(data, forms.word, "senses", constants_of(index).directions)

    def close(self) -> None:
        """Let the processes end; words under way are finished."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _running(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                # Not forked: the server has threads.
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(self._count, context, initializer=_set_up)
            return self._pool

    def _complain(self, error: Exception) -> None:
        logger.warning(
            "senses could not be induced in a process of their own (%s: %s); they are induced in"
            " the server's",
            type(error).__name__,
            error,
        )
        if isinstance(error, BrokenExecutor):
            with self._lock:
                self._pool = None  # the next word starts another


def _set_up() -> None:
    """Take one core, leave signals to the server, and end when it ends."""
    threadpool_limits(
        1
    )  # many small products: threads that wait for each other cost ten times them
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_server() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_server, daemon=True).start()


def _opened(corpus: CorpusView, cache_dir: str | None) -> None:
    """Open the index of a snapshot, and let that of another go."""
    key = (corpus.root, corpus.snapshot.number)
    if key not in _open:
        _open.clear()
        _open[key] = OpenIndex.open(corpus, cache_dir)


def _induce(corpus: CorpusView, cache_dir: str | None, forms: WordForms) -> bytes:
    """Induce senses and keep them beside the index, where the corpus can be written."""
    _opened(corpus, cache_dir)
    [index] = _open.values()
    return to_bytes(word_senses(index, forms))
