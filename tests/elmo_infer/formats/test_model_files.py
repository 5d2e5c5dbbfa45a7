"""Files of a model from elsewhere: nothing outside them is read, nothing is unpacked unbounded."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from elmo_infer import load
from elmo_infer.formats.model_files import Hdf5Tensors, ModelFiles

NAME = "CNN_proj/W_proj"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """An HDF5 file of one small tensor, and another file beside it."""
    with h5py.File(tmp_path / "w.hdf5", "w") as file:
        file["CNN_proj/W_proj"] = np.ones((2, 3), np.float32)
    with h5py.File(tmp_path / "secret.hdf5", "w") as file:
        file["x"] = np.ones((2, 3), np.float32)
    return tmp_path / "w.hdf5"


def rewritten(path: Path, make: Any) -> Hdf5Tensors:
    with h5py.File(path, "a") as file:
        del file[NAME]
        make(file)
    return Hdf5Tensors(str(path), "w.hdf5")


def test_tensors_are_read(weights: Path) -> None:
    tensors = Hdf5Tensors(str(weights), "w.hdf5")
    np.testing.assert_array_equal(tensors.get(NAME), np.ones((2, 3), np.float32))
    assert tensors.get("CNN_proj/b_proj") is None
    assert tensors.get("none/at/all") is None


def external(file: h5py.File) -> None:
    file[NAME] = h5py.ExternalLink("secret.hdf5", "x")


def soft(file: h5py.File) -> None:
    file[NAME] = h5py.SoftLink("/elsewhere")


def stored_outside(file: h5py.File) -> None:
    file.create_dataset(NAME, (2, 3), "f4", external=[("/etc/hostname", 0, 24)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource("secret.hdf5", "x", (2, 3))
    file.create_virtual_dataset(NAME, layout)


def group(file: h5py.File) -> None:
    file.create_group(NAME)


def text(file: h5py.File) -> None:
    file[NAME] = "words"


def bomb(file: h5py.File) -> None:
    file.create_dataset(NAME, (1 << 24, 8), "f4", chunks=(1 << 16, 8), compression="gzip")
    file[NAME][: 1 << 16] = 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (external, "is a link to another file"),
        (soft, "is a link to another file"),
        (stored_outside, "is stored in other files"),
        (virtual, "is stored in other files"),
        (group, "is a group, expected a tensor"),
        (text, "expected numbers"),
        (bomb, r"unpacks to 536,870,912; expected at most 100 times"),
    ],
)
def test_what_is_no_tensor_in_the_file_itself_is_refused(
    make: Any, words: str, weights: Path
) -> None:
    tensors = rewritten(weights, make)
    with pytest.raises(ValueError, match=rf"w.hdf5.*{NAME}.*{words}"):
        tensors.get(NAME)


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.hdf5")
    with pytest.raises(ValueError, match="weights: not a regular file"):
        Hdf5Tensors(str(tmp_path / "weights.hdf5"), "weights")


def test_zip_bomb_and_damaged_member_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("options.json", b" " * (40 << 20))
        archive.writestr("weights.hdf5", b"not random, but stored" * 99, zipfile.ZIP_STORED)
    files = ModelFiles.find(str(tmp_path / "m.zip"))
    with pytest.raises(ValueError, match=r"options.json is stored in .* unpacks to 41,943,040"):
        files.read("options.json")
    data = (tmp_path / "m.zip").read_bytes()
    (tmp_path / "bad.zip").write_bytes(data.replace(b"not random", b"bad random", 1))
    with pytest.raises(ValueError, match=r"weights.hdf5: cannot be read from its archive: Bad CRC"):
        ModelFiles.find(str(tmp_path / "bad.zip")).read("weights.hdf5")


def test_folder_of_links_as_model_caches_keep_them_is_loaded(
    tiny_elmo_dir: Path, tmp_path: Path
) -> None:
    for path in tiny_elmo_dir.iterdir():
        (tmp_path / path.name).symlink_to(path)
    assert load(str(tmp_path)).fingerprint == load(str(tiny_elmo_dir)).fingerprint


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("char_cnn", "n_highway", 10**9),
        ("lstm", "n_layers", 10**9),
        ("lstm", "dim", 10**9),
        ("char_cnn", "n_highway", 1e999),
        ("lstm", "projection_dim", "wide"),
    ],
)
def test_impossible_sizes_are_refused_before_memory_is_taken(
    part: str, name: str, value: Any, make_elmo: Any
) -> None:
    directory = make_elmo()
    options = json.loads((directory / "options.json").read_text())
    options[part][name] = value
    (directory / "options.json").write_text(json.dumps(options))
    with pytest.raises(ValueError, match=r"options"):
        load(str(directory))
