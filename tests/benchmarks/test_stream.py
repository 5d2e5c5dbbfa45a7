"""Streams measured: many tiny commits, speed beside `embed`, memory over a backlog.

SENSEGREP_COMMITS (default 5000) is how many commits of one document are made.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.benchmark
COMMITS = int(os.environ.get("SENSEGREP_COMMITS", "5000"))
SENTENCES = (
    "They sat on the bank of the river and watched boat {n} go by.",
    "The bank lent company {n} the money that it had asked for.",
)
QUERY = "They sat on the [bank] of the river"


def write(path: Path, count: int, sentences: int = 1, **fields: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for n in range(count):
            text = " ".join(SENTENCES[(n + k) % 2].format(n=n) for k in range(sentences))
            file.write(json.dumps({"id": f"d{n}", "text": text, **fields}) + "\n")
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
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.split("PEAK")[1]) / 1024
    return time.monotonic() - started, peak


def test_many_tiny_commits_leave_a_corpus_like_one_built_in_one_go(
    tmp_path: Path, facts_of: Callable[..., list[dict[str, float]]], tiny_elmo_dir: Path
) -> None:
    source = write(tmp_path / "in" / "1.jsonl", COMMITS)
    whole, streamed = tmp_path / "whole", tmp_path / "streamed"
    # A small model, so that what is measured is the corpus; the search takes all token vectors.
    model = ("--model", tiny_elmo_dir, "--tokens", "all")
    print()
    print("embed", run("embed", source, "--corpus", whole, *model))
    seconds, peak = run(
        *("stream", f"watch:{source.parent}/*.jsonl", "--corpus", streamed, *model),
        *("--ahead", 1, "--until-idle", "10s", "--vacuum-older-than", "0s"),
    )
    print(f"stream of {COMMITS} commits: {seconds:.0f} s, {peak:.0f} MB")
    for corpus in (whole, streamed):
        run("index", "--corpus", corpus)
        run("vacuum", "--corpus", corpus, "--older-than", "0s")
    one, many = facts_of(whole, streamed, query=QUERY)
    assert many["segments"] <= 60
    assert many["search_p50_ms"] <= 1.5 * one["search_p50_ms"]


def test_a_stream_is_about_as_fast_as_embed(tmp_path: Path) -> None:
    source = write(tmp_path / "in" / "1.jsonl", 3000, sentences=12)
    ratios = []
    print()
    for turn in range(3):
        embed, _ = run("embed", source, "--corpus", tmp_path / f"e{turn}")
        stream, _ = run(
            *("stream", f"watch:{source.parent}/*.jsonl", "--corpus", tmp_path / f"s{turn}"),
            *("--until-idle", "1s"),
        )
        ratios.append((stream - 3.0) / embed)  # it waits 2 s for quiet and 1 s for the end
        print(f"embed {embed:.1f} s, stream {stream:.1f} s, {ratios[-1]:.2f}")
    assert statistics.median(ratios) <= 1.3


def test_memory_does_not_grow_with_the_backlog(tmp_path: Path, tiny_elmo_dir: Path) -> None:
    peaks = {}
    print()
    for count in (200, 1200):  # 20 and 120 MB
        source = write(tmp_path / f"in{count}" / "1.jsonl", count, blob="x" * 100_000)
        _, peaks[count] = run(
            *("stream", f"watch:{source.parent}/*.jsonl", "--corpus", tmp_path / str(count)),
            *("--until-idle", "1s", "--ahead-bytes", "8M", "--model", tiny_elmo_dir),
            *("--compact-every", "0"),
        )
        print(f"backlog of {count / 10:.0f} MB: {peaks[count]:.0f} MB")
    assert peaks[1200] <= peaks[200] + 60
