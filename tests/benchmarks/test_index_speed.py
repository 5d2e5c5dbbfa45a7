"""Cost of an index and of a search at 10k, 100k and 1M token vectors of random senses.

Run one size by name: pytest -m benchmark -s tests/benchmarks/test_index_speed.py -k 1000000
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus import Change, Corpus
from pipelines.index_options import SearchOptions
from pipelines.query_encoder import EncodedQuery
from pipelines.search import Searcher
from schemas import Part, Segment, first_vector_id, table_schema

pytestmark = pytest.mark.benchmark

DIM = 256
SENTENCE = 20
SENTENCES_A_DOCUMENT = 10
SEGMENT_TOKENS = 100_000
FORMS = 30_000
SENSES = 3
QUERIES = 300


class Source:
    """Draws tokens: forms by Zipf's law, vectors around one of the form's senses."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._shares = 1 / np.arange(10, FORMS + 10)
        self._shares /= self._shares.sum()
        # Senses are combinations of a few directions, so that forms share neighbours.
        self._basis = self.rng.standard_normal((512, DIM)).astype(np.float32)

    def forms(self, count: int) -> np.ndarray:
        return self.rng.choice(FORMS, count, p=self._shares)

    def vectors(self, forms: np.ndarray) -> np.ndarray:
        sense = self.rng.integers(0, SENSES, len(forms))
        own = self._basis[(forms * 7) % 512] + 0.5 * self._basis[(forms * 13 + sense * 101) % 512]
        noise = self.rng.standard_normal(own.shape, dtype=np.float32)
        return (own + 0.6 * noise + 1.0).astype(np.float16)


def vector_column(vectors: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.reshape(-1)),
        type=table_schema("tokens", dtype="float16", dim=DIM).field("vector").type,
    )


