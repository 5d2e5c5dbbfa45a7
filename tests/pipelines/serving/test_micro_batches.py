"""Batches of several requests: within the budget, in turn, and nobody's fault but one's own."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elmo_infer import load
from pipelines.serving.micro_batches import BatchResult, MicroBatches

Sentences = Sequence[Sequence[str]]


class LengthModel:
    """Gives each token its spelling's length as its vector; fails at the word `boom`."""

    def __init__(self) -> None:
        self.batches: list[list[list[str]]] = []
        self.go = threading.Event()
        self.go.set()

    def embed(
        self,
        sentences: Sentences,
        layer_weights: Sequence[float] | None = None,  # noqa: ARG002
        pooling: str = "attention",  # noqa: ARG002
    ) -> BatchResult:
        self.go.wait()
        self.batches.append([list(sentence) for sentence in sentences])
        if any("boom" in sentence for sentence in sentences):
            raise ValueError("boom cannot be encoded")
        lengths = [len(sentence) for sentence in sentences]
        tokens = [[float(len(token))] for sentence in sentences for token in sentence]
        return BatchResult(
            token_vectors=np.array(tokens, np.float32).reshape(-1, 1),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            sentence_vectors=np.array(lengths, np.float32)[:, None],
            attention=np.ones(sum(lengths), np.float32),
        )


@pytest.fixture
def model() -> LengthModel:
    return LengthModel()


@pytest.fixture
def seen() -> list[tuple[int, int]]:
    """Sentences and tokens of each batch."""
    return []


@pytest.fixture
def batches(model: LengthModel, seen: list[tuple[int, int]]) -> Iterator[MicroBatches]:
    made = MicroBatches(model, 6, lambda sentences, tokens, _: seen.append((sentences, tokens)))
    yield made
    model.go.set()
    made.close()


@pytest.fixture
def ask_while_busy(
    batches: MicroBatches, model: LengthModel
) -> Callable[[list[Sentences]], list[Any]]:
    """A function that asks for several requests while the model is at work on another."""

    def ask(requests: list[Sentences]) -> list[Any]:
        model.go.clear()
        with ThreadPoolExecutor(len(requests) + 1) as pool:
            first = pool.submit(batches.embed, [["busy"]])
            while batches.waiting:  # until the model has taken it
                pass
            futures = []
            for number, request in enumerate(requests, start=1):
                futures.append(pool.submit(batches.embed, request))
                while batches.waiting < number:
                    pass
            model.go.set()
            first.result()
            return [future.exception() or future.result() for future in futures]

    return ask


def test_requests_that_come_meanwhile_are_one_batch(
    ask_while_busy: Callable[..., list[Any]], model: LengthModel
) -> None:
    one, other = ask_while_busy([[["a", "bb"]], [["ccc"]]])
    assert model.batches[1:] == [[["a", "bb"], ["ccc"]]]
    assert one.token_vectors.tolist() == [[1], [2]]
    assert other.token_vectors.tolist() == [[3]]
    assert other.offsets.tolist() == [0, 1]


def test_no_batch_is_over_the_budget_but_one_long_sentence(
    ask_while_busy: Callable[..., list[Any]], seen: list[tuple[int, int]]
) -> None:
    requests = [[["a"] * 4], [["b"] * 3, ["c"] * 9], [["d"] * 2]]
    results = ask_while_busy(requests)
    assert max(tokens for sentences, tokens in seen if sentences > 1) <= 6
    assert (1, 9) in seen
    assert [result.offsets[-1] for result in results] == [4, 12, 2]


def test_a_short_request_waits_for_one_batch_of_a_long_one(
    ask_while_busy: Callable[..., list[Any]], model: LengthModel
) -> None:
    ask_while_busy([[["long"] * 3] * 6, [["short"]]])
    places = [i for i, batch in enumerate(model.batches) if ["short"] in batch]
    assert places == [2]
    assert sum(len(batch) for batch in model.batches) == 8


def test_one_request_s_fault_is_not_another_s(
    ask_while_busy: Callable[..., list[Any]],
) -> None:
    good, bad = ask_while_busy([[["fine"]], [["boom"]]])
    assert good.token_vectors.tolist() == [[4]]
    assert isinstance(bad, ValueError)
    assert "boom cannot be encoded" in str(bad)


def test_nothing_is_taken_after_the_end(model: LengthModel) -> None:
    made = MicroBatches(model, 6, lambda *_: None)
    made.close()
    with pytest.raises(RuntimeError, match="the server is stopping"):
        made.embed([["a"]])


def test_an_answer_does_not_depend_on_its_neighbours(tiny_elmo_dir: Path) -> None:
    elmo = load(str(tiny_elmo_dir))
    texts = [f"word{i} {'and ' * (i % 7)}more".split() for i in range(40)]
    alone = [elmo.embed([text]) for text in texts]
    made = MicroBatches(elmo, 64, lambda *_: None)
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda text: made.embed([text]), texts))
    made.close()
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.token_vectors, other.token_vectors, atol=2e-5)
        np.testing.assert_allclose(one.sentence_vectors, other.sentence_vectors, atol=2e-5)
        np.testing.assert_allclose(one.attention, other.attention, atol=2e-5)
