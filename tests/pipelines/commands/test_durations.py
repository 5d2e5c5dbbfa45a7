"""Times as options give them."""

import pytest

from pipelines.commands.durations import parse_duration
from pipelines.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("0.5s", 0.5), ("30m", 1800), ("12h", 43200), ("7d", 604800)]
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text, "--every") == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 s", "1w", "1e3s", "nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(
        UsageError,
        match=r"--every is .*; expected a duration such as 90s, 30m,"
        " 12h or 7d",
    ):
        parse_duration(text, "--every")
