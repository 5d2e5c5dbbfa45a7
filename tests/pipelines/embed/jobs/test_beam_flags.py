"""Beam's flags: what passes, what is refused before any work, where a job runs."""

import logging
import warnings

import pytest

from pipelines.embed.jobs.beam_flags import (
    check_flags,
    flag_value,
    names_runner,
    quieten,
    with_runner,
)
from pipelines.errors import UsageError


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--job_name=mine", "--temp_location=gs://b/t", "--streaming"],
        ["--runner=FlinkRunner", "--flink_master=localhost:8081", "--parallelism=4"],
        ["--runner=DataflowRunner", "--region=europe-west1", "--num_workers=3"],
        ["--environment_type=LOOPBACK", "--job_endpoint=localhost:8099"],
        ["--experiments=use_runner_v2"],
    ],
)
def test_flags_of_beam_and_its_runners_pass_as_they_are(flags: list[str]) -> None:
    assert check_flags(flags) == flags


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--runner", "FlinkRunner"], "unexpected 'FlinkRunner'; write flags for Beam as one word"),
        (["--runer=FlinkRunner"], r"unknown option --runer; did you mean --runner\? \(neither"),
        (["--regoin=x"], r"unknown option --regoin; did you mean --region\?"),
        (["--zzzzzzzzzz"], r"unknown option --zzzzzzzzzz \(neither of sensegrep nor of Beam\)"),
        (["--job_name=a", "stray"], "unexpected 'stray'"),
    ],
)
def test_what_nobody_knows_is_refused(flags: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_flags(flags)


@pytest.mark.parametrize(
    ("flags", "named", "value"),
    [
        ([], False, None),
        (["--job_name=--runner"], False, None),
        (["--runner=FnApiRunner"], True, "FnApiRunner"),
        (["--runner=PrismRunner", "--runner=FlinkRunner"], True, "FlinkRunner"),
        (["--runner=a=b"], True, "a=b"),
    ],
)
def test_a_runner_is_named_or_the_local_one_is_taken(
    flags: list[str], named: bool, value: str | None
) -> None:
    assert names_runner(flags) is named
    assert flag_value(flags, "--runner") == value
    expected = flags if named else [*flags, "--runner=FnApiRunner"]
    assert with_runner(flags) == expected


@pytest.fixture
def clean_logging(monkeypatch: pytest.MonkeyPatch) -> logging.Handler:
    """A root logger with one handler of its own; Beam's level is put back after the test."""
    handler = logging.Handler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    beam = logging.getLogger("apache_beam")
    monkeypatch.setattr(beam, "level", beam.level)
    return handler


def record(name: str, level: int, path: str = "f") -> logging.LogRecord:
    return logging.LogRecord(name, level, path, 1, "message", None, None)


def test_beam_is_silenced_and_nothing_else(clean_logging: logging.Handler) -> None:
    with warnings.catch_warnings():
        quieten(verbose=False)
    assert not logging.getLogger("apache_beam").isEnabledFor(logging.ERROR)
    assert not clean_logging.filter(record("root", logging.WARNING))
    assert clean_logging.filter(record("root", logging.ERROR))
    # What a job server says of a job, which is raised as well.
    path = "/lib/apache_beam/runners/portability/portable_runner.py"
    assert not clean_logging.filter(record("root", logging.ERROR, path))
    assert clean_logging.filter(record("pipelines.embed", logging.INFO))


def test_verbose_leaves_beam_as_it_is(clean_logging: logging.Handler) -> None:
    level = logging.getLogger("apache_beam").level
    quieten(verbose=True)
    assert logging.getLogger("apache_beam").level == level
    assert clean_logging.filters == []
