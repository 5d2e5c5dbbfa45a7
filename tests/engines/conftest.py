"""Fixtures of the tests on real engines."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.__main__ import main
from tests.engines.running_engines import ENGINES, ENVIRONMENT, RunningEngine


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningEngine]:
    """Each engine in turn, running."""
    with ENGINES[request.param](tmp_path) as running:
        yield running


@pytest.fixture
def start_engine(tmp_path: Path) -> Iterator[Callable[[str], RunningEngine]]:
    """A function that starts one engine by name."""
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(ENGINES[name](tmp_path))


@dataclass
class Result:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture
def sensegrep(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """A function that runs the command, in this process, which has imported what it needs.

    FnApiRunner with several processes starts them anew from what the command's process is.
    """

    def run(*arguments: object) -> Result:
        words = [str(argument) for argument in arguments]
        capfd.readouterr()
        if "--runner=FnApiRunner" in words:
            command = [sys.executable, "-m", "pipelines", *words]
            status = subprocess.run(command, env=ENVIRONMENT, check=False).returncode
        else:
            status = main(words)
        return Result(status, *capfd.readouterr())

    return run


@pytest.fixture
def start_sensegrep() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that starts the command and does not wait; it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
