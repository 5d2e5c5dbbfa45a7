"""What it costs a search to fold copies of one sentence into one line."""

import json
import random
import statistics
import time
from collections.abc import Callable

import pytest

from pipelines.api import Corpus
from pipelines.embed.jobs.job import EmbedJob
from pipelines.embed.jobs.local import embed
from pipelines.index.build import build_index
from pipelines.index.options import IndexOptions

pytestmark = pytest.mark.benchmark
LINES = 1500
COPY = "All rights of the bank are reserved by the owner of this page."
WORDS = ["river", "money", "loan", "boat", "water", "tree", "street", "old", "new", "green"]
QUERIES = {
    "the nearest are 1,500 copies": "All rights of the [bank] are reserved",
    "the nearest are all different": "the [bank] of the river",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    directory = tmp_path_factory.mktemp("folding")
    rng = random.Random(1)
    different = (f"The bank of the {' '.join(rng.choices(WORDS, k=6))}." for _ in range(LINES))
    texts = [COPY] * LINES + list(different)
    source = directory / "in.jsonl"
    lines = (json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts))
    source.write_text("".join(lines))
    embed(EmbedJob(inputs=[str(source)], corpus=str(directory / "corpus")))
    build_index(str(directory / "corpus"), IndexOptions())
    return Corpus.open(str(directory / "corpus"))


def milliseconds(corpus: Corpus, query: str) -> dict[bool, float]:
    """Return the median time of a search, folded (False) and unfolded, in turn."""
    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(16):
        for unfold, found in times.items():
            started = time.perf_counter()
            corpus.search(query, k=10, unfold=unfold)
            if turn:  # the first reads the corpus
                found.append(1000 * (time.perf_counter() - started))
    return {unfold: statistics.median(found) for unfold, found in times.items()}


def test_folding_copies(corpus: Corpus, record_benchmark: Callable[..., None]) -> None:
    copies = [hit.copies for hit in corpus.search(QUERIES["the nearest are 1,500 copies"], k=10)]
    assert max(copies) == LINES
    found = {name: milliseconds(corpus, query) for name, query in QUERIES.items()}
    record_benchmark(
        "text-fold",
        {name: {str(unfold): ms for unfold, ms in times.items()} for name, times in found.items()},
        title="Folding identical lines",
        columns=["query", "milliseconds folded", "with `--unfold`"],
        rows=[
            [name, round(times[False], 1), round(times[True], 1)] for name, times in found.items()
        ],
        notes=[f"{2 * LINES:,} lines with the word, of which {LINES:,} are copies of one sentence"],
    )
    different = found["the nearest are all different"]
    assert different[False] < 1.5 * different[True]
