"""Count what this process has written, for the display of progress."""

import threading

METRICS = "sensegrep"  # namespace of the counters that Beam shows


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

    def show(self, *, documents: int = 0, tokens: int = 0) -> None:
        """Take over what the workers of an engine have counted, where that is more."""
        with self._lock:
            self.documents = max(self.documents, documents)
            self.tokens = max(self.tokens, tokens)

    def describe(self, seconds: float) -> str:
        """Return what was counted, and the speed, for a job that has taken so many seconds."""
        return (
            f"{self.documents:,} documents, {self.tokens:,} tokens,"
            f" {self.tokens / seconds:,.0f} tokens/s, {self.rejects:,} rejects"
        )

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
