"""The command vacuum."""

import pytest

from pipelines.errors import UsageError


def test_age_is_written_with_a_unit() -> None:
    from pipelines.commands.vacuum import parse_age

    assert [parse_age(t) for t in ("90s", "30m", "12h", "7d")] == [90, 1800, 43200, 604800]
    with pytest.raises(UsageError, match="expected a duration such as 90s, 30m, 12h or 7d"):
        parse_age("soon")
