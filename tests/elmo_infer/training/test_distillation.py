"""The teacher's losses on a batch: what is compared with what, and what a resumed run sees."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.distillation import COMMON_NAME, Distillation
from elmo_infer.training.loss_weights import LossWeights
from elmo_infer.training.spelled_batch import Batch, TaughtBatch

LENGTH, SENTENCES, DIM, TAUGHT, TEACHER = 6, 30, 8, 5, 7
NAMES = tuple(vars(LossWeights()))


def unit(generator: torch.Generator, *shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


def drawn(seed: int) -> tuple[Batch, list[Tensor], Tensor]:
    """A batch of sentences of six words, two of which are taught, its layers and its vectors."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.arange(0, LENGTH * SENTENCES, 3)
    taught = TaughtBatch(
        places=places,
        words=unit(generator, len(places), TAUGHT).half(),
        types=torch.randint(0, 6, (len(places),), generator=generator),
        columns=torch.arange(0, SENTENCES, 2),
        sentences=unit(generator, SENTENCES // 2, TEACHER).half(),
        single_places=torch.arange(4),
        single=torch.randn(4, TEACHER, generator=generator).half(),
        single_weights=torch.full((4,), 0.25),
    )
    batch = Batch.__new__(Batch)
    kinds = torch.randint(0, 3, (LENGTH, SENTENCES), generator=generator, dtype=torch.int8)
    for name, value in {"kinds": kinds, "taught": taught}.items():
        object.__setattr__(batch, name, value)
    layers = [torch.randn(LENGTH + 2, SENTENCES, DIM, generator=generator) for _ in range(2)]
    return batch, layers, torch.randn(9, DIM // 2, generator=generator)


def distillation(weights: LossWeights | None = None) -> Distillation:
    return Distillation(
        dim=DIM, taught=TAUGHT, teacher_dim=TEACHER, layer_weights=(0.5, 0.5), weights=weights,
        ring=512,
    )  # fmt: skip


def only(name: str) -> LossWeights:
    return LossWeights(**{one: float(one == name) for one in NAMES})


def test_every_loss_has_its_part_and_its_weight() -> None:
    loss = distillation()
    for seed in range(6):
        total = loss(*drawn(seed))
    assert set(loss.parts) == set(NAMES)
    weighed = sum(getattr(LossWeights(), name) * value for name, value in loss.parts.items())
    torch.testing.assert_close(total.detach(), torch.as_tensor(weighed))


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_of_weight_nothing_is_not_computed(name: str) -> None:
    loss = distillation(replace(LossWeights(), **{name: 0.0}))
    for seed in range(6):
        loss(*drawn(seed))
    assert set(loss.parts) == set(NAMES) - {name}


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_moves_what_it_is_about(name: str) -> None:
    loss = distillation(only(name))
    with torch.no_grad():
        loss.parameters["query"].copy_(torch.arange(float(DIM)) / DIM)
    for seed in range(6):
        loss(*drawn(seed))
    batch, layers, vectors = drawn(6)
    layers, vectors = [one.requires_grad_() for one in layers], vectors.requires_grad_()
    loss(batch, layers, vectors).backward()
    about_vectors = name == "single_words"
    assert (vectors.grad is not None and bool(vectors.grad.any())) == about_vectors
    moved = [one.grad is not None and bool(one.grad.any()) for one in layers]
    assert moved == [not about_vectors] * 2
    learned = {key for key, one in loss.parameters.items() if one.grad is not None}
    expected: dict[str, set[str]] = {
        "words": {"map_0", "map_1", "map_2"},
        "sentences": {"map_sentence", "query"},
        "single_words": {"map_word"},
    }
    with_query = {"sentence_relations", "near_sentences", "punctuation", "stop_words"}
    assert learned == expected.get(name, {"query"} if name in with_query else set())


def test_what_is_remembered_is_enough_to_go_on() -> None:
    through = distillation()
    whole = [float(through(*drawn(seed)).detach()) for seed in range(8)]
    first, second = distillation(), distillation()
    for seed in range(4):
        first(*drawn(seed))
    for name, value in first.buffers.items():
        second.buffers[name].copy_(value)
    assert [float(second(*drawn(seed)).detach()) for seed in range(4, 8)] == whole[4:]
    fresh = distillation()
    assert [float(fresh(*drawn(seed)).detach()) for seed in range(4, 8)] != whole[4:]


def test_a_student_that_is_the_teacher_costs_nothing() -> None:
    loss = Distillation(
        dim=4, taught=4, teacher_dim=4, layer_weights=(0.5, 0.5), ring=256,
        weights=replace(LossWeights(), punctuation=0.0, stop_words=0.0, single_words=0.0),
    )  # fmt: skip
    with torch.no_grad():
        for name, value in loss.parameters.items():
            if name.startswith("map") and name != "map_word":
                value.copy_(torch.eye(4))
    for seed in range(4):
        batch, _, vectors = drawn(seed)
        generator = torch.Generator().manual_seed(seed)
        layer = unit(generator, LENGTH + 2, SENTENCES, 4)
        words = layer[1:-1].reshape(-1, 4)
        pooled = F.normalize(layer[1:-1].mean(0), dim=1)
        taught = replace(
            batch.taught,  # type: ignore[type-var]
            words=words[batch.taught.places].half(),  # type: ignore[union-attr]
            sentences=pooled[::2].half(),
        )
        object.__setattr__(batch, "taught", taught)
        loss(batch, [layer, layer], vectors[:, :2])
    assert len(loss.parts) == len(NAMES) - 3
    assert max(map(float, loss.parts.values())) < 2e-3


def test_held_out_batches_leave_the_rings_of_training_alone() -> None:
    loss = distillation()
    for seed in range(4):
        loss(*drawn(seed))
    before = {name: value.clone() for name, value in loss.buffers.items()}
    rings = loss.new_rings()
    batch, layers, vectors = drawn(9)
    loss.losses(batch, layers, vectors, rings, measure=True)
    found = loss.losses(batch, layers, vectors, rings, measure=True)
    assert COMMON_NAME in found
    for name, value in loss.buffers.items():
        assert value.equal(before[name]), name


def test_a_batch_that_the_teacher_has_not_read_costs_its_attention_alone() -> None:
    batch, layers, vectors = drawn(0)
    nothing = TaughtBatch(
        places=torch.empty(0, dtype=torch.int64),
        words=torch.empty(0, TAUGHT, dtype=torch.float16),
        types=torch.empty(0, dtype=torch.int64),
        columns=torch.empty(0, dtype=torch.int64),
        sentences=torch.empty(0, TEACHER, dtype=torch.float16),
        single_places=torch.empty(0, dtype=torch.int64),
        single=torch.empty(0, TEACHER, dtype=torch.float16),
        single_weights=torch.empty(0),
    )
    object.__setattr__(batch, "taught", nothing)
    loss = distillation()
    assert float(loss(batch, layers, vectors).detach()) > 0
    assert set(loss.parts) == {"punctuation", "stop_words"}
    without = distillation(only("words"))
    assert float(without(batch, layers, vectors).detach()) == 0.0
