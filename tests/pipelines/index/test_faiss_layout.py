"""The walk through index files: the very end of each kind that is built, and nothing else."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from pipelines.index.approximate import add_blocks, train_index, write_index
from pipelines.index.factory import parse_factory
from pipelines.index.faiss_layout import check_layout

DIM = 16


def written(path: Path, factory: str) -> Path:
    vectors = np.random.default_rng(0).standard_normal((300, DIM)).astype(np.float32)
    index = train_index(parse_factory(factory, DIM), DIM, vectors, seed=1)
    add_blocks(index, lambda: [vectors], len(vectors))
    write_index(index, path)
    return path


@pytest.mark.parametrize(
    "factory",
    ["HNSW8", "HNSW8,SQfp16", "HNSW8,SQ8", "HNSW8,PQ4x4", "IVF4,Flat", "IVF4,SQfp16", "IVF4,SQ8",
     "IVF4,PQ4x4", "IVF4,PQ4x4fs", "IVF4_HNSW4,SQfp16", "IVF250,SQfp16"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_kind_ends_where_its_file_does(factory: str, tmp_path: Path) -> None:
    path = written(tmp_path / "x.faiss", factory)
    check_layout(path)
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 127, 31, 3):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"it ends at byte {size:,}, within a field of"):
            check_layout(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="1 bytes follow the end of the index"):
        check_layout(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_rotated_index_is_walked_through(tmp_path: Path) -> None:
    rotation = faiss.RandomRotationMatrix(DIM, DIM)
    rotation.init(1)
    turned = faiss.LinearTransform(DIM, DIM)
    turned.A, turned.is_trained = rotation.A, True
    write_index(faiss.IndexPreTransform(turned, faiss.IndexFlatIP(DIM)), tmp_path / "x.faiss")
    check_layout(tmp_path / "x.faiss")


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (faiss.IndexLSH(DIM, 8), "an index of kind 'IxHe', which is not built here"),
        (faiss.IndexFlat(DIM, faiss.METRIC_L1), "its metric is 2, expected 0|kind 'IxFl'"),
        (
            faiss.IndexPreTransform(faiss.NormalizationTransform(DIM), faiss.IndexFlatIP(DIM)),
            "a transform of kind 'VNrm', which is not built here",
        ),
    ],
    ids=["kind", "metric", "transform"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_kinds_are_refused(index: "faiss.Index", words: str, tmp_path: Path) -> None:
    write_index(index, tmp_path / "x.faiss")
    with pytest.raises(ValueError, match=words):
        check_layout(tmp_path / "x.faiss")
