"""Near and inflected forms of a word."""

import pytest

from pipelines.text.word_forms import inflections, nearest_forms


def test_nearest_forms_are_those_spelled_most_alike() -> None:
    forms = ["bank", "banks", "Bank", "tank", "river", "banking", "unrelated"]
    assert nearest_forms("bankk", forms)[:3] == ["Bank", "bank", "banks"]
    assert nearest_forms("zzzzzz", forms) == []


@pytest.mark.parametrize(
    ("word", "related", "unrelated"),
    [
        ("bank", {"banks", "banked", "banking"}, {"banker", "ban", "bunk"}),
        ("running", {"run", "runs", "running"}, {"ring", "ran"}),
        ("studies", {"study", "studied", "studying"}, {"stud"}),
        ("making", {"make", "makes", "making"}, {"mask"}),
        ("boxes", {"box", "boxed"}, {"boxer"}),
        ("glass", {"glasses"}, {"glas"}),
        ("sing", {"sings", "singing"}, {"s", "sed"}),
    ],
)
def test_inflections_follow_regular_english_spelling(
    word: str, related: set[str], unrelated: set[str]
) -> None:
    forms = inflections(word)
    assert related <= forms
    assert not unrelated & forms
