"""Whether the process that streams into a corpus still runs on this machine."""

import subprocess
import sys

from pipelines.corpus.stream_owner import is_running_here, this_process

PROGRAM = (
    "import json, sys; from pipelines.corpus.stream_owner import this_process;"
    "print(json.dumps(this_process()), flush=True); sys.stdin.read()"
)


def test_another_process_runs_until_it_ends() -> None:
    import json

    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        owner = json.loads(process.stdout.readline())
        assert owner["process"] == process.pid
        assert is_running_here(owner)
        assert not is_running_here({**owner, "started": "1"})  # its id was used before
        assert not is_running_here({**owner, "machine": "elsewhere"})
        process.kill()
    assert not is_running_here(owner)


def test_this_process_and_nobody_are_no_other_stream() -> None:
    assert not is_running_here(this_process())
    assert not is_running_here({})
