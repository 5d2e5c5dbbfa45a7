"""Check Beam's flags before any work, and keep Beam's own log off the terminal."""

import difflib
import logging
import re
import threading
import warnings
from argparse import ArgumentParser
from collections.abc import Sequence

from pipelines.errors import UsageError

LOCAL_RUNNER = "FnApiRunner"


def check_flags(flags: Sequence[str]) -> list[str]:
    """Return flags that Beam knows, for a runner; a mistyped flag of ours must not vanish in them.

    Args:
      flags: what our own parser did not know; each as --name=value or --name.

    Raises:
      UsageError: for a flag that Beam does not know either, or a stray word.
    """
    if not flags:
        return []
    known = _known_flags()
    for flag in flags:
        name = flag.split("=", 1)[0]
        if not name.startswith("--"):
            raise UsageError(f"unexpected {flag!r}; write flags for Beam as one word, --flag=value")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, cutoff=0.75)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(
                f"unknown option {name}{hint} (neither of sensegrep nor of Beam); see: sensegrep"
                " embed --help-all"
            )
    return list(flags)


def _known_flags() -> list[str]:
    """Return the names of all flags that Beam and its runners declare."""
    from apache_beam.options.pipeline_options import PipelineOptions

    parsers: list[ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    lines = parsers[0].format_help().splitlines()
    # "  --name VALUE, --other_name VALUE  what it means"
    heads = [re.split(r"\s{2,}", line.strip())[0] for line in lines if line.startswith("  --")]
    return [name for head in heads for name in re.findall(r"--[\w-]+", head)]


def with_runner(flags: Sequence[str]) -> list[str]:
    """Return the flags with a runner named: FnApiRunner, if they do not name another.

    Left to itself Beam takes DirectRunner, which tries to download Prism.
    """
    return [*flags, *([] if names_runner(flags) else [f"--runner={LOCAL_RUNNER}"])]


def flag_value(flags: Sequence[str], name: str) -> str | None:
    """Return the value of a flag, the last one given; None if it is not there."""
    found = [flag.partition("=")[2] for flag in flags if flag.partition("=")[0] == name]
    return found[-1] if found else None


def names_runner(flags: Sequence[str]) -> bool:
    """Say whether the flags name a runner."""
    return any(flag.split("=")[0] == "--runner" for flag in flags)


def quieten(verbose: bool) -> None:
    """Silence Beam's own logging, unless the user asked for more.

    Its errors go too: each is raised as well, and then told in one line instead of fifty.
    """
    if verbose:
        return
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    # Its threads lose their connections when an engine ends; what matters is raised elsewhere.
    threading.excepthook = lambda _: None
    warnings.filterwarnings("ignore", module="apache_beam")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_not_beam_s)


def quieten_workers() -> None:
    """Keep the workers in this process from printing tracebacks, if Beam is to be silent.

    What a worker raises comes back through the engine, and is told in one line then.
    """
    if logging.getLogger("apache_beam").level < logging.CRITICAL:
        return
    from apache_beam.runners.worker import sdk_worker

    # It prints to standard error beside logging; a closed one would even leave the engine waiting.
    vars(sdk_worker)["print"] = lambda *_, **__: None


def _is_not_beam_s(record: logging.LogRecord) -> bool:
    """Say whether a record is kept: remarks and messages of jobs go to the root logger, too."""
    if record.name != "root":
        return True
    return record.levelno > logging.WARNING and "apache_beam" not in record.pathname
