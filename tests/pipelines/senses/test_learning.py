"""Learning constants of senses from text: which words and occurrences are taken."""

from collections import Counter
from collections.abc import Iterator

import pytest

from pipelines.senses.learning import (
    SIZES,
    ReadText,
    choose_single,
    choose_words,
    embed_places,
    parse_words,
    read_text,
)

FILLER = ["the", "quick", "brown", "fox", "runs"]


def documents(*texts: list[list[str]]) -> Iterator[Iterator[list[str]]]:
    return (iter(text) for text in texts)


def read(*texts: list[list[str]], max_tokens: int = 10_000) -> ReadText:
    return read_text(documents(*texts), lambda word: word != "the", max_tokens=max_tokens)


def test_words_of_a_list_are_parted_by_blanks_and_remarks_left_out() -> None:
    assert parse_words("# a remark\nriver bank\n\nbank  oak\n#oak elm\n") == [
        "bank",
        "oak",
        "river",
    ]


def test_content_words_are_found_where_they_stand() -> None:
    found = read([FILLER, ["too", "short"], ["The", "Fox", "saw", "the", "fox"]], [FILLER])
    assert found.sentences == [FILLER, ["The", "Fox", "saw", "the", "fox"], FILLER]
    assert (found.documents, found.tokens) == (2, 17)
    # Not "Fox", for its capital may be a name's.
    assert found.places["fox"] == [(0, 0, 3), (0, 1, 4), (1, 2, 3)]
    assert "the" not in found.places
    assert "short" not in found.places


def test_reading_ends_with_the_document_that_fills_the_measure() -> None:
    assert read([FILLER] * 3, [FILLER] * 3, [FILLER] * 3, max_tokens=16).documents == 2


def many(word: str, per_document: list[int]) -> ReadText:
    return read(*([[*FILLER[:4], word]] * count for count in per_document))


def test_words_stand_in_many_documents_and_twice_in_some() -> None:
    wanted = {
        "enough": ([3] * 4 + [1] * 6, True),
        "few documents": ([3] * 9, False),
        "few pairs": ([2] * 3 + [1] * 20, False),
    }
    for name, (per_document, taken) in wanted.items():
        chosen = choose_words(many("oak", per_document), ["quick", "brown", "fox"], seed=0)
        assert ("oak" in chosen) is taken, name
    [places] = choose_words(many("oak", [5] * 20), ["quick", "brown", "fox"], seed=0).values()
    counted = Counter(place.document for place in places)
    assert len(counted) == 12
    assert set(counted.values()) == {2}


def test_occurrences_of_single_words_are_drawn_with_the_seed() -> None:
    text = many("oak", [20] * 20)
    chosen = choose_single(text, ["oak", "elm"], seed=1)
    assert list(chosen) == ["oak"]
    assert len(set(chosen["oak"])) == len(chosen["oak"]) >= SIZES[-1]
    assert set(chosen["oak"]) <= set(text.places["oak"])
    assert choose_single(text, ["oak"], seed=1) == chosen
    assert choose_single(text, ["oak"], seed=2) != chosen
    assert choose_single(many("oak", [1] * (SIZES[0] - 1)), ["oak"], seed=1) == {}


def test_text_without_a_word_to_learn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="the text is too small: no word occurs often enough"):
        embed_places(None, read([FILLER]), {}, str.isalpha)
