"""The store of word vectors: right, bounded, and forgetting what was longest unused."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from elmo_infer.word_cache import WordCache

ROW_BYTES = 8  # two float32


class Encoder:
    """Gives each word (length, code of its first letter); remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, types) -> torch.Tensor:
        self.asked.extend(types)
        return torch.tensor([[float(len(one)), float(ord(one[0]))] for one in types])


@given(
    calls=st.lists(
        st.lists(st.sampled_from([f"{chr(97 + n)}{'x' * n}" for n in range(12)]), unique=True),
        max_size=12,
    ),
    rows=st.integers(0, 9),
)
def test_vectors_are_right_and_rows_are_bounded(calls: list[list[str]], rows: int) -> None:
    cache = WordCache(Encoder(), rows * ROW_BYTES)

    for types in calls:
        if not types:
            continue
        expected = [[float(len(one)), float(ord(one[0]))] for one in types]
        assert cache.vectors(types).tolist() == expected
        assert len(cache) <= rows


def test_a_known_word_is_not_encoded_again() -> None:
    encoder = Encoder()
    cache = WordCache(encoder, 10 * ROW_BYTES)

    cache.vectors(["a", "b"])
    cache.vectors(["b", "c"])

    assert encoder.asked == ["a", "b", "c"]
    assert cache.take_counts() == (1, 3)
    assert cache.take_counts() == (0, 0)


def test_the_longest_unused_word_goes_first() -> None:
    encoder = Encoder()
    cache = WordCache(encoder, 2 * ROW_BYTES)
    for types in (["a"], ["b"], ["a"], ["c"]):
        cache.vectors(types)
    encoder.asked.clear()

    cache.vectors(["a"])
    cache.vectors(["b"])

    assert encoder.asked == ["b"]


def test_clear_forgets() -> None:
    encoder = Encoder()
    cache = WordCache(encoder, 10 * ROW_BYTES)
    cache.vectors(["a"])

    cache.clear()
    cache.vectors(["a"])

    assert encoder.asked == ["a", "a"]
    assert len(cache) == 1
