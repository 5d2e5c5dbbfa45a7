"""Model files damaged at random: refused in words, or loaded; never another error, nor a fault."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from elmo_infer.formats.word2vec import write_word2vec

ROOT = Path(__file__).resolve().parents[3]
# In a process of its own, with 4 GB and 100 seconds: a fault, a hang and memory without end are
# seen. argv: kind, file, what to load, how many, seed.
PROGRAM = """
import json, random, resource, sys
from pathlib import Path
import elmo_infer
from elmo_infer.formats.safetensors_file import read_safetensors
from elmo_infer.formats.word2vec import read_word2vec

resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
kind, path, location, count, seed = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]
load = {
    "elmo": lambda: elmo_infer.load(location, device="cpu"),
    "word2vec": lambda: read_word2vec(location),
    "safetensors": lambda: read_safetensors(path.read_bytes(), location),
}[kind]
whole, rng = path.read_bytes(), random.Random(int(seed))
words = [0, 1, 2**31, 2**40, 2**63, 2**64 - 1]
found = {"refused": 0, "read": 0}
for number in range(int(count)):
    data, place = bytearray(whole), rng.randrange(min(len(whole), rng.choice([100, 2000, 10**9])))
    how = rng.randrange(4)
    if how == 0:
        data[place] ^= 1 << rng.randrange(8)
    elif how == 1:
        data[place : place + 8] = rng.choice(words).to_bytes(8, "little")
    elif how == 2:
        data[place : place + 4] = rng.randbytes(4)
    else:
        del data[place : place + rng.choice([1, 8, 100, 10**9])]
    path.write_bytes(data)
    print(number, how, place, file=sys.stderr)
    try:
        load()
        found["read"] += 1
    except (ValueError, OSError) as error:
        assert location in str(error) or str(error).startswith("options: "), repr(error)
        found["refused"] += 1
print(json.dumps(found))
"""


def damage(kind: str, path: Path, location: Path, count: int, seed: int) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind, str(path), str(location), str(count), str(seed)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-1500:])
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weights.hdf5", "options.json"])
def test_damaged_elmo_is_refused_or_read(name: str, tiny_elmo_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_elmo_dir, tmp_path / "model")
    found = damage("elmo", tmp_path / "model" / name, tmp_path / "model", 150, seed=1)
    assert sum(found.values()) == 150
    assert found["refused"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["bin", "txt", "bin.gz"])
def test_damaged_word2vec_is_refused_or_read(suffix: str, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    path = tmp_path / f"x.{suffix}"
    write_word2vec(path, [f"word{n}" for n in range(50)], vectors)
    found = damage("word2vec", path, path, 300, seed=2)
    assert sum(found.values()) == 300
    assert found["refused"] > 30


@pytest.mark.slow
def test_damaged_safetensors_is_refused_or_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": np.ones((20, 8), np.float32), "b": np.zeros(8, np.float16)}, path)
    found = damage("safetensors", path, path, 300, seed=3)
    assert sum(found.values()) == 300
    assert found["refused"] > 30
