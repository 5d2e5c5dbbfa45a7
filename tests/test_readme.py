"""The commands that README shows, run as they stand there."""

import re
import sys
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS, main

sys.path.insert(0, str(Path(__file__).parent))
import pages

README = pages.README.read_text(encoding="utf-8")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that README speaks of."""
    pages.write_files(tmp_path)
    monkeypatch.setenv("COLUMNS", str(pages.COLUMNS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_and_program_of_the_readme_run(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = pages.commands(pages.README)
    assert len(commands) >= 2
    assert any(command.output for command in commands)
    for (program, *arguments), output in commands:
        assert program == "sensegrep"
        status = main(arguments)
        captured = capsys.readouterr()
        assert status == 0, f"{arguments}: exit status {status}\n{captured.err}"
        if output:
            assert pages.agree(output, captured.out), f"{arguments} prints\n{captured.out}"
    assert (workplace / "my-corpus" / "snapshots").is_dir()

    (program,) = pages.blocks(pages.README, "python")
    exec(compile(program, "README.md", "exec"), {})  # the page's own code, as printed
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert all("bank/river" in line for line in lines[:5])
    assert sum("bank/river" in line for line in lines) >= 7  # 5 by chance


def test_every_command_is_in_the_readme() -> None:
    missing = [
        name for name in COMMANDS if f"`{name}`" not in README and f"sensegrep {name}" not in README
    ]
    assert missing == []


def test_readme_fits_on_two_screens() -> None:
    assert len(README.splitlines()) <= 120


def test_an_output_that_differs_is_told() -> None:
    assert pages.agree(" 0.969 [1] a bank\n", "0.970 [1]   a bank\n")
    assert pages.agree("0.725 a\n0.724 b\n", "0.725 b\n0.724 a\n")
    assert not pages.agree("0.969 [1] a bank\n", "0.869 [1] a bank\n")
    assert not pages.agree("0.969 [1] a bank\n", "0.969 [1] a bench\n")


def test_links_of_the_readme_lead_to_files() -> None:
    for address in re.findall(r"\]\(([^)#]+)", README):
        if not address.startswith("http"):
            assert (pages.ROOT / address).exists(), f"README links to {address}"
