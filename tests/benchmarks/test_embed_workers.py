"""Whether worker processes pay: whole commands with --workers 1 and 2, in turn, start-up included.

Two cases: the bundled model on at least 400,000 tokens of real text, where one process keeps both
cores busy for most of the time; and short documents through a tiny model, where nearly all is
Python, of which one process runs one thread at a time.
"""

import gzip
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.text.tokenizer import Tokenizer

pytestmark = pytest.mark.benchmark
TOKENS = 400_000
SHORT_DOCUMENTS = 60_000
TURNS = int(os.environ.get("SENSEGREP_BENCHMARK_TURNS", "2"))


def run(source: Path, corpus: Path, workers: int, *more: str) -> dict[str, Any]:
    """Run one command; processor seconds are those of all its processes."""
    words = ["embed", str(source), "--corpus", str(corpus), "--json", "--workers", str(workers)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", *words, *more],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(done.stdout)
    return {
        "tokens": report["tokens"],
        "seconds": round(seconds, 1),
        "embedding_seconds": round(report["seconds"], 1),
        "processor_seconds": round(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1
        ),
    }


def compare(
    name: str, source: Path, directory: Path, *more: str, record: Callable[..., None]
) -> float:
    """Return the seconds of two workers over those of one process, the best turn of each."""
    turns: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for turn in range(TURNS):
        for workers, done in turns.items():
            done.append(run(source, directory / f"c{workers}-{turn}", workers, *more))
    best = {n: min(turn["seconds"] for turn in done) for n, done in turns.items()}
    result = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    record(
        f"embed-workers-{name}",
        {**result, "turns": turns, "ratio": round(best[2] / best[1], 3)},
        title="`--workers 2` against one process",
        columns=["turn", "one process, seconds", "two workers, seconds", "ratio"],
        rows=[
            [turn + 1, one["seconds"], two["seconds"], round(two["seconds"] / one["seconds"], 2)]
            for turn, (one, two) in enumerate(zip(turns[1], turns[2], strict=True))
        ],
        notes=["the whole command, start-up included"],
    )
    assert len({turn["tokens"] for done in turns.values() for turn in done}) == 1
    return best[2] / best[1]


def test_two_workers_on_real_text(
    tmp_path: Path, shared: Path, record_benchmark: Callable[..., None]
) -> None:
    tokenizer, count = Tokenizer("en"), 0
    source = tmp_path / "in.jsonl"
    with (
        gzip.open(shared / "data/demo/simplewiki_en_demo.jsonl.gz", "rt") as demo,
        source.open("w") as file,
    ):
        for line in demo:
            if count >= TOKENS:
                break
            file.write(line)
            count += sum(len(s.tokens) for s in tokenizer.sentences(json.loads(line)["text"]))
    assert compare("real-text", source, tmp_path, record=record_benchmark) < 1.1


def test_two_workers_on_short_documents(
    tmp_path: Path, tiny_elmo_dir: Path, record_benchmark: Callable[..., None]
) -> None:
    rng = np.random.default_rng(0)
    source = tmp_path / "in.jsonl"
    with source.open("w") as file:
        for n in range(SHORT_DOCUMENTS):
            ranks = np.minimum(rng.zipf(1.3, size=10), 30_000)
            text = " ".join(f"w{rank}" for rank in ranks)
            file.write(json.dumps({"id": n, "text": f"{text.capitalize()}."}) + "\n")
    settings = ["--model", str(tiny_elmo_dir), "--commit-every", "20000"]
    assert compare("short-documents", source, tmp_path, *settings, record=record_benchmark) < 1.0
