"""The help of every command: a screen, examples that work, no riddles."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.__main__ import completion_script, main
from pipelines.commands.help_examples import EXAMPLES
from pipelines.commands.train import RARE_ELMO_OPTIONS

SCREEN = 44  # lines of 80 columns


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", EXAMPLES)
def test_help_is_a_screen_with_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    said = printed(capsys, *command.split(), "--help")
    assert len(said.splitlines()) <= SCREEN
    assert max(map(len, said.splitlines())) <= 80
    assert all(example in said for example in EXAMPLES[command])
    assert said.splitlines()[2].endswith(".")
    assert "default: []" not in said
    assert "default: True" not in said
    assert "default: None" not in said


def test_help_of_training_is_a_screen_too(capsys: pytest.CaptureFixture[str]) -> None:
    short, whole = (printed(capsys, "train", "elmo", flag) for flag in ("--help", "--help-all"))
    assert len(short.splitlines()) <= SCREEN
    assert "--teacher NAME|DIR" in short
    assert "--help-all" in short
    assert "--fading-cells" not in short
    assert set(whole.replace(",", " ").split()) >= RARE_ELMO_OPTIONS


def test_rare_options_are_shown_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    short, whole = (printed(capsys, "embed", flag) for flag in ("--help", "--help-all"))
    assert "--commit-every" not in short
    hidden = whole.count("\n  --") - short.count("\n  --") - 1  # --help-all itself
    assert short.endswith(f"\n{hidden} more options: sensegrep embed --help-all\n")
    assert "--commit-every N" in whole
    assert "--workers N" in short
    assert "(default: 1)" in short
    assert printed(capsys, "embed", "--help") == short


def test_a_group_of_rare_options_is_shown_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    short, whole = (printed(capsys, "index", flag) for flag in ("--help", "--help-all"))
    assert "what is compared" not in short
    assert "what is compared:\n  a setting that is not given stays" in whole


def test_nothing_typed_says_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr().err
    assert "Type first:\n  sensegrep run articles.jsonl --corpus my-corpus" in said


def test_a_mistyped_option_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["search", "a [bank]", "--corpus", "c", "--fold_case"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "usage: sensegrep search [QUERY] --corpus DIR [options]" in said
    assert "did you mean --fold-case?" in said


def test_a_shell_completes_commands_and_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--print-completion", "bash"]) == 0
    script = tmp_path / "sensegrep.bash"
    script.write_text(capsys.readouterr().out)
    if shutil.which("bash") is None:
        pytest.skip("needs bash")

    def complete(*words: str) -> set[str]:
        line = " ".join(f"'{word}'" for word in ("sensegrep", *words))
        program = (
            f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)};"
            " _shtab_sensegrep; echo ${COMPREPLY[@]}"
        )
        done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert complete("se") == {"search", "senses", "serve"}
    assert complete("search", "--fo") == {"--fold-case"}
    assert "--commit-every" in complete("embed", "--com")
    assert completion_script("zsh").startswith("#compdef sensegrep")
