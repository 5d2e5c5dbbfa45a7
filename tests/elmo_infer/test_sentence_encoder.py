"""One sentence in NumPy gives the vectors that batches in PyTorch give."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elmo_infer import load, load_sentence_encoder, sentence_encoder

ROOT = Path(__file__).resolve().parents[2]
# DESIGN 4.1; measured below 4e-6 on the bundled model.
TOLERANCE = 2e-5
SENTENCES = [
    ["The", "bank", "of", "the", "river"],
    [],
    ["Hi"],
    ["", "<S>", "</S>", "天氣", "ünter", "\ud800", "x" * 60, "bank"],
    ["the", "bank"] * 30,
]


def assert_same(first: Any, second: Any) -> None:
    for name in ("token_vectors", "sentence_vectors", "attention"):
        found, expected = getattr(first, name), getattr(second, name)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0, err_msg=name)
    np.testing.assert_array_equal(first.offsets, second.offsets)


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"activation": "tanh", "highway": 2},
        {"highway": 0, "skip_connections": False},
        {"layers": 1},
        {"layers": 3, "filters": ((1, 3), (5, 4), (7, 2)), "cell": 8, "projection": 8},
    ],
    ids=str,
)
@pytest.mark.parametrize("initial_state", ["zero", "warm"])
def test_every_shape_gives_the_vectors_of_a_batch(
    make_elmo: Callable[..., Path], shape: dict[str, Any], initial_state: str
) -> None:
    directory = make_elmo(**shape)
    batch = load(directory, device="cpu", initial_state=initial_state)
    single = load_sentence_encoder(directory, initial_state=initial_state)
    assert single.fingerprint == batch.fingerprint
    assert (single.dim, single.n_layers) == (batch.dim, batch.n_layers)
    assert_same(single.embed(SENTENCES), batch.embed(SENTENCES))


def test_a_model_without_clips_or_projections(make_elmo: Callable[..., Path]) -> None:
    import h5py

    directory = make_elmo(cell=8, projection=8)
    options = json.loads((directory / "options.json").read_text())
    options["lstm"] |= {"cell_clip": None, "proj_clip": None}
    (directory / "options.json").write_text(json.dumps(options))
    with h5py.File(directory / "weights.hdf5", "r+") as file:
        for direction in range(2):
            for layer in range(2):
                del file[f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell/W_P_0"]
    batch, single = load(directory, device="cpu"), load_sentence_encoder(directory)
    assert_same(single.embed(SENTENCES), batch.embed(SENTENCES))


def test_a_given_state(tiny_elmo_dir: Path, rng: np.random.Generator) -> None:
    state = (rng.uniform(-1, 1, (2, 2, 8)), rng.uniform(-1, 1, (2, 2, 12)))
    batch = load(tiny_elmo_dir, device="cpu", initial_state=state)
    single = load_sentence_encoder(tiny_elmo_dir, initial_state=state)
    assert single.fingerprint == batch.fingerprint
    assert_same(single.embed(SENTENCES), batch.embed(SENTENCES))


@pytest.mark.parametrize(
    "options",
    [
        {"layer_weights": [1.0, 0.0, 0.0]},
        {"layer_weights": [0.0, 2.0, 0.0]},
        {"layer_weights": [0.0, 0.0, 0.0]},
        {"pooling": "mean"},
        {"pooling": "max"},
        {"focus": [1, None, 0, None, 59]},
    ],
    ids=str,
)
def test_options_of_embed(tiny_elmo_dir: Path, options: dict[str, Any]) -> None:
    batch, single = load(tiny_elmo_dir, device="cpu"), load_sentence_encoder(tiny_elmo_dir)
    assert_same(single.embed(SENTENCES, **options), batch.embed(SENTENCES, **options))


def test_many_langs(shared: Path) -> None:
    directory = shared / "fixtures" / "elmo" / "efml_synthetic"
    batch, single = load(directory, device="cpu"), load_sentence_encoder(directory)
    assert single.fingerprint == batch.fingerprint
    assert_same(single.embed(SENTENCES), batch.embed(SENTENCES))


def test_a_small_word_cache_changes_nothing(
    tiny_elmo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load_sentence_encoder(tiny_elmo_dir).embed(SENTENCES * 2)
    monkeypatch.setattr(sentence_encoder, "WORD_CACHE_BYTES", 3 * 4 * 8)  # three words
    assert_same(load_sentence_encoder(tiny_elmo_dir).embed(SENTENCES * 2), expected)


def test_bad_arguments_are_refused_as_a_batch_refuses_them(tiny_elmo_dir: Path) -> None:
    single = load_sentence_encoder(tiny_elmo_dir)
    with pytest.raises(TypeError, match="sentence 0 is a string"):
        single.embed(["the bank"])
    with pytest.raises(ValueError, match="this model has 3 layers"):
        single.embed([["a"]], layer_weights=[1.0])
    with pytest.raises(ValueError, match="expected a token index from 0 to 0"):
        single.embed([["a"]], focus=[1])
    with pytest.raises(FileNotFoundError, match="no model 'absent'"):
        load_sentence_encoder("absent")


def test_the_bundled_model_is_read_and_used_without_torch() -> None:
    program = (
        "import sys; from elmo_infer import load_sentence_encoder;"
        " print(load_sentence_encoder('en-small').embed([['a', 'bank']]).token_vectors.shape,"
        " 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == ["(2,", "384)", "False"]


@pytest.mark.slow
def test_a_thousand_sentences_of_the_bundled_model(rng: np.random.Generator) -> None:
    text = (ROOT / "tests" / "data" / "ambiguous.txt").read_text(encoding="utf-8")
    real = [re.findall(r"\w+|[^\w\s]", line) for line in text.splitlines() if line[:1].isalpha()]
    words = sorted({word for sentence in real for word in sentence})
    drawn = [list(rng.choice(words, rng.integers(1, 40))) for _ in range(1000 - len(real))]
    sentences = real + [[str(word) for word in sentence] for sentence in drawn]
    assert len(sentences) == 1000
    found = load_sentence_encoder("en-small").embed(sentences)
    assert_same(found, load("en-small", device="cpu").embed(sentences))
