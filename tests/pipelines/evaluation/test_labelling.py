"""Label words asked of lines that they were not made of."""

import numpy as np
import pytest

from pipelines.evaluation.grouping import Grouped, GroupedSet
from pipelines.evaluation.labelling import score_labels
from pipelines.evaluation.sets import Context, Instance, LabelledSet
from pipelines.senses.features import Sample

MONEY, RIVER = ["loan", "pay", "cash"], ["reeds", "water", "boat"]


def lines_of(words: list[str], sense: str, count: int = 12) -> list[Instance]:
    return [
        Instance(
            id=f"{sense}.{row}",
            lemma="bank",
            context=Context((words[row % 3], "bank", words[(row + 1) % 3], "today"), 1),
            gold=((sense, 1.0),),
        )
        for row in range(count)
    ]


def grouped(instances: list[Instance]) -> GroupedSet:
    words = [*MONEY, *RIVER, "today", "bank"]
    vectors = np.eye(len(words), dtype=np.float32)
    vectors[:3, 0], vectors[3:6, 3] = 1, 1  # those of one topic are near one another
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    empty = np.zeros((len(instances), 0), np.float32)
    sample = Sample(tokens=empty, sentences=empty, bags=empty, scores=empty)
    return GroupedSet(
        groups=(Grouped(lemma="bank", rows=np.arange(len(instances)), sample=sample),),
        forms=dict(zip(words, vectors, strict=True)),
        counts=dict.fromkeys(words, 10),
        own={"bank": frozenset(["bank"])},
    )


def test_labels_of_two_topics_tell_every_line() -> None:
    instances = lines_of(MONEY, "money") + lines_of(RIVER, "river")
    found = LabelledSet(name="sense_labels", instances=tuple(instances))
    scores, key = score_labels(found, grouped(instances))
    assert (scores["right"], scores["chance"], scores["all_words"]) == (1, 0.5, 1)
    assert (scores["stands"], scores["stands_right"]) == (1, 1)
    assert [line.split()[:2] for line in key] == [["bank", "money"], ["bank", "river"]]
    assert set(key[0].split()[2:]) >= set(MONEY)


def test_labels_of_senses_that_share_their_words_tell_no_more_than_chance() -> None:
    instances = lines_of(MONEY, "one") + lines_of(MONEY, "other")
    found = LabelledSet(name="sense_labels", instances=tuple(instances))
    scores, _ = score_labels(found, grouped(instances))
    assert scores["right"] == pytest.approx(0.5, abs=0.2)


def test_a_rare_sense_is_left_out_and_a_word_of_one_sense_too() -> None:
    instances = lines_of(MONEY, "money") + lines_of(RIVER, "river", count=9)
    found = LabelledSet(name="sense_labels", instances=tuple(instances))
    assert score_labels(found, grouped(instances)) == ({}, ())
