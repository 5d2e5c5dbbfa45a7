"""How the help of a command reads: one sentence, examples that work, options in groups.

`--help` shows the options that most people need, and says at its end how many more `--help-all`
shows.
"""

import argparse
import difflib
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

_COLUMNS_OF_NAMES = 25


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Adds "(default: X)" where there is a default that says something."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, max_help_position=_COLUMNS_OF_NAMES, **options)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        # A switch is off unless it is given, and a list is empty.
        default = action.default
        silent = default is None or isinstance(default, bool) or default in ([], argparse.SUPPRESS)
        if silent or "default" in text or not action.option_strings:
            return action.help
        return f"{text} (default: %(default)s)"


class CommandParser(argparse.ArgumentParser):
    """A parser whose help fits a screen, and whose errors say what to type instead.

    Attributes:
      rare: options that only --help-all shows.
    """

    rare: frozenset[str] = frozenset()

    def show_rare_only_on_demand(self, rare: frozenset[str]) -> None:
        """Show some options under --help-all alone."""
        self.rare = rare
        self.add_argument("--help-all", action=_HelpAll, help="show this help with all options")

    def format_usage(self) -> str:
        """Return the command in one line: arguments, what must be given, [options]."""
        self.usage = " ".join(self._usage_words())
        return super().format_usage()

    def format_help(self, *, everything: bool = False) -> str:
        """Return the help; with `everything` the rare options too."""
        self.usage = " ".join(self._usage_words())
        if everything or not self.rare:
            return super().format_help()
        rare = [action for action in self._actions if self._is_rare(action)]
        hidden = [*rare, *(a for a in self._actions if isinstance(a, _HelpAll))]
        texts, groups = [action.help for action in hidden], self._action_groups
        for action in hidden:
            action.help = argparse.SUPPRESS
        # A group without options would still show its title.
        self._action_groups = [g for g in groups if not set(g._group_actions) <= set(hidden)]
        try:
            return f"{super().format_help()}\n{len(rare)} more options: {self.prog} --help-all\n"
        finally:
            self._action_groups = groups
            for action, text in zip(hidden, texts, strict=True):
                action.help = text

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and exit with status 2."""
        self.print_usage(sys.stderr)
        known = [name for action in self._actions for name in action.option_strings]
        unknown = [word.partition("=")[0] for word in message.split() if word.startswith("--")]
        near = [
            match
            for word in unknown
            if word not in known
            for match in difflib.get_close_matches(word, known, n=1, cutoff=0.6)
        ]
        advice = f"did you mean {' and '.join(near)}? " if near else ""
        self.exit(
            2, f"sensegrep: error: {message}\n{advice}all options: {self.prog} {self._more}\n"
        )

    @property
    def _more(self) -> str:
        return "--help-all" if self.rare else "--help"

    def _is_rare(self, action: argparse.Action) -> bool:
        return any(name in self.rare for name in action.option_strings)

    def _usage_words(self) -> Iterator[str]:
        yield "%(prog)s"
        for action in self._actions:
            name = str(action.metavar or action.dest)
            if not action.option_strings:
                shown = f"{name}..." if action.nargs in ("+", "*") else name
                yield f"[{shown}]" if action.nargs in ("?", "*") else shown
        for action in self._actions:
            if action.option_strings and action.required:
                value = action.metavar or action.dest.upper()
                yield f"{action.option_strings[-1]} {value}{' ...' if action.nargs == '+' else ''}"
        yield "[options]"


class _HelpAll(argparse.Action):
    """Prints the help with the rare options, and exits."""

    def __init__(self, option_strings: list[str], help: str | None = None, **_: Any) -> None:
        super().__init__(
            option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help
        )

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        assert isinstance(parser, CommandParser)
        print(parser.format_help(everything=True), end="")
        parser.exit()
