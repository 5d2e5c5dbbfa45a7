"""Sentences against the teacher's, and where attention lies."""

import math

import pytest
import torch
import torch.nn.functional as F

from elmo_infer.training.forms import CONTENT, PUNCTUATION, STOP_WORD
from elmo_infer.training.sentence_losses import (
    SentenceRing,
    attention_pool,
    masses,
    relation_loss,
)

CPU = torch.device("cpu")


def test_attention_pooling_by_hand() -> None:
    # Scores q.k/sqrt(4) are 0 and ln 3, so the weights are 1/4 and 3/4.
    vectors = torch.tensor([[[0.0, 4.0, 0.0, 0.0], [2 * math.log(3.0), 0.0, 0.0, 8.0]]])
    pooled = attention_pool(vectors, torch.tensor([1.0, 0.0, 0.0, 0.0]))
    expected = torch.tensor([[1.5 * math.log(3.0), 1.0, 0.0, 6.0]])
    torch.testing.assert_close(pooled, expected)


def test_masses_by_hand() -> None:
    kinds = torch.tensor(
        [
            [CONTENT, STOP_WORD, PUNCTUATION],
            [CONTENT, PUNCTUATION, -1],
            [STOP_WORD, STOP_WORD, PUNCTUATION],  # has nothing else to look at
        ]
    )
    weights = torch.tensor([[0.5, 0.2, 0.3], [0.9, 0.1, 0.0], [0.4, 0.4, 0.2]])
    punctuation, stop_words = masses(weights, kinds)
    assert float(punctuation) == pytest.approx(0.2)
    assert float(stop_words) == pytest.approx(0.1)


def test_relations_by_hand() -> None:
    student, teacher = torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    assert float(relation_loss(student, teacher)) == pytest.approx(2 * 0.6**2 / 4)


def test_near_sentences_that_follow_the_teacher_cost_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = F.normalize(torch.randn(400, 8, generator=generator), dim=1)
    other = F.normalize(torch.randn(400, 8, generator=generator), dim=1)
    ring = SentenceRing(256, 8, 8, CPU)
    assert float(ring.near_loss(teacher[:50], teacher[:50])) == 0.0  # nothing is there yet
    ring.put(teacher[:300], teacher[:300])
    assert float(ring.near_loss(teacher[300:], teacher[300:])) < 1e-3
    assert 0.5 < float(ring.near_loss(other[300:], teacher[300:])) < 1.5


def test_only_the_nearest_by_the_teacher_are_looked_at() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = F.normalize(torch.randn(64, 4, generator=generator), dim=1)
    asked = F.normalize(torch.randn(1, 4, generator=generator), dim=1)
    far = (asked @ teacher.t())[0].argsort()[:48]
    student = teacher.clone()
    student[far] = -student[far]  # wrong about those that a search never shows
    ring = SentenceRing(64, 4, 4, CPU)
    ring.put(student, teacher)
    assert float(ring.near_loss(asked, asked)) < 1e-3
