"""Version 1 of the sentence rules, one by one: what older corpora keep."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.text.sentence_splitter_1 import (
    ALONE,
    BEFORE_NUMBER,
    ENUMERATOR,
    NEVER,
    NO,
    RARELY,
    STOP,
    STRONG,
    breaks,
    describe_stretch,
    is_short_form,
)

LOWER, CAPITAL, STARTER, NUMBER = "then", "Smith", "The", "5"


def ends(stretch: str, following: str, tokens: list[str] | None = None) -> bool:
    """Whether a sentence ends between two stretches."""
    tokens = tokens or [stretch]
    ending = describe_stretch(stretch, tokens, [0] * len(tokens))[2]
    return breaks(ending, describe_stretch(following, [following], [0]))


@pytest.mark.parametrize(
    ("stretch", "tokens", "ending"),
    [
        ("word", ["word"], NO),
        ("house.", ["house", "."], STOP),
        ('house."', ["house", ".", '"'], STOP),
        ("house.)", ["house", ".", ")"], STOP),
        ("why?", ["why", "?"], STRONG),
        ("好。", ["好", "。"], STRONG),
        ("well...", ["well", "..."], STRONG),
        ("Mr.", ["Mr."], NEVER),
        ("(Dr.", ["(", "Dr."], NEVER),
        ("fig.", ["fig", "."], BEFORE_NUMBER),
        ("Jan.", ["Jan."], BEFORE_NUMBER),
        ("U.S.", ["U.S."], RARELY),
        ("J.", ["J."], RARELY),
        ("Inc.", ["Inc."], RARELY),
        ("1.", ["1", "."], ENUMERATOR),
        ("123.", ["123", "."], ENUMERATOR),
        ("1999.", ["1999", "."], STOP),  # a year, and no point of a list
        (".", ["."], ALONE),
        (")", [")"], NO),
    ],
)
def test_how_a_stretch_may_end_a_sentence(stretch: str, tokens: list[str], ending: int) -> None:
    assert describe_stretch(stretch, tokens, [0] * len(tokens))[2] == ending


@pytest.mark.parametrize(
    ("stretch", "before"),
    [
        # What may follow a sentence's end: lower case, a name, a function word, a number.
        ("house.", (False, True, True, True)),
        ("why?", (False, True, True, True)),
        ("Mr.", (False, False, False, False)),
        ("fig.", (False, True, True, False)),
        ("Inc.", (False, False, True, False)),
        ("1.", (False, False, False, False)),
        (".", (True, True, True, True)),
        ("word", (False, False, False, False)),
    ],
)
def test_whether_it_does_depends_on_what_follows(
    stretch: str, before: tuple[bool, bool, bool, bool]
) -> None:
    tokens = [stretch] if stretch in ("Mr.", "Inc.") else [stretch.rstrip(".?"), stretch[-1]]
    found = tuple(ends(stretch, after, tokens) for after in (LOWER, CAPITAL, STARTER, NUMBER))
    assert found == before


@pytest.mark.parametrize(
    ("following", "lower", "starter", "digit"),
    [
        ("The", False, True, False),
        ('"The', False, True, False),
        ("“They,”", False, True, False),
        ("then", True, False, False),
        ("(then", True, False, False),
        ("Theory", False, False, False),
        ("12th", False, False, True),
        ("«", True, False, False),  # an opening mark alone begins nothing
    ],
)
def test_what_is_known_of_the_following_stretch(
    following: str, lower: bool, starter: bool, digit: bool
) -> None:
    assert describe_stretch(following, [following], [0])[3:] == (lower, starter, digit)


@given(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=12))
def test_tokens_and_offsets_are_kept_as_they_are_given(stretch: str) -> None:
    described = describe_stretch(stretch, (stretch,), (7,))
    assert described[:2] == ((stretch,), (7,))
    assert described[2] in (NO, STRONG, STOP, NEVER, RARELY, BEFORE_NUMBER, ENUMERATOR, ALONE)


def test_short_forms_before_a_stop_that_stands_alone() -> None:
    assert [w for w in ("fig", "Fig", "J", "Mr", "house", "5", "inc") if is_short_form(w)] == [
        "fig",
        "Fig",
        "J",
        "Mr",
    ]
