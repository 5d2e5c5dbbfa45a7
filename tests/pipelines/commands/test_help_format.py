"""The help of every command: a screen, examples that work, no riddles."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.__main__ import completion_script, main
from pipelines.commands.embed_options import DTYPES
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


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("search --corpus c --k 1.5 x", ["--k is '1.5', expected a whole number\nall options: "]),
        ("search --corpus c --min-score high x", ["--min-score is 'high', expected a number\n"]),
        ("search --corpus c x --context -1:5", ["as --context=-VALUE\n"]),
        ("search --corpus c x --json=5", ["--json takes no value, found '5'"]),
        ("search --corpus c x --json --csv", ["give --csv or --json, not both"]),
        ("search --corpus c x --device gpu", ["--device: 'gpu' is not a device; expected auto, "]),
        ("search --corpus c They sat", ["arguments: sat; write quotes around a text of several"]),
        ("search --corpus c x -k 3", ["unrecognized arguments: -k 3\n", "did you mean --k?"]),
        ("search x --corpuss c", ["are required: --corpus\n", "did you mean --corpus?"]),
        ("embed x --corpus c --tokens some", ["--tokens is 'some', expected one of 'all', "]),
        ("embed x --corpus c --dtype float8", ["--dtype is 'float8', expected one of 'auto', "]),
        ("train elmoo", ["'elmoo' is not a KIND; expected one of 'elmo', ", "did you mean elmo?"]),
        ("--hlp", ["did you mean --help?"]),
        (
            "--corpus c search x",
            ["--corpus stands before the command; write it after: sensegrep search ... --corpus"],
        ),
    ],
)
def test_what_is_typed_wrongly_is_told_in_plain_words(
    capsys: pytest.CaptureFixture[str], typed: str, words: list[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(typed.split())
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert [each for each in words if each not in said] == []
    assert "did you mean" not in said or any("did you mean" in each for each in words)


@pytest.mark.parametrize("command", EXAMPLES)
def test_every_command_takes_help_all(capsys: pytest.CaptureFixture[str], command: str) -> None:
    said = printed(capsys, *command.split(), "--help-all")
    assert all(example in said for example in EXAMPLES[command])


def test_dtypes_are_those_of_the_model() -> None:
    from elmo_infer.loading import DTYPES as KNOWN

    assert {"auto", *KNOWN} == set(DTYPES)


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
