"""Senses of samples: what is drawn, and what right, wrong and no splits score."""

from collections.abc import Callable

import numpy as np
import pytest

from pipelines.evaluation.grouping import Grouped
from pipelines.evaluation.sampling import score_samples
from pipelines.evaluation.sets import Context, Instance, SampledSet
from pipelines.senses.constants import FALLBACK, SenseConstants, from_bytes
from pipelines.senses.features import Sample


@pytest.fixture
def constants() -> SenseConstants:
    return from_bytes(FALLBACK.read_bytes(), FALLBACK.name)[0]


def cloud(rng: np.random.Generator, count: int, middle: np.ndarray) -> np.ndarray:
    found = middle + 0.06 * rng.standard_normal((count, len(middle)))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def group_of(rng: np.random.Generator) -> Callable[[int, int, int], Grouped]:
    """A function that makes a word of two kinds of occurrences, of one if the second has none."""

    def make(first_row: int, one: int, other: int) -> Grouped:
        middles = np.eye(64)[:2]
        tokens = np.concatenate([cloud(rng, one, middles[0]), cloud(rng, other, middles[1])])
        rows = np.arange(first_row, first_row + len(tokens))
        sample = Sample(tokens=tokens, sentences=tokens, bags=tokens, scores=tokens @ tokens.T)
        return Grouped(lemma=f"w{first_row}", rows=rows, sample=sample)

    return make


def instances_of(word: str, golds: str) -> list[Instance]:
    return [
        Instance(
            id=f"{word}.{row}",
            lemma=word,
            context=Context((word,), 0),
            gold=() if gold == "-" else ((gold, 1.0),),
        )
        for row, gold in enumerate(golds)
    ]


def test_two_clear_senses_are_found_in_every_sample_and_one_sense_is_not_split(
    group_of: Callable[[int, int, int], Grouped], constants: SenseConstants
) -> None:
    groups = [group_of(0, 20, 20), group_of(40, 30, 0)]
    golds = instances_of("w0", "a" * 20 + "b" * 20) + instances_of("w40", "a" * 30)
    found = SampledSet(name="small_samples", instances=tuple(golds), sizes=(24, 36))
    scores, key = score_samples(found, groups, constants)
    assert scores["ari_at_24"] == pytest.approx(1)
    assert scores["split_at_24"] == 0.5  # of two words
    assert (scores["words_at_24"], scores["words_at_36"]) == (2, 1)
    assert abs(scores["shuffled_at_24"]) < 0.3
    assert abs(scores["random_at_24"]) < 0.3
    # Three samples of 24 of 40 occurrences, one of 24 of 30 and one of 36 of 40.
    assert len(key) == 3 * 24 + 24 + 36
    assert key[0].split() == ["24", "0", "w0", key[0].split()[3], key[0].split()[4]]
    assert key[0].split()[4] in ("w0.1", "w0.2")


def test_words_of_one_sense_have_no_index_of_agreement(
    group_of: Callable[[int, int, int], Grouped], constants: SenseConstants
) -> None:
    found = SampledSet(name="single_sense", instances=tuple(instances_of("w0", "-" * 30)))
    scores, _ = score_samples(found, [group_of(0, 30, 0)], constants)
    assert scores["split_at_24"] == 0
    assert not [metric for metric in scores if metric.startswith("ari")]
    assert not [metric for metric in scores if metric.endswith("50")]  # it occurs 30 times
    assert score_samples(found, [group_of(0, 10, 0)], constants) == ({}, ())


def test_samples_are_the_same_each_time(
    group_of: Callable[[int, int, int], Grouped], constants: SenseConstants
) -> None:
    group = group_of(0, 25, 25)
    instances = tuple(instances_of("w0", "a" * 25 + "b" * 25))
    found = SampledSet(name="small_samples", instances=instances, sizes=(24,))
    assert score_samples(found, [group], constants) == score_samples(found, [group], constants)
