"""Find the files of a model: a directory, an archive, or an options file.

Everything is reached through fsspec, so paths and URLs are alike; local HDF5 files are opened by
their path, which is fastest.
"""

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import fsspec
import h5py
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.zip import ZipFileSystem

MANY_LANGS_FILES = ("config.json", "token_embedder.pkl", "encoder.pkl", "char.dic")

UNPACKED_TIMES = 100
UNPACKED_ROOM_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """The files of one model.

    Attributes:
      location: as it was asked for, for errors.
      kind: "official", "many_langs" or "other".
      paths: path in `filesystem` of every file, by base name.
      options, weights: names of an official model's two files; empty for other kinds.
    """

    location: str
    kind: str
    filesystem: Any
    paths: dict[str, str]
    options: str = ""
    weights: str = ""

    @classmethod
    def find(cls, location: str) -> "ModelFiles":
        """Look at a directory, a .zip or an options.json, and tell what it holds.

        Raises:
          FileNotFoundError: if there is nothing.
          ValueError: if an archive cannot be read, or options stand without weights.
        """
        filesystem, path = fsspec.core.url_to_fs(location)
        if not filesystem.exists(path):
            raise FileNotFoundError(f"no model at {location}: there is no such file or directory")
        if location.lower().endswith((".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")):
            raise ValueError(
                f"{location} is a tar archive; unpack it (tar xf) and name the folder that it holds"
            )
        if location.lower().endswith(".zip"):
            archive = _open_zip(filesystem, path, location)
            return cls._within(location, archive, _only_folder(archive))
        if filesystem.isdir(path):
            return cls._within(location, filesystem, path)
        folder, _, name = path.rpartition("/")
        if not name.endswith(".json"):
            return cls(location=location, kind="other", filesystem=filesystem, paths={name: path})
        paths = _list(filesystem, folder)
        weights = _weights_beside(name, sorted(paths))
        if weights is None:
            raise FileNotFoundError(
                f"{location}: no weights beside it; expected weights.hdf5, model.hdf5 or a single "
                f".hdf5 file, found {', '.join(sorted(paths))}. Name it with weights=..."
            )
        return cls(
            location=location,
            kind="official",
            filesystem=filesystem,
            paths=paths,
            options=name,
            weights=weights,
        )

    @classmethod
    def of_pair(cls, options: str, weights: str) -> "ModelFiles":
        """Take an official model's two files from wherever they are, on one filesystem."""
        filesystem, options_path = fsspec.core.url_to_fs(options)
        other, weights_path = fsspec.core.url_to_fs(weights)
        if type(filesystem) is not type(other):
            raise ValueError(
                f"options and weights lie on different filesystems ({options}, {weights}); "
                "put them on one"
            )
        for location, path in ((options, options_path), (weights, weights_path)):
            if not filesystem.isfile(path):
                raise FileNotFoundError(f"no file at {location}")
        paths = _list(filesystem, weights_path.rpartition("/")[0])
        paths |= {options: options_path, weights: weights_path}
        return cls(
            location=options,
            kind="official",
            filesystem=filesystem,
            paths=paths,
            options=options,
            weights=weights,
        )

    @classmethod
    def _within(cls, location: str, filesystem: Any, folder: str) -> "ModelFiles":
        paths = _list(filesystem, folder)
        names = sorted(paths)
        found = cls(location=location, kind="other", filesystem=filesystem, paths=paths)
        if set(MANY_LANGS_FILES) <= set(names):
            return cls(**(vars(found) | {"kind": "many_langs"}))
        options = [name for name in names if name.endswith("options.json")]
        if len(options) != 1:
            return found
        weights = _weights_beside(options[0], names)
        if weights is None:
            raise FileNotFoundError(
                f"{location}: {options[0]} is there but no weights; expected weights.hdf5, "
                f"model.hdf5 or a single .hdf5 file, found {', '.join(names)}"
            )
        return cls(
            **(vars(found) | {"kind": "official", "options": options[0], "weights": weights})
        )

    @property
    def names(self) -> list[str]:
        """Base names of all files, sorted."""
        return sorted(self.paths)

    def label(self, name: str) -> str:
        """Return a file's name as errors should show it."""
        return name if name == self.location else f"{self.location.rstrip('/')}: {name}"

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
          ValueError: if it is a damaged member of an archive, or unpacks to far more than it is
            stored in.
        """
        path = self.paths[name]
        if isinstance(self.filesystem, ZipFileSystem):
            member = self.filesystem.zip.getinfo(path)
            _check_unpacked(self.label(name), member.file_size, member.compress_size)
        try:
            data: bytes = self.filesystem.cat_file(path)
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"{self.label(name)}: cannot be read from its archive: {error}; the archive is"
                " damaged; fetch it again"
            ) from error
        return data

    def open_hdf5(self, name: str) -> "Hdf5Tensors":
        """Open an HDF5 file for reading.

        Raises:
          ValueError: if it is not HDF5, or is cut short.
        """
        path = self.paths[name]
        local = isinstance(self.filesystem, LocalFileSystem)
        return Hdf5Tensors(path if local else BytesIO(self.read(name)), self.label(name))

    def explain(self) -> str:
        """Say what was found where no known model was."""
        return (
            f"no model that can be read at {self.location}: found "
            f"{', '.join(self.names) or 'nothing'}; expected options.json with weights.hdf5 or "
            f"model.hdf5 (official, simple_elmo), or {', '.join(MANY_LANGS_FILES)} "
            "(ELMoForManyLangs), or a word2vec file"
        )


class Hdf5Tensors:
    """The tensors of an HDF5 file, each read when it is asked for; closed with its last user.

    Args:
      source: path, or the file's bytes.
      where: its name, for errors.
    """

    def __init__(self, source: str | BytesIO, where: str) -> None:
        self._where = where
        if isinstance(source, str) and not os.path.isfile(source):
            raise ValueError(f"{where}: not a regular file")  # a pipe would never end
        with self._explained():
            self._file = h5py.File(source, "r")

    def __contains__(self, name: str) -> bool:
        with self._explained():
            return name in self._file

    def get(self, name: str) -> np.ndarray | None:
        """Return a tensor, or None if there is none of that name.

        Raises:
          ValueError: if the file is damaged there, leads to other files, or unpacks to far more
            bytes than it has.
        """
        with self._explained():
            item = self._item(name)
            if item is None:
                return None
            _check_unpacked(
                f"{self._where}: tensor {name!r}", item.nbytes, item.id.get_storage_size()
            )
            found: np.ndarray = item[()]
        return found

    def _item(self, name: str) -> h5py.Dataset | None:
        """Return the dataset of a name, if all of it is in this very file."""
        place = self._file
        for part in name.split("/"):
            with self._explained():
                link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise ValueError(
                    f"{self._where}: {name!r} is a link to another file; weights must be in the"
                    " file itself"
                )
            with self._explained():
                place = place[part]
        if not isinstance(place, h5py.Dataset):
            raise ValueError(f"{self._where}: {name!r} is a group, expected a tensor")
        if place.external or place.is_virtual:
            raise ValueError(
                f"{self._where}: tensor {name!r} is stored in other files; weights must be in the"
                " file itself"
            )
        if place.dtype.kind not in "fiu":
            raise ValueError(
                f"{self._where}: tensor {name!r} is of {place.dtype}, expected numbers"
            )
        return place

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        # h5py's kinds of error for damage differ by where it meets it.
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            if str(error).startswith(self._where):
                raise  # it says so already
            raise ValueError(
                f"{self._where}: cannot be read as HDF5: {error}. "
                "The file is damaged or its download was cut short; fetch it again"
            ) from error


def _check_unpacked(place: str, unpacked: int, stored: int) -> None:
    """Check, before memory is taken, that bytes are not far more than a file can mean.

    Trained weights hardly compress; the room leaves space for biases that are still zero.
    """
    if unpacked > UNPACKED_TIMES * stored + UNPACKED_ROOM_BYTES:
        raise ValueError(
            f"{place} is stored in {stored:,} bytes, but unpacks to {unpacked:,}; expected at most"
            f" {UNPACKED_TIMES} times as many: this is not a file of trained weights"
        )


def read_json(files: ModelFiles, name: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
      ValueError: if it is not one.
    """
    try:
        parsed = json.loads(files.read(name))
    except ValueError as error:
        raise ValueError(f"{files.label(name)}: cannot be read as JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise ValueError(
            f"{files.label(name)}: holds a JSON {type(parsed).__name__}, expected an object; is"
            " it a file of another program? Put the model's own file in its place"
        )
    return parsed


