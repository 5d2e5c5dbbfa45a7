"""Elmo as its callers see it: the same sentence, the same vector; what is legal; what is not."""

import json
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elmo_infer import Elmo, load

WORDS = ["the", "bank", "river", "money", "", "x" * 60, "天氣", "<S>"]
# Row counts change the order of sums inside oneDNN; measured below 2e-6 on these sizes.
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def elmo(tiny_elmo_dir: Path) -> Elmo:
    return load(tiny_elmo_dir, device="cpu")


@settings(max_examples=40, deadline=None)
@given(
    sentences=st.lists(st.lists(st.sampled_from(WORDS), max_size=12), max_size=9),
    budget=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_vectors_depend_on_the_sentence_alone(
    tiny_elmo_dir: Path, elmo: Elmo, sentences: list[list[str]], budget: int, seed: int
) -> None:
    alone = [elmo.layers([sentence])[0] for sentence in sentences]
    order = np.random.default_rng(seed).permutation(len(sentences))
    other = load(tiny_elmo_dir, device="cpu", max_tokens_per_batch=budget, word_cache_bytes=200)

    together = other.layers([sentences[index] for index in order])

    for index, computed in zip(order, together, strict=True):
        np.testing.assert_allclose(computed, alone[index], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_a_vector_does_not_depend_on_its_neighbours_in_any_dtype(
    tiny_elmo_dir: Path, dtype: str
) -> None:
    elmo = load(tiny_elmo_dir, device="cpu", dtype=dtype)
    sentence = ["the", "bank", "of", "the", "river"]
    loud = [["money" * 9] * 5] * 30

    alone = elmo.embed([sentence])
    among = elmo.embed([*loud, sentence, *loud])

    first = among.offsets[30]
    np.testing.assert_allclose(
        among.token_vectors[first : first + 5], alone.token_vectors, atol=TOLERANCE, rtol=0
    )
    np.testing.assert_allclose(
        among.sentence_vectors[30], alone.sentence_vectors[0], atol=TOLERANCE, rtol=0
    )


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_number_of_threads_changes_nothing(
    tiny_elmo_dir: Path, elmo: Elmo, awkward_sentences: list[list[str]], threads: int
) -> None:
    expected = elmo.embed(awkward_sentences).token_vectors
    normal = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = load(tiny_elmo_dir, device="cpu").embed(awkward_sentences).token_vectors
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(normal)

    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)


def test_the_same_call_gives_the_same_bytes(elmo: Elmo, awkward_sentences) -> None:
    first, second = elmo.embed(awkward_sentences), elmo.embed(awkward_sentences)

    assert first.token_vectors.tobytes() == second.token_vectors.tobytes()
    assert first.sentence_vectors.tobytes() == second.sentence_vectors.tobytes()


def test_calls_from_several_threads_take_turns(elmo: Elmo) -> None:
    sentences = [[f"w{number}", "bank"] for number in range(20)]
    expected = elmo.embed(sentences).token_vectors
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(elmo.embed(sentences).token_vectors))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    for vectors in found:
        np.testing.assert_allclose(vectors, expected, atol=TOLERANCE, rtol=0)


def test_embed_mixes_layers_with_the_given_coefficients(elmo: Elmo, awkward_sentences) -> None:
    layers = elmo.layers(awkward_sentences)
    coefficients = (0.5, -1.0, 2.0)

    result = elmo.embed(awkward_sentences, layer_weights=coefficients)

    mixed = np.concatenate([np.einsum("l,ltd->td", coefficients, each) for each in layers])
    np.testing.assert_allclose(result.token_vectors, mixed, atol=1e-5, rtol=0)
    assert result.offsets.tolist() == np.cumsum([0, *map(len, awkward_sentences)]).tolist()


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_one_hot_mix_picks_a_layer(elmo: Elmo, layer: int) -> None:
    sentence = ["the", "bank"]
    weights = [float(index == layer) for index in range(3)]

    result = elmo.embed([sentence], layer_weights=weights)

    np.testing.assert_array_equal(result.token_vectors, elmo.layers([sentence])[0][layer])


def test_a_mix_of_zeros_is_zero(elmo: Elmo) -> None:
    result = elmo.embed([["the", "bank"]], layer_weights=[0, 0, 0])

    assert not result.token_vectors.any()
    np.testing.assert_allclose(result.attention, [0.5, 0.5])


