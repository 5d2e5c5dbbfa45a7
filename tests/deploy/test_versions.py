"""Versions agree: constraints, image, Flink's job server, README."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

Break = Callable[[str, str, str], None]


def disagreements(copy: Path) -> list[str]:
    """Return each version in deploy/ that is not the one of setup.py or constraints.txt."""
    [beam] = re.findall(r"^apache-beam==(.+)$", (copy / "constraints.txt").read_text(), re.M)
    setup = (copy / "setup.py").read_text()
    [ours] = re.findall(r'^    version="(.+)"', setup, re.M)
    [python] = re.findall(r'python_requires=">=(.+)"', setup)
    wanted = {
        r"beam_python[\d.]+_sdk:([\w.]+)": beam,
        r"job_server:([\w.]+)": beam,
        r"apache-beam ([\d.]+\d)": beam,
        r"/sensegrep(?:-worker|-flex)?:([\w.]+)": ours,
        r"beam_python([\d.]+)_sdk": python,
        r"BASE=python:([\d.]+)-": python,
        r"/python(\d+)-template": python.replace(".", ""),
    }
    found = []
    for path in sorted((copy / "deploy").rglob("*")):
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        found += [
            f"{path.name}: {version}, expected {right}"
            for pattern, right in wanted.items()
            for version in re.findall(pattern, text)
            if version != right
        ]
    return found


def test_versions_agree(copy: Path) -> None:
    assert disagreements(copy) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("constraints.txt", "apache-beam==2.77.0", "apache-beam==2.78.0", "expected 2.78.0"),
        ("setup.py", 'version="0.2.0"', 'version="0.3.0"', "sensegrep.env: 0.2.0, expected 0.3.0"),
        ("deploy/Dockerfile", "BASE=python:3.11-", "BASE=python:3.12-", "Dockerfile: 3.12"),
        ("deploy/flink/submit.yaml", ":2.77.0", ":2.76.0", "submit.yaml: 2.76.0"),
    ],
)
def test_a_version_that_differs_is_seen(
    copy: Path, break_file: Break, name: str, old: str, new: str, words: str
) -> None:
    break_file(name, old, new)
    assert any(words in line for line in disagreements(copy))
