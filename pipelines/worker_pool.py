"""Worker processes of a local run that live across slices, for FnApiRunner.

Beam's own multi-process mode starts its workers anew for each pipeline, which costs seconds each
(they import torch and load the model), and waits for ever for one that was killed. These start
once, keep the model, report their progress, and a death fails the pipeline at once.

Protocol: one JSON object a line. To a worker, {"worker_id", "control"}: serve this pipeline.
From it, {"documents", "tokens", "rejects"}: written since the last line. A worker ends when its
standard input does, so none outlives the command.
"""

import json
import os
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import IO, Any

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    GrpcWorkerHandler,
    WorkerHandler,
)
from apache_beam.runners.worker.sdk_worker import SdkHarness
from apache_beam.transforms.environments import Environment, python_sdk_capabilities

from pipelines.progress import METER

ENVIRONMENT_URN = "sensegrep:env:worker_pool:v1"
_REPORT_SECONDS = 0.5
_pools: dict[str, "WorkerPool"] = {}


class WorkerPool:
    """N worker processes, from `with` to its end.

    Args:
      workers: how many.
      verbose: let the workers log more than warnings.
    """

    def __init__(self, workers: int, verbose: bool = False) -> None:
        self._workers = workers
        self._verbose = verbose
        self._members: list[_Member] = []
        self._next = 0
        self._name = f"pool-{id(self)}"

    def __enter__(self) -> "WorkerPool":
        self._members = [_Member(self._workers, self._verbose) for _ in range(self._workers)]
        _pools[self._name] = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del _pools[self._name]
        for member in self._members:
            member.stop()

    def runner(self) -> FnApiRunner:
        """Return a runner whose stages run in these processes."""
        return FnApiRunner(default_environment=PoolEnvironment(self._name.encode()))

    @property
    def process_ids(self) -> list[int]:
        """Ids of the processes."""
        return [member.process.pid for member in self._members]

    def serve(self, handler: "PoolWorkerHandler") -> None:
        """Let the next process in turn work for a pipeline."""
        member = self._members[self._next % len(self._members)]
        self._next += 1
        member.serve(handler)


class _Member:
    """One worker process and the thread that listens to it."""

    def __init__(self, workers: int, verbose: bool) -> None:
        cores = os.cpu_count() or 1
        environment = {"OMP_NUM_THREADS": str(max(1, cores // workers)), **os.environ}
        # Logging is set up before Beam is imported, which logs while it is.
        level = "INFO" if verbose else "ERROR"
        program = (
            f"import logging; logging.basicConfig(level='{level}');"
            " from pipelines.worker_pool import main; main()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._stopping = False
        self._handlers: list[PoolWorkerHandler] = []
        threading.Thread(target=self._listen, name="worker-progress", daemon=True).start()

    def serve(self, handler: "PoolWorkerHandler") -> None:
        self._handlers = [handler]
        request = {"worker_id": handler.worker_id, "control": handler.control_address}
        try:
            _send(self.process.stdin, request)
        except OSError as error:
            raise RuntimeError(self._epitaph()) from error

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            METER.add(**json.loads(line))
        self.process.wait()
        # Again and again: the runner may be about to ask this worker for something more.
        while not self._stopping:
            for handler in self._handlers:
                handler.fail(self._epitaph())
            time.sleep(_REPORT_SECONDS)

    def _epitaph(self) -> str:
        status = self.process.wait()
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return (
            f"worker process {self.process.pid} ended {how} in the middle of its work; what was"
            " committed before is safe: run the command again (fewer --workers or a smaller"
            " --max-tokens-per-batch take less memory)"
        )

    def stop(self) -> None:
        self._stopping = True
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@Environment.register_urn(ENVIRONMENT_URN, bytes)
class PoolEnvironment(Environment):
    """Names the pool in which a pipeline's stages run."""

    def __init__(self, pool: bytes, **settings: Any) -> None:
        super().__init__(settings.get("capabilities") or python_sdk_capabilities(), ())
        self._pool = pool

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PoolEnvironment) and self._pool == other._pool

    def __hash__(self) -> int:
        return hash(self._pool)

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        """Return the URN and the pool's name."""
        del context
        return ENVIRONMENT_URN, self._pool

    @staticmethod
    def from_runner_api_parameter(
        payload: bytes,
        capabilities: Any,
        artifacts: Any,
        resource_hints: Any,
        context: Any,
    ) -> "PoolEnvironment":
        """Make it from its name again."""
        del artifacts, resource_hints, context
        return PoolEnvironment(payload, capabilities=capabilities)


@WorkerHandler.register_environment(ENVIRONMENT_URN, bytes)
class PoolWorkerHandler(GrpcWorkerHandler):
    """Connects the runner with a process of the pool."""

    def __init__(self, pool: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._pool = pool.decode()

    def start_worker(self) -> None:
        """Let a process of the pool connect."""
        _pools[self._pool].serve(self)

    def stop_worker(self) -> None:
        """Nothing: the worker's thread ends with its connection, its process lives on."""

    def fail(self, message: str) -> None:
        """Answer in the place of a dead worker whatever the runner has asked it.

        ControlConnection.abort would not do: who waits for data looks only for an answer.
        """
        for instruction_id, future in list(self.control_conn._futures_by_id.items()):
            response = beam_fn_api_pb2.InstructionResponse(
                instruction_id=instruction_id, error=message
            )
            future.set(response)

    def host_from_worker(self) -> str:
        """Return where workers find the runner."""
        return "localhost"


def work(requests: IO[bytes], reports: IO[bytes]) -> None:
    """Serve pipelines until there are no more requests; the main loop of a worker process."""
    threading.Thread(target=_report, args=(reports,), name="report", daemon=True).start()
    for line in requests:
        request = json.loads(line)
        harness = SdkHarness(request["control"], worker_id=request["worker_id"])
        threading.Thread(target=harness.run, name=request["worker_id"], daemon=True).start()


def _report(reports: IO[bytes]) -> None:
    while True:
        time.sleep(_REPORT_SECONDS)
        written = METER.take()
        if any(written.values()):
            _send(reports, written)


def _send(stream: IO[bytes] | None, fields: dict[str, Any]) -> None:
    assert stream is not None
    stream.write(json.dumps(fields).encode() + b"\n")
    stream.flush()


def main() -> None:
    """Run a worker process."""
    reports = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Whatever a library prints must not be taken for a report.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    work(sys.stdin.buffer, reports)
    os._exit(0)  # the driver is gone or done; harness threads may still wait for it
