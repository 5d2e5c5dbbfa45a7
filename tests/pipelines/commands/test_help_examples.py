"""The examples in the help of the commands, run as they stand there."""

import shlex
import sys
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS, build_parser, main
from pipelines.commands.help_examples import EXAMPLES
from pipelines.commands.train import KINDS

sys.path.insert(0, str(Path(__file__).parents[2]))
import pages

# They need a broker, sets of evaluation or much text, or serve until they are stopped.
NOT_RUN = ("kafka:", "evaluate", "serve", "train senses")
ALL = [example for examples in EXAMPLES.values() for example in examples]


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == set(COMMANDS) | {f"train {kind}" for kind in KINDS}
    assert all(
        example.startswith(f"sensegrep {command} ")
        for command, examples in EXAMPLES.items()
        for example in examples
    )


@pytest.mark.parametrize("example", ALL)
def test_examples_are_understood(example: str) -> None:
    program, command, *words = shlex.split(example)
    assert program == "sensegrep"
    assert build_parser(command).parse_args([command, *words]).command == command


@pytest.mark.slow
def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages.write_files(tmp_path)
    for folder, text in (("texts", "Die Bank ist zu."), ("incoming", '{"id": "x", "text": "Hi."}')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"a.{'txt' if folder == 'texts' else 'jsonl'}").write_text(text + "\n")
    (tmp_path / "ids.txt").write_text("bank/river/03\n")
    monkeypatch.chdir(tmp_path)
    for example in ALL:
        if not any(word in example for word in NOT_RUN):
            assert main(shlex.split(example)[1:]) == 0, example
