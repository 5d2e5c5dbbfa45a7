"""What is known of each type of a text."""

import numpy as np

from elmo_infer.training.forms import (
    CONTENT,
    FREQUENT,
    PUNCTUATION,
    STOP_WORD,
    WordForms,
    taught_types,
)

TYPES = ["the", "Arm", ".", "The", "arm", "ARM", "Oslo"]


def test_types_that_differ_in_case_alone_have_one_form() -> None:
    forms = WordForms.of(TYPES, lambda word: word.lower() != "the" and word != ".")
    # The most frequent of them stands for all.
    np.testing.assert_array_equal(forms.folded, [0, 1, 2, 0, 1, 1, 6])


def test_lower_cased_forms_are_types_of_the_text_or_the_word_itself() -> None:
    forms = WordForms.of(TYPES, lambda _: True)
    np.testing.assert_array_equal(forms.lower, [0, 4, 2, 0, 4, 4, 6])


def test_kinds_are_content_stop_words_and_punctuation() -> None:
    forms = WordForms.of(TYPES, lambda word: word.lower() != "the" and word != ".")
    expected = [STOP_WORD, CONTENT, PUNCTUATION, STOP_WORD, CONTENT, CONTENT, CONTENT]
    np.testing.assert_array_equal(forms.kinds, expected)


def test_frequent_forms_and_punctuation_are_not_taught() -> None:
    folded = np.array([0, FREQUENT, FREQUENT + 1, 3, FREQUENT])
    worded = np.array([True, True, False, True, True])
    taught = taught_types(folded, worded)
    np.testing.assert_array_equal(taught, [False, True, False, False, True])


def test_text_of_frequent_types_alone_is_taught_whole() -> None:
    worded = np.array([True, False, True])
    np.testing.assert_array_equal(taught_types(np.arange(3), worded), worded)
    np.testing.assert_array_equal(taught_types(np.arange(2), np.zeros(2, bool)), [True, True])
