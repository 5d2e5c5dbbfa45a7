"""Archives as people make them: with a folder inside, on a Mac, with another suffix."""

import tarfile
import zipfile
from pathlib import Path

import pytest

from elmo_infer import load


@pytest.mark.parametrize("name", ["m.zip", "m.ZIP"])
@pytest.mark.parametrize("folder", ["", "model/", "a/b/"])
def test_a_zip_may_hold_a_folder_and_what_macos_adds(
    tmp_path: Path, tiny_elmo_dir: Path, name: str, folder: str
) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        for file in ("options.json", "weights.hdf5"):
            archive.write(tiny_elmo_dir / file, folder + file)
            archive.writestr(f"__MACOSX/{folder}._{file}", b"\0")
        archive.writestr(f"{folder}.DS_Store", b"\0")
    found = load(str(tmp_path / name))
    assert found.fingerprint == load(str(tiny_elmo_dir)).fingerprint


@pytest.mark.parametrize("name", ["m.tgz", "m.tar.gz", "m.tar"])
def test_a_tar_archive_is_to_be_unpacked(tmp_path: Path, tiny_elmo_dir: Path, name: str) -> None:
    with tarfile.open(tmp_path / name, "w") as archive:
        archive.add(tiny_elmo_dir, "model")
    with pytest.raises(ValueError, match="is a tar archive; unpack it"):
        load(str(tmp_path / name))
