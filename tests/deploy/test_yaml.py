"""Every YAML file of deploy/: no key twice, no odd indentation."""

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str]]
RULES = "{extends: relaxed, rules: {line-length: disable}}"


def test_yamllint_finds_nothing(run_tool: Run, copy: Path) -> None:
    assert len(list((copy / "deploy").rglob("*.yaml"))) >= 15
    assert run_tool("yamllint", "--strict", "-d", RULES, copy / "deploy") == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  timeZone: Etc/UTC\n", "  timeZone: Etc/UTC\n  timeZone: UTC\n", "duplication of key"),
        ("  schedule:", "   schedule:", "syntax error"),
    ],
)
def test_yamllint_refuses_a_broken_twin(
    run_tool: Run,
    copy: Path,
    break_file: Callable[[str, str, str], None],
    old: str,
    new: str,
    words: str,
) -> None:
    break_file("deploy/kubernetes/base/cronjob.yaml", old, new)
    status, text = run_tool("yamllint", "--strict", "-d", RULES, copy / "deploy")
    assert status == 1
    assert words in text
