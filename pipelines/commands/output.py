"""Printing on terminals and pipes that cannot show every character."""

import io
import json
import logging
import os
import shutil
import sys
from typing import Any, TextIO


def harmless(text: str) -> str:
    """Return a text in which nothing commands the terminal: other controls than line ends go."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def say(text: str, file: TextIO | None = None) -> None:
    """Print a text that names what somebody else wrote: a model, a file, a label."""
    print(harmless(text), file=file)


class HarmlessFormatter(logging.Formatter):
    """Formats log records; what they quote of the input may command the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return harmless(super().format(record))


def never_fail_to_print() -> None:
    """Let characters that standard output cannot encode be printed as `?`, not end the command.

    Where the caller closed an output (`>&-`), what is printed there is dropped.
    """
    # Python has None there.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # Python is less strict in the locale C, but not enough to print every text.
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def shows_colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal whose user wants colours (https://no-color.org)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and stream.isatty()


def terminal_columns() -> int:
    """Return the width to print lines at: at least 40 columns, or no line has room for its word."""
    return max(shutil.get_terminal_size((120, 24)).columns, 40)


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON; characters are escaped where the output cannot encode all."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    print(json.dumps(value, ensure_ascii=not encoding.startswith("utf"), indent=indent))
