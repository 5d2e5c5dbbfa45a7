"""Streams measured: speed beside `embed`, seconds until a search finds a message, memory, commits.

SENSEGREP_BENCHMARK_COMMITS (default 5000) is how many commits of one document are made.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipelines.api import Corpus, open_searcher
from pipelines.corpus.view import CorpusView
from pipelines.search.options import SearchOptions
from pipelines.search.query_encoder import QueryEncoder
from tests.kafka.running_broker import Broker, why_no_broker

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.benchmark
COMMITS = int(os.environ.get("SENSEGREP_BENCHMARK_COMMITS", "5000"))
DOCUMENTS = int(os.environ.get("SENSEGREP_BENCHMARK_DOCUMENTS", "3000"))
MESSAGES = int(os.environ.get("SENSEGREP_BENCHMARK_MESSAGES", "100"))
PAUSE_SECONDS = 0.5
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
SENTENCES = (
    "They sat on the bank of the river and watched boat {n} go by.",
    "The bank lent company {n} the money that it had asked for.",
)
QUERY = "They sat on the [bank] of the river"
Record = Callable[..., None]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Kafka broker of this file's own."""
    if why := why_no_broker():
        pytest.skip(why)
    started = Broker(tmp_path_factory.mktemp("kafka"))
    yield started
    started.kill()


def documents(count: int, sentences: int = 1, **fields: str) -> Iterator[dict[str, str]]:
    for n in range(count):
        text = " ".join(SENTENCES[(n + k) % 2].format(n=n) for k in range(sentences))
        yield {"id": f"d{n}", "text": text, **fields}


