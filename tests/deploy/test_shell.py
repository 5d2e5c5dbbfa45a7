"""The scripts: linted, and what they say when a variable is missing."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., tuple[int, str]]
SCRIPTS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "deploy").rglob("*.sh"))
NEEDED = {
    "deploy/nightly.sh": ["SENSEGREP_INPUT", "SENSEGREP_CORPUS"],
    "deploy/dataflow/run-cpu.sh": [
        "SENSEGREP_INPUT",
        "SENSEGREP_CORPUS",
        "SENSEGREP_PROJECT",
        "SENSEGREP_REGION",
        "SENSEGREP_TEMP_LOCATION",
        "SENSEGREP_WORKER_IMAGE",
    ],
}
NEEDED["deploy/dataflow/run-gpu.sh"] = NEEDED["deploy/dataflow/run-cpu.sh"]
NEEDED["deploy/dataflow/run-stream.sh"] = [
    "SENSEGREP_SOURCE",
    *NEEDED["deploy/dataflow/run-cpu.sh"][1:],
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(run_tool: Run, script: str) -> None:
    assert run_tool("shellcheck", ROOT / script) == (0, "")


def test_shellcheck_refuses_a_broken_twin(
    run_tool: Run, copy: Path, break_file: Callable[[str, str, str], None]
) -> None:
    break_file("deploy/with-env.sh", "if [ $# -lt 2 ]", "if [[ $# -lt 2 ]]")
    status, text = run_tool("shellcheck", copy / "deploy/with-env.sh")
    assert status == 1
    assert "In POSIX sh, [[ ]] is undefined" in text


def ends(script: str, environment: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        ["sh", ROOT / script],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(("script", "name"), [(s, n) for s in NEEDED for n in NEEDED[s]])
@pytest.mark.parametrize("empty", [False, True])
def test_a_missing_variable_is_named_before_anything_starts(
    script: str, name: str, empty: bool
) -> None:
    given = {other: "x" for other in NEEDED[script] if other != name} | (
        {name: ""} if empty else {}
    )
    status, words = ends(script, given)
    assert status == 2
    assert f"{name}: is not set; expected " in words
    assert "set it in sensegrep.env" in words


def with_env(file: Path, *command: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "deploy/with-env.sh")
    return subprocess.run(
        ["sh", script, str(file), *command], capture_output=True, text=True, check=False
    )


def test_with_env_keeps_blanks_and_stars(tmp_path: Path) -> None:
    file = tmp_path / "my.env"
    file.write_text("# a comment\n\nSENSEGREP_SCHEDULE=17 2 * * *\nSENSEGREP_FLAGS=\nA=b=c")
    done = with_env(file, "sh", "-c", 'printf "%s|" "$SENSEGREP_SCHEDULE" "$SENSEGREP_FLAGS" "$A"')
    assert (done.returncode, done.stdout) == (0, "17 2 * * *||b=c|")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A=1\nSENSEGREP_CORPUS: x\n", "my.env:2: expected NAME=VALUE or # comment, found: SENSE"),
        (None, "expected a readable file and a command"),
    ],
)
def test_with_env_says_what_it_cannot_read(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "my.env"
    if text is not None:
        file.write_text(text)
    done = with_env(file, "true")
    assert done.returncode == 2
    assert words in done.stderr
