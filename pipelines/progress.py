"""Progress of a long job: a line that renews itself on a terminal, log lines elsewhere. No Beam."""

import logging
import sys
import threading
import time
from types import TracebackType
from typing import TextIO

logger = logging.getLogger(__name__)
METRICS = "sensegrep"  # namespace of the counters that Beam shows
_TERMINAL_SECONDS = 0.5
_LOG_SECONDS = 30.0


class Meter:
    """Counts what this process has written; the sink adds, the display reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.documents = self.tokens = self.rejects = 0

    def add(self, *, documents: int = 0, tokens: int = 0, rejects: int = 0) -> None:
        """Count some more."""
        with self._lock:
            self.documents += documents
            self.tokens += tokens
            self.rejects += rejects

    def take(self) -> dict[str, int]:
        """Return what was counted, and begin again at nothing."""
        with self._lock:
            counted = {
                "documents": self.documents,
                "tokens": self.tokens,
                "rejects": self.rejects,
            }
            self.documents = self.tokens = self.rejects = 0
        return counted


METER = Meter()


class Progress:
    """Shows a meter while a job runs.

    Args:
      meter: what is counted.
      stream: where to; on a terminal one line is renewed, elsewhere a line is logged now and then.
    """

    def __init__(self, meter: Meter = METER, stream: TextIO | None = None) -> None:
        self._meter = meter
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._started = time.monotonic()
        self._fraction = 0.0

    def __enter__(self) -> "Progress":
        self._meter.take()
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def behind(self, fraction: float) -> None:
        """Say which part of the input is done."""
        self._fraction = fraction

    def line(self, now: float) -> str:
        """Return what is shown at a time of `time.monotonic`."""
        seconds = max(now - self._started, 1e-9)
        meter = self._meter
        text = (
            f"{meter.documents:,} documents, {meter.tokens:,} tokens,"
            f" {meter.tokens / seconds:,.0f} tokens/s, {meter.rejects:,} rejects"
        )
        if 0 < self._fraction < 1:
            text += f", about {_duration(seconds / self._fraction - seconds)} left"
        return text

    def _run(self) -> None:
        while not self._done.wait(_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS):
            text = self.line(time.monotonic())
            if self._terminal:
                self._stream.write(f"\r\x1b[K{text}")
                self._stream.flush()
            else:
                self._stream.write(f"sensegrep: {text}\n")
                self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