def write_segment(corpus: Corpus, source: Source, tokens: int) -> Corpus:
    segment_id, number = corpus.reserve_segment()
    sentences, places = tokens // SENTENCE, np.arange(tokens)
    documents = -(-sentences // SENTENCES_A_DOCUMENT)
    forms = source.forms(tokens)
    words = np.array([f"w{form:05d}" for form in range(FORMS)])[forms]
    texts = [" ".join(row) for row in words.reshape(sentences, SENTENCE)]
    doc_ids = np.array([f"{segment_id}/{i:06d}" for i in range(documents)])
    sentence = places // SENTENCE
    offset = (sentence % SENTENCES_A_DOCUMENT) * (7 * SENTENCE)
    starts = offset + (places % SENTENCE) * 7
    line = np.arange(sentences)
    columns: dict[str, dict[str, Any]] = {
        "documents": {
            "doc_id": doc_ids,
            "sha256": ["0" * 64] * documents,
            "uri": ["random"] * documents,
            "position": np.arange(documents),
            "metadata": pa.array(
                [[("part", str(i % 4))] for i in range(documents)],
                pa.map_(pa.string(), pa.string()),
            ),
            "characters": np.full(documents, 7 * SENTENCE * SENTENCES_A_DOCUMENT),
            "sentences": pa.array([SENTENCES_A_DOCUMENT] * documents, pa.int32()),
            "tokens": np.full(documents, SENTENCE * SENTENCES_A_DOCUMENT),
            "rejected_sentences": pa.array([0] * documents, pa.int32()),
        },
        "sentences": {
            "vector_id": first_vector_id(number, "sentences", 0) + line,
            "doc_id": doc_ids[line // SENTENCES_A_DOCUMENT],
            "sentence_index": (line % SENTENCES_A_DOCUMENT).astype(np.int32),
            "start": offset[::SENTENCE],
            "end": offset[::SENTENCE] + 7 * SENTENCE - 1,
            "text": texts,
            "tokens": words.reshape(sentences, SENTENCE).tolist(),
            "token_starts": starts.reshape(sentences, SENTENCE).tolist(),
            "attention": pa.array([[1 / SENTENCE] * SENTENCE] * sentences, pa.list_(pa.float32())),
            "cut": [False] * sentences,
            "vector": vector_column(source.vectors(forms[::SENTENCE])),
        },
        "tokens": {
            "vector_id": first_vector_id(number, "tokens", 0) + places,
            "doc_id": doc_ids[sentence // SENTENCES_A_DOCUMENT],
            "sentence_index": (sentence % SENTENCES_A_DOCUMENT).astype(np.int32),
            "token_index": (places % SENTENCE).astype(np.int32),
            "start": starts,
            "end": starts + 6,
            "token": words,
            "vector": vector_column(source.vectors(forms)),
        },
    }
    parts = {}
    for table, values in columns.items():
        schema = table_schema(table, dtype="float16", dim=DIM)
        arrow = pa.table(
            [pa.array(values[field.name], field.type) for field in schema], schema=schema
        )
        path = Path(corpus.root) / "segments" / segment_id / table / "part-00000.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(arrow, path, row_group_size=16384, compression="zstd")
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        parts[table] = (
            Part(path=f"{table}/{path.name}", rows=len(arrow), bytes=len(data), sha256=digest),
        )
    segment = Segment(
        segment_id=segment_id,
        number=number,
        fingerprint="f" * 64,
        recipe="f" * 64,
        model={"name": "random", "fingerprint": "f", "layers": 3},
        options={"vector_dtype": "float16", "tokens": "all"},
        dim=DIM,
        counts={
            "documents": documents,
            "sentences": sentences,
            "tokens": tokens,
            "token_vectors": tokens,
            "rejects": 0,
            "rejected_sentences": 0,
            "characters": 7 * tokens,
        },
        parts=parts,
    )
    path = Path(corpus.root) / "segments" / segment_id / "segment.json"
    path.write_text(segment.to_json(), encoding="utf-8")
    return corpus.commit(Change(operation="embed", add=(segment,)))


def build(root: str, *flags: str) -> dict[str, Any]:
    """Build in a process of its own, so that the peak memory is the build's."""
    command = [sys.executable, "-m", "pipelines", "index", "--corpus", root, "--json", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


class DrawnQueries:
    """Stands in for a model: a query is an occurrence's vector with noise."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def encode(self, query: str) -> EncodedQuery:
        form = int(query.strip("[]").removeprefix("w"))
        vector = self._source.vectors(np.array([form]))[0].astype(np.float32)
        return EncodedQuery(
            text=query,
            tokens=("a", query.strip("[]")),
            token_index=1,
            token_vector=vector,
            sentence_vector=vector,
            several=False,
        )


def timed(searcher: Searcher, source: Source, options: SearchOptions, count: int) -> dict[str, Any]:
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
    tokens: int, tmp_path: Path, record_benchmark: Callable[[str, Any], None]
) -> None:
    source = Source(seed=1)
    corpus = Corpus.open_or_create(tmp_path / "corpus")
    for first in range(0, tokens, SEGMENT_TOKENS):
        corpus = write_segment(corpus, source, min(SEGMENT_TOKENS, tokens - first))
    report = build(corpus.root, "--max-memory", "1G")
    searcher = Searcher(Corpus.open(corpus.root))
    searcher.encoder = DrawnQueries(source)  # type: ignore[assignment]
    timed(searcher, source, SearchOptions(senses=False), 50)  # warm
    same = timed(searcher, source, SearchOptions(senses=False), QUERIES)
    any_word = timed(searcher, source, SearchOptions(any_word=True), 30)
    record_benchmark(
        f"index of {tokens} vectors",
        {
            "dim": DIM,
            "cores": os.cpu_count(),
            "build": {
                name: report[name] for name in ("seconds", "peak_memory_bytes", "bytes", "factory")
            },
            "same_word": same,
            "any_word": any_word,
            "sentences": report["tables"]["sentences"]["latency_ms"],
        },
    )
    assert same["p50_ms"] < 10
    assert report["peak_memory_bytes"] < 1 << 30


@pytest.mark.parametrize("factory", ["HNSW32,SQfp16", "IVF1024,SQfp16", "OPQ32,IVF1024,PQ32"])
def test_approximate_indexes_reach_their_target(
    factory: str, tmp_path: Path, record_benchmark: Callable[[str, Any], None]
) -> None:
    source = Source(seed=1)
    corpus = Corpus.open_or_create(tmp_path / "corpus")
    for _ in range(2):
        corpus = write_segment(corpus, source, SEGMENT_TOKENS)
    report = build(corpus.root, "--factory", factory, "--max-memory", "2G")
    record_benchmark(
        f"{factory} of 200000 vectors",
        {
            name: report[name]
            for name in ("seconds", "peak_memory_bytes", "bytes", "recall_at_10", "latency_ms")
        },
    )
    assert report["recall_at_10"] >= 0.9


@pytest.fixture
def record_benchmark() -> Callable[[str, Any], None]:
    """A function that prints a measurement as one line of JSON."""

    def record(name: str, values: Any) -> None:
        print("\n" + json.dumps({"benchmark": name, **values}))

    return record