def test_focus_makes_a_word_the_query(elmo: Elmo) -> None:
    sentences = [["the", "bank", "river"], ["money"], ["a", "b"]]
    result = elmo.embed(sentences, focus=[1, None, 0])

    for index, focus in ((0, 1), (2, 0)):
        vectors = result.token_vectors[result.offsets[index] : result.offsets[index + 1]]
        scores = vectors @ vectors[focus] / np.sqrt(elmo.dim)
        expected = np.exp(scores) / np.exp(scores).sum()
        found = result.attention[result.offsets[index] : result.offsets[index + 1]]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert result.attention[3] == 1.0


def test_no_sentences_and_empty_sentences(elmo: Elmo) -> None:
    assert elmo.layers([]) == []
    assert elmo.layers([[]])[0].shape == (3, 0, 16)
    nothing = elmo.embed([])
    assert nothing.token_vectors.shape == (0, 16)
    assert nothing.offsets.tolist() == [0]
    for pooling in ("attention", "mean", "max"):
        empty = elmo.embed([[], ["a"], []], pooling=pooling)
        assert empty.offsets.tolist() == [0, 0, 1, 1]
        assert not empty.sentence_vectors[[0, 2]].any()
        assert empty.attention.tolist() == [1.0]


def test_a_sentence_longer_than_the_budget_is_computed_whole(make_elmo) -> None:
    sentence = [f"w{number % 97}" for number in range(20_000)]
    elmo = load(make_elmo(layers=1), device="cpu", max_tokens_per_batch=100)

    [layers] = elmo.layers([sentence])

    # The state forgets: the middle of a long sentence equals that of a piece of it.
    [piece] = elmo.layers([sentence[9_500:10_500]])
    assert layers.shape == (2, 20_000, 16)
    np.testing.assert_allclose(layers[:, 9_950:10_050], piece[:, 450:550], atol=TOLERANCE, rtol=0)


def test_tokens_may_come_in_tuples_and_the_input_is_left_alone(elmo: Elmo) -> None:
    sentences = (("the", "bank"), ["river"])

    assert [each.shape for each in elmo.layers(sentences)] == [(3, 2, 16), (3, 1, 16)]
    assert sentences == (("the", "bank"), ["river"])


