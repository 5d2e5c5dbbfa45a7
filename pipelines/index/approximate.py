"""Approximate FAISS indexes: trained on a sample, added to, searched."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UsageError
from pipelines.index.exact import Floats, Ids, threads_for
from pipelines.index.factory import CENTROID_ROWS, Factory

# FAISS turns OPQ's rotation 50 times on 65,536 rows: minutes on two cores. For 160,000 token
# vectors of en-small (OPQ32, PQ32) 25 rounds on 16,384 rows take about 15 s of one core and leave a
# squared error of 0.22 (10 rounds: 0.25, no rotation: 0.29); more rounds for the codes gain 0.002.
OPQ_ROWS = 1 << 14  # 64 for each of 256 centroids
OPQ_ROUNDS, OPQ_FIRST_ROUNDS = 25, 20
PQ_ROUNDS = 10
# Lists that can be given room beforehand; those of fast-scan codes cannot.
_ARRAY_LISTS = faiss.ArrayInvertedLists


def train_index(factory: Factory, dim: int, sample: Floats, seed: int) -> Any:
    """Train an empty index on a sample; the same sample and seed give the same index.

    OPQ's rotation starts from FAISS's own fixed seed. Sums are taken by several threads in an
    order that may differ between machines, so bytes are equal on one machine only.
    """
    index = faiss.index_factory(dim, factory.text, faiss.METRIC_INNER_PRODUCT)
    _bound_training(index, seed)
    if len(sample) < factory.least_rows:
        raise UsageError(
            f"--factory {factory.text} needs at least {factory.least_rows} vectors for training,"
            f" but there are only {len(sample)}; give a factory with fewer lists, or leave"
            " --factory out"
        )
    if not index.is_trained:
        index.train(np.ascontiguousarray(sample))
    return index


def _bound_training(index: Any, seed: int) -> None:
    """Set how much is trained on, and how often; FAISS's own choices suit many cores."""
    ivf = _ivf(index)
    if ivf is not None:
        ivf.cp.seed = seed
        ivf.cp.max_points_per_centroid = CENTROID_ROWS
        # FAISS would warn on small corpora, which may ask for IVF by --factory.
        ivf.cp.min_points_per_centroid = 1
        if hasattr(faiss.downcast_index(ivf), "pq"):
            codes = faiss.downcast_index(ivf).pq.cp
            codes.niter = PQ_ROUNDS
            codes.min_points_per_centroid = 1
    if isinstance(index, faiss.IndexPreTransform):
        rotation = faiss.downcast_VectorTransform(index.chain.at(0))
        rotation.max_train_points = OPQ_ROWS
        rotation.niter, rotation.niter_pq_0 = OPQ_ROUNDS, OPQ_FIRST_ROUNDS


def add_blocks(index: Any, blocks: Callable[[], Iterable[Floats]], rows: int) -> None:
    """Add vectors block by block; their ids are their positions.

    FAISS would double what holds codes whenever it is full, so that twice of it would be needed.
    Here room is made once: of a graph for all rows, of lists for what will be in each, which a
    first pass over the blocks finds out.

    HNSW inserts in parallel, and the graph depends on the order: with one thread
    (OMP_NUM_THREADS=1) it is reproducible, with several only its recall is.

    Args:
      index: trained and empty.
      blocks: makes the blocks anew, [n, D] each.
      rows: of all blocks.
    """
    ivf = _ivf(index)
    if ivf is not None and isinstance(faiss.downcast_InvertedLists(ivf.invlists), _ARRAY_LISTS):
        _add_to_lists(index, faiss.downcast_index(ivf), blocks, rows)
        return
    if isinstance(index, faiss.IndexHNSW):
        _reserve_graph(index, rows)
    for block in blocks():
        index.add(np.ascontiguousarray(block, np.float32))


def _add_to_lists(index: Any, ivf: Any, blocks: Callable[[], Iterable[Floats]], rows: int) -> None:
    lists = np.empty(rows, np.int32)
    first = 0
    for block in blocks():
        last = first + len(block)
        lists[first:last] = ivf.quantizer.assign(_rotated(index, block), 1)[:, 0]
        first = last
    inverted = faiss.downcast_InvertedLists(ivf.invlists)
    for number, size in enumerate(np.bincount(lists, minlength=ivf.nlist).tolist()):
        # A vector that shrinks keeps its room.
        inverted.resize(number, size)
        inverted.resize(number, 0)
    first = 0
    for block in blocks():
        last = first + len(block)
        rotated, chosen = _rotated(index, block), lists[first:last].astype(np.int64)
        ivf.add_core(len(block), faiss.swig_ptr(rotated), None, faiss.swig_ptr(chosen))
        first = last
    index.ntotal = ivf.ntotal


def _rotated(index: Any, block: Floats) -> Floats:
    """Return vectors as the lists of an index get them, [n, its own width]."""
    vectors = np.ascontiguousarray(block, np.float32)
    if isinstance(index, faiss.IndexPreTransform):
        rotated: Floats = faiss.downcast_VectorTransform(index.chain.at(0)).apply(vectors)
        return rotated
    return vectors


def _reserve_graph(index: Any, rows: int) -> None:
    codes, links = faiss.downcast_index(index.storage).codes, index.hnsw.neighbors
    most = index.hnsw.nb_neighbors(0)  # at the lowest level; those above add little
    for room, size in ((codes, rows * _code_bytes(index)), (links, rows * (most + 2))):
        room.resize(size)
        room.resize(0)


def _code_bytes(index: Any) -> int:
    return int(faiss.downcast_index(index.storage).code_size)


def search_index(
    index: Any, queries: Floats, k: int, effort: int, allowed: NDArray[np.bool_] | None = None
) -> tuple[Floats, Ids]:
    """Search an approximate index.

    Args:
      index: as `read_index` gives it.
      queries: [Q, D].
      k: neighbours.
      effort: nprobe of IVF, efSearch of HNSW.
      allowed: [n] which positions may be found; None allows all.

    Returns:
      scores [Q, K] and positions [Q, K]; -1 where fewer were found.
    """
    selector = None
    if allowed is not None:
        selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
    parameters = _parameters(index, effort, max(k, effort), selector)
    with threads_for(len(queries)):
        scores, positions = index.search(np.ascontiguousarray(queries), k, params=parameters)
    return scores, positions


def _parameters(index: Any, nprobe: int, ef_search: int, selector: Any) -> Any:
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(index.index, nprobe, ef_search, selector)
        return faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(nprobe=nprobe, sel=selector)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=ef_search, sel=selector)
    return faiss.SearchParameters(sel=selector)


def write_index(index: Any, path: str | Path) -> None:
    """Write an index to a local file."""
    faiss.write_index(index, str(path))


def _ivf(index: Any) -> Any:
    try:
        return faiss.extract_index_ivf(index)
    except RuntimeError:
        return None
