"""Fixtures of the benchmarks: corpora of random tokens, written without a model."""

import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit, reserve_segment
from schemas import Part, first_vector_id, table_schema
from tests.made_manifests import made_segment

sys.path.insert(0, str(Path(__file__).parent))
from recording import record

DIM = 256
SENTENCE = 20
SENTENCES_A_DOCUMENT = 10
FORMS = 30_000
SENSES = 3


class Source:
    """Draws tokens: forms by Zipf's law, vectors [n, D] around one of the form's senses."""

    dim = DIM

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
    segment_id, number = reserve_segment(corpus.store)
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
    segment = made_segment(
        segment_id,
        number,
        fingerprint="f" * 64,
        recipe="f" * 64,
        model={"name": "random", "fingerprint": "f", "layers": 3},
        options={"layer_weights": [1 / 3] * 3},
        dim=DIM,
        counts={
            "documents": documents,
            "sentences": sentences,
            "tokens": tokens,
            "token_vectors": tokens,
            "characters": 7 * tokens,
        },
        parts=parts,
    )
    path = Path(corpus.root) / "segments" / segment_id / "segment.json"
    path.write_text(segment.to_json(), encoding="utf-8")
    return commit(corpus, Change(operation="embed", add=(segment,)))


def build(root: str, *flags: str) -> dict[str, Any]:
    """Build in a process of its own, so that the peak memory is the build's."""
    command = [sys.executable, "-m", "pipelines", "index", "--corpus", root, "--json", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture
def random_tokens() -> Source:
    """What draws the tokens of `write_random_segment`, and queries like them."""
    return Source(seed=1)


@pytest.fixture(scope="session")
def write_random_segment() -> Callable[[Corpus, Source, int], Corpus]:
    """`write_segment`."""
    return write_segment


@pytest.fixture(scope="session")
def build_apart() -> Callable[..., dict[str, Any]]:
    """`build`."""
    return build


FACTS = """
import json, os, resource, sys, time
from pathlib import Path

import faiss, torch

from pipelines.api import Corpus
from pipelines.index.format import open_manifest

torch.set_num_threads(1)
faiss.omp_set_num_threads(1)
directory, query = Path(sys.argv[1]), sys.argv[2]
files = [path for path in directory.rglob("*") if path.is_file()]
started = time.monotonic()
corpus = Corpus.open(directory)
corpus.search(query, k=10)
first = time.monotonic() - started
facts = {
    "documents": corpus.live_counts()["documents"],
    "segments": len(corpus.segments),
    "token_vectors": open_manifest(corpus, corpus.snapshot.index).tables["tokens"]["rows"],
    "files": len(files),
    "mb": sum(path.stat().st_size for path in files) / 1e6,
    "first_search_s": first,
    "open_files": len(os.listdir("/proc/self/fd")),
    "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}
print(json.dumps(facts), flush=True)
for line in sys.stdin:
    started = time.monotonic()
    corpus.search(query, k=10)
    print(time.monotonic() - started, flush=True)
"""


def measure_corpora(*corpora: Path, query: str, searches: int = 60) -> list[dict[str, float]]:
    """Open each corpus in a process of its own and search them in turn; prints and returns facts.

    In turn, so that what else the machine does meets all of them alike.
    """
    root = Path(__file__).resolve().parents[2]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FACTS, str(corpus), query],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for corpus in corpora
    ]
    facts: list[dict[str, float]] = [json.loads(said(process)) for process in processes]
    times: list[list[float]] = [[] for _ in corpora]
    for _ in range(searches):
        for process, own in zip(processes, times, strict=True):
            assert process.stdin is not None
            process.stdin.write("again\n")
            own.append(float(said(process)))
    for corpus, process, own, fact in zip(corpora, processes, times, facts, strict=True):
        process.communicate()
        fact["search_p50_ms"] = 1000 * statistics.median(own)
        print(corpus.name, {name: round(value, 2) for name, value in fact.items()})
    return facts


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.fixture
def facts_of() -> Callable[..., list[dict[str, float]]]:
    """`measure_corpora`."""
    return measure_corpora


@pytest.fixture
def record_benchmark() -> Callable[..., None]:
    """`recording.record`: prints a measurement, and keeps its table."""
    return record
