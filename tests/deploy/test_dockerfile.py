"""The Dockerfile: linted, its sources in the build context, its targets not root."""

import re
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str]]
Break = Callable[[str, str, str], None]
DOCKERFILE = "deploy/Dockerfile"
# DL3008 and DL3066 ask for pins of Debian's packages and names of users: there are none of either.
LINT = ("--failure-threshold", "style", "--no-color", "--ignore", "DL3008", "--ignore", "DL3066")


def instructions(path: Path) -> list[list[str]]:
    """Return the instructions, each as its words."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [line.split() for line in joined.splitlines() if line.strip()]


def missing_sources(copy: Path, root: Path) -> list[str]:
    """Return what COPY takes from the build context but would not find there."""
    ignore = (copy / ".dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in ignore if line.startswith("!")]
    defaults = dict(
        words[1].split("=", 1) for words in instructions(copy / DOCKERFILE) if words[0] == "ARG"
    )
    missing = []
    for words in instructions(copy / DOCKERFILE):
        if words[0] != "COPY" or words[1].startswith("--from"):
            continue
        for word in words[1:-1]:
            source = re.sub(r"\$\{(\w+)\}", lambda found: defaults[found[1]], word)
            kept = any(fnmatch(source, f"{name}*") for name in allowed)
            if not kept or not (root / source).exists():
                missing.append(source)
    return missing


def users(copy: Path) -> dict[str, str]:
    """Return the user whom each stage ends as, that of the stage below where it sets none."""
    found: dict[str, str] = {}
    stage = ""
    for words in instructions(copy / DOCKERFILE):
        if words[0] == "FROM":
            stage = words[-1]
            found[stage] = found.get(words[1], "root")
        elif words[0] == "USER":
            found[stage] = words[1]
    return found


def test_hadolint_finds_nothing(run_tool: Run, copy: Path) -> None:
    assert run_tool("hadolint", *LINT, copy / DOCKERFILE) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("COPY --from=wheel /wheels", "COPY --from=weel /wheels", "DL3022"),
        ('CMD ["serve", "--host", "0.0.0.0"]', "CMD serve --host 0.0.0.0", "DL3025"),
        ("FROM ${BASE} AS dependencies", "FROM python AS dependencies", "DL3006"),
        ("ENTRYPOINT", "ENTRYPIONT", "unexpected"),
        ("WORKDIR /tmp", "WORKDIR tmp", "DL3000"),
    ],
)
def test_hadolint_refuses_a_broken_twin(
    run_tool: Run, copy: Path, break_file: Break, old: str, new: str, rule: str
) -> None:
    break_file(DOCKERFILE, old, new)
    status, text = run_tool("hadolint", *LINT, copy / DOCKERFILE)
    assert status != 0
    assert rule in text


def test_what_is_copied_is_in_the_build_context(copy: Path, pytestconfig: pytest.Config) -> None:
    assert missing_sources(copy, pytestconfig.rootpath) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "missing"),
    [
        (".dockerignore", "!schemas\n", "", "schemas"),
        (DOCKERFILE, "COPY deploy/nightly.sh", "COPY deploy/nightli.sh", "deploy/nightli.sh"),
        (DOCKERFILE, "ARG MODEL=elmo_infer/models/en-small", "ARG MODEL=elmo/en", "elmo/en"),
    ],
)
def test_a_source_that_is_not_there_is_seen(
    copy: Path,
    pytestconfig: pytest.Config,
    break_file: Break,
    name: str,
    old: str,
    new: str,
    missing: str,
) -> None:
    break_file(name, old, new)
    assert missing_sources(copy, pytestconfig.rootpath) == [missing]


def test_no_target_ends_as_root(copy: Path) -> None:
    ends = users(copy)
    assert {name: ends[name] for name in ("worker", "flex", "serve")} == dict.fromkeys(
        ("worker", "flex", "serve"), "1000:1000"
    )


def test_a_target_that_ends_as_root_is_seen(copy: Path, break_file: Break) -> None:
    break_file(DOCKERFILE, "USER 1000:1000", "USER 0")
    assert users(copy)["serve"] == "0"


def test_a_worker_takes_one_core_a_process(copy: Path) -> None:
    text = (copy / DOCKERFILE).read_text(encoding="utf-8")
    [stage] = re.findall(r"^FROM runtime AS worker\n(.*?)^FROM ", text, re.M | re.S)
    assert "ENV OMP_NUM_THREADS=1\n" in stage
