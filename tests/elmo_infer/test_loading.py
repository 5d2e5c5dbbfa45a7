"""load: every layout it reads, and every way in which a model can be wrong."""

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from elmo_infer import load, loading
from elmo_infer.reading import MODELS

SENTENCES = [["The", "bank", "of", "the", "river"], ["天氣", ""]]


@pytest.fixture
def model_dir(tiny_elmo_dir: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may damage."""
    return Path(shutil.copytree(tiny_elmo_dir, tmp_path / "model"))


@pytest.fixture
def many_langs_dir(shared: Path, tmp_path: Path) -> Path:
    """A copy of the ELMoForManyLangs fixture that a test may damage."""
    target = tmp_path / "many_langs"
    target.mkdir()
    for source in (shared / "fixtures" / "elmo" / "efml_synthetic").iterdir():
        (target / source.name).write_bytes(source.read_bytes())
    return target


def vectors(*arguments: Any, **settings: Any) -> np.ndarray:
    return np.concatenate(load(*arguments, device="cpu", **settings).layers(SENTENCES), axis=1)


def edit_options(directory: Path, section: str, **changes: Any) -> None:
    path = directory / "options.json"
    options = json.loads(path.read_text())
    options[section] |= changes
    path.write_text(json.dumps(options))


def make_zip(source: Path, target: Path, weights: str = "model.hdf5") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(source / "options.json", "options.json")
        archive.write(source / "weights.hdf5", weights)
        archive.writestr("vocab.txt", "the\nbank\n")
    return target


def test_every_way_to_name_an_official_model_gives_the_same(model_dir: Path) -> None:
    expected = vectors(model_dir)
    fingerprint = load(model_dir).fingerprint
    pair = {"options": model_dir / "options.json", "weights": model_dir / "weights.hdf5"}

    np.testing.assert_array_equal(vectors(str(model_dir)), expected)
    np.testing.assert_array_equal(vectors(model_dir / "options.json"), expected)
    np.testing.assert_array_equal(vectors(**pair), expected)
    np.testing.assert_array_equal(vectors(f"file://{model_dir}"), expected)
    assert load(**pair).fingerprint == fingerprint


def test_published_names_are_paired(model_dir: Path) -> None:
    expected = vectors(model_dir)
    stem = "elmo_2x4096_512_2048cnn_2xhighway_"
    for name in ("options.json", "weights.hdf5"):
        (model_dir / name).rename(model_dir / f"{stem}{name}")
    (model_dir / "other_weights.hdf5").write_bytes(b"not this one")

    np.testing.assert_array_equal(vectors(model_dir / f"{stem}options.json"), expected)
    np.testing.assert_array_equal(vectors(model_dir), expected)


def test_a_simple_elmo_zip_and_directory(model_dir: Path, tmp_path: Path) -> None:
    expected = vectors(model_dir)
    archive = make_zip(model_dir, tmp_path / "200.zip")
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(archive) as file:
        file.extractall(unpacked)

    np.testing.assert_array_equal(vectors(archive), expected)
    np.testing.assert_array_equal(vectors(unpacked), expected)
    assert load(archive).fingerprint == load(unpacked).fingerprint == load(model_dir).fingerprint


def test_urls_of_any_filesystem(model_dir: Path, tmp_path: Path) -> None:
    expected = vectors(model_dir)
    memory = fsspec.filesystem("memory")
    memory.put(str(model_dir), "/models/tiny", recursive=True)
    memory.put(str(make_zip(model_dir, tmp_path / "tiny.zip")), "/models/tiny.zip")

    np.testing.assert_array_equal(vectors("memory://models/tiny"), expected)
    np.testing.assert_array_equal(vectors("memory://models/tiny/options.json"), expected)
    np.testing.assert_array_equal(vectors("memory://models/tiny.zip"), expected)


def test_many_langs_from_a_zip(many_langs_dir: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "179"), "zip", many_langs_dir)

    np.testing.assert_array_equal(vectors(archive), vectors(many_langs_dir))


def test_many_langs_marks_and_long_tokens(many_langs_dir: Path, model_bound) -> None:
    elmo = load(many_langs_dir, device="cpu")
    sentences = [["<bos>", "x" * 48, "<eos>"], ["<bos>", "x" * 400, "<eos>"]]

    short, long = elmo.layers(sentences)

    scale = max(1.0, float(np.abs(short).max()))
    bound = model_bound(elmo.bilm.config, steps=5, scale=scale)
    np.testing.assert_allclose(short, long, atol=bound, rtol=0)


def test_a_pooling_file_gives_query_and_layer_mix(model_dir: Path, rng) -> None:
    plain = load(model_dir, device="cpu")
    query = rng.standard_normal(16).astype(np.float32)
    mix = np.array([0.25, 0.5, 1.0], dtype=np.float32)
    save_file({"query": query, "layer_weights": mix}, model_dir / "pooling.safetensors")

    elmo = load(model_dir, device="cpu")

    assert plain.default_layer_weights == (1 / 3, 1 / 3, 1 / 3)
    assert elmo.default_layer_weights == (0.25, 0.5, 1.0)
    assert elmo.fingerprint != plain.fingerprint
    result = elmo.embed([["the", "bank", "river"]])
    scores = result.token_vectors @ query / 4.0
    np.testing.assert_allclose(result.attention, np.exp(scores) / np.exp(scores).sum(), atol=1e-5)
    np.testing.assert_array_equal(
        result.token_vectors, plain.embed([["the", "bank", "river"]], mix).token_vectors
    )


def test_attributes(model_dir: Path) -> None:
    elmo = load(model_dir, device="cpu", dtype="float64")

    assert (elmo.dim, elmo.n_layers, elmo.dtype, elmo.device) == (
        16,
        3,
        "float64",
        torch.device("cpu"),
    )
    assert elmo.name == str(model_dir)


def damage_missing_tensor(directory: Path) -> None:
    with h5py.File(directory / "weights.hdf5", "a") as file:
        del file["CNN_high_0/W_carry"]


def damage_shape(directory: Path) -> None:
    with h5py.File(directory / "weights.hdf5", "a") as file:
        del file["CNN/W_cnn_0"]
        file["CNN/W_cnn_0"] = np.zeros((1, 2, 4, 4), dtype=np.float32)


def damage_numbers(directory: Path) -> None:
    with h5py.File(directory / "weights.hdf5", "a") as file:
        file["char_embed"][3, 1] = np.nan


def damage_truncate(directory: Path) -> None:
    data = (directory / "weights.hdf5").read_bytes()
    (directory / "weights.hdf5").write_bytes(data[: len(data) // 2])


def damage_words(directory: Path) -> None:
    with h5py.File(directory / "weights.hdf5", "a") as file:
        del file["char_embed"]
        file["embedding"] = np.zeros((10, 8), dtype=np.float32)


def damage_no_characters(directory: Path) -> None:
    options = json.loads((directory / "options.json").read_text())
    del options["char_cnn"]
    (directory / "options.json").write_text(json.dumps(options))


def damage_no_weights(directory: Path) -> None:
    (directory / "weights.hdf5").unlink()


def damage_json(directory: Path) -> None:
    (directory / "options.json").write_text("{")


def damage_json_kind(directory: Path) -> None:
    (directory / "options.json").write_text("[]")


def damage_pooling(directory: Path) -> None:
    save_file({"query": np.zeros(5, dtype=np.float32)}, directory / "pooling.safetensors")


def damage_pooling_name(directory: Path) -> None:
    save_file({"key": np.zeros(16, dtype=np.float32)}, directory / "pooling.safetensors")


def damage_pooling_bytes(directory: Path) -> None:
    (directory / "pooling.safetensors").write_bytes(b"nothing of the kind")


def damage_pooling_kind(directory: Path) -> None:
    save_file({"query": np.zeros(16, dtype=np.int64)}, directory / "pooling.safetensors")


DAMAGES: list[tuple[Callable[[Path], None], type[Exception], str]] = [
    (
        damage_missing_tensor,
        ValueError,
        r"'CNN_high_0/W_carry' is missing; expected shape \(18, 18\)",
    ),
    (damage_shape, ValueError, r"'CNN/W_cnn_0' has shape \(1, 2, 4, 4\), expected \(1, 1, 4, 4\)"),
    (damage_numbers, ValueError, r"tensor 'char_embed' holds NaN or infinity"),
    (damage_truncate, ValueError, r"weights.hdf5: cannot be read as HDF5: .*fetch it again"),
    (damage_words, ValueError, r"holds word vectors \('embedding'\) and no 'char_embed'"),
    (damage_no_characters, ValueError, r"no 'char_cnn', so this biLM reads words"),
    (damage_no_weights, FileNotFoundError, r"options.json is there but no weights; expected"),
    (damage_json, ValueError, r"options.json: cannot be read as JSON"),
    (damage_json_kind, ValueError, r"options.json: holds a JSON list, expected an object"),
    (damage_pooling, ValueError, r"tensor 'query' has shape \(5,\), expected \(16,\)"),
    (damage_pooling_name, ValueError, r"unknown tensor 'key'; expected query, layer_weights"),
    (damage_pooling_kind, ValueError, r"'query' is of I64, expected floating point"),
    (damage_pooling_bytes, ValueError, r"pooling.safetensors: cannot be read as safetensors"),
]


@pytest.mark.parametrize(
    ("damage", "error", "words"), DAMAGES, ids=lambda it: getattr(it, "__name__", "")
)
def test_damaged_models(model_dir: Path, damage, error: type[Exception], words: str) -> None:
    damage(model_dir)

    with pytest.raises(error, match=words):
        load(model_dir)


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        ("char_cnn", {"activation": "gelu"}, "unknown activation 'gelu'"),
        ("char_cnn", {"filters": []}, "has no filters"),
        ("char_cnn", {"filters": [[51, 3]]}, r"filter \[51, 3\] is impossible"),
        ("char_cnn", {"filters": 7}, "not laid out as a biLM's options"),
        ("char_cnn", {"embedding": {}}, "the key 'dim' is missing"),
        ("lstm", {"cell_clip": 0}, "cell_clip is 0.0; expected a positive number or null"),
        ("lstm", {"n_layers": 0}, "n_lstm_layers is 0; expected at least 1"),
        ("lstm", {"n_layers": 3}, "Cell2/LSTMCell/W_P_0' is missing"),
    ],
)
def test_options_that_cannot_be(model_dir: Path, section: str, changes: dict, words: str) -> None:
    edit_options(model_dir, section, **changes)

    with pytest.raises(ValueError, match=words):
        load(model_dir)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ValueError, "load needs a model, or options and weights; found model=None"),
        ({"options": "o.json"}, ValueError, "load needs a model, or options and weights"),
        ({"model": "x", "options": "o.json"}, ValueError, "either a model or options and weights"),
        ({"model": "no-such"}, FileNotFoundError, "no model 'no-such': .* bundled are: "),
        ({"model": "./no/such"}, FileNotFoundError, "no such file or directory"),
        ({"options": "/no/o", "weights": "/no/w"}, FileNotFoundError, "no file at /no/o"),
        (
            {"dtype": "float8"},
            ValueError,
            "unknown dtype 'float8'; expected auto or one of",
        ),
        ({"dtype": "float16", "device": "cpu"}, ValueError, "'float16' cannot be used on cpu"),
        ({"device": "tpu"}, ValueError, "unknown device 'tpu'; expected 'auto', 'cpu'"),
        ({"device": "meta"}, ValueError, "unknown device 'meta'"),
        ({"device": "cuda:99"}, ValueError, "device 'cuda:99' was not found: this machine has"),
        ({"max_tokens_per_batch": 0}, ValueError, "max_tokens_per_batch is 0; expected at least 1"),
        ({"word_cache_bytes": -1}, ValueError, "word_cache_bytes is -1; expected at least 0"),
        ({"initial_state": "cold"}, ValueError, "unknown initial_state 'cold'; expected 'zero'"),
        ({"initial_state": 7}, ValueError, r"initial_state cannot be read as two arrays \(h, c\)"),
        (
            {"initial_state": (np.zeros((2, 2, 8)), np.zeros((2, 2, 13)))},
            ValueError,
            r"initial_state: c has shape \(2, 2, 13\), expected \(2, 2, 12\)",
        ),
    ],
)
def test_arguments_that_cannot_be(tiny_elmo_dir: Path, arguments, error, words: str) -> None:
    named = {"model", "options", "weights"} & set(arguments)
    model = {} if named or not arguments else {"model": tiny_elmo_dir}

    with pytest.raises(error, match=words):
        load(**model, **arguments)


def test_a_directory_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")

    with pytest.raises(ValueError, match=r"no model that can be read at .*: found notes\.txt"):
        load(tmp_path)


def test_a_zip_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"PK nothing")

    with pytest.raises(ValueError, match="cannot be read as a zip archive"):
        load(tmp_path / "model.zip")


def test_a_bundled_name_is_found(tiny_elmo_dir: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("elmo_infer.reading.MODELS", tmp_path)
    shutil.copytree(tiny_elmo_dir, tmp_path / "tiny")

    assert load("tiny").name == "tiny"
    with pytest.raises(FileNotFoundError, match="bundled are: tiny"):
        load("en-smol")


def test_bundled_models_lie_beside_the_code() -> None:
    assert MODELS.parent.name == "elmo_infer"


class Bomb:
    """What a hostile pickle holds: a call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("it ran",))


