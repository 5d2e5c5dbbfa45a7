"""The command line as a whole: what it says when it is not understood."""

import pytest

from pipelines.__main__ import main


def test_unknown_option_is_told_beside_the_options_of_its_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["search", "the [bank]", "--corpus", "c", "--top", "6"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "usage: sensegrep search" in said
    assert "unrecognized arguments: --top 6" in said
    assert "all options: sensegrep search --help" in said


def test_unknown_command_is_told_beside_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["serch", "the [bank]"])
    assert stopped.value.code == 2
    assert "invalid choice: 'serch'" in capsys.readouterr().err
