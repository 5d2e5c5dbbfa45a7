"""FAISS: factory strings, plans under a memory limit, exact files, approximate search."""

import io
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import UsageError
from pipelines.index import ann
from pipelines.index.centering import normalize

GIB = 1 << 30


def unit(rng: np.random.Generator, rows: int, dim: int) -> ann.Floats:
    return normalize(rng.standard_normal((rows, dim)).astype(np.float32))


def write(path: Path, vectors: ann.Floats, dtype: str) -> ann.FlatFile:
    with path.open("wb") as file:
        ann.write_flat(file, np.array_split(vectors, 3), *vectors.shape, dtype)
    return ann.FlatFile(path, *vectors.shape, dtype)


@pytest.mark.parametrize(
    ("text", "code_bytes", "nlist", "links", "exact", "rerank"),
    [
        ("Flat", 256, None, None, True, False),
        ("SQfp16", 128, None, None, True, False),
        ("HNSW32", 256, None, 32, False, False),
        ("HNSW16,SQfp16", 128, None, 16, False, False),
        ("IVF1024,SQfp16", 128, 1024, None, False, False),
        ("IVF256_HNSW32,SQ8", 64, 256, None, False, True),
        ("IVF1024,PQ16", 16, 1024, None, False, True),
        ("OPQ16_32,IVF1024,PQ16x4", 8, 1024, None, False, True),
    ],
)
def test_factory_strings_are_taken_apart(
    text: str, code_bytes: int, nlist: int, links: int, exact: bool, rerank: bool
) -> None:
    parsed = ann.parse_factory(text, 64)
    found = (parsed.code_bytes, parsed.nlist, parsed.links, parsed.exact, parsed.rerank)
    assert found == (code_bytes, nlist, links, exact, rerank)
    index = faiss.index_factory(64, text, faiss.METRIC_INNER_PRODUCT)
    assert index.d == 64  # FAISS reads every string that we do


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not an index that can be built here"),
        ("LSH", "not an index that can be built here"),
        ("IVF16,", "not an index that can be built here"),
        ("PQ16", "need lists or a graph before them, such as IVF1024,PQ"),
        ("IVF16,PQ7", "PQ7 must divide the width 64"),
        ("OPQ16_128,IVF16,PQ16", "exceeds the vectors' width 64"),
    ],
)
def test_impossible_factory_strings_are_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        ann.parse_factory(text, 64)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "memory", "text"),
    [
        (10_000, 1 * GIB, "SQfp16"),
        (1 << 20, 1 * GIB, "SQfp16"),  # 2^20 * 512 = the largest exact scan
        ((1 << 20) + 1, 4 * GIB, "HNSW32,SQfp16"),
        ((1 << 20) + 1, 1840 << 20, "IVF1024,SQfp16"),
        (10_000_000, 4 * GIB, "OPQ64,IVF8192,PQ64"),
    ],
)
def test_plan_takes_the_most_exact_index_that_fits(rows: int, memory: int, text: str) -> None:
    plan = ann.plan_index(rows, 512, max_memory_bytes=memory)
    assert plan.factory.text == text


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(0, 2_000_000_000),
    dim=st.sampled_from([16, 128, 512, 1024]),
    memory=st.integers(512 << 20, 256 * GIB),
)
def test_a_plan_never_exceeds_its_limit(rows: int, dim: int, memory: int) -> None:
    try:
        plan = ann.plan_index(rows, dim, max_memory_bytes=memory)
    except UsageError as error:
        needed = int(str(error).split("takes at least ")[1].split("M")[0]) << 20
        assert needed > memory
        ann.plan_index(rows, dim, max_memory_bytes=needed)  # what it says would fit, fits
    else:
        assert plan.build_bytes <= memory
        assert plan.shard_rows >= 1


