"""Tools and copies that the checks of deploy/ share; `make check-deploy` installs the tools."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("DEPLOY_TOOLS", ROOT / ".deploy"))
Run = Callable[..., tuple[int, str]]
SHOW = "import json, sys; print(json.dumps(sys.argv[1:]))"


def tool_path(name: str) -> Path:
    """Return where a tool is: in an environment of `make check-deploy`, or on this machine."""
    for folder in ("bin", "lint/bin"):
        if (TOOLS / folder / name).exists():
            return TOOLS / folder / name
    found = shutil.which(name)
    if not found:
        pytest.skip(f"needs {name}, which `make check-deploy` installs")
    return Path(found)


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder with the tools."""
    return TOOLS


@pytest.fixture(scope="session")
def run_tool() -> Run:
    """A function that runs a tool and returns its exit status and all that it said."""

    def run(name: str, *arguments: str | Path, **options: Any) -> tuple[int, str]:
        done = subprocess.run(
            [tool_path(name), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
            **options,
        )
        return done.returncode, done.stdout

    return run


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what an operator has, with the example's variables filled in."""
    folder = tmp_path / "copy"
    ignored = shutil.ignore_patterns("sensegrep.env", "secrets.env", "__pycache__")
    shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=ignored)
    for name in (".dockerignore", "constraints.txt", "setup.py", "README.md"):
        shutil.copy(ROOT / name, folder)
    for name in ("sensegrep.env", "secrets.env"):
        shutil.copy(folder / f"deploy/{name}.example", folder / "deploy" / name)
    return folder


@pytest.fixture
def break_file(copy: Path) -> Callable[[str, str, str], None]:
    """A function that breaks one place of a file of the copy: the twin a check must refuse."""

    def replace(name: str, old: str, new: str) -> None:
        path = copy / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r} to break"
        path.write_text(text.replace(old, new), encoding="utf-8")

    return replace


def read_env(path: Path) -> dict[str, str]:
    """Read a file of NAME=VALUE lines and comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return dict(pairs)


@pytest.fixture(scope="session")
def example() -> Mapping[str, str]:
    """The variables of sensegrep.env.example."""
    return read_env(ROOT / "deploy" / "sensegrep.env.example")


@pytest.fixture
def render(copy: Path, run_tool: Run) -> Callable[[str], list[dict[str, Any]]]:
    """A function that renders a kustomization of the copy into documents."""

    def kustomize(name: str) -> list[dict[str, Any]]:
        restrictor = ("--load-restrictor", "LoadRestrictionsNone")
        status, text = run_tool("kubectl", "kustomize", *restrictor, copy / "deploy" / name)
        assert status == 0, text
        return [document for document in yaml.safe_load_all(text) if document]

    return kustomize


@pytest.fixture
def spoken(tmp_path: Path) -> Callable[..., list[str]]:
    """A function that runs a shell script and returns the arguments it gives to `sensegrep`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "sensegrep"
    program.write_text(f"#!/usr/bin/env python3\n{SHOW}\n", encoding="utf-8")
    program.chmod(0o755)

    def run(*command: str | Path, env: Mapping[str, str]) -> list[str]:
        path = f"{folder}:{os.environ['PATH']}"
        done = subprocess.run(
            command, env={**env, "PATH": path}, capture_output=True, text=True, check=True
        )
        words: list[str] = json.loads(done.stdout)
        return words

    return run
