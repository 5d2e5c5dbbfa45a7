"""Spelling by the examples of the format's description."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elmo_infer.characters import ByteSpeller, DictionarySpeller

CHARACTERS = {"<oov>": 0, "<bos>": 1, "<eos>": 2, "<pad>": 3, "<bow>": 4, "<eow>": 5, "a": 6}


def row(speller, token: str) -> list[int]:
    return speller.spell([token]).character_ids[0].tolist()


def test_bytes_by_hand() -> None:
    speller = ByteSpeller(50)

    assert row(speller, "a") == [258, 97, 259]
    assert row(speller, "") == [258, 259]
    assert row(speller, "<S>") == [258, 256, 259]
    assert row(speller, "</S>") == [258, 257, 259]
    assert row(speller, "<s>") == [258, 60, 115, 62, 259]
    assert row(speller, "é") == [258, 0xC3, 0xA9, 259]
    assert row(speller, "a\ud800b") == [258, 97, 98, 259]


def test_shorter_tokens_are_padded_to_the_longest() -> None:
    spelled = ByteSpeller(50).spell(["abc", "", "z"])

    assert spelled.character_ids.tolist() == [
        [258, 97, 98, 99, 259],
        [258, 259, 260, 260, 260],
        [258, 122, 259, 260, 260],
    ]
    assert spelled.lengths.tolist() == [5, 2, 3]
    assert spelled.word_ids is None
    assert ByteSpeller(50).spell([]).character_ids.shape == (0, 2)


def test_forty_eight_bytes_are_kept_even_if_they_split_a_code_point() -> None:
    assert len(row(ByteSpeller(50), "x" * 1000)) == 50
    assert row(ByteSpeller(50), "x" * 47 + "é")[-2:] == [0xC3, 259]


@given(st.text(alphabet=st.characters(), max_size=120))
def test_a_key_is_short_and_spelled_as_its_token(token: str) -> None:
    speller = ByteSpeller(50)

    assert len(speller.key(token)) <= 49
    assert row(speller, speller.key(token)) == row(speller, token)


@pytest.mark.parametrize("token", ["\ud800" * 99 + "<S>", "x" * 99, "\udfff" * 99])
def test_keys_of_long_tokens(token: str) -> None:
    speller = ByteSpeller(50)

    assert len(speller.key(token)) <= 49
    assert row(speller, speller.key(token)) == row(speller, token)


def test_dictionary_markers_are_swapped_and_words_stand_beside() -> None:
    speller = DictionarySpeller(50, CHARACTERS, {"<oov>": 0, "<bos>": 1, "a": 7, "a" * 48: 9})

    spelled = speller.spell(["a", "天", "<bos>", "a" * 60])

    assert spelled.character_ids[:3, :4].tolist() == [[5, 6, 4, 3], [5, 0, 4, 3], [5, 1, 4, 3]]
    assert spelled.character_ids[3].tolist() == [5, *[6] * 48, 4]
    assert spelled.word_ids is not None
    assert spelled.word_ids.tolist() == [7, 0, 1, 9]


def test_dictionary_without_words() -> None:
    assert DictionarySpeller(50, CHARACTERS, None).spell(["a"]).word_ids is None


def test_lengths_count_what_is_not_padding() -> None:
    spelled = ByteSpeller(50).spell(["", "ab", "x" * 99])

    np.testing.assert_array_equal((spelled.character_ids != 260).sum(axis=1), spelled.lengths)