@pytest.mark.parametrize(
    ("sentences", "error", "words"),
    [
        ("the bank", TypeError, "sentences is a string, 'the bank'; expected a list"),
        (["the bank"], TypeError, "sentence 0 is a string, 'the bank'; expected a list"),
        ([["a"], ["b", 7]], TypeError, r"token 1 of sentence 1 is 7 \(int\); expected a string"),
        ([["a", None]], TypeError, r"token 1 of sentence 0 is None \(NoneType\)"),
        ([[b"a"]], TypeError, r"token 0 of sentence 0 is b'a' \(bytes\)"),
        ([5], TypeError, r"sentence 0 is 5 \(int\); expected a list of tokens"),
    ],
)
def test_what_is_not_a_list_of_tokens(elmo: Elmo, sentences: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        elmo.layers(sentences)
    with pytest.raises(error, match=words):
        elmo.embed(sentences)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layer_weights": [1.0]}, "layer_weights has 1 numbers; this model has 3 layers"),
        ({"layer_weights": [1, 2, float("nan")]}, "expected finite numbers"),
        ({"pooling": "sum"}, "unknown pooling 'sum'; expected one of attention, mean, max"),
        ({"focus": [0], "pooling": "mean"}, "focus needs pooling='attention'"),
        ({"focus": [0, 0]}, "focus has 2 entries for 1 sentences"),
        ({"focus": [2]}, "focus of sentence 0 is 2; expected a token index from 0 to 1"),
        ({"focus": [-1]}, "focus of sentence 0 is -1"),
    ],
)
def test_what_embed_cannot_do(elmo: Elmo, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        elmo.embed([["the", "bank"]], **arguments)


def short_of_memory(elmo: Elmo, monkeypatch: pytest.MonkeyPatch, limit: int) -> list[int]:
    """Let batches of more than `limit` tokens fail; return the sizes that were tried."""
    tried: list[int] = []
    tasks = elmo.bilm.tasks

    def failing(vectors, ids, packing, state, n_layers):
        tried.append(len(ids))
        if len(ids) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return tasks(vectors, ids, packing, state, n_layers)

    monkeypatch.setattr(elmo.bilm, "tasks", failing)
    return tried


def test_a_batch_that_does_not_fit_is_halved(tiny_elmo_dir: Path, monkeypatch) -> None:
    sentences = [[f"w{number}"] * (number % 5 + 1) for number in range(40)]
    expected = load(tiny_elmo_dir, device="cpu").embed(sentences)
    elmo = load(tiny_elmo_dir, device="cpu")
    tried = short_of_memory(elmo, monkeypatch, limit=20)

    result = elmo.embed(sentences)

    assert tried[0] == sum(map(len, sentences))
    assert sum(size for size in tried if size <= 20) == tried[0]
    np.testing.assert_allclose(result.token_vectors, expected.token_vectors, atol=TOLERANCE)
    np.testing.assert_allclose(result.sentence_vectors, expected.sentence_vectors, atol=TOLERANCE)


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
def test_a_failed_batch_is_let_go_before_the_next_try(
    tiny_elmo_dir: Path, monkeypatch, kind: type[Exception]
) -> None:
    elmo = load(tiny_elmo_dir, device="cpu")
    tasks, held, alive = elmo.bilm.tasks, [], []

    def failing(vectors, ids, *more):
        alive.append([one() for one in held])
        if len(ids) > 2:
            large = vectors.clone()
            held.append(weakref.ref(large))
            raise kind("CUDA error: out of memory")
        return tasks(vectors, ids, *more)

    monkeypatch.setattr(elmo.bilm, "tasks", failing)
    elmo.embed([["a", "b"], ["c", "d"]])

    assert alive == [[], [None], [None]]


def test_another_error_is_no_reason_to_try_again(tiny_elmo_dir: Path, monkeypatch) -> None:
    elmo = load(tiny_elmo_dir, device="cpu")
    tried = []

    def failing(*_):
        tried.append(1)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(elmo.bilm, "tasks", failing)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        elmo.embed([["a"], ["b"]])
    assert len(tried) == 1


def test_a_sentence_that_cannot_fit_is_named(tiny_elmo_dir: Path, monkeypatch) -> None:
    elmo = load(tiny_elmo_dir, device="cpu")
    short_of_memory(elmo, monkeypatch, limit=10)

    with pytest.raises(
        RuntimeError, match=r"sentence 1 does not fit into the memory of cpu: it"
    ) as e:
        elmo.embed([["a"], ["long", "one"] * 6, ["b"]])

    assert "12 tokens and begins 'long one long one long'" in str(e.value)


def test_warm_state_is_fixed_and_part_of_the_fingerprint(tiny_elmo_dir: Path) -> None:
    sentences = [["the", "bank"]]
    zero = load(tiny_elmo_dir, device="cpu")
    warm = load(tiny_elmo_dir, device="cpu", initial_state="warm")
    again = load(tiny_elmo_dir, device="cpu", initial_state="warm")
    again.layers([["something", "else"]])

    np.testing.assert_array_equal(warm.layers(sentences)[0], again.layers(sentences)[0])
    assert np.abs(warm.layers(sentences)[0][2] - zero.layers(sentences)[0][2]).max() > 1e-3
    assert warm.fingerprint == again.fingerprint != zero.fingerprint


def test_a_given_state_of_zeros_is_the_zero_state(tiny_elmo_dir: Path, rng) -> None:
    h, c = np.zeros((2, 2, 8)), np.zeros((2, 2, 12))
    zero = load(tiny_elmo_dir, device="cpu")
    given_zero = load(tiny_elmo_dir, device="cpu", initial_state=(h, c))
    other = load(tiny_elmo_dir, device="cpu", initial_state=(h + rng.random(h.shape), c))
    sentence = [["the", "bank"]]

    np.testing.assert_array_equal(given_zero.layers(sentence)[0], zero.layers(sentence)[0])
    assert not np.array_equal(other.layers(sentence)[0], zero.layers(sentence)[0])
    assert len({zero.fingerprint, given_zero.fingerprint, other.fingerprint}) == 3


def test_fingerprint_sees_weights_and_not_how_they_run(make_elmo, tiny_elmo_dir: Path) -> None:
    reference = load(tiny_elmo_dir, device="cpu").fingerprint

    assert load(tiny_elmo_dir, device="cpu", dtype="int8").fingerprint == reference
    assert load(tiny_elmo_dir, device="cpu", max_tokens_per_batch=7).fingerprint == reference
    assert load(make_elmo(seed=1), device="cpu").fingerprint != reference
    assert len(reference) == 32


def test_fingerprint_sees_the_options(make_elmo) -> None:
    directory = make_elmo()
    before = load(directory, device="cpu").fingerprint
    options = json.loads((directory / "options.json").read_text())
    options["lstm"]["cell_clip"] = 2.5
    (directory / "options.json").write_text(json.dumps(options))

    assert load(directory, device="cpu").fingerprint != before
