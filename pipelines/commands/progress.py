"""Progress of a long job: a bar on a terminal, log lines elsewhere."""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

TERMINAL_SECONDS = 0.5
LOG_SECONDS = 30.0


class ProgressDisplay:
    """Shows on standard error how far a job is, from `with` to its end.

    A job either tells (`show`), or is asked (`describe`) every half second on a terminal. Elsewhere
    a line is added every 30 seconds at most.

    Args:
      describe: returns what is shown, given the seconds since the start; None if the job tells.
      stream: where to; on a terminal one line is renewed, elsewhere lines are added.
    """

    def __init__(
        self, describe: Callable[[float], str] | None = None, stream: TextIO | None = None
    ) -> None:
        self._describe = describe
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._bar: tqdm | None = None
        self._fraction: float | None = None
        self._started = time.monotonic()
        self._shown = float("-inf")  # when a line was last added
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="progress", daemon=True)

    def __enter__(self) -> "ProgressDisplay":
        self._started = time.monotonic()
        if self._describe is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._describe is not None:
            self._thread.join()
        if self._bar is not None:
            self._bar.close()

    def advance(self, fraction: float) -> None:
        """Remember which share of the job is done, 0 to 1; it is shown with the next line."""
        self._fraction = fraction

    def show(self, text: str, fraction: float | None = None) -> None:
        """Show where the job is; on a terminal in place of what was shown before.

        Args:
          text: what is shown.
          fraction: share of the job that is done, 0 to 1; None if it is not known.
        """
        if not self._terminal:
            now = time.monotonic()
            if now - self._shown >= LOG_SECONDS:
                self._shown = now
                print(f"sensegrep: {text}", file=self._stream, flush=True)
            return
        if self._bar is None:
            self._bar = tqdm(total=1.0, file=self._stream, leave=False, dynamic_ncols=True)
        known = fraction is not None
        self._bar.bar_format = "{percentage:3.0f}%|{bar:16}| {desc}" if known else "{desc}"
        self._bar.n = fraction or 0.0
        self._bar.set_description_str(text)

    def keep(self, text: str) -> None:
        """Print a line that stays."""
        if self._bar is not None:
            self._bar.clear()
        print(f"sensegrep: {text}", file=self._stream, flush=True)

    def line(self, seconds: float) -> str:
        """Return what is shown so many seconds after the start, with the time left."""
        assert self._describe is not None
        text = self._describe(max(seconds, 1e-9))
        if self._fraction is not None and 0 < self._fraction < 1:
            text += f", about {duration(seconds / self._fraction - seconds)} left"
        return text

    def _ask(self) -> None:
        while not self._done.wait(TERMINAL_SECONDS if self._terminal else LOG_SECONDS):
            self.show(self.line(time.monotonic() - self._started), self._fraction)


def duration(seconds: float) -> str:
    """Return a time as 3:07 or 1:39:00."""
    return tqdm.format_interval(round(seconds)).removeprefix("0")