def test_a_pickle_that_holds_code_is_refused(many_langs_dir: Path, capsys) -> None:
    (many_langs_dir / "encoder.pkl").write_bytes(pickle.dumps(Bomb(), protocol=2))

    with pytest.raises(ValueError, match=r"encoder\.pkl: cannot be read as tensors alone"):
        load(many_langs_dir)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("char.dic", "<oov>\t0\n", r"char.dic: the entries <bos>, <eos>, <pad>, <bow>, <eow> are"),
        ("word.dic", "<oov>\tzero\n", r"word.dic: line 1 is '<oov>\\tzero'; expected a key, a tab"),
        ("word.dic", "<oov>\t0\nx\t90\n", r"needs 91 vectors, but token_embedder.pkl has 25"),
        ("config.json", "{}", "config_path is None; expected the name"),
        ("config.json", '{"config_path": "/a/gone.json"}', "gone.json is not beside it"),
        ("cnn_tiny.json", '{"encoder": {"name": "lstm"}}', "the key 'token_embedder' is missing"),
    ],
)
def test_damaged_many_langs(many_langs_dir: Path, name: str, content: str, words: str) -> None:
    (many_langs_dir / name).write_text(content)

    with pytest.raises(ValueError, match=words):
        load(many_langs_dir)


def test_many_langs_variants_that_are_not_elmo(many_langs_dir: Path) -> None:
    settings = json.loads((many_langs_dir / "cnn_tiny.json").read_text())
    settings["token_embedder"]["name"] = "lstm"
    (many_langs_dir / "cnn_tiny.json").write_text(json.dumps(settings))

    with pytest.raises(ValueError, match="token_embedder is 'lstm'; only 'cnn' can be loaded"):
        load(many_langs_dir)


