"""Word types of a call: equal spellings, one number."""

import numpy as np

from elmo_infer.word_types import WordTypes


def first_two(form: str) -> str:
    return form[:2]


def test_tokens_are_rows_of_the_types_that_are_asked_for() -> None:
    types = WordTypes(str)
    ids, asked = types.number([[["a", "b"], [], ["a"]], [["c", "b"]]])
    assert asked == ["a", "b", "c"]
    assert [each.tolist() for each in ids] == [[0, 1, 0], [2, 1]]
    assert {each.dtype for each in ids} == {np.dtype(np.int64)}


def test_only_the_types_of_these_batches_are_asked_for() -> None:
    types = WordTypes(str)
    types.number([[["a", "b", "c"]]])
    ids, asked = types.number([[["c", "d", "a"]]])
    assert asked == ["a", "c", "d"]
    assert ids[0].tolist() == [1, 2, 0]


def test_forms_that_are_spelled_alike_are_one_type() -> None:
    types = WordTypes(first_two)
    ids, asked = types.number([[["bank", "bare"], ["ox"]]])
    assert asked == ["ba", "ox"]
    assert ids[0].tolist() == [0, 0, 1]


def test_a_form_is_spelled_once_a_call() -> None:
    spelled = []

    def spell(form: str) -> str:
        spelled.append(form)
        return form

    types = WordTypes(spell)
    types.number([[["a"] * 5], [["a", "b"]]])
    types.number([[["b", "a"]]])
    assert spelled == ["a", "b"]


def test_no_tokens() -> None:
    ids, asked = WordTypes(str).number([[[]]])
    assert asked == []
    assert ids[0].shape == (0,)
