"""Worker processes of a local run that stay alive between slices, for FnApiRunner.

Beam's own multi-process mode starts its workers anew for each pipeline, which costs seconds each
(they import torch and load the model), and waits for ever for one that was killed. These start
once, keep the model, report their progress, and a death fails the pipeline at once.

Messages (see launcher): to a worker, {"worker_id", "control"}: serve this pipeline. From it,
{"documents", "tokens", "rejects"}: written since the last message.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any

import grpc  # type: ignore[import-untyped]  # it publishes no types
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    GrpcWorkerHandler,
    WorkerHandler,
)
from apache_beam.runners.worker.sdk_worker import SdkHarness
from apache_beam.transforms.environments import Environment, python_sdk_capabilities

from pipelines.embed.jobs.workers.launcher import Message, WorkerLauncher
from pipelines.embed.meter import METER

ENVIRONMENT_URN = "sensegrep:env:worker_pool:v1"
_REPORT_SECONDS = 0.5
_pools: dict[str, "WorkerPool"] = {}


class WorkerPool:
    """The worker processes of a launcher, from `with` to its end.

    Args:
      launcher: that starts them; it stays its maker's, who stops it.
    """

    def __init__(self, launcher: WorkerLauncher) -> None:
        self._launcher = launcher
        self._handlers: dict[int, PoolWorkerHandler] = {}
        self._next = 0
        self._name = f"pool-{id(self)}"
        self._closed = threading.Event()

    def __enter__(self) -> "WorkerPool":
        _pools[self._name] = self
        self._launcher.fork(self._receive, self._fail)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        del _pools[self._name]

    def runner(self) -> FnApiRunner:
        """Return a runner whose stages run in these processes."""
        return FnApiRunner(default_environment=PoolEnvironment(self._name.encode()))

    @property
    def process_ids(self) -> list[int]:
        """Ids of the processes, once they have begun."""
        return self._launcher.process_ids

    def serve(self, handler: "PoolWorkerHandler") -> None:
        """Let the next process in turn work for a pipeline."""
        worker = self._next % self._launcher.workers
        self._next += 1
        self._handlers[worker] = handler
        request = {"worker_id": handler.worker_id, "control": handler.control_address}
        self._launcher.send({"worker": worker, **request})

    def _receive(self, message: Message) -> None:
        del message["worker"]
        METER.add(**message)

    def _fail(self, epitaph: str) -> None:
        # Again and again: the runner may be about to ask the workers for something more.
        while not self._closed.wait(_REPORT_SECONDS):
            for handler in list(self._handlers.values()):
                handler.fail(epitaph)


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
        # It is not running yet: nobody has connected.
        self.control_conn._read_thread = threading.Thread(target=self._read, daemon=True)
        _pools[self._pool].serve(self)

    def _read(self) -> None:
        # A worker that dies tears its stream; the pool tells of it, and a traceback need not.
        with contextlib.suppress(grpc.RpcError):
            self.control_conn._read()

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


def work(requests: IO[bytes], report: Callable[[Message], None]) -> None:
    """Serve pipelines until there are no more requests; the main loop of a worker process."""
    threading.Thread(target=_report, args=(report,), name="report", daemon=True).start()
    for line in requests:
        request = json.loads(line)
        harness = SdkHarness(request["control"], worker_id=request["worker_id"])
        threading.Thread(target=harness.run, name=request["worker_id"], daemon=True).start()


def _report(report: Callable[[Message], None]) -> None:
    while True:
        time.sleep(_REPORT_SECONDS)
        written = METER.take()
        if any(written.values()):
            report(written)