def test_the_shipped_configuration_need_not_be_there(many_langs_dir: Path) -> None:
    path = '{"config_path": "configs/cnn_50_100_512_4096.json"}'
    (many_langs_dir / "config.json").write_text(path)

    # It is the real size, which the tiny weights then do not have.
    with pytest.raises(ValueError, match=r"'char_emb_layer.embedding.weight' has shape \(64, 6\)"):
        load(many_langs_dir)


@pytest.mark.parametrize(
    ("device", "products", "chosen"),
    [
        ("cpu", {torch.bfloat16, torch.int8}, torch.bfloat16),
        ("cpu", {torch.int8}, torch.int8),
        ("cpu", set(), torch.float32),
        ("cuda", set(), torch.float16),
    ],
)
def test_auto_is_what_the_device_is_fastest_in(
    monkeypatch: pytest.MonkeyPatch, device: str, products: set[torch.dtype], chosen: torch.dtype
) -> None:
    monkeypatch.setattr(loading, "has_products", products.__contains__)
    assert loading.choose_dtype("auto", torch.device(device)) == chosen


def test_auto_computes_in_what_it_names(tiny_elmo_dir: Path) -> None:
    elmo = load(tiny_elmo_dir, device="cpu", dtype="auto")
    named = load(tiny_elmo_dir, device="cpu", dtype=elmo.dtype)
    np.testing.assert_array_equal(
        elmo.embed(SENTENCES).token_vectors, named.embed(SENTENCES).token_vectors
    )