def _open_zip(filesystem: Any, path: str, location: str) -> ZipFileSystem:
    try:
        return ZipFileSystem(filesystem.open(path, "rb"))
    except zipfile.BadZipFile as error:
        raise ValueError(f"{location}: cannot be read as a zip archive: {error}") from error


def _only_folder(archive: ZipFileSystem) -> str:
    """Return the folder of an archive that holds everything, or the top; what macOS adds is no
    part of it."""
    folder = ""
    while True:
        entries = [
            entry
            for entry in archive.ls(folder, detail=True)
            if not entry["name"].rstrip("/").rpartition("/")[2].startswith(("__MACOSX", "."))
        ]
        if len(entries) != 1 or entries[0]["type"] == "file":
            return folder
        folder = entries[0]["name"]


def _list(filesystem: Any, folder: str) -> dict[str, str]:
    entries = filesystem.ls(folder, detail=True)
    return {
        entry["name"].rstrip("/").rpartition("/")[2]: entry["name"]
        for entry in entries
        if _is_file(filesystem, entry) and not entry["name"].rpartition("/")[2].startswith("._")
    }


def _is_file(filesystem: Any, entry: dict[str, Any]) -> bool:
    """Say whether an entry of a listing is a file, or a link to one as model caches keep them."""
    linked = bool(entry.get("islink")) and filesystem.isfile(entry["name"])
    return entry["type"] == "file" or linked


def _weights_beside(options: str, names: list[str]) -> str | None:
    """Return the HDF5 file that belongs to an options file, or None if that is unclear."""
    candidates = [name for name in names if name.endswith((".hdf5", ".h5"))]
    stem = options.removesuffix("options.json")
    for expected in (f"{stem}weights.hdf5", f"{stem}model.hdf5", "weights.hdf5", "model.hdf5"):
        if expected in candidates:
            return expected
    for group in (candidates, [name for name in candidates if name.endswith("weights.hdf5")]):
        if len(group) == 1:
            return group[0]
    return None
