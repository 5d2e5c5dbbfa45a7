"""compose.yaml and the systemd units, by the tools of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str]]
Break = Callable[[str, str, str], None]
UNITS = ("sensegrep-run.service", "sensegrep-run.timer", "sensegrep-serve.service")


def compose_faults(run_tool: Run, copy: Path) -> str:
    schema = ("--builtin-schema", "vendor.compose-spec")
    status, text = run_tool("check-jsonschema", *schema, copy / "deploy/compose.yaml")
    return text if status else ""


def test_compose_fits_its_schema(run_tool: Run, copy: Path) -> None:
    assert compose_faults(run_tool, copy) == ""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("cap_drop:", "cap_dropp:", "cap_dropp"),
        ("restart: unless-stopped", "restarts: unless-stopped", "restarts"),
        ("read_only: true", "read_only: [yes]", "read_only"),
    ],
)
def test_compose_refuses_a_broken_twin(
    run_tool: Run, copy: Path, break_file: Break, old: str, new: str, words: str
) -> None:
    break_file("deploy/compose.yaml", old, new)
    assert words in compose_faults(run_tool, copy)


def unit_faults(run_tool: Run, copy: Path) -> str:
    """Return what systemd says of the units, with sensegrep where they expect it."""
    for name in ("bin/nightly.sh", "venv/bin/sensegrep"):
        program = copy / "opt" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch(mode=0o755)
    for name in UNITS:
        unit = copy / "deploy/systemd" / name
        unit.write_text(unit.read_text().replace("/opt/sensegrep", str(copy / "opt")))
    units = [copy / "deploy/systemd" / name for name in UNITS]
    # Its exit status is 0 for most faults.
    _, text = run_tool("systemd-analyze", "verify", "--man=no", *units)
    return "\n".join(line for line in text.splitlines() if "sensegrep-" in line)


def test_systemd_finds_nothing(run_tool: Run, copy: Path) -> None:
    assert unit_faults(run_tool, copy) == ""


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("sensegrep-run.service", "Type=oneshot", "Type=onceshot", "Failed to parse service type"),
        ("sensegrep-run.service", "NoNewPrivileges", "NoNewPrivilege", "Unknown key"),
        ("sensegrep-run.service", "bin/nightly.sh", "bin/weekly.sh", "is not executable"),
        ("sensegrep-serve.service", "TimeoutStopSec=35s", "TimeoutStopSec=35 apples", "Failed to"),
        ("sensegrep-run.timer", "02:17:00", "25:17:00", "Failed to parse calendar"),
    ],
)
def test_systemd_refuses_a_broken_twin(
    run_tool: Run, copy: Path, break_file: Break, name: str, old: str, new: str, words: str
) -> None:
    break_file(f"deploy/systemd/{name}", old, new)
    assert words in unit_faults(run_tool, copy)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [("", "", ""), ("TimeoutStopSec=40", "TimeoutStopSec=40 apples", "Failed to parse")],
)
def test_the_unit_of_the_guide_is_a_unit(
    run_tool: Run, tmp_path: Path, old: str, new: str, words: str
) -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs/serving.md").read_text()
    text = "[Unit]" + guide.split("```\n[Unit]")[1].split("```")[0]
    program = tmp_path / "sensegrep"
    program.touch(mode=0o755)
    unit = tmp_path / "of-the-guide.service"
    text = text.replace("/opt/sensegrep/bin/sensegrep", str(program))
    unit.write_text(text.replace(old, new) if old else text)
    _, said = run_tool("systemd-analyze", "verify", "--man=no", unit)
    faults = "\n".join(line for line in said.splitlines() if unit.name in line)
    assert words in faults if words else faults == ""
