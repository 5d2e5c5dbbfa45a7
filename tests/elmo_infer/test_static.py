"""Static encoders: the interface of Elmo, over a table."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from elmo_infer import load
from elmo_infer.formats.word2vec import write_word2vec
from elmo_infer.static import StaticEncoder, is_static_model, load_static

TABLE = np.array([[1, 0], [0, 2], [3, 4]], dtype=np.float32)


@pytest.fixture
def encoder() -> StaticEncoder:
    return StaticEncoder(name="toy", words=["a", "b", "C"], vectors=TABLE)


def write_nnlm(folder, *, vocabulary=("<unk>", "a", "b"), unknown="<unk>", **changes):
    settings = {"format": "nnlm", "version": 1, "vocabulary": vocabulary, "unknown": unknown}
    folder.mkdir(exist_ok=True)
    (folder / "nnlm.json").write_text(json.dumps(settings | changes), encoding="utf-8")
    save_file({"embedding": TABLE}, folder / "weights.safetensors")


def test_layers_are_the_vectors_in_every_context(encoder):
    first, second = encoder.layers([["a", "C"], ["C"]])
    assert first.tolist() == [[[1, 0], [3, 4]]]
    assert second.tolist() == [[[3, 4]]]
    assert first.dtype == np.float32
    assert encoder.layers([[]])[0].shape == (1, 0, 2)


def test_unknown_words_are_zero_and_counted(encoder):
    sentences = [["a", "x"], ["c", "b"]]
    assert encoder.layers(sentences)[0].tolist() == [[[1, 0], [0, 0]]]
    assert encoder.unknown_tokens(sentences) == 2


def test_lowercase_fallback_is_used_only_if_asked_for_and_only_then():
    encoder = StaticEncoder(
        name="toy", words=["a", "b", "C"], vectors=TABLE, lowercase_fallback=True
    )
    assert encoder.layers([["A", "C", "c"]])[0].tolist() == [[[1, 0], [3, 4], [0, 0]]]
    assert encoder.unknown_tokens([["A", "C", "c"]]) == 1


def test_mean_pooling_by_hand(encoder):
    found = encoder.embed([["a", "b"], [], ["C"]], pooling="mean")
    assert found.sentence_vectors.tolist() == [[0.5, 1], [0, 0], [3, 4]]
    assert found.offsets.tolist() == [0, 2, 2, 3]
    assert found.attention.tolist() == [0.5, 0.5, 1]
    assert found.token_vectors.tolist() == TABLE.tolist()


def test_attention_pooling_by_hand(encoder):
    # Query: the mean (0.5, 1); scores 0.5 and 2 over sqrt(2).
    weights = np.exp(np.array([0.5, 2]) / np.sqrt(2))
    weights /= weights.sum()
    found = encoder.embed([["a", "b"]])
    assert found.attention == pytest.approx(weights)
    assert found.sentence_vectors[0] == pytest.approx(weights @ TABLE[:2])


def test_focus_asks_with_its_own_word(encoder):
    weights = np.exp(np.array([1, 0]) / np.sqrt(2))
    weights /= weights.sum()
    found = encoder.embed([["C"], ["a", "b"]], focus=[None, 0])
    assert found.attention == pytest.approx([1, *weights])


def test_max_pooling_by_hand(encoder):
    found = encoder.embed([["a", "b"]], pooling="max")
    assert found.sentence_vectors.tolist() == [[1, 2]]
    assert found.attention.tolist() == [0.5, 0.5]


def test_layer_weight_scales(encoder):
    assert encoder.embed([["C"]], layer_weights=[0.5]).token_vectors.tolist() == [[1.5, 2]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer_weights": [1, 1]}, "layer_weights has 2 numbers; this model has 1"),
        ({"pooling": "sum"}, "unknown pooling 'sum'"),
        ({"focus": [5]}, "focus of sentence 0 is 5"),
    ],
)
def test_impossible_options_are_refused(encoder, options, words):
    with pytest.raises(ValueError, match=words):
        encoder.embed([["a"]], **options)


def test_a_string_for_a_sentence_is_refused(encoder):
    with pytest.raises(TypeError, match="sentence 0 is a string"):
        encoder.layers(["ab"])


def test_fingerprint_follows_what_decides_a_vector(encoder):
    def fingerprint(words=("a", "b", "C"), vectors=TABLE, **more):
        return StaticEncoder(name="x", words=words, vectors=vectors, **more).fingerprint

    assert encoder.fingerprint == fingerprint()
    assert encoder.fingerprint != fingerprint(words=("a", "b", "c"))
    assert encoder.fingerprint != fingerprint(vectors=TABLE + np.float32(1e-6))
    assert encoder.fingerprint != fingerprint(unknown=np.ones(2, np.float32))
    assert encoder.fingerprint != fingerprint(lowercase_fallback=True)


@pytest.mark.parametrize("name", ["v.txt", "v.bin", "v.vec.gz"])
def test_load_reads_word2vec_files(tmp_path, name):
    write_word2vec(tmp_path / name, ["a", "b", "C"], TABLE)
    encoder = load(str(tmp_path / name))
    assert (encoder.dim, encoder.n_layers, encoder.default_layer_weights) == (2, 1, (1.0,))
    assert encoder.layers([["C"]])[0].tolist() == [[[3, 4]]]


def test_load_reads_an_nnlm_whose_unknown_word_has_a_vector(tmp_path):
    write_nnlm(tmp_path / "m")
    encoder = load(str(tmp_path / "m"))
    assert encoder.layers([["b", "x", "<unk>"]])[0].tolist() == [[[3, 4], [1, 0], [1, 0]]]
    assert encoder.unknown_tokens([["b", "x"]]) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, r"format and version are \('nnlm', 2\); expected"),
        ({"unknown": "<u>"}, "the unknown word '<u>'"),
        ({"vocabulary": ["<unk>", "a"]}, r"found shape \(3, 2\), expected \[2, D\]"),
        ({"vocabulary": ["<unk>", "a", "a"]}, "hold each word once"),
    ],
)
def test_damaged_nnlm_is_refused(tmp_path, changes, words):
    write_nnlm(tmp_path / "m", **changes)
    with pytest.raises(ValueError, match=words):
        load_static(tmp_path / "m")


def test_nnlm_with_broken_weights_is_refused(tmp_path):
    write_nnlm(tmp_path / "m")
    (tmp_path / "m" / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        load_static(tmp_path / "m")


def test_a_gpu_is_not_pretended(tmp_path):
    write_word2vec(tmp_path / "v.bin", ["a", "b", "C"], TABLE)
    with pytest.raises(ValueError, match=r"device is 'cuda', but .* runs on the CPU only"):
        load_static(tmp_path / "v.bin", device="cuda")


def test_other_files_are_not_taken_for_static_models(tmp_path, tiny_elmo_dir):
    assert not is_static_model(str(tiny_elmo_dir))
    assert not is_static_model(str(tiny_elmo_dir / "options.json"))
    assert not is_static_model(str(tmp_path / "nothing"))
