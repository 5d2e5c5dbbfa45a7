"""Search of ten million token vectors of real text, and FAISS's own searches of them beside it.

The corpus is made before, which takes long, from about 24 million words of text:

    sensegrep embed TEXT.jsonl --corpus DIR --workers 2
    sensegrep index --corpus DIR --max-memory 2G --json > BUILD.json

    export TEN_MILLION_CORPUS=DIR TEN_MILLION_BUILD=BUILD.json
    pytest -m benchmark -s tests/benchmarks/test_ten_million.py

Queries are sentences. A word of a query is rare, middling or frequent by the count of its form;
ten of each, and the most frequent words besides. Each is searched once before it is timed.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from pipelines.api import Corpus, open_searcher
from pipelines.index.format import open_manifest
from pipelines.search.options import SearchOptions
from pipelines.search.searcher import Searcher

pytestmark = pytest.mark.benchmark

WORDS, SENTENCES, REPEATS = 10, 50, 3
RANGES = {
    "rare, 10 to 100 occurrences": (10, 100),
    "middling, 1,000 to 3,000": (1000, 3000),
    "frequent, 10,000 to 30,000": (10_000, 30_000),
    "the ten most frequent": (30_000, 10**9),
}
MOST_MS = {"word, median": 10.0, "word, 99th percentile": 100.0, "sentence, median": 50.0}


def words_by_count(counts: dict[str, int]) -> dict[str, list[str]]:
    """Choose words of each range: the most frequent, and otherwise any, always the same."""
    chosen = {}
    rng = np.random.default_rng(0)
    for name, (least, most) in RANGES.items():
        words = sorted(w for w, n in counts.items() if least <= n < most and w.isalpha())
        words = words if len(words) <= WORDS else [str(w) for w in rng.choice(words, WORDS, False)]
        if least == RANGES["the ten most frequent"][0]:
            words = sorted(counts, key=lambda word: -counts[word])[:WORDS]
        chosen[name] = words
    return chosen


def times_of(search: Callable[[str], Any], queries: Sequence[str]) -> list[float]:
    """Return the milliseconds of each query, REPEATS times, after once."""
    found = []
    for query in queries:
        search(query)
        for _ in range(REPEATS):
            started = time.perf_counter()
            search(query)
            found.append(1000 * (time.perf_counter() - started))
    return found


def summary(times: Sequence[float]) -> dict[str, float]:
    return {
        "p50_ms": round(float(np.percentile(times, 50)), 2),
        "p99_ms": round(float(np.percentile(times, 99)), 2),
    }


def sentences_of(corpus: Corpus, count: int) -> list[str]:
    """Return sentences of 8 to 25 tokens from the first segment."""
    found: list[str] = []
    for batch in corpus.read("sentences", ["text", "tokens"], [corpus.segments[0].segment_id]):
        for text, tokens in zip(
            batch.column("text").to_pylist(), batch.column("tokens").to_pylist(), strict=True
        ):
            if 8 <= len(tokens) <= 25 and "[" not in text and text.isascii():
                found.append(text)
        if len(found) > 100 * count:
            break
    return found[:: len(found) // count][:count]


def faiss_alone(searcher: Searcher, table: str) -> dict[str, dict[str, float]]:
    """Time FAISS's flat search, and its IVF search, of the same vectors of a table."""
    index = searcher.index
    dim, shard = index.manifest.dim, next(iter(index.shards.values()))
    rows = shard.shard.rows[table]
    rng = np.random.default_rng(1)
    flat_file = shard.flat(table)
    queries = flat_file.vectors(np.sort(rng.choice(rows, 20, replace=False)))
    times: dict[str, list[float]] = {"flat": []}
    for query in queries[:3]:
        started = time.perf_counter()
        flat_file.search(query[None], 10)  # FAISS's scan of the mapped file
        times["flat"].append(1000 * (time.perf_counter() - started))
    sample = flat_file.vectors(np.sort(rng.choice(rows, min(rows, 200_000), replace=False)))
    ivf = faiss.index_factory(dim, "IVF2048,SQfp16", faiss.METRIC_INNER_PRODUCT)
    ivf.cp.niter, ivf.cp.max_points_per_centroid = 5, 40
    ivf.train(sample)
    ivf.add(sample)
    truth = np.argsort(-(queries @ sample.T), axis=1)[:, :10]
    effort = 1
    while effort < 2048:
        found = ivf.search(queries, 10, params=faiss.SearchParametersIVF(nprobe=effort))[1]
        recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, truth, strict=True)])
        if recall >= 0.95:
            break
        effort *= 2
    parameters = faiss.SearchParametersIVF(nprobe=effort)
    name = f"IVF2048,SQfp16 of {len(sample):,}, nprobe {effort}"
    times[name] = []
    for query in queries:
        started = time.perf_counter()
        ivf.search(query[None], 10, params=parameters)
        times[name].append(1000 * (time.perf_counter() - started))
    return {name: summary(spent) for name, spent in times.items()}


