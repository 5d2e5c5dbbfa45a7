"""Streams on Prism: what is killed while a folder is rewritten all the time, and how they end."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.changing_folder import Folder, live, snapshots
from tests.engines.test_kills import children, kill, lives

pytestmark = [
    pytest.mark.engine,
    # Threads of Beam's own that lose their connection when an engine ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]
Run = Callable[..., Any]


@pytest.fixture
def words(tmp_path: Path, tiny_elmo_dir: Path) -> list[str]:
    """The command that streams a folder of the test's, without an engine's flags."""
    (tmp_path / "in").mkdir()
    source = ["stream", f"watch:{tmp_path}/in/*.jsonl", "--corpus", str(tmp_path / "corpus")]
    more = ["--every", "1s", "--ahead", "60", "--compact-every", "4", "--grace", "60s"]
    return [*source, "--model", str(tiny_elmo_dir), *more]


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "not within four minutes"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("name", "killed"),
    [
        ("prism-loopback", "launcher"),
        ("prism-loopback", "engine"),
        ("prism-pool", "launcher"),
        ("prism-pool", "worker"),
    ],
)
def test_a_stream_whose_parts_are_killed_ends_with_the_latest_versions(
    name: str,
    killed: str,
    start_engine: Run,
    start_sensegrep: Run,
    sensegrep: Run,
    tmp_path: Path,
    words: list[str],
) -> None:
    engine, corpus = start_engine(name), tmp_path / "corpus"
    folder, chance = Folder(tmp_path / "in", seed=11), random.Random(11)
    folder.start()
    try:
        process = start_sensegrep(*words, *engine.flags)
        for _ in range(2):
            before = snapshots(corpus)
            wait_until(lambda before=before: snapshots(corpus) >= before + 3, process)
            time.sleep(chance.uniform(0, 1.5))
            if killed == "launcher":
                below = children(process.pid)
                kill(process.pid)
                process.communicate()
                deadline = time.monotonic() + 30
                while any(map(lives, below)) and time.monotonic() < deadline:
                    time.sleep(0.1)
                assert not any(map(lives, below)), "what the launcher started outlives it"
                process = start_sensegrep(*words, *engine.flags)
                continue
            parent = process.pid if killed == "engine" else engine.processes["pool"].pid
            victims = children(parent)
            assert victims
            for victim in victims:
                kill(victim)
        before = snapshots(corpus)
        wait_until(lambda: snapshots(corpus) >= before + 2, process)
    finally:
        folder.end()
    wait_until(lambda: live(corpus) == folder.latest, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert live(corpus) == folder.latest
    assert sensegrep("verify", "--corpus", corpus).status == 0
    assert not list(corpus.glob("jobs/*/stop"))


def test_a_stream_whose_engine_stays_away_is_given_up(
    start_engine: Run, start_sensegrep: Run, tmp_path: Path, words: list[str]
) -> None:
    engine = start_engine("prism-pool")
    process = start_sensegrep(*words, "--max-starts", "2", *engine.flags)
    wait_until(lambda: snapshots(tmp_path / "corpus") >= 2, process)  # both have taken it over
    kill(engine.processes["job_server"].pid)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "the stream was given up after 2 starts without a new snapshot" in errors
    assert "Traceback" not in errors


def test_a_stream_ends_when_idle_and_says_what_it_did(
    start_engine: Run, start_sensegrep: Run, tmp_path: Path, words: list[str]
) -> None:
    lines = [{"id": f"d{n}", "text": f"Number {n} sits on the bank."} for n in range(100)]
    lines += [{"id": "d3", "deleted": True}, {"id": "d4", "text": "Another."}, {"text": " "}]
    path = tmp_path / "in" / "1.jsonl"
    path.write_text("".join(json.dumps(line) + os.linesep for line in lines))
    flags = start_engine("prism-loopback").flags
    process = start_sensegrep(*words, "--until-idle", "3s", "--json", *flags)
    out, errors = process.communicate(timeout=200)
    assert process.returncode == 3, errors
    report = json.loads(out.splitlines()[-1])
    assert report["read"] == 103
    assert (report["rejected"], report["deleted"]) == (1, 1)
    assert report["reasons"] == {"empty-document": 1} or len(report["reasons"]) == 1
    found = live(tmp_path / "corpus")
    assert "d3" not in found
    assert found["d4"] == "Another."
    assert len(found) == 99
    again = start_sensegrep(*words, "--until-idle", "1s", "--json")  # without an engine
    out, errors = again.communicate(timeout=100)
    assert json.loads(out.splitlines()[-1])["read"] == 0, errors


def test_what_an_engine_cannot_do_is_refused_before_anything_is_read(
    sensegrep: Run, tmp_path: Path, words: list[str]
) -> None:
    failed = sensegrep(*words, "--runner=FnApiRunner", "--direct_num_workers=2")
    assert failed.status == 2
    assert "FnApiRunner reads a source to its end before it does anything else" in failed.err
    assert "name PrismRunner or DataflowRunner, or stream without --runner" in failed.err
    failed = sensegrep(*words, "--single-writer", "--runner=PrismRunner")
    assert failed.status == 2
    assert "--single-writer cannot be used with --runner" in failed.err
    assert not (tmp_path / "corpus").exists()
