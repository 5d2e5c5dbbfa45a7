"""The vectors of words: means of their occurrences, kept, and the same from several threads."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipelines.index.centering import normalize
from pipelines.index.form_table import FormRange
from pipelines.index.form_vectors import FormVectors


class Forms:
    """Words w0 to w49; word i has i occurrences, from row 100 * i on."""

    def ranges(self, folded: str) -> list[FormRange]:
        """Return where a word stands."""
        number = int(folded[1:])
        return [FormRange(folded, "s0", 100 * number, number)] if number < 50 else []


@pytest.fixture
def rows(rng: np.random.Generator) -> np.ndarray:
    """Vectors of all occurrences."""
    return rng.standard_normal((5000, 4)).astype(np.float32)


def mean_of(rows: np.ndarray, number: int) -> np.ndarray:
    return normalize(rows[100 * number : 100 * number + number].mean(axis=0)[None])[0]


def test_a_vector_is_the_mean_of_the_occurrences(rows: np.ndarray) -> None:
    vectors = FormVectors(Forms(), lambda _, where: rows[where], 4)  # type: ignore[arg-type]
    found = vectors.of(["w3", "w0", "w99", "w40"])
    assert list(found) == ["w3", "w40"]  # the index has none of the others
    np.testing.assert_allclose(found["w3"], mean_of(rows, 3), atol=1e-6)
    np.testing.assert_allclose(found["w40"], mean_of(rows, 40), atol=1e-6)


def test_what_is_kept_is_not_read_again_and_bounded(rows: np.ndarray) -> None:
    read: list[int] = []

    def reading(_: str, where: np.ndarray) -> np.ndarray:
        read.append(int(where[0]) // 100)
        return rows[where]

    vectors = FormVectors(Forms(), reading, 4, 3 * 4 * 4)  # type: ignore[arg-type]
    for words in (["w1", "w2", "w3"], ["w3", "w2"], ["w4"], ["w4", "w1"]):
        vectors.of(words)
    assert read == [1, 2, 3, 4, 1]


def test_threads_that_push_out_each_other_s_words_find_the_same(rows: np.ndarray) -> None:
    vectors = FormVectors(Forms(), lambda _, where: rows[where], 4, 32)  # type: ignore[arg-type]
    words = [f"w{number}" for number in range(1, 50)]

    def ask(turn: int) -> bool:
        mine: Sequence[str] = words[turn:] + words[:turn]
        found = vectors.of(mine)
        return all(np.allclose(found[w], mean_of(rows, int(w[1:])), atol=1e-6) for w in mine)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(49)))
