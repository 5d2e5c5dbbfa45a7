"""How the help of a command reads: one sentence, examples that work, options in groups.

`--help` shows the options that most people need, and says at its end how many more `--help-all`
shows.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

_COLUMNS_OF_NAMES = 25
# What argparse says, and the same in plain words with what to type.
_PLAINER = (
    (r"argument ([^:]+): invalid int value: (.+)", r"\1 is \2, expected a whole number"),
    (r"argument ([^:]+): invalid float value: (.+)", r"\1 is \2, expected a number"),
    (
        r"argument (\S+?)(/\S+)?: expected (?:one|at least one) argument",
        r"\1 needs a value; a value that begins with - is written as \1=-VALUE",
    ),
    (r"argument (\S+): expected \d+ arguments?", r"\1 needs more values"),
    (r"argument (\S+): ignored explicit argument (.+)", r"\1 takes no value, found \2"),
    (r"argument (\S+): not allowed with argument (\S+)", r"give \1 or \2, not both"),
    (
        r"argument ([A-Z]+): invalid choice: (\S+) \(choose from (.*)\)",
        r"\2 is not a \1; expected one of \3",
    ),
    (
        r"argument ([^:]+): invalid choice: (.+) \(choose from (.*)\)",
        r"\1 is \2, expected one of \3",
    ),
    (r"argument ([^:]+): (.+)", r"\1: \2"),
)


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
    _given: Sequence[str] = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Every command takes it; where no option is rare it shows the same as --help.
        self._help_all = self.add_argument("--help-all", action=_HelpAll, help=argparse.SUPPRESS)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; an error looks for a misspelled option among all that was given."""
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(self._given, namespace)

    def show_rare_only_on_demand(self, rare: frozenset[str]) -> None:
        """Show some options under --help-all alone."""
        self.rare = rare
        self._help_all.help = "show this help with all options"

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
        hidden = [*rare, self._help_all]
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
        near = self._near_misses()
        advice = f"did you mean {' and '.join(near)}? " if near else ""
        self.exit(
            2,
            f"sensegrep: error: {plainer(message)}\n"
            f"{advice}all options: {self.prog} {self._more}\n",
        )

    def _near_misses(self) -> list[str]:
        """Return for each unknown option or command of the line what is spelled most alike."""
        known = list(self._option_string_actions)
        near: list[str] = []
        for word in self._given:
            if word == "--":
                break
            name = word.partition("=")[0]
            if not re.match("-[-a-z]", name) or any(each.startswith(name) for each in known):
                continue
            near += difflib.get_close_matches(f"--{name.lstrip('-')}", known, n=1, cutoff=0.6)
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                words = [word for word in self._given if not word.startswith("-")][:1]
                if words and words[0] not in action.choices:
                    near += difflib.get_close_matches(words[0], action.choices, n=1, cutoff=0.6)
        return list(dict.fromkeys(near))

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


def plainer(message: str) -> str:
    """Return what argparse says of a wrong argument in plain words."""
    for pattern, words in _PLAINER:
        if re.fullmatch(pattern, message, re.DOTALL):
            return re.sub(pattern, words, message, flags=re.DOTALL)
    return message


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
