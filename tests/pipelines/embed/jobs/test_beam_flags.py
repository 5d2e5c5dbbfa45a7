"""Beam's flags, checked before any work."""

import pytest

from pipelines.embed.jobs.beam_flags import check_flags
from pipelines.errors import UsageError


def test_flags_of_beam_pass() -> None:
    flags = ["--job_name=mine", "--temp_location=gs://b/t", "--streaming"]
    assert check_flags(flags) == flags
    with pytest.raises(UsageError, match="unexpected 'FlinkRunner'; write flags for Beam as one"):
        check_flags(["--runner", "FlinkRunner"])
