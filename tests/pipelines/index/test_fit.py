"""What an index learns from its vectors, against NumPy over all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from pipelines.api import Corpus
from pipelines.index.factory import parse_factory
from pipelines.index.fit import add_approximate, fit_table
from pipelines.index.layout import lay_out
from pipelines.index.measure_parts import measure_part
from pipelines.index.parts import Build, HeldOut
from pipelines.index.sentences import write_sentences

Documents = Callable[..., list[Any]]


def vectors_of_table(corpus: Corpus, table: str) -> tuple[list[int], np.ndarray]:
    rows = [row for batch in corpus.read(table) for row in batch.to_pylist()]
    return [row["vector_id"] for row in rows], np.array([row["vector"] for row in rows], np.float64)


@pytest.fixture
def corpus(make_corpus: Callable[..., Corpus], documents: Documents) -> Corpus:
    """Two segments of two parts each."""
    return make_corpus(documents(9, 1), documents(7, 2), parts=2)


@pytest.mark.parametrize("table", ["sentences", "tokens"])
def test_centre_is_the_mean_of_all_vectors(
    corpus: Corpus, make_build: Callable[..., Build], table: str
) -> None:
    build = make_build(corpus)
    measures = [measure_part(part, build) for part in build.parts]
    fitted = fit_table(measures, table, build, center=True, remove_components=0)
    _, vectors = vectors_of_table(corpus, table)
    np.testing.assert_allclose(fitted.centering.mean, vectors.mean(axis=0), atol=1e-6)
    assert fitted.rows == len(vectors)
    assert fitted.trained is None
    assert not fitted.centering.components.size


def test_what_is_held_out_is_not_learned_from(
    corpus: Corpus, make_build: Callable[..., Build]
) -> None:
    held_out = HeldOut(share=0.3, seed=4)
    build = make_build(corpus, held_out=dict.fromkeys(("sentences", "tokens"), held_out))
    measures = [measure_part(part, build) for part in build.parts]
    fitted = fit_table(measures, "tokens", build, center=True, remove_components=0)
    ids, vectors = vectors_of_table(corpus, "tokens")
    kept = ~held_out.among(np.array(ids))
    assert 0.6 * len(ids) < fitted.rows == kept.sum() < 0.8 * len(ids)
    np.testing.assert_allclose(fitted.centering.mean, vectors[kept].mean(axis=0), atol=1e-6)


def test_removed_component_is_the_first_of_a_decomposition(
    corpus: Corpus, make_build: Callable[..., Build]
) -> None:
    build = make_build(corpus)
    measures = [measure_part(part, build) for part in build.parts]
    fitted = fit_table(measures, "tokens", build, center=True, remove_components=1)
    _, vectors = vectors_of_table(corpus, "tokens")
    _, _, rows = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(abs(fitted.centering.components[0] @ rows[0]), 1, atol=1e-5)


def test_shards_are_added_to_a_copy_of_what_was_trained(
    corpus: Corpus, make_build: Callable[..., Build]
) -> None:
    factory = parse_factory("IVF2,SQfp16", 16)
    build = make_build(corpus, factories={"sentences": factory, "tokens": None})
    measures = [measure_part(part, build) for part in build.parts]
    layout = lay_out(measures, build)
    fitted = fit_table(measures, "sentences", build, center=True, remove_components=0)
    assert fitted.trained is not None
    root = Path(corpus.root)
    before = (root / fitted.trained.path).read_bytes()
    exact = write_sentences("00000", build, layout, fitted.centering).files["sentences"]
    added = add_approximate("00000", "sentences", exact, build, layout, fitted.trained)
    index = faiss.read_index(str(root / added.files["sentences_ann"].path))
    _, vectors = vectors_of_table(corpus, "sentences")
    assert index.ntotal == len(vectors)
    assert (root / fitted.trained.path).read_bytes() == before
    faiss.extract_index_ivf(index).nprobe = 2  # all lists, so each vector finds itself
    queries = fitted.centering.apply(vectors.astype(np.float32))
    scores, places = index.search(queries, 1)
    np.testing.assert_allclose(scores[:, 0], 1, atol=1e-3)
    np.testing.assert_allclose((queries * queries[places[:, 0]]).sum(axis=1), 1, atol=2e-3)
