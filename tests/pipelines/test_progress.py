"""What a waiting user sees."""

import io
import time
from typing import Any

import pytest

from pipelines import progress
from pipelines.progress import Meter, Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_line_tells_documents_speed_rejects_and_time_left() -> None:
    meter = Meter()
    meter.add(documents=1200, tokens=30_000, rejects=3)
    shown = Progress(meter, io.StringIO())
    shown.behind(0.25)
    assert shown.line(shown._started + 60) == (
        "1,200 documents, 30,000 tokens, 500 tokens/s, 3 rejects, about 3:00 left"
    )
    shown.behind(0.01)
    assert shown.line(shown._started + 60).endswith("about 1:39:00 left")


@pytest.mark.parametrize(
    ("stream", "seconds"), [(Terminal(), "_TERMINAL_"), (io.StringIO(), "_LOG_")]
)
def test_it_is_renewed_on_a_terminal_and_logged_elsewhere(
    stream: Any, seconds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, f"{seconds}SECONDS", 0.01)
    meter = Meter()
    with Progress(meter, stream):
        meter.add(documents=7)
        deadline = time.monotonic() + 10
        while stream.getvalue().count("7 documents") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    text = stream.getvalue()
    if stream.isatty():
        assert text.startswith("\r\x1b[K")
        assert text.endswith("\r\x1b[K")  # the line is gone at the end
    else:
        assert text.splitlines()[1].startswith("sensegrep: 7 documents, ")


def test_meter_is_emptied_by_taking() -> None:
    meter = Meter()
    meter.add(documents=1, tokens=2, rejects=3)
    assert meter.take() == {"documents": 1, "tokens": 2, "rejects": 3}
    assert meter.take() == {"documents": 0, "tokens": 0, "rejects": 0}
