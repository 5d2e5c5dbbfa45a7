"""Start worker processes by forking one that has imported what they need. No Beam.

Importing torch, Beam and spaCy takes seconds of a core. The launcher pays for it once, beside the
command's own imports, and workers forked from it begin at once and share its memory. Until then it
imports and does nothing else: no thread that a fork could tear, no model, no device.

multiprocessing's forkserver with a preload does the same and was measured beside this, in turn, on
two shared, loaded cores: until the first batch was embedded by two workers the whole command took
10.1 s of processor time with it and 10.2 s with this (medians of three; 30 s and 35 s by the clock,
of which the other work on the machine decides more). It is not clearly faster, and there a preload
that fails is passed over in silence, so this stays.

Protocol: one JSON object a line. To the launcher, {"fork": N}, then {"worker": i, ...}, which it
passes on to worker i. From it, {"forked": [process ids]} and {"ended": i, "status": exit status};
from worker i, on the same pipe, {"worker": i, ...}. All end when the launcher's standard input
does, so none outlives the command.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import IO, Any

from pipelines.errors import UsageError

_STOP_SECONDS = 5.0

Message = dict[str, Any]


class WorkerLauncher:
    """Starts worker processes. Make it early: its imports take as long as one's own.

    Args:
      workers: how many there will be; they divide the cores.
      verbose: let them log more than errors.

    Raises:
      UsageError: if processes cannot be forked here.
    """

    def __init__(self, workers: int, verbose: bool = False) -> None:
        if not hasattr(os, "fork"):
            raise UsageError(
                "--workers needs a system that can fork processes, as Linux and macOS can; leave it"
                " out: one process uses all cores too"
            )
        self.workers = workers
        self.process_ids: list[int] = []
        cores = os.cpu_count() or 1
        environment = {"OMP_NUM_THREADS": str(max(1, cores // workers)), **os.environ}
        # Logging is set up before Beam is imported, which logs while it is. An interrupt from the
        # keyboard goes to all processes; the command decides what it means.
        program = (
            "import logging, signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
            f" logging.basicConfig(level='{'INFO' if verbose else 'ERROR'}');"
            " import elmo_infer, spacy, torch, pipelines.embed.jobs.local;"
            " from pipelines.embed.jobs.workers.launcher import launch;"
            " from pipelines.embed.jobs.workers.pool import work;"
            " launch(work)"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._writing = threading.Lock()
        self._listener: threading.Thread | None = None
        self._stopping = False

    def __enter__(self) -> "WorkerLauncher":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def fork(self, receive: Callable[[Message], None], fail: Callable[[str], None]) -> None:
        """Let the workers begin as soon as the imports are done.

        Args:
          receive: told what workers send, from a thread of its own.
          fail: told once, likewise, how a process ended that should not have.
        """
        self.send({"fork": self.workers})
        self._listener = threading.Thread(target=self._listen, args=(receive, fail), daemon=True)
        self._listener.start()

    def send(self, message: Message) -> None:
        """Send a message, to the worker that it names.

        Raises:
          RuntimeError: if the launcher is gone.
        """
        assert self._process.stdin is not None
        try:
            with self._writing:
                _send(self._process.stdin, message)
        except OSError as error:
            raise RuntimeError(_exit_message(self._process.pid, self._process.wait())) from error

    def _listen(self, receive: Callable[[Message], None], fail: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "forked" in message:
                self.process_ids = message["forked"]
            elif "ended" not in message:
                receive(message)
            elif not self._stopping:
                fail(_exit_message(self.process_ids[message["ended"]], message["status"]))
                return
        if not self._stopping:
            fail(_exit_message(self._process.pid, self._process.wait()))

    def stop(self) -> None:
        """End all of the processes."""
        if self._stopping:
            return
        self._stopping = True
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):  # it may be gone
            self._process.stdin.close()
        if not self.process_ids:
            self._process.kill()  # in the midst of its imports it would not notice
        try:
            self._process.wait(timeout=2 * _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._listener is not None:
            self._listener.join()
        self._process.stdout.close()


def _exit_message(process_id: int, status: int) -> str:
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    return (
        f"worker process {process_id} ended {how} in the middle of its work; what was committed"
        " before is safe: run the command again (fewer --workers or a smaller"
        " --max-tokens-per-batch take less memory)"
    )


def launch(work: Callable[[IO[bytes], Callable[[Message], None]], None]) -> None:
    """Fork workers and serve them; the main loop of the launcher.

    Args:
      work: the main loop of a worker: (requests, report).
    """
    requests = sys.stdin.buffer
    reports = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Whatever a library prints must not be taken for a message.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    first = requests.readline()
    if not first:
        return
    pipes: list[IO[bytes]] = []
    process_ids: list[int] = []
    for number in range(json.loads(first)["fork"]):
        receiving, sending = os.pipe()
        process_id = os.fork()
        if not process_id:
            # A pipe ends only when nobody else holds its other end.
            os.close(sending)
            for pipe in pipes:
                pipe.close()
            _be_worker(number, receiving, reports, work)
        os.close(receiving)
        pipes.append(os.fdopen(sending, "wb"))
        process_ids.append(process_id)
    _send(reports, {"forked": process_ids})
    threading.Thread(target=_watch, args=(process_ids, reports), daemon=True).start()
    _pass_on(requests, pipes)
    for pipe in pipes:
        with contextlib.suppress(OSError):
            pipe.close()
    _end(process_ids)
    os._exit(0)


def _be_worker(
    number: int,
    receiving: int,
    reports: IO[bytes],
    work: Callable[[IO[bytes], Callable[[Message], None]], None],
) -> None:
    status = 1
    try:
        os.close(sys.stdin.fileno())
        with os.fdopen(receiving, "rb") as requests:
            work(requests, lambda message: _send(reports, {"worker": number, **message}))
        status = 0
    finally:
        os._exit(status)  # the command is gone or done; harness threads may still wait for it


def _pass_on(requests: Iterable[bytes], pipes: list[IO[bytes]]) -> None:
    for line in requests:
        pipe = pipes[json.loads(line)["worker"]]
        with contextlib.suppress(OSError):  # its end is reported by _watch
            pipe.write(line)
            pipe.flush()


def _watch(process_ids: list[int], reports: IO[bytes]) -> None:
    for _ in process_ids:
        process_id, status = os.wait()
        ended = {
            "ended": process_ids.index(process_id),
            "status": os.waitstatus_to_exitcode(status),
        }
        with contextlib.suppress(OSError):
            _send(reports, ended)


def _end(process_ids: list[int]) -> None:
    """Wait for the workers, whose requests have ended; kill those that do not end."""
    deadline = time.monotonic() + _STOP_SECONDS
    left = process_ids
    while left and time.monotonic() < deadline:
        left = [process_id for process_id in left if _lives(process_id)]
        time.sleep(0.01)
    for process_id in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


def _lives(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def _send(stream: IO[bytes], message: Message) -> None:
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()
