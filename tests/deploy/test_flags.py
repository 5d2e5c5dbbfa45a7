"""Every flag and variable that deploy/ names exists in the product."""

import json
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines.__main__ import COMMANDS, build_parser
from pipelines.embed.jobs.beam_flags import check_flags
from pipelines.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
# Written against DESIGN's contract and not yet in the product; a line goes when its flag is there.
PENDING: set[tuple[str, str]] = set()


def unknown(words: list[str]) -> set[tuple[str, str]]:
    """Return the command and each flag of it that the product does not have."""
    command, rest = words[0], words[1:]
    if command not in COMMANDS:
        return {(command, "")}
    parser = build_parser(command)
    _, beam = parser.parse_known_args(words)
    found = set()
    for flag in beam:
        try:
            check_flags([flag])
        except UsageError:
            found.add((command, flag.split("=")[0]))
    assert rest, command
    return found


def written(spoken: Callable[..., list[str]], example: Mapping[str, str]) -> list[list[str]]:
    """Return every command line that deploy/ gives to sensegrep."""
    every = dict(example) | {name: "x" for name, value in example.items() if not value}
    every["SENSEGREP_FLAGS"] = "--tokens=all"
    lines = [
        spoken("sh", DEPLOY / name, env=every)
        for name in (
            "nightly.sh",
            "dataflow/run-cpu.sh",
            "dataflow/run-gpu.sh",
            "dataflow/run-stream.sh",
        )
    ]
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        [start] = re.findall(r"^ExecStart=(.*)$", unit.read_text(), flags=re.MULTILINE)
        if "/sensegrep " in start:
            lines.append(shlex.split(start)[1:])
    import yaml

    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    [default] = re.findall(r"^CMD (\[.*\])$", dockerfile, flags=re.MULTILINE)
    lines.append([*json.loads(default), "--corpus=x"])
    for service in compose["services"].values():
        if service.get("command"):
            lines.append(service["command"])
    for document in yaml.safe_load_all((DEPLOY / "kubernetes/serve/deployment.yaml").read_text()):
        [container] = document["spec"]["template"]["spec"]["containers"]
        lines.append(container["args"])
    submit: dict[str, Any] = yaml.safe_load((DEPLOY / "flink/submit.yaml").read_text())
    [container] = submit["spec"]["template"]["spec"]["containers"]
    lines.append(spoken(*container["command"], *container["args"], env=every))
    return lines


def test_every_flag_exists_but_for_those_that_are_pending(
    spoken: Callable[..., list[str]], example: Mapping[str, str]
) -> None:
    lines = written(spoken, example)
    assert len(lines) >= 6
    missing = set().union(*(unknown(words) for words in lines))
    assert missing == PENDING


def test_a_flag_that_does_not_exist_is_seen() -> None:
    words = ["run", "x", "--corpus=y", "--compact-ower=3", "--worker_machine_typ=n2"]
    assert unknown(words) == {("run", "--compact-ower"), ("run", "--worker_machine_typ")}
    assert unknown(["srv", "--corpus=y"]) == {("srv", "")}


def named_variables(folder: Path) -> set[str]:
    """Return the SENSEGREP_ variables that the files of deploy/ name, the examples apart."""
    texts = [
        path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".md", ".example", ".env", ".pyc")
    ]
    return set(re.findall(r"SENSEGREP_[A-Z_]*[A-Z]", "\n".join(texts)))


def declared_variables(folder: Path) -> set[str]:
    texts = [(folder / f"{name}.env.example").read_text() for name in ("sensegrep", "secrets")]
    return set(re.findall(r"^(SENSEGREP_\w+)=", "\n".join(texts), flags=re.MULTILINE))


def test_every_variable_is_in_the_example_and_used() -> None:
    declared = declared_variables(DEPLOY)
    assert named_variables(DEPLOY) - declared == set()
    # The image of the flex template stands in a command of README.
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    unused = declared - named_variables(DEPLOY)
    assert {name for name in unused if name not in readme} == set()


def test_a_variable_that_the_example_lacks_is_seen(
    copy: Path, break_file: Callable[[str, str, str], None]
) -> None:
    break_file("deploy/nightly.sh", "SENSEGREP_MAX_MEMORY", "SENSEGREP_MEMORY")
    deploy = copy / "deploy"
    assert named_variables(deploy) - declared_variables(deploy) == {"SENSEGREP_MEMORY"}


def test_blanks_and_globs_of_the_input_reach_sensegrep_as_they_are(
    spoken: Callable[..., list[str]],
) -> None:
    env = {"SENSEGREP_INPUT": "/*.jsonl gs://b/c*", "SENSEGREP_CORPUS": "a corpus"}
    words = spoken("sh", DEPLOY / "nightly.sh", env=env)
    assert words[:5] == ["run", "/*.jsonl", "gs://b/c*", "--corpus", "a corpus"]
