"""Shorten a worker's error, as a runner reports it, to one line."""

import re
from typing import Any

import grpc  # type: ignore[import-untyped]  # it publishes no types

from pipelines.errors import CorpusError, UsageError

_KINDS = {
    "CorpusError": CorpusError,
    "CommitRefusedError": CorpusError,
    "UsageError": UsageError,
}
# "package.module.SomeError: message", as the last lines of a traceback have it.
_RAISED = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Interrupt)): (.*)$")
# What Beam adds to the message of an error: the step it happened in.
_STEP = re.compile(r"(?: \[while running '[^']*'\])+$")

# What Prism, and Python's job service and FnApiRunner, say of a worker that went away.
_LOST_WORKER = re.compile("SDK worker disconnected|Channel closed prematurely")


def engine_error(error: BaseException, engine: str) -> BaseException:
    """Return what went wrong on an engine: it went away, or a worker raised something.

    Args:
      error: as Beam raised it.
      engine: its name.
    """
    if isinstance(error, grpc.RpcError):
        status: Any = error
        details = status.details() if hasattr(status, "details") else str(error)
        return RuntimeError(
            f"{engine} no longer answers ({details}); what was committed before is safe: check"
            f" that {engine} runs, and run the command again"
        )
    told = worker_error(error)
    if _LOST_WORKER.search(str(told)):
        return RuntimeError(
            f"a worker of {engine} ended before its work was done, killed or out of memory"
            f" ({told}); what was committed before is safe: run the command again"
        )
    return told


def worker_error(error: BaseException) -> BaseException:
    """Return what a worker raised, from the text of its traceback; an interrupt stays one.

    Args:
      error: as the runner raised it; its text may hold tracebacks of several processes.
    """
    lines = [line.strip() for line in str(error).replace("\\n", "\n").splitlines() if line.strip()]
    if lines and _STEP.sub("", lines[-1]).rstrip(": ") == "KeyboardInterrupt":
        return KeyboardInterrupt()
    found = [match for line in lines if (match := _RAISED.match(line))]
    if not found:  # it was raised in this very process, and is no text of a traceback
        kind = type(error).__name__
        return _KINDS.get(kind, RuntimeError)(_STEP.sub("", lines[-1]) if lines else repr(error))
    kind, message = found[-1].groups()
    return _KINDS.get(kind, RuntimeError)(_STEP.sub("", message))
