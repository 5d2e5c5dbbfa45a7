"""Cost of an index and of a search at 10k, 100k and 1M token vectors of random senses.

Run one size by name: pytest -m benchmark -s tests/benchmarks/test_index_speed.py -k 1000000
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.api import Corpus, open_searcher
from pipelines.search.options import SearchOptions
from pipelines.search.query_encoder import EncodedQuery
from pipelines.search.searcher import Searcher

pytestmark = pytest.mark.benchmark

SEGMENT_TOKENS = 100_000
QUERIES = 300


class DrawnQueries:
    """Stands in for a model: a query is an occurrence's vector with noise, among ten words."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def encode(self, query: str) -> EncodedQuery:
        form = int(query.strip("[]").removeprefix("w"))
        around = tuple(f"w{other:05d}" for other in self._source.forms(10))
        vector = self._source.vectors(np.array([form]))[0].astype(np.float32)
        return EncodedQuery(
            text=query,
            tokens=(query.strip("[]"), *around),
            token_index=0,
            token_vector=vector,
            sentence_vector=vector,
            several=False,
        )


def timed(searcher: Searcher, source: Any, options: SearchOptions, count: int) -> dict[str, Any]:
    times = []
    compared = []
    known = searcher.index.forms.counts()
    drawn = [form for form in source.forms(3 * count) if f"w{form:05d}" in known][:count]
    for form in drawn:
        started = time.perf_counter()
        hits = searcher.search(f"[w{form:05d}]", options)
        times.append(1000 * (time.perf_counter() - started))
        compared.append(hits.compared)
    return {
        "p50_ms": round(float(np.percentile(times, 50)), 2),
        "p99_ms": round(float(np.percentile(times, 99)), 2),
        "compared_p50": int(np.median(compared)),
        "compared_max": max(compared),
    }


@pytest.mark.parametrize("tokens", [10_000, 100_000, 1_000_000])
def test_same_word_search_is_fast_and_the_build_bounded(
    tokens: int,
    tmp_path: Path,
    random_tokens: Any,
    write_random_segment: Callable[..., Corpus],
    build_apart: Callable[..., dict[str, Any]],
    record_benchmark: Callable[[str, Any], None],
) -> None:
    corpus = Corpus.open_or_create(tmp_path / "corpus")
    for first in range(0, tokens, SEGMENT_TOKENS):
        corpus = write_random_segment(corpus, random_tokens, min(SEGMENT_TOKENS, tokens - first))
    report = build_apart(corpus.root, "--max-memory", "1G")
    searcher = open_searcher(Corpus.open(corpus.root))
    searcher.encoder = DrawnQueries(random_tokens)  # type: ignore[assignment]
    timed(searcher, random_tokens, SearchOptions(senses=False), 50)  # warm
    same = timed(searcher, random_tokens, SearchOptions(senses=False), QUERIES)
    any_word = timed(searcher, random_tokens, SearchOptions(any_word=True), 30)
    record_benchmark(
        "index-million" if tokens == 1_000_000 else f"index-{tokens}",
        {
            "dim": random_tokens.dim,
            "cores": os.cpu_count(),
            "build": {
                name: report[name] for name in ("seconds", "peak_memory_bytes", "bytes", "factory")
            },
            "same_word": same,
            "any_word": any_word,
            "sentences": report["tables"]["sentences"]["latency_ms"],
        },
        title=f"Index and search of {tokens:,} token vectors",
        columns=["what", "figure"],
        rows=[
            ["building the index, seconds", round(report["seconds"], 1)],
            ["peak memory of the build, MB", round(report["peak_memory_bytes"] / 1e6)],
            ["size of the index, MB", round(report["bytes"] / 1e6)],
            ["search of a word, median, ms", same["p50_ms"]],
            ["search of a word, 99th percentile, ms", same["p99_ms"]],
            ["search of all words, median, ms", any_word["p50_ms"]],
        ],
        notes=[
            f"random vectors of width {random_tokens.dim}, words distributed by Zipf's law; the "
            "time of encoding the query is not included",
            "each word is searched for once or a few times: what a first search of it prepares is"
            " included",
        ],
    )
    assert same["p50_ms"] < 10
    assert report["peak_memory_bytes"] < 1 << 30


def test_approximate_indexes_reach_their_target(
    tmp_path: Path,
    random_tokens: Any,
    write_random_segment: Callable[..., Corpus],
    build_apart: Callable[..., dict[str, Any]],
    record_benchmark: Callable[..., None],
) -> None:
    corpus = Corpus.open_or_create(tmp_path / "corpus")
    for _ in range(2):
        corpus = write_random_segment(corpus, random_tokens, SEGMENT_TOKENS)
    reports = {
        factory: build_apart(corpus.root, "--factory", factory, "--max-memory", "2G", "--rebuild")
        for factory in ("HNSW32,SQfp16", "IVF1024,SQfp16", "OPQ32,IVF1024,PQ32")
    }
    kept = ("seconds", "peak_memory_bytes", "bytes", "recall_at_10", "latency_ms")
    record_benchmark(
        "index-compressed",
        {factory: {name: report[name] for name in kept} for factory, report in reports.items()},
        title=f"Approximate indexes over {2 * SEGMENT_TOKENS:,} vectors",
        columns=["index", "building, seconds", "size, MB", "search, ms", "recall@10"],
        rows=[
            [
                factory,
                round(report["seconds"], 1),
                round(report["bytes"] / 1e6),
                round(report["latency_ms"]["p50"], 2),
                round(report["recall_at_10"], 3),
            ]
            for factory, report in reports.items()
        ],
        notes=[
            f"random vectors of width {random_tokens.dim}; the size is that of the whole index, "
            "with the vectors themselves"
        ],
    )
    for factory, report in reports.items():
        assert report["recall_at_10"] >= 0.9, factory
