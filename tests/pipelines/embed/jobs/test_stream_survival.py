"""Streams that are killed at random moments while their folder is rewritten all the time."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.api import Corpus
from tests.changing_folder import Folder, live, snapshots

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def start(tmp_path: Path, tiny_elmo_dir: Path) -> Callable[..., subprocess.Popen[str]]:
    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pipelines", "stream", f"watch:{tmp_path}/in/*.jsonl"]
        command += ["--corpus", str(tmp_path / "corpus"), "--model", str(tiny_elmo_dir)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [*command, "--every", "1s", "--ahead", "60", "--compact-every", "4", *arguments],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.mark.slow
def test_a_stream_killed_again_and_again_ends_with_the_latest_versions(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    (tmp_path / "in").mkdir()
    folder, chance = Folder(tmp_path / "in", seed=7), random.Random(7)
    folder.start()
    try:
        for _ in range(3):
            before = snapshots(tmp_path / "corpus")
            process = start()
            deadline = time.monotonic() + 60
            while snapshots(tmp_path / "corpus") < before + 2:
                assert process.poll() is None
                assert time.monotonic() < deadline, "no commit within a minute"
                time.sleep(0.05)
            time.sleep(chance.uniform(0, 1.5))
            process.kill()
            process.communicate()
    finally:
        folder.end()
    process = start("--until-idle", "1s")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert live(tmp_path / "corpus") == folder.latest
    assert subprocess.run(
        [sys.executable, "-m", "pipelines", "verify", "--corpus", str(tmp_path / "corpus")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    ).returncode == 0  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_stream_after_a_last_commit(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]], number: int
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.jsonl").write_text('{"id": "a", "text": "Hi."}\n')
    process = start("--every", "1h")
    deadline = time.monotonic() + 60
    while snapshots(tmp_path / "corpus") < 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(4)  # a file is taken when it was quiet for two seconds
    process.send_signal(number)
    time.sleep(0.1)
    process.send_signal(number)  # as `timeout` does, to the process and to its group
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert errors.count("making the last commit") == 1
    assert live(tmp_path / "corpus") == {"a": "Hi."}


def command(*words: str) -> int:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "pipelines", *words], env=environment, check=False)
    return done.returncode


def write(path: Path, names: range, prefix: str = "d") -> dict[str, str]:
    texts = {f"{prefix}{n}": f"Number {n} stands on the bank." for n in names}
    lines = [json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()]
    path.write_text("".join(lines))
    return texts


@pytest.mark.slow
def test_the_index_follows_and_other_commands_work_beside_a_stream(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]], tiny_elmo_dir: Path
) -> None:
    (tmp_path / "in").mkdir()
    root, corpus = tmp_path / "corpus", ("--corpus", str(tmp_path / "corpus"))
    texts = write(tmp_path / "in" / "1.jsonl", range(100))
    process = start("--index-every", "1s", "--vacuum-older-than", "0s")

    def until(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 180
        while not holds():
            assert process.poll() is None
            assert time.monotonic() < deadline, "not within three minutes"
            time.sleep(0.1)

    def indexed() -> str | None:
        return Corpus.open(root).snapshot.index if snapshots(root) else None

    try:
        until(lambda: indexed() is not None)
        assert command("compact", *corpus) == 0
        assert command("vacuum", *corpus, "--older-than", "0s") == 0
        assert command("delete", *corpus, "d7") == 0
        del texts["d7"]
        texts |= write(tmp_path / "other.jsonl", range(5), prefix="x")
        model = ("--model", str(tiny_elmo_dir))
        assert command("embed", str(tmp_path / "other.jsonl"), *corpus, *model) == 0
        before = indexed()
        texts |= write(tmp_path / "in" / "2.jsonl", range(200, 230))
        until(lambda: live(root) == texts and indexed() != before)
        process.terminate()
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, errors
    assert live(root) == texts
    assert command("verify", *corpus) == 0
