"""The official layout read tensor by tensor: gate order, forget bias, what may be missing."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from elmo_infer.config import BiLmConfig
from elmo_infer.formats.model_files import ModelFiles
from elmo_infer.formats.official import read_official, reorder_gates
from elmo_infer.reading import read_official_model
from elmo_infer.weights import BiLmWeights


def read(directory: Path) -> BiLmWeights:
    _, weights, _, _ = read_official_model(ModelFiles.find(str(directory)))
    return weights


def test_gates_by_hand() -> None:
    # TensorFlow writes input, candidate, forget, output, two columns each.
    gates = np.array([["i0", "i1", "j0", "j1", "f0", "f1", "o0", "o1"]])
    assert reorder_gates(gates, 2).tolist() == [["i0", "i1", "f0", "f1", "j0", "j1", "o0", "o1"]]


def test_cells_are_split_and_the_forget_gate_gets_its_one(make_elmo) -> None:
    directory = make_elmo(cell=3, projection=2)
    with h5py.File(directory / "weights.hdf5") as file:
        cell = file["RNN_1/RNN/MultiRNNCell/Cell1/LSTMCell"]
        both, bias, projection = (cell[name][()] for name in ("W_0", "B", "W_P_0"))
    i, j, f, o = np.split(both, 4, axis=1)
    bi, bj, bf, bo = np.split(bias, 4)

    found = read(directory).lstm[1][1]()

    expected = np.concatenate([i, f, j, o], axis=1)
    np.testing.assert_array_equal(found.input, expected[:2])
    np.testing.assert_array_equal(found.recurrent, expected[2:])
    np.testing.assert_array_equal(found.bias, np.concatenate([bi, bf + np.float32(1), bj, bo]))
    np.testing.assert_array_equal(found.projection, projection)


def test_token_layer_is_read_as_it_stands(make_elmo) -> None:
    directory = make_elmo(filters=((1, 4), (3, 2)), highway=2)
    with h5py.File(directory / "weights.hdf5") as file:
        arrays = {name: file[name][()] for name in ("CNN/W_cnn_1", "CNN_high_1/W_carry",
                  "CNN_high_1/W_transform", "CNN_proj/W_proj", "char_embed")}  # fmt: skip

    weights = read(directory)

    np.testing.assert_array_equal(weights.characters, arrays["char_embed"])
    np.testing.assert_array_equal(weights.convolutions[1][0], arrays["CNN/W_cnn_1"][0])
    np.testing.assert_array_equal(weights.highways[1]().gate, arrays["CNN_high_1/W_carry"])
    np.testing.assert_array_equal(weights.highways[1]().transform, arrays["CNN_high_1/W_transform"])
    assert weights.projection is not None
    np.testing.assert_array_equal(weights.projection[0], arrays["CNN_proj/W_proj"])
    assert weights.words is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CNN/b_cnn_0", None, r"tensor 'CNN/b_cnn_0' is missing; expected shape \(4\) by the opt"),
        ("char_embed", np.zeros((260, 4)), r"'char_embed' has shape \(260, 4\), expected \(261, 4"),
        ("CNN_proj/b_proj", np.full(8, np.nan), r"'CNN_proj/b_proj' holds NaN or infinity"),
        ("RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell/W_P_0", None, r"W_P_0' is missing; expected shape"),
    ],
)
def test_tensor_that_cannot_be_is_named(make_elmo, name: str, value, words: str) -> None:
    directory = make_elmo()
    with h5py.File(directory / "weights.hdf5", "a") as file:
        del file[name]
        if value is not None:
            file.create_dataset(name, data=value.astype(np.float32))
    with pytest.raises(ValueError, match=words):
        for _ in read(directory).tensors():
            pass


class Tensors(dict):
    """Named arrays that stand for a file."""

    def get(self, name):
        return super().get(name)


def test_word_input_model_is_refused(tiny_elmo_dir: Path) -> None:
    options = json.loads((tiny_elmo_dir / "options.json").read_text())
    config = BiLmConfig.from_options(options, "o")
    with pytest.raises(ValueError, match=r"w.hdf5: holds word vectors .* only character-input"):
        read_official(Tensors(embedding=np.zeros((5, 8))), config, "w.hdf5")