def write(path: Path, count: int, sentences: int = 1, **fields: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        file.writelines(json.dumps(each) + "\n" for each in documents(count, sentences, **fields))
    return path


def run(*arguments: Any) -> tuple[float, float]:
    """Run a command in a process; returns (seconds, peak memory in MB of it and its children)."""
    program = (
        "import resource, sys\nfrom pipelines.__main__ import main\n"
        "status = main(sys.argv[1:])\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print('PEAK', peak)\nsys.exit(status)\n"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.split("PEAK")[1]) / 1024
    return time.monotonic() - started, peak


def last_commit(corpus: Path) -> float:
    """Return when the newest snapshot was made, in seconds since the epoch."""
    return max(path.stat().st_mtime for path in (corpus / "snapshots").glob("*.json"))


def test_a_stream_is_about_as_fast_as_embed(
    tmp_path: Path, broker: Broker, record_benchmark: Record
) -> None:
    sentences, turns = 12, int(os.environ.get("SENSEGREP_BENCHMARK_TURNS", "3"))
    source = write(tmp_path / "in" / "1.jsonl", DOCUMENTS, sentences)
    broker.make_topic("speed")
    broker.put("speed", *documents(DOCUMENTS, sentences))
    commands = {
        "embed": ("embed", source),
        "folder": ("stream", f"watch:{source.parent}/*.jsonl", "--until-idle", "1s"),
        "kafka": ("stream", f"kafka:{broker.address}/speed", "--until-idle", "1s"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(turns):
        for name, command in commands.items():
            corpus, started = tmp_path / f"{name}{turn}", time.time()
            run(*command, "--corpus", corpus)
            seconds[name].append(last_commit(corpus) - started)
            assert Corpus.open(corpus).live_counts()["documents"] == DOCUMENTS
            print(name, round(seconds[name][-1], 2))
    titles = {
        "embed": "`embed` of a file",
        "folder": "`stream` of a folder with that file",
        "kafka": "`stream` of a Kafka topic with the same texts",
    }
    ratios = {
        name: statistics.median(
            mine / its for mine, its in zip(seconds[name], seconds["embed"], strict=True)
        )
        for name in commands
    }
    record_benchmark(
        "stream-speed",
        {"seconds": seconds, "ratios": ratios},
        title="Streams beside `embed` of the same texts",
        columns=["command", "documents/s", "seconds from start to last commit", "beside embed"],
        rows=[
            [title, round(DOCUMENTS / median), round(median, 1), round(ratios[name], 2)]
            for name, title in titles.items()
            for median in (statistics.median(seconds[name]),)
        ],
        notes=[
            f"{DOCUMENTS:,} documents of {sentences} sentences, the bundled model, `--every 60s`,"
            f" medians of {turns} runs in turn; the start of the process and the loading of the"
            " model are in all of them",
            "a stream of a folder first waits 2 seconds, to see that a file does not change",
        ],
    )
    assert ratios["folder"] <= 1.2
    assert ratios["kafka"] <= 1.2


class Sender(threading.Thread):
    """Sends numbered messages at a steady pace, and knows when each was sent."""

    def __init__(self, send: Callable[[dict[str, str]], object]) -> None:
        super().__init__()
        self._send = send
        self.sent: dict[str, float] = {}

    def run(self) -> None:
        for document in documents(MESSAGES, 4):
            self.sent[document["id"]] = time.monotonic()
            self._send(document)
            time.sleep(PAUSE_SECONDS)


@contextmanager
def streaming(source: str, corpus: Path, every: str) -> Iterator[None]:
    """Stream in a process of its own, which has taken the corpus's stream over."""
    command = [sys.executable, "-m", "pipelines", "stream", source, "--corpus", str(corpus)]
    process = subprocess.Popen([*command, "--every", every], env=ENVIRONMENT)
    try:
        while CorpusView.open(corpus).snapshot.stream is None:
            assert process.poll() is None
            time.sleep(0.1)
        yield
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def found_after(corpus: Path, sender: Sender) -> list[float]:
    """Search until every message is found; returns the seconds that each took."""
    view, found = CorpusView.open(corpus), dict[str, float]()
    encoder: QueryEncoder | None = None
    while len(found) < MESSAGES:
        time.sleep(0.02)
        view = view.refresh()
        documents = [batch.column("doc_id").to_pylist() for batch in view.read("documents")]
        new = set().union(*documents) - found.keys() - {"seed"}
        if not new:
            continue
        encoder = encoder or QueryEncoder(view)  # the model is loaded once, as a server does
        newest = max(new, key=lambda doc_id: sender.sent[doc_id])
        query = f"They watched boat [{newest[1:]}] go by"
        hits = open_searcher(view, encoder=encoder).search(query, SearchOptions(k=1))
        assert [hit.doc_id for hit in hits] == [newest]
        found |= {doc_id: time.monotonic() - sender.sent[doc_id] for doc_id in new}
    return sorted(found.values())


def test_seconds_until_a_search_finds_a_message(
    tmp_path: Path, broker: Broker, record_benchmark: Record
) -> None:
    (tmp_path / "in").mkdir()
    (seed := tmp_path / "seed.jsonl").write_text('{"id": "seed", "text": "The boat sank."}\n')

    def drop(document: dict[str, str]) -> None:
        write_one(tmp_path / "in", document)

    rows, values = [], {}
    for place, every in (("Kafka", 1), ("Kafka", 10), ("folder", 1)):
        corpus = tmp_path / f"{place}{every}"
        source, send = f"watch:{tmp_path}/in/*.jsonl", drop
        if place == "Kafka":
            topic = f"latency-{every}"
            broker.make_topic(topic)
            source, send = f"kafka:{broker.address}/{topic}", partial(broker.put, topic)
        run("run", seed, "--corpus", corpus)  # a search needs an index; the rest is scanned
        sender = Sender(send)
        with streaming(source, corpus, f"{every}s"):
            sender.start()
            seconds = found_after(corpus, sender)
            sender.join()
        values[f"{place}, {every} s"] = [round(each, 3) for each in seconds]
        ninth = seconds[len(seconds) * 9 // 10]
        shown = [round(each, 1) for each in (statistics.median(seconds), ninth, seconds[-1])]
        rows.append([f"{place}, `--every {every}s`", *shown])
        assert seconds[-1] <= every + 10
    record_benchmark(
        "stream-latency",
        values,
        title="Seconds until a search finds a message",
        columns=["source", "median", "9 of 10 within", "longest"],
        rows=rows,
        notes=[
            f"{MESSAGES} messages of 4 sentences, two a second, the bundled model; a search in"
            " another process ends with the message as its first hit",
            "a folder gets a new file for each message; a file is read 2 seconds after it was seen",
        ],
    )


def write_one(folder: Path, document: dict[str, str]) -> None:
    temporary = folder / f"{document['id']}.part"
    temporary.write_text(json.dumps(document) + "\n")
    temporary.rename(temporary.with_suffix(".jsonl"))


def test_many_tiny_commits_leave_a_corpus_like_one_built_in_one_go(
    tmp_path: Path,
    facts_of: Callable[..., list[dict[str, float]]],
    tiny_elmo_dir: Path,
    record_benchmark: Record,
) -> None:
    source = write(tmp_path / "in" / "1.jsonl", COMMITS)
    whole, streamed = tmp_path / "whole", tmp_path / "streamed"
    # A small model, so that what is measured is the corpus; the search takes all token vectors.
    model = ("--model", tiny_elmo_dir, "--tokens", "all")
    print("\nembed", run("embed", source, "--corpus", whole, *model))
    seconds, peak = run(
        *("stream", f"watch:{source.parent}/*.jsonl", "--corpus", streamed, *model),
        *("--ahead", 1, "--until-idle", "10s", "--vacuum-older-than", "0s"),
    )
    print(f"stream of {COMMITS} commits: {seconds:.0f} s, {peak:.0f} MB")
    for corpus in (whole, streamed):
        run("index", "--corpus", corpus)
        run("vacuum", "--corpus", corpus, "--older-than", "0s")
    one, many = facts_of(whole, streamed, query=QUERY)
    names = {
        "documents": ("documents", 0),
        "segments": ("segments", 0),
        "search_p50_ms": ("search of a bracketed word, median of 60 in turn, ms", 1),
        "mb": ("size, index included, MB", 1),
        "open_files": ("open files of the process that searches", 0),
        "memory_mb": ("memory of the process that searches, MB", 0),
    }
    record_benchmark(
        "stream-commits",
        {"whole": one, "streamed": many, "stream_seconds": seconds, "stream_memory_mb": peak},
        title="A corpus after many commits of a stream, and the same built at once",
        columns=["", "built at once", f"{COMMITS:,} commits of one document"],
        rows=[
            [title, *(round(facts[name], digits or None) for facts in (one, many))]
            for name, (title, digits) in names.items()
        ]
        + [
            ["the stream itself: ms per commit", None, round(1000 * seconds / COMMITS)],
            ["the stream itself: memory, MB", None, round(peak)],
        ],
        notes=["a tiny model", "segments after maintenance (`--compact-every 10`)"],
    )
    assert many["segments"] <= 60
    assert many["search_p50_ms"] <= 1.5 * one["search_p50_ms"]


def test_memory_does_not_grow_with_the_backlog(
    tmp_path: Path, tiny_elmo_dir: Path, broker: Broker, record_benchmark: Record
) -> None:
    # Documents, MB. With less, what is read ahead is not full yet: one of Kafka takes 320 MB more
    # with 120 MB waiting than with 20, and no more with 240.
    sizes = {1200: 120, 2400: 240}
    peaks: dict[str, dict[int, int]] = {"folder": {}, "Kafka topic": {}}
    for count in sizes:
        source = write(tmp_path / f"in{count}" / "1.jsonl", count, blob="x" * 100_000)
        broker.make_topic(f"backlog-{count}")
        broker.put(f"backlog-{count}", *documents(count, blob="x" * 100_000))
        names = (f"watch:{source.parent}/*.jsonl", f"kafka:{broker.address}/backlog-{count}")
        for place, name in zip(peaks, names, strict=True):
            corpus = tmp_path / f"{count}{place}"
            _, peak = run(
                *("stream", name, "--corpus", corpus, "--model", tiny_elmo_dir),
                *("--until-idle", "1s", "--ahead-bytes", "8M", "--compact-every", "0"),
            )
            assert Corpus.open(corpus).live_counts()["documents"] == count
            peaks[place][count] = round(peak)
    record_benchmark(
        "stream-memory",
        peaks,
        title="Peak memory of a stream over a backlog",
        columns=["source", *(f"backlog of {size} MB" for size in sizes.values())],
        rows=[
            [place, *(f"{peak} MB" for peak in found.values())] for place, found in peaks.items()
        ],
        notes=["documents of 100 kB, `--ahead-bytes 8M`, a tiny model"],
    )
    for found in peaks.values():
        assert found[2400] <= found[1200] + 60
