"""Queries: brackets and escapes, and the bracketed token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UsageError
from pipelines.search.query import ParsedQuery, find_node, parse_query


@pytest.mark.parametrize(
    ("query", "text", "word"),
    [
        ("They sat on the [bank] of the river", "They sat on the bank of the river", "bank"),
        ("no brackets", "no brackets", None),
        ("[Bank]", "Bank", "Bank"),
        ("a [ bank ] b", "a  bank  b", "bank"),
        (r"x\[0\] of the [array]", "x[0] of the array", "array"),
        (r"[\[]", "[", "["),
        ("back\\slash stays", "back\\slash stays", None),
        (r"\\[word]", "\\word", "word"),
        ("他去[银行]取钱", "他去银行取钱", "银行"),
    ],
)
def test_brackets_mark_the_word_and_leave_the_text(query: str, text: str, word: str) -> None:
    parsed = parse_query(query)
    found = None if parsed.node is None else parsed.text[slice(*parsed.node)]
    assert (parsed.text, found) == (text, word)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("the [bank of", "is not closed"),
        ("the bank] of", "']' at character 8"),
        ("[one] and [two]", "two words are in brackets"),
        ("[one [two]", "'[' inside brackets"),
        ("[one]] two", "matches no '['"),
        ("", "the query is empty"),
        ("   ", "the query is empty"),
        ("a [] b", "the brackets are empty"),
        ("a [  ] b", "the brackets are empty"),
    ],
)
def test_a_malformed_query_is_refused_with_what_is_wrong(query: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_query(query)
    assert words in str(caught.value)


@given(st.text(), st.text(alphabet=st.characters(exclude_categories=["Z", "C"]), min_size=1))
def test_escaping_any_text_and_bracketing_any_word_parses_back(text: str, word: str) -> None:
    def escape(value: str) -> str:
        return value.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")

    parsed = parse_query(f"{escape(text)}[{escape(word)}]{escape(text)}")
    assert parsed == ParsedQuery(text + word + text, (len(text), len(text) + len(word)))


TEXT, STARTS, ENDS = "He isn't in New York .", [0, 3, 5, 9, 12, 16, 21], [2, 5, 8, 11, 15, 20, 22]


@pytest.mark.parametrize(("node", "index"), [((0, 2), 0), ((5, 8), 2), ((21, 22), 6)])
def test_brackets_find_their_token(node: tuple[int, int], index: int) -> None:
    assert find_node(TEXT, node, STARTS, ENDS) == index


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ((12, 20), "the brackets hold 2 tokens ('New', 'York')"),
        ((16, 18), "a part of the token 'York'; write [York]"),
        ((3, 8), "the brackets hold 2 tokens ('is', \"n't\")"),
    ],
)
def test_brackets_around_anything_but_one_token_are_refused(
    node: tuple[int, int], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find_node(TEXT, node, STARTS, ENDS)
    assert words in str(caught.value)