def test_ten_million_token_vectors(record_benchmark: Callable[..., None]) -> None:
    directory = os.environ.get("TEN_MILLION_CORPUS")
    if directory is None or "TEN_MILLION_BUILD" not in os.environ:
        pytest.skip("needs TEN_MILLION_CORPUS, a corpus with an index, and TEN_MILLION_BUILD")
    corpus = Corpus.open(directory)
    assert corpus.snapshot.index is not None
    manifest = open_manifest(corpus, corpus.snapshot.index)
    searcher = open_searcher(corpus)
    options = SearchOptions(senses=False)
    counts = searcher.index.forms.counts()
    words: dict[str, dict[str, float]] = {}
    every: list[float] = []
    for name, chosen in words_by_count(counts).items():
        queries = [f"They said that the [{word}] was near the river" for word in chosen]
        times = times_of(lambda query: searcher.search(query, options), queries)
        words[name] = summary(times)
        every += times
    asked = sentences_of(corpus, SENTENCES)
    sentence = summary(times_of(lambda query: searcher.search(query, options), asked))
    anything = summary(
        times_of(
            lambda query: searcher.search(query, SearchOptions(any_word=True)),
            ["They sat on the [bank] of the river", "He paid the money into the [bank]"],
        )
    )
    alone = {table: faiss_alone(searcher, table) for table in ("sentences", "tokens")}
    build = json.loads(Path(os.environ["TEN_MILLION_BUILD"]).read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in Path(directory, "indexes").rglob("*.*"))
    tables = manifest.tables
    record_benchmark(
        "index-ten-million",
        {
            "rows": {table: tables[table]["rows"] for table in tables},
            "factory": {table: tables[table]["factory"] for table in tables},
            "recall_at_10": {table: tables[table]["recall_at_10"] for table in tables},
            "bytes": size,
            "build": {name: build[name] for name in ("seconds", "peak_memory_bytes", "bytes")},
            "words": words,
            "every_word": summary(every),
            "sentence": sentence,
            "any_word": anything,
            "faiss": alone,
        },
        title="Search of ten million token vectors of Simple English Wikipedia",
        columns=["search", "median, ms", "99th percentile, ms"],
        rows=[
            *(
                [f"same word: {name}", found["p50_ms"], found["p99_ms"]]
                for name, found in words.items()
            ),
            ["same word: all of these", *summary(every).values()],
            ["a sentence", *sentence.values()],
            ["`--any-word`", *anything.values()],
            *(
                [f"FAISS alone, {table}: {name}", *found.values()]
                for table, both in alone.items()
                for name, found in both.items()
            ),
        ],
        notes=[
            f"{tables['tokens']['rows']:,} token vectors ({tables['tokens']['factory']}, recall@10 "
            f"{tables['tokens']['recall_at_10']:.3f}), {tables['sentences']['rows']:,} sentences "
            f"({tables['sentences']['factory']}, recall@10 "
            f"{tables['sentences']['recall_at_10']:.3f}); the index takes {size / 1e9:.1f} GB",
            f"built under --max-memory 2G in {build['seconds'] / 60:.0f} minutes, with at most "
            f"{build['peak_memory_bytes'] / 1e6:,.0f} MB of memory",
            "the whole search, the encoding of the query included; without senses; files in the "
            "page cache where memory holds them",
        ],
    )
    assert words["rare, 10 to 100 occurrences"]["p50_ms"] < MOST_MS["word, median"]
    assert words["frequent, 10,000 to 30,000"]["p99_ms"] < MOST_MS["word, 99th percentile"]
    assert sentence["p50_ms"] < MOST_MS["sentence, median"]
