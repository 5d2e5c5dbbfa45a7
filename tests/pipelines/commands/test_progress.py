"""What a waiting user sees."""

import io
import time
from typing import Any

import pytest

from pipelines.commands import progress
from pipelines.commands.progress import ProgressDisplay, duration
from pipelines.embed.meter import Meter


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_line_tells_documents_speed_rejects_and_time_left() -> None:
    meter = Meter()
    meter.add(documents=1200, tokens=30_000, rejects=3)
    shown = ProgressDisplay(meter.describe, io.StringIO())
    shown.advance(0.25)
    assert shown.line(60) == (
        "1,200 documents, 30,000 tokens, 500 tokens/s, 3 rejects, about 3:00 left"
    )
    shown.advance(0.01)
    assert shown.line(60).endswith("about 1:39:00 left")


@pytest.mark.parametrize(
    ("stream", "seconds"), [(Terminal(), "TERMINAL_"), (io.StringIO(), "LOG_")]
)
def test_a_job_that_is_asked_is_shown_again_and_again(
    stream: Any, seconds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, f"{seconds}SECONDS", 0.01)
    meter = Meter()
    with ProgressDisplay(meter.describe, stream):
        meter.add(documents=7)
        deadline = time.monotonic() + 10
        while stream.getvalue().count("7 documents") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    text = stream.getvalue()
    assert text.count("7 documents") >= 2
    if stream.isatty():
        assert text.startswith("\r")
        assert "\n" not in text
        assert text.rsplit("\r", 2)[1].strip() == ""  # the line is gone at the end
    else:
        assert text.splitlines()[1].startswith("sensegrep: 7 documents, ")


def test_a_job_that_tells_gets_a_bar_on_a_terminal_and_lines_now_and_then_elsewhere() -> None:
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        with ProgressDisplay(stream=stream) as display:
            display.show("step 1", 0.25)
            display.show("step 2", 0.5)
            display.keep("checkpoint")
    assert " 25%|" in terminal.getvalue()
    assert " 50%|" in terminal.getvalue()
    assert "step 2" in terminal.getvalue()
    assert file.getvalue() == "sensegrep: step 1\nsensegrep: checkpoint\n"


def test_durations_read_as_a_clock_does() -> None:
    assert [duration(s) for s in (7.4, 187, 5940, 36_000)] == [
        "0:07",
        "3:07",
        "1:39:00",
        "10:00:00",
    ]
