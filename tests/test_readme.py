"""The commands that README shows, run as they stand there."""

import re
import shlex
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS, main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODEL = ROOT / "elmo_infer" / "models" / "en-small" / "weights.hdf5"


def shown_commands() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line[2:]) for line in lines]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that README speaks of."""
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    import ambiguous

    ambiguous.write_jsonl(tmp_path / "articles.jsonl")
    texts = [record["text"] for record in ambiguous.records()]
    (tmp_path / "text.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_of_the_readme_run(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = shown_commands()
    assert len(commands) >= 6
    for program, *arguments in commands:
        assert program == "sensegrep"
        status = main(arguments)
        captured = capsys.readouterr()
        assert status == 0, f"{arguments}: exit status {status}\n{captured.err}"
    assert (workplace / "my-corpus" / "snapshots").is_dir()


@pytest.mark.usefixtures("workplace")
def test_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "articles.jsonl", "--corpus", "my-corpus"]) == 0
    capsys.readouterr()
    (program,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
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


def test_files_of_the_map_exist() -> None:
    named = re.findall(r"^\| `([a-z_/]+(?:\.py)?)` \|", README, flags=re.MULTILINE)
    assert len(named) >= 6
    for name in named:
        assert (ROOT / name).exists(), f"README's map names {name}"