def test_a_limit_too_small_says_what_would_fit() -> None:
    with pytest.raises(UsageError, match=r"--max-memory is 512M, .* takes at least \d+M"):
        ann.plan_index(1_000_000_000, 1024, max_memory_bytes=512 << 20)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_streamed_file_is_what_faiss_reads(
    tmp_path: Path, rng: np.random.Generator, dtype: str
) -> None:
    vectors = unit(rng, 100, 24)
    write(tmp_path / "x.faiss", vectors, dtype)
    index = ann.read_index(tmp_path / "x.faiss")
    assert index.ntotal == 100
    np.testing.assert_allclose(index.reconstruct_n(0, 100), vectors, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("block_bytes", [1 << 24, 1000])
def test_exact_search_equals_sorting_all_products(
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    block_bytes: int,
) -> None:
    monkeypatch.setattr(ann, "BLOCK_BYTES", block_bytes)
    flat = write(tmp_path / "x.faiss", unit(rng, 200, 16), dtype)
    queries = unit(rng, 3, 16)
    products = queries @ flat.codes.astype(np.float32).T
    everywhere = np.argsort(-products, axis=1)[:, :7]
    scores, found = flat.search(queries, 7)
    np.testing.assert_array_equal(found, everywhere)
    np.testing.assert_allclose(scores, np.take_along_axis(products, found, 1), atol=1e-4)
    scores, found = flat.search(queries, 7, slice(50, 90))
    np.testing.assert_array_equal(found, 50 + np.argsort(-products[:, 50:90], axis=1)[:, :7])
    some = np.array([3, 77, 150, 199])
    scores, found = flat.search(queries, 9, some)
    np.testing.assert_array_equal(found, some[np.argsort(-products[:, some], axis=1)])


def test_equal_scores_come_in_the_order_of_positions(tmp_path: Path) -> None:
    flat = write(tmp_path / "x.faiss", np.ones((9, 4), np.float32) / 2, "float32")
    _, found = flat.search(np.ones((1, 4), np.float32) / 2, 4)
    np.testing.assert_array_equal(found, [[0, 1, 2, 3]])


def test_a_file_of_another_size_or_kind_is_refused(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "x.faiss"
    write(path, unit(rng, 10, 8), "float32")
    with pytest.raises(ValueError, match="is not an index of 11 float32 vectors of width 8"):
        ann.FlatFile(path, 11, 8, "float32")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="build it again"):
        ann.FlatFile(path, 10, 8, "float32")


def test_rows_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="an index of 3 vectors was given 2"):
        ann.write_flat(io.BytesIO(), [np.zeros((2, 4), np.float32)], 3, 4, "float32")


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
    index = ann.train_index(ann.parse_factory(text, 32), 32, vectors, seed=1)
    ann.add_blocks(index, np.array_split(vectors, 4))
    ann.write_index(index, tmp_path / "x.faiss")
    queries = vectors[::40]
    truth = np.argsort(-queries @ vectors.T, axis=1)[:, :10]
    _, found = ann.search_index(ann.read_index(tmp_path / "x.faiss"), queries, 10, effort)
    assert ann.recall_at_k(found, truth) >= least
    allowed = np.zeros(2000, bool)
    allowed[7::10] = True
    _, found = ann.search_index(ann.read_index(tmp_path / "x.faiss"), queries, 5, 2000, allowed)
    assert (found[found >= 0] % 10 == 7).all()


def test_training_twice_gives_the_same_bytes(rng: np.random.Generator) -> None:
    sample = unit(rng, 600, 16)
    factory = ann.parse_factory("IVF8,PQ4x4", 16)
    first, second = (
        faiss.serialize_index(ann.train_index(factory, 16, sample, seed=3)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_more_lists_than_vectors_are_refused(rng: np.random.Generator) -> None:
    factory = ann.parse_factory("IVF64,SQfp16", 8)
    with pytest.raises(UsageError, match="at least 64 vectors to train, but there are only 10"):
        ann.train_index(factory, 8, unit(rng, 10, 8), seed=0)


def test_recall_counts_what_was_found() -> None:
    truth = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    found = np.array([[4, 3, 9, -1], [5, 6, 7, 8]])
    assert ann.recall_at_k(found, truth) == (2 / 4 + 4 / 4) / 2
