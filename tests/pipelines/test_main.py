"""The command line as a whole: what it says when it is not understood."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.__main__ import main
from pipelines.commands import embed, info


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


@pytest.mark.parametrize(
    "arguments",
    [
        ["--verbose", "info", "--corpus", "c"],
        ["info", "--corpus", "c", "--verbose"],
        ["--verbose", "info", "--corpus", "c", "--verbose"],
    ],
)
def test_verbose_stands_before_or_after_the_command(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(info, "execute", lambda args: seen.append(args.verbose) or 0)
    assert main(arguments) == 0
    assert main(["info", "--corpus", "c"]) == 0
    assert seen == [True, False]


def test_unknown_command_is_told_beside_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["serch", "the [bank]"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "'serch' is not a COMMAND; expected one of 'run', " in said
    assert "did you mean search?" in said


@pytest.mark.parametrize(("said", "words"), [("", "memory; free"), ("9 GB", "memory (9 GB); free")])
def test_memory_that_is_short_is_told_with_what_lowers_it(
    said: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def short(_: object) -> int:
        raise MemoryError(*filter(None, [said]))

    monkeypatch.setattr(info, "execute", short)
    assert main(["info", "--corpus", "c"]) == 1
    error = capsys.readouterr().err
    assert f"sensegrep: error: there is not enough {words} some, or lower" in error
    assert "--max-memory of index" in error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "ids.txt"),
            "ids.txt: No such file or directory; check the path\n",
        ),
        (
            IsADirectoryError(errno.EISDIR, "Is a directory", "d"),
            "d: Is a directory; give the path of a file\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "corpus c: No space left on device; free some space, and run the command again\n",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "c/x"),
            "c/x: Read-only file system; choose a place that can be written\n",
        ),
        (RuntimeError("[Errno 28] No space left on device"), "corpus c: No space left on device"),
        (
            OSError("[Errno 30] Read-only file system: 'c/x'"),
            "error: c/x: Read-only file system; choose a place that can be written\n",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "c/x"), "check the permissions\n"),
    ],
)
def test_an_error_of_the_system_is_told_with_its_file_and_what_to_do(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(info, "execute", fail)
    assert main(["info", "--corpus", "c"]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "Errno" not in told


def test_a_job_that_is_interrupted_says_how_it_continues(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "execute", interrupt)
    monkeypatch.setattr(embed, "execute", interrupt)
    assert main(["info", "--corpus", "c"]) == 1
    assert capsys.readouterr().err == "sensegrep: interrupted\n"
    assert main(["embed", "in.txt", "--corpus", "c"]) == 1
    assert "interrupted; run the same command again: it continues" in capsys.readouterr().err


def test_a_closed_output_and_the_locale_c_end_no_command() -> None:
    program = "from pipelines.commands.output import never_fail_to_print as ready; ready()"
    closed = f'{sys.executable} -c "{program}; print(1)" >&-'
    done = subprocess.run(["bash", "-c", closed], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; print('x\\u2026')"],
        capture_output=True, text=True, check=False, env=plain,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "x?\n")


@pytest.mark.parametrize("command", [["embed"], ["embed", "--dry-run"]])
def test_header_of_a_csv_commands_no_terminal(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("id,te\x1b[2Jxt\n1,a\n")
    assert main([*command, str(tmp_path / "in.csv"), "--corpus", str(tmp_path / "c")]) != 0
    said = capsys.readouterr()
    assert "in.csv" in said.err
    assert "\x1b" not in said.err + said.out


READS_ON = """
import io, sys, threading, time
import pyarrow as pa
import pyarrow.parquet as pq
from pipelines import __main__

class Slow(io.BytesIO):
    def read(self, size=-1):
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.3)  # in a thread of Arrow's, which Python's end does not wait for
        return super().read(size)

def main(**_):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), buffer)
    file = pq.ParquetFile(Slow(buffer.getvalue()), pre_buffer=True)
    threading.Thread(target=file.read, daemon=True).start()
    time.sleep(0.1)
    print("found")
    return 3

__main__.main = main
__main__.console()
"""


def test_a_thread_of_arrow_that_still_reads_does_not_abort_a_command_that_is_done() -> None:
    done = subprocess.run([sys.executable, "-c", READS_ON], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"found\n", b"")
