"""Engines that really run, for tests and benchmarks.

Prism, Beam's portable job service, several processes, worker pools.

Prism is a program in Go; `make test-engines` builds it into .engines/. Where it is not there, what
needs it is skipped, and says so.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PRISM = Path(os.environ.get("SENSEGREP_PRISM", ROOT / ".engines" / "prism"))
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    # A worker pool starts "python", whichever comes first.
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
}


@dataclass
class RunningEngine:
    """An engine and the processes it is made of.

    Attributes:
      name: for messages.
      flags: that a command needs to run on it.
      processes: by what they are: job_server, pool.
    """

    name: str
    flags: list[str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args} ended with status {process.returncode}"
        with contextlib.suppress(OSError):
            socket.create_connection(("localhost", port), 1).close()
            return
        time.sleep(0.1)
    raise AssertionError(f"{process.args} does not listen on port {port}")


@contextlib.contextmanager
def background(
    log: Path, *command: str, environment: Mapping[str, str] = ENVIRONMENT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program with its children until the `with` ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=log.parent,  # not the checkout, whose own package would come first
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def worker_pool(
    directory: Path, prefix: Sequence[str] = (), environment: Mapping[str, str] = ENVIRONMENT
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    module = "apache_beam.runners.worker.worker_pool_main"
    command = (*prefix, sys.executable, "-m", module, "--service_port", str(port))
    with background(directory / "pool.log", *command, environment=environment) as process:
        wait_for_port(port, process)
        yield port, process


def external(port: int) -> list[str]:
    return ["--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"]


def needs_prism() -> Path:
    if not PRISM.exists():
        pytest.skip(f"needs Prism at {PRISM}; make test-engines builds it (needs Go)")
    return PRISM


@contextlib.contextmanager
def several_processes(_: Path) -> Iterator[RunningEngine]:
    flags = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    yield RunningEngine("FnApiRunner", ["--runner=FnApiRunner", *flags])


@contextlib.contextmanager
def prism_loopback(_: Path) -> Iterator[RunningEngine]:
    yield RunningEngine("Prism", ["--runner=PrismRunner", f"--prism_location={needs_prism()}"])


@contextlib.contextmanager
def prism_pool(
    directory: Path, prefix: Sequence[str] = (), environment: Mapping[str, str] = ENVIRONMENT
) -> Iterator[RunningEngine]:
    """Prism, and a pool of workers in another process.

    Args:
      directory: of the logs.
      prefix: words before the pool's command.
      environment: of the pool and its workers.
    """
    prism, port = needs_prism(), free_port()
    command = (str(prism), f"--job_port={port}", "--serve_http=false")
    with (
        background(directory / "prism.log", *command) as server,
        worker_pool(directory, prefix, environment) as (pool_port, pool),
    ):
        wait_for_port(port, server)
        flags = ["--runner=PrismRunner", f"--job_endpoint=localhost:{port}", *external(pool_port)]
        yield RunningEngine("Prism with a pool", flags, {"job_server": server, "pool": pool})


@contextlib.contextmanager
def job_service_pool(directory: Path) -> Iterator[RunningEngine]:
    port = free_port()
    module = "apache_beam.runners.portability.local_job_service_main"
    command = (sys.executable, "-m", module, "--port", str(port))
    with (
        background(directory / "service.log", *command) as server,
        worker_pool(directory) as (pool_port, pool),
    ):
        wait_for_port(port, server)
        flags = [
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{port}",
            *external(pool_port),
        ]
        yield RunningEngine("job service", flags, {"job_server": server, "pool": pool})


ENGINES: dict[str, Callable[[Path], contextlib.AbstractContextManager[RunningEngine]]] = {
    "several-processes": several_processes,
    "prism-loopback": prism_loopback,
    "prism-pool": prism_pool,
    "job-service-pool": job_service_pool,
}
