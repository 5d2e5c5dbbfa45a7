"""Index files from somebody else: refused in one sentence, or harmless."""

import json
import os
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest

from pipelines.errors import CorpusError
from pipelines.index.approximate import add_blocks, search_index, train_index, write_index
from pipelines.index.factory import parse_factory
from pipelines.index.faiss_reader import ROOM_BYTES, read_approximate

DIM, ROWS = 16, 300
ROOT = Path(__file__).resolve().parents[3]
# Reads and searches damaged copies of a file in a process of its own, which may take 3 GB: a fault
# in FAISS or memory without end would end it, and is seen. argv: path, factory, how many, seed.
PROGRAM = """
import json, random, resource, sys
import numpy as np
from pipelines.errors import CorpusError
from pipelines.index.approximate import search_index
from pipelines.index.faiss_reader import ROOM_BYTES, read_approximate

resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
path, factory, count, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
whole, rng = open(path, "rb").read(), random.Random(seed)
query = np.random.default_rng(1).standard_normal((2, 16)).astype(np.float32)
words = [0, 1, 2**31 - 1, 2**31, 2**40, 2**62, 2**63, 2**64 - 1]
found = {"refused": 0, "read": 0}
for number in range(count):
    data, place = bytearray(whole), rng.randrange(min(len(whole), rng.choice([150, 1500, 10**9])))
    kind = rng.randrange(4)
    if kind == 0:
        data[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[place : place + 8] = rng.choice(words).to_bytes(8, "little")
    elif kind == 2:
        data[place : place + 4] = (rng.choice(words) % 2**32).to_bytes(4, "little")
    else:
        del data[place : place + rng.choice([1, 8, 100, 10**9])]
    damaged = f"{path}.{number}"
    open(damaged, "wb").write(data)
    print(json.dumps({"at": [kind, place]}), file=sys.stderr)
    try:
        index = read_approximate(damaged, factory, 16, 300, mapped=number % 2 == 0)
    except CorpusError as error:
        assert damaged in str(error) and "--rebuild" in str(error), error
        assert "\\n" not in str(error)
        found["refused"] += 1
        continue
    search_index(index, query, 5, 4)
    search_index(index, query, 5, 4, np.arange(300) % 3 > 0)
    found["read"] += 1
print(json.dumps(found))
"""


def built(path: Path, factory: str, rows: int = ROWS) -> Path:
    vectors = np.random.default_rng(0).standard_normal((300, DIM)).astype(np.float32)
    index = train_index(parse_factory(factory, DIM), DIM, vectors, seed=1)
    add_blocks(index, lambda: [vectors[:rows]] if rows else [], rows)
    write_index(index, path)
    return path


def damage(path: Path, factory: str, count: int, seed: int) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), factory, str(count), str(seed)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-1500:])
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("factory", ["HNSW8,SQfp16", "IVF4,PQ4x4"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_damaged_files_are_refused_or_harmless(factory: str, tmp_path: Path) -> None:
    found = damage(built(tmp_path / "x.faiss", factory), factory, count=120, seed=20261127)
    assert found["refused"] >= 40
    assert sum(found.values()) == 120


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "factory",
    ["HNSW8", "HNSW8,SQ8", "HNSW8,PQ4", "IVF4,Flat", "IVF4,SQfp16", "IVF4,SQ8", "IVF4,PQ4x4fs",
     "IVF4_HNSW4,SQfp16", "OPQ4,IVF4,PQ4", "OPQ4_8,IVF4,PQ4"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_long_sweep_of_damaged_files(factory: str, seed: int, tmp_path: Path) -> None:
    found = damage(built(tmp_path / "x.faiss", factory), factory, count=400, seed=seed)
    assert sum(found.values()) == 400


@pytest.mark.parametrize(
    ("written", "named", "rows", "words"),
    [
        (
            "IVF4,SQfp16",
            "HNSW8,SQfp16",
            ROWS,
            "found IndexIVFScalarQuantizer, expected IndexHNSWSQ",
        ),
        ("IVF4,SQfp16", "IVF8,SQfp16", ROWS, "nlist is 4, expected 8"),
        ("IVF4,SQfp16", "IVF4,SQ8", ROWS, "code_size is 32, expected 16"),
        ("IVF4,SQfp16", "IVF4,SQfp16", 299, "ntotal is 300, expected 299"),
        ("HNSW8,SQfp16", "HNSW8,SQfp16", 301, "ntotal is 300, expected 301"),
        ("IVF4,SQfp16", "IVF999999999,SQfp16", ROWS, "has at least 63,999,999,936"),
        ("IVF4,SQfp16", "IVF4,PQ4x24", ROWS, "has at least 1,073,741,824"),
        ("IVF4,SQfp16", "Sonnet", ROWS, "index.json names an impossible index"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_index_must_be_what_the_manifest_names(
    written: str, named: str, rows: int, words: str, tmp_path: Path
) -> None:
    path = built(tmp_path / "x.faiss", written)
    with pytest.raises(CorpusError, match=words):
        read_approximate(path, named, DIM, rows, mapped=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_index_within_indexes_without_end_is_refused(tmp_path: Path) -> None:
    inner = faiss.serialize_index(faiss.IndexFlatIP(DIM)).tobytes()
    turned = faiss.IndexPreTransform(faiss.LinearTransform(DIM, DIM), faiss.IndexFlatIP(DIM))
    outer = faiss.serialize_index(turned).tobytes()
    (tmp_path / "x.faiss").write_bytes(outer[: -len(inner)] * 100_000 + inner)
    with pytest.raises(CorpusError, match=r"an index in an index, over 4 deep.*--rebuild"):
        read_approximate(tmp_path / "x.faiss", "HNSW8", DIM, 1, mapped=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_limits_of_the_process_are_put_back(tmp_path: Path) -> None:
    before = faiss.get_deserialization_vector_byte_limit()
    read_approximate(built(tmp_path / "x", "HNSW8", rows=0), "HNSW8", DIM, 0, mapped=False)
    assert faiss.get_deserialization_vector_byte_limit() == before
    assert faiss.get_deserialization_loop_limit() == 0


def test_an_index_of_many_lists_is_read_back(tmp_path: Path) -> None:
    # Of 10 million vectors and more: FAISS's reader wanted room for a table of lists x centroids.
    lists = np.random.default_rng(0).standard_normal((8192, DIM)).astype(np.float32)
    index = faiss.index_factory(DIM, "IVF8192,PQ16", faiss.METRIC_INNER_PRODUCT)
    index.quantizer.add(lists)
    index.is_trained = True  # training takes a minute, and what the codes mean does not matter here
    index.add(lists[:10])
    write_index(index, tmp_path / "index.faiss")
    table_bytes = 4 * 8192 * 16 * 256
    assert table_bytes > ROOM_BYTES + (tmp_path / "index.faiss").stat().st_size

    read = read_approximate(tmp_path / "index.faiss", "IVF8192,PQ16", DIM, 10, mapped=True)

    assert sorted(search_index(read, lists[:1], 10, 8192)[1][0].tolist()) == list(range(10))
