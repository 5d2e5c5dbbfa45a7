"""A corpus that a scheduler feeds every night for a year, beside one built at once.

SENSEGREP_NIGHTS (default 365) is how many runs of 50 documents are made.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from recording import record

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.benchmark
NIGHTS = int(os.environ.get("SENSEGREP_NIGHTS", "365"))
DOCUMENTS = 50
SENTENCES = (
    "They sat on the bank of the river and watched boat {n} go by.",
    "The bank lent company {n} the money that it had asked for.",
    "In year {n} the plant made more cars than ever before.",
)
QUERY = "They sat on the [bank] of the river"
# All runs in one process, since most of a run is loading Python's packages. The program prints for
# each run its seconds, the segments after it, and the documents in segments that it merged.
PROGRAM = """
import contextlib, json, os, sys, time
from pathlib import Path
from pipelines.__main__ import main
from pipelines.corpus.view import CorpusView

corpus, documents, *flags = sys.argv[1:]
seen = set()
for path in sys.stdin.read().split():
    started = time.monotonic()
    with contextlib.redirect_stdout(sys.stderr):
        status = main(["run", path, "--corpus", corpus, *flags])
    assert status == 0, status
    seconds = time.monotonic() - started
    segments = CorpusView.open(corpus).segments
    new = [each.counts["documents"] for each in segments if each.segment_id not in seen]
    seen |= {each.segment_id for each in segments}
    merged = sum(count for count in new if count > int(documents))
    print(json.dumps([seconds, len(segments), merged]), flush=True)
"""


def write_night(path: Path, night: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for n in range(night * DOCUMENTS, (night + 1) * DOCUMENTS):
            text = " ".join(sentence.format(n=n) for sentence in SENTENCES)
            file.write(json.dumps({"id": f"d{n}", "text": text}) + "\n")
    return path


def runs(corpus: Path, paths: list[Path], *flags: str) -> list[tuple[float, int, int]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(corpus), str(DOCUMENTS), *flags],
        input="\n".join(map(str, paths)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_a_year_of_nights_is_as_fast_to_search_as_a_corpus_built_at_once(
    tmp_path: Path, facts_of: Callable[..., list[dict[str, float]]], tiny_elmo_dir: Path
) -> None:
    nights = [write_night(tmp_path / f"night-{night:03d}.jsonl", night) for night in range(NIGHTS)]
    whole_input = tmp_path / "all.jsonl"
    whole_input.write_text("".join(path.read_text(encoding="utf-8") for path in nights))
    whole, year = tmp_path / "whole", tmp_path / "year"
    # A small model, so that what is measured is the corpus; the search takes all token vectors.
    model = ("--model", str(tiny_elmo_dir), "--tokens", "all")
    print()
    [(seconds, _, _)] = runs(whole, [whole_input], *model, "--commit-every", "1000000")
    print(f"at once: {seconds:.0f} s")
    upkeep = ("--compact-over", "20", "--vacuum-older-than", "0s")
    spent = runs(year, nights, *model, *upkeep)
    quarter = max(len(spent) // 4, 1)
    first, last = spent[:quarter], spent[-quarter:]
    means = [sum(seconds for seconds, _, _ in part) / len(part) for part in (first, last)]
    longest, most = max(s for s, _, _ in spent), max(count for _, count, _ in spent)
    print(f"{NIGHTS} nights: {sum(s for s, _, _ in spent):.0f} s, longest {longest:.1f} s;")
    print(f"a night of the first quarter {means[0]:.2f} s, of the last {means[1]:.2f} s")
    rewritten = sum(merged for _, _, merged in spent) / (NIGHTS * DOCUMENTS)
    print(f"most segments after a run: {most}; each document rewritten {rewritten:.1f} times")
    one, many = facts_of(whole, year, query=QUERY)
    rows: list[list[object]] = [
        ["segments at the end", one["segments"], many["segments"]],
        ["most segments after a run", 1, most],
        ["files", one["files"], many["files"]],
        ["size on disk, MB", round(one["mb"], 1), round(many["mb"], 1)],
        ["token vectors in the index", one["token_vectors"], many["token_vectors"]],
        ["median search, ms", round(one["search_p50_ms"], 1), round(many["search_p50_ms"], 1)],
        [
            "first search after opening, seconds",
            round(one["first_search_s"], 1),
            round(many["first_search_s"], 1),
        ],
        ["a run in the first quarter of the year, seconds", None, round(means[0], 1)],
        ["a run in the last quarter, seconds", None, round(means[1], 1)],
        ["times that a document is rewritten by merges, mean", None, round(rewritten, 1)],
    ]
    record(
        "scheduled-runs",
        {"one": one, "many": many, "longest_run_seconds": round(longest, 1)},
        title="A corpus fed every night for a year",
        columns=["what", "at once", f"after {NIGHTS} nights"],
        rows=rows,
        notes=[
            f"{NIGHTS} nights of {DOCUMENTS} documents, beside the same {NIGHTS * DOCUMENTS:,}"
            " documents in one run; the tests' tiny model"
        ],
    )
    assert many["documents"] == one["documents"] == NIGHTS * DOCUMENTS
    assert most <= 20
    # Those of deleted or merged segments, which a search reads and leaves out.
    assert many["token_vectors"] <= 1.12 * one["token_vectors"]
    # Each of the six shards is opened and scanned for itself, which takes about half a millisecond.
    assert many["search_p50_ms"] <= 1.4 * one["search_p50_ms"]
    assert many["mb"] <= 1.5 * one["mb"]
