"""Exact index files: what FAISS reads, and what sorting all products gives."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.index import exact
from pipelines.index.centering import normalize
from pipelines.index.exact import FlatFile, Floats, flat_header, read_index


def unit(rng: np.random.Generator, rows: int, dim: int) -> Floats:
    return normalize(rng.standard_normal((rows, dim)).astype(np.float32))


def write(path: Path, vectors: Floats, dtype: str) -> FlatFile:
    with path.open("wb") as file:
        file.write(flat_header(*vectors.shape, dtype))
        file.write(vectors.astype(dtype).tobytes())
    return FlatFile(path, *vectors.shape, dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_streamed_file_is_what_faiss_reads(
    tmp_path: Path, rng: np.random.Generator, dtype: str
) -> None:
    vectors = unit(rng, 100, 24)
    write(tmp_path / "x.faiss", vectors, dtype)
    index = read_index(tmp_path / "x.faiss")
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
    monkeypatch.setattr(exact, "BLOCK_BYTES", block_bytes)
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
        FlatFile(path, 11, 8, "float32")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="build it again"):
        FlatFile(path, 10, 8, "float32")
