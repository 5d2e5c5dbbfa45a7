"""What is killed while it runs: launcher, workers, engine; then the same command again."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.api import Corpus

pytestmark = [
    pytest.mark.engine,
    # Threads of Beam's own that lose their connection when an engine ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]
Run = Callable[..., Any]
COUNT = 2400
MORE = ("--part-bytes", "4K", "--parts-per-segment", "2", "--max-tokens-per-batch", "64", "--json")


def write_records(path: Path) -> Path:
    text = "Document {n} stands on the bank. It has {n} words."
    records = [{"id": f"d{n}", "text": text.format(n=n)} for n in range(COUNT)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def wait_for_commits(corpus: Path, number: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not (corpus / "snapshots" / f"{number:08d}.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing was committed"
        time.sleep(0.005)


def live_ids(corpus: Path) -> list[str]:
    batches = Corpus.open(str(corpus)).read("documents", ["doc_id"])
    return [doc_id for batch in batches for doc_id in batch.column("doc_id").to_pylist()]


def children(pid: int) -> list[int]:
    """Return the processes below one, itself left out."""
    listed = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    found, todo = [], [pid]
    while todo:
        parent = todo.pop()
        mine = [child for child, above in pairs if above == parent]
        found += mine
        todo += mine
    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("name", "killed"),
    [
        ("prism-loopback", "launcher"),
        ("prism-loopback", "engine"),
        ("prism-pool", "engine"),
        ("prism-pool", "worker"),
        ("job-service-pool", "engine"),
        ("job-service-pool", "worker"),
        ("several-processes", "launcher"),
        ("several-processes", "worker"),
    ],
)
def test_what_is_killed_loses_and_doubles_nothing(
    name: str,
    killed: str,
    start_engine: Run,
    start_sensegrep: Run,
    sensegrep: Run,
    tmp_path: Path,
    tiny_elmo_dir: Path,
) -> None:
    engine = start_engine(name)
    corpus, source = tmp_path / "corpus", write_records(tmp_path / "in.jsonl")
    command = ("embed", source, "--corpus", corpus, "--model", tiny_elmo_dir, *MORE)
    process = start_sensegrep(*command, *engine.flags)
    wait_for_commits(corpus, 1, process)
    below = children(process.pid)
    to_kill = victims(killed, engine, process)
    wait_for_commits(corpus, 2, process)
    for victim in to_kill:
        kill(victim)
    _, err = process.communicate(timeout=200)
    if killed != "launcher":
        assert process.returncode == 1
        assert "sensegrep: error:" in err
        assert "run the command again" in err
        assert "Traceback" not in err
    deadline = time.monotonic() + 30
    while any(map(lives, below)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(lives, below)), "what the launcher started outlives it"

    committed = live_ids(corpus)
    assert len(set(committed)) == len(committed)
    assert 0 < len(committed) < COUNT

    if killed == "engine" and "job_server" in engine.processes:  # one that works is started
        engine = start_engine(name)
    if "pool" in engine.processes:  # a pool whose worker was killed serves the next job
        assert engine.processes["pool"].poll() is None
    again = sensegrep(*command, *engine.flags)
    assert again.status == 0, again.err
    report = json.loads(again.out.splitlines()[-1])
    assert (report["unchanged"], report["written"]) == (len(committed), COUNT - len(committed))
    assert sorted(live_ids(corpus)) == sorted(f"d{n}" for n in range(COUNT))
    assert sensegrep("verify", "--corpus", corpus).status == 0


def victims(killed: str, engine: Any, launcher: subprocess.Popen[str]) -> list[int]:
    """Return the processes to kill."""
    if killed == "launcher":
        return [launcher.pid]
    if killed == "engine":
        server = engine.processes.get("job_server")
        return [server.pid] if server else children(launcher.pid)
    pool = engine.processes.get("pool")
    return children(pool.pid if pool else launcher.pid)


@pytest.mark.parametrize("name", ["prism-pool", "job-service-pool"])
def test_killed_launcher_of_a_job_elsewhere_leaves_it_to_its_engine(
    name: str,
    start_engine: Run,
    start_sensegrep: Run,
    sensegrep: Run,
    tmp_path: Path,
    tiny_elmo_dir: Path,
) -> None:
    engine = start_engine(name)
    corpus, source = tmp_path / "corpus", write_records(tmp_path / "in.jsonl")
    command = ("embed", source, "--corpus", corpus, "--model", tiny_elmo_dir, *MORE, *engine.flags)
    process = start_sensegrep(*command)
    wait_for_commits(corpus, 2, process)
    kill(process.pid)
    process.communicate()
    wait_for_report(corpus)
    assert sorted(live_ids(corpus)) == sorted(f"d{n}" for n in range(COUNT))
    again = sensegrep(*command)
    assert again.status == 0, again.err
    assert json.loads(again.out.splitlines()[-1])["unchanged"] == COUNT


def wait_for_report(corpus: Path) -> dict[str, Any]:
    """Wait until a job that nobody waits for is done; returns what it did."""
    deadline = time.monotonic() + 300
    while not list(corpus.glob("jobs/*/report.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    [path] = corpus.glob("jobs/*/report.json")
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def test_launcher_that_goes_away_leaves_the_job_to_its_engine(
    start_engine: Run,
    sensegrep: Run,
    tmp_path: Path,
    tiny_elmo_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = start_engine("prism-pool")
    corpus, source = tmp_path / "corpus", write_records(tmp_path / "in.jsonl")
    monkeypatch.chdir(tmp_path)  # paths are given from here, and the pool's workers are elsewhere
    model = os.path.relpath(tiny_elmo_dir)
    command = ("embed", source.name, "--corpus", corpus.name, "--model", model, *MORE[:-1])
    submitted = sensegrep(*command, "--no-wait", *engine.flags)
    assert submitted.status == 0, submitted.err
    assert "submitted" in submitted.out
    assert wait_for_report(corpus)["written"] == COUNT
    assert sorted(live_ids(corpus)) == sorted(f"d{n}" for n in range(COUNT))
