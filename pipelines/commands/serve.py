"""sensegrep serve: the search page and the HTTP API."""

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.commands.devices import DEVICES, device_name
from pipelines.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of the command: from its flag, else from its variable, else the default.

    Attributes:
      flag: such as --max-k.
      field: of ServeSettings.
      read: turns the text into a value; raises ValueError.
      metavar: what stands for the value in the help; empty for a switch.
      summary: for the help.
      default: for the help.
    """

    flag: str
    field: str
    read: Callable[[str], Any]
    metavar: str
    summary: str
    default: str = ""

    @property
    def variable(self) -> str:
        """The environment variable that stands for the flag."""
        return "SENSEGREP_" + self.flag.removeprefix("--").replace("-", "_").upper()


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _switch(text: str) -> bool:
    if text.lower() not in ("1", "0", "true", "false", "yes", "no"):
        raise ValueError(f"{text!r} is neither on nor off; write 1 or 0")
    return text.lower() in ("1", "true", "yes")


def _size(text: str) -> int:
    from pipelines.index.options import parse_size

    return parse_size(text)


def _seconds(text: str) -> float:
    from pipelines.serving.settings import parse_seconds

    return parse_seconds(text)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def _option(flag: str, metavar: str, summary: str, default: str = "", **more: Any) -> Option:
    field = more.pop("field", flag.removeprefix("--").replace("-", "_"))
    read = more.pop("read", str)
    return Option(
        flag=flag, field=field, read=read, metavar=metavar, summary=summary, default=default
    )


GROUPS: dict[str, tuple[Option, ...]] = {
    "corpus and model": (
        _option("--corpus", "DIR", "path or URL of the corpus"),
        _option("--model", "PATH", "path of the corpus's model, if it has moved"),
        _option("--device", "DEVICE", DEVICES, "auto", read=device_name),
        _option("--cache-dir", "DIR", "directory that keeps index files of a remote corpus"),
        _option(
            "--refresh",
            "TIME",
            "look for a newer snapshot this often",
            "10s",
            field="refresh_seconds",
            read=_seconds,
        ),
    ),
    "network and access": (
        _option("--host", "ADDRESS", "address to listen on", "127.0.0.1"),
        _option("--port", "N", "port to listen on; 0 takes a free one", "8000", read=_whole),
        _option("--api-key", "KEY", "key that clients must send: Authorization: Bearer KEY"),
        _option(
            "--allow-host",
            "NAMES",
            "names that requests may give in the Host header, separated by commas (default: on a"
            " loopback address those of this machine, else any)",
            field="allow_hosts",
            read=_words,
        ),
        _option(
            "--allow-origin",
            "ORIGINS",
            "origins whose pages may use this server (CORS), separated by commas",
            field="allow_origins",
            read=_words,
        ),
    ),
    "limits": (
        _option("--max-query-chars", "N", "characters of a query or a word", "2000", read=_whole),
        _option("--max-k", "N", "lines of one search", "1000", read=_whole),
        _option("--max-tokens", "N", "tokens in one request for vectors", "8192", read=_whole),
        _option(
            "--max-body",
            "SIZE",
            "bytes of a request's body",
            "2M",
            field="max_body_bytes",
            read=_size,
        ),
        _option(
            "--max-requests",
            "N",
            "requests at once; further requests get status 429",
            "64",
            read=_whole,
        ),
        _option("--max-seconds", "TIME", "time for one request", "30s", read=_seconds),
        _option("--batch-tokens", "N", "tokens encoded together", "2048", read=_whole),
    ),
    "logs": (
        _option("--log-json", "", "write log lines as JSON", read=_switch),
        _option("--log-queries", "", "write queries to the log", read=_switch),
    ),
}
OPTIONS = tuple(option for group in GROUPS.values() for option in group)
RARE_OPTIONS = frozenset(option.flag for option in (*GROUPS["limits"], *GROUPS["logs"]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sensegrep serve`."""
    variables = """\
Each option may be given as a variable, too: SENSEGREP_CORPUS, SENSEGREP_PORT.
An option overrides its variable. Other users of the machine can see the value
of --api-key in the list of processes, but not that of SENSEGREP_API_KEY."""
    parser.epilog = "\n\n".join(filter(None, [variables, parser.epilog]))
    for title, options in GROUPS.items():
        group = parser.add_argument_group(title)
        for option in options:
            summary = option.summary + (f" (default: {option.default})" if option.default else "")
            # No defaults here: what is not given may stand in the environment.
            if option.metavar:
                group.add_argument(
                    option.flag, dest=option.field, metavar=option.metavar, help=summary
                )
            else:
                group.add_argument(
                    option.flag, dest=option.field, action="store_const", const="1", help=summary
                )


def read_settings(given: Mapping[str, str | None], environment: Mapping[str, str]) -> Any:
    """Return the server's settings from flags, and variables where there is no flag.

    Args:
      given: text of each field of ServeSettings; None where there is no flag.
      environment: variables.

    Raises:
      UsageError: if a value means nothing; names the flag or the variable it stood in.
    """
    from pipelines.serving.settings import ServeSettings

    values: dict[str, Any] = {}
    for option in OPTIONS:
        text, source = given.get(option.field), option.flag
        if text is None:
            text, source = environment.get(option.variable), option.variable
        if text is None or (text == "" and source == option.variable):
            continue
        try:
            values[option.field] = option.read(text)
        except (ValueError, argparse.ArgumentTypeError) as error:
            raise UsageError(f"{source}: {error}") from error
    if "corpus" not in values:
        raise UsageError("no corpus is given; name one with --corpus DIR or SENSEGREP_CORPUS")
    return ServeSettings(**values)


def execute(args: argparse.Namespace) -> int:
    """Serve until the process is told to stop."""
    given = {option.field: getattr(args, option.field) for option in OPTIONS}
    settings = read_settings(given, os.environ)
    try:
        from pipelines.serving.server import serve, set_up_logs
    except ModuleNotFoundError as error:
        raise UsageError(
            f"serve needs {error.name}, which is not installed: pip install 'sensegrep[serve]'"
        ) from error
    set_up_logs(settings)
    serve(settings, lambda address: print(f"serving {settings.corpus} at {address}", flush=True))
    return 0
