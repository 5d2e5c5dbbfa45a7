"""The reference's numbers: vectors that the original TensorFlow biLM and ELMoForManyLangs made."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from elmo_infer import Elmo, load
from elmo_infer.batching import Packing

# What is promised, however long a sentence is. Measured: 1.2e-6 against the TensorFlow run.
CONTRACT = 5e-5


@pytest.fixture
def check(model_bound: Callable[..., float]) -> Callable[[Elmo, np.ndarray, np.ndarray], None]:
    """A function that compares [T, D] vectors of a sentence with the reference's."""

    def compare(elmo: Elmo, computed: np.ndarray, expected: np.ndarray, steps: int = 0) -> None:
        scale = max(1.0, float(np.abs(expected).max()))
        bound = model_bound(elmo.bilm.config, steps=steps or len(expected) + 2, scale=scale)
        np.testing.assert_allclose(computed, expected, atol=min(bound, CONTRACT), rtol=0)

    return compare


@pytest.fixture
def fixture_dir(shared: Path) -> Path:
    return shared / "fixtures" / "elmo" / "allennlp"


def read_chains(fixture_dir: Path) -> list[list[tuple[list[str], np.ndarray]]]:
    """Per chain k, the (tokens, top-layer vectors [T, 32]) of its ten sentences."""
    chains = []
    sentences = json.loads((fixture_dir / "sentences.json").read_text())
    for k, texts in enumerate(sentences):
        with h5py.File(fixture_dir / f"lm_embeddings_{k}.hdf5") as file:
            vectors = [np.concatenate(file[str(i)][()], axis=1) for i in range(len(texts))]
        chains.append([(text.split(), want) for text, want in zip(texts, vectors, strict=True)])
    return chains


def test_first_sentences_match_tensorflow_from_the_zero_state(fixture_dir: Path, check) -> None:
    elmo = load(fixture_dir / "options.json")
    firsts = [chain[0] for chain in read_chains(fixture_dir)]

    layers = elmo.layers([tokens for tokens, _ in firsts])

    for computed, (_, expected) in zip(layers, firsts, strict=True):
        check(elmo, computed[2], expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_thirty_sentences_match_when_state_is_carried(
    fixture_dir: Path, check, dtype: str
) -> None:
    elmo = load(fixture_dir / "options.json", dtype=dtype)
    bilm = elmo.bilm
    compared = 0
    for chain in read_chains(fixture_dir):
        state = bilm.zero_state(1)
        for tokens, expected in chain:
            marked = ["<S>", *tokens, "</S>"]
            layers, state = bilm.forward(
                bilm.encode_types(marked),
                np.arange(len(marked)),
                Packing(np.array([len(marked)])),
                state,
                3,
            )
            forward, backward = layers[2]
            computed = torch.cat([forward, backward.flip(0)], dim=1)[1:-1].numpy()
            check(elmo, computed, expected)  # the state forgets: no more roundings than alone
            compared += 1
    assert compared == 30


def test_token_vectors_match_tensorflow(fixture_dir: Path, check) -> None:
    words = (fixture_dir / "vocab_test.txt").read_text().splitlines()
    with h5py.File(fixture_dir / "elmo_token_embeddings.hdf5") as file:
        expected = file["embedding"][()]
    elmo = load(fixture_dir)

    [layers] = elmo.layers([words])

    check(elmo, layers[0], np.tile(expected, 2), steps=1)  # no recurrence in these


def test_training_time_options_are_accepted(shared: Path, fixture_dir: Path, check) -> None:
    folder = shared / "fixtures" / "elmo" / "pytorch-fast-elmo"
    lines = [line.split() for line in (folder / "lm_embd.txt").read_text().splitlines()]
    lines = [line for line in lines if len(line) == 17]
    elmo = load(options=folder / "options.json", weights=fixture_dir / "lm_weights.hdf5")

    [layers] = elmo.layers([[line[0] for line in lines]])

    expected = np.array([[float(number) for number in line[1:]] for line in lines])
    assert len(expected) == 17
    check(elmo, layers[0][:, :16], expected, steps=1)


def test_many_langs_vectors_match_its_own_package(shared: Path, check) -> None:
    folder = shared / "fixtures" / "elmo" / "efml_synthetic"
    sentences = json.loads((folder / "sentences.json").read_text())
    oracle = np.load(folder / "oracle_stateless.npz")
    elmo = load(folder)

    layers = elmo.layers(sentences)

    computed = np.concatenate([one.transpose(1, 0, 2) for one in layers])
    assert computed.shape == oracle["vectors"].shape
    check(elmo, computed, oracle["vectors"], steps=max(map(len, sentences)) + 2)
