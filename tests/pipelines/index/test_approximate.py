"""Approximate indexes: recall, reproducible training, refusals."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from pipelines.errors import UsageError
from pipelines.index.approximate import (
    add_blocks,
    search_index,
    train_index,
    write_index,
)
from pipelines.index.centering import normalize
from pipelines.index.exact import Floats, read_index
from pipelines.index.factory import parse_factory


def recall_at_k(found: np.ndarray, truth: np.ndarray) -> float:
    """The mean share of each query's true neighbours that were found; ids [Q, K], -1 is none."""
    pairs = zip(found, truth, strict=True)
    return float(np.mean([len(np.intersect1d(mine, true)) / len(true) for mine, true in pairs]))


def unit(rng: np.random.Generator, rows: int, dim: int) -> Floats:
    return normalize(rng.standard_normal((rows, dim)).astype(np.float32))


@pytest.mark.parametrize(
    ("text", "effort", "least"),
    [
        ("HNSW16,SQfp16", 128, 0.95),
        ("IVF16,SQfp16", 16, 0.999),  # every list: exact up to float16
        ("IVF16,SQfp16", 4, 0.6),
        ("OPQ8,IVF16,PQ8", 16, 0.3),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_approximate_indexes_find_most_true_neighbours(
    tmp_path: Path, rng: np.random.Generator, text: str, effort: int, least: float
) -> None:
    centers = unit(rng, 20, 32)
    vectors = normalize(
        np.repeat(centers, 100, axis=0) + 0.15 * rng.standard_normal((2000, 32)).astype(np.float32)
    )
    index = train_index(parse_factory(text, 32), 32, vectors, seed=1)
    add_blocks(index, lambda: np.array_split(vectors, 4), len(vectors))
    write_index(index, tmp_path / "x.faiss")
    queries = vectors[::40]
    truth = np.argsort(-queries @ vectors.T, axis=1)[:, :10]
    _, found = search_index(read_index(tmp_path / "x.faiss"), queries, 10, effort)
    assert recall_at_k(found, truth) >= least
    allowed = np.zeros(2000, bool)
    allowed[7::10] = True
    _, found = search_index(read_index(tmp_path / "x.faiss"), queries, 5, 2000, allowed)
    assert (found[found >= 0] % 10 == 7).all()


@pytest.mark.parametrize(
    "text", ["IVF8,SQfp16", "IVF8,PQ4x4fs", "OPQ4_8,IVF8,PQ4x4", "HNSW8,SQfp16"]
)
def test_vectors_with_room_made_before_are_those_that_faiss_adds(
    rng: np.random.Generator, text: str
) -> None:
    faiss.omp_set_num_threads(1)  # of HNSW: one graph
    vectors = unit(rng, 600, 16)
    blocks = np.array_split(vectors, 5)
    ours, theirs = (train_index(parse_factory(text, 16), 16, vectors, seed=3) for _ in range(2))

    add_blocks(ours, lambda: blocks, len(vectors))

    for block in blocks:
        theirs.add(block)
    assert ours.ntotal == 600
    np.testing.assert_array_equal(faiss.serialize_index(ours), faiss.serialize_index(theirs))


def test_training_twice_gives_the_same_bytes(rng: np.random.Generator) -> None:
    sample = unit(rng, 600, 16)
    factory = parse_factory("IVF8,PQ4x4", 16)
    first, second = (
        faiss.serialize_index(train_index(factory, 16, sample, seed=3)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_more_lists_than_vectors_are_refused(rng: np.random.Generator) -> None:
    factory = parse_factory("IVF64,SQfp16", 8)
    with pytest.raises(UsageError, match="at least 64 vectors for training, but there are only 10"):
        train_index(factory, 8, unit(rng, 10, 8), seed=0)
