"""A stream from Kafka that is killed again and again while messages keep coming."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from pipelines.api import Corpus
from tests.engines.running_engines import needs_prism

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS, MESSAGES, PARTITIONS, KILLS = 200, 1500, 3, 4


class Writer(threading.Thread):
    """Puts versions and deletions of documents; each document has its partition."""

    def __init__(self, broker: Any, topic: str, seed: int) -> None:
        super().__init__()
        self._broker, self._topic = broker, topic
        self._random = random.Random(seed)
        self.latest: dict[str, str] = {}

    def run(self) -> None:
        for number in range(0, MESSAGES, 50):
            for partition in range(PARTITIONS):
                batch = list(self._messages(number, partition))
                self._broker.put(self._topic, *batch, partition=partition)
            time.sleep(0.5)

    def _messages(self, number: int, partition: int) -> Iterator[Any]:
        for _ in range(50 // PARTITIONS):
            index = self._random.randrange(DOCUMENTS // PARTITIONS) * PARTITIONS + partition
            name = f"d{index}"
            if self._random.random() < 0.1:
                self.latest.pop(name, None)
                yield {"id": name, "deleted": True}
            else:
                self.latest[name] = f"Version {number} of {name} stands on the bank."
                yield {"id": name, "text": self.latest[name]}


@pytest.fixture
def start(
    tmp_path: Path, tiny_elmo_dir: Path, source: Callable[[], str]
) -> Callable[..., "subprocess.Popen[str]"]:
    def start(*arguments: str, stderr: Path | None = None) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "pipelines", *(["--verbose"] if stderr else [])]
        command += ["stream", source(), "--every", "1s"]
        command += ["--corpus", str(tmp_path / "corpus"), "--model", str(tiny_elmo_dir)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        more = ["--ahead", "100", "--compact-every", "4", *arguments]
        with stderr.open("w") if stderr else nullcontext(subprocess.PIPE) as errors:
            return subprocess.Popen([*command, *more], env=environment, stderr=errors, text=True)

    return start


@pytest.mark.parametrize("engine", ["here", "prism"])
def test_a_stream_killed_again_and_again_ends_with_the_latest_versions(
    broker: Any, topic: str, tmp_path: Path, start: Callable[..., Any], engine: str
) -> None:
    flags: list[str] = []
    if engine == "prism":
        flags = ["--runner=PrismRunner", f"--prism_location={needs_prism()}"]
    broker.make_topic(topic, PARTITIONS)
    snapshots, chance = tmp_path / "corpus" / "snapshots", random.Random(11)
    writer = Writer(broker, topic, seed=11)
    writer.start()
    for _ in range(KILLS):
        before = len(list(snapshots.glob("*.json")))
        process = start(*flags)
        deadline = time.monotonic() + 90
        while len(list(snapshots.glob("*.json"))) < before + 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no commit in 90 s"
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 1))
        process.kill()
        process.communicate()
    writer.join()
    process = start("--until-idle", "2s", *flags)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    corpus = Corpus.open(tmp_path / "corpus")
    rows = [
        (row["doc_id"], row["text"])
        for batch in corpus.read("sentences", ["doc_id", "text"])
        for row in batch.to_pylist()
    ]
    assert len(rows) == len(dict(rows))
    assert dict(rows) == writer.latest
    each = MESSAGES // 50 * (50 // PARTITIONS)
    assert corpus.snapshot.stream is not None
    assert corpus.snapshot.stream.positions == {str(n): each for n in range(PARTITIONS)}


def test_a_broker_that_is_killed_and_comes_back_is_read_on(
    broker: Any, tmp_path: Path, topic: str, start: Callable[..., Any]
) -> None:
    broker.make_topic(topic)
    broker.put(topic, {"id": "before", "text": "Hi."})
    process = start("--max-starts", "20", stderr=tmp_path / "stderr.txt")

    def until_live(names: set[str], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not (tmp_path / "corpus" / "snapshots").exists() or live(tmp_path) != names:
            told = (tmp_path / "stderr.txt").read_text()
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told[-5000:]
            time.sleep(0.2)

    try:
        until_live({"before"}, 120)
        broker.kill()
        time.sleep(3)
        broker.start()
        broker.put(topic, {"id": "after", "text": "Hi again."})
        until_live({"before", "after"}, 240)
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def live(directory: Path) -> set[str]:
    corpus = Corpus.open(directory / "corpus")
    return {d for b in corpus.read("documents") for d in b.column("doc_id").to_pylist()}
