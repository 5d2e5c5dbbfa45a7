"""Words shaded by weight: in a terminal, without colour, and as a page."""

from types import SimpleNamespace

from pipelines.search.explain import explain_lines, explain_page
from pipelines.search.kwic import Style

HIT = SimpleNamespace(
    score=0.5, doc_id="a<b", tokens=("The", "bank", "lent", "<b>"), attention=(0.1, 0.6, 0.3, 0.0)
)


def test_without_colour_the_weights_of_what_stands_out_are_written() -> None:
    assert explain_lines([HIT], Style()) == [" 0.500 The bank[60] lent[30] <b>  a<b"]


def test_in_colour_words_are_shaded_the_more_the_heavier() -> None:
    [line] = explain_lines([HIT], Style(colour=True))
    assert "\x1b[30;48;5;208mbank\x1b[0m" in line
    assert "\x1b[30;48;5;222mlent\x1b[0m" in line
    assert "The " in line


def test_a_page_shades_words_and_escapes_what_documents_say() -> None:
    page = explain_page("the [bank] <i>", [HIT])
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "rgba(230,140,0,1.00)" in page
    assert "a&lt;b" in page
