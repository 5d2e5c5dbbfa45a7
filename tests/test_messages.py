"""The commands and options that messages name exist, and are given whole."""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS, build_parser

ROOT = Path(__file__).parent.parent
PACKAGES = ("schemas", "elmo_infer", "pipelines", "deploy")
# What a message tells its reader to type: after a colon, "use", "with" or a bracket.
ADVICE = re.compile(r"(?:: |\(|\buse |\bwith )sensegrep ([a-z]+)([^;,()]*)")
WITHOUT_CORPUS = {"train", "evaluate"}


def texts(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield each string below a node, as one text, but no docstring; X is in place of a value."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        if isinstance(child, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "X" for part in child.values)
            yield child.lineno, "".join(map(str, parts))
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.lineno, child.value
        else:
            yield from texts(child)


def all_texts() -> list[tuple[str, str]]:
    return [
        (f"{path.relative_to(ROOT)}:{line}", text)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in texts(ast.parse(path.read_text(encoding="utf-8")))
    ]


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The options of each command, those of its subcommands too."""
    parser = build_parser(*COMMANDS)
    commands = next(
        action.choices
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )

    def names(parser: argparse.ArgumentParser) -> set[str]:
        found = set(parser._option_string_actions)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                found = found.union(*map(names, action.choices.values()))
        return found

    return {name: names(command) for name, command in commands.items()}


def test_a_command_to_type_is_given_whole(options: dict[str, set[str]]) -> None:
    advised = [
        (place, command, arguments)
        for place, text in all_texts()
        for command, arguments in ADVICE.findall(text)
    ]
    assert len(advised) > 30
    faults = [
        f"{place}: sensegrep {command}{arguments}"
        for place, command, arguments in advised
        if command not in options
        or not set(re.findall(r"--[a-z-]+", arguments)) <= options[command] | {"--help"}
        or (
            command not in WITHOUT_CORPUS
            and "--corpus" not in arguments
            and not re.search(r"--help| \.\.\.", arguments)
        )
    ]
    assert faults == []


def test_an_option_that_an_error_advises_exists(options: dict[str, set[str]]) -> None:
    known = set().union(*options.values())
    advised = [
        (place, option)
        for place, text in all_texts()
        for option in re.findall(
            r"\b(?:give|leave out|with|or|raise) (--[a-z-]{3,})(?![_\w])", text
        )
    ]
    assert len(advised) > 50
    assert [each for each in advised if each[1] not in known] == []
