"""Files of an index and their checksums."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.api import Corpus
from pipelines.index.build import build_index
from pipelines.index.options import IndexOptions
from pipelines.maintenance.verify import verify


def test_verify_names_a_damaged_file_of_the_index(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any]
) -> None:
    corpus = make_corpus(documents(35, 1))
    build_index(corpus.root, IndexOptions(factory="IVF4,SQfp16", target_recall=0.8))
    corpus = Corpus.open(corpus.root)
    directory = Path(corpus.root) / "indexes" / str(corpus.snapshot.index)
    files = sorted(directory.glob("*.*"))
    assert {path.suffix for path in files} == {".json", ".parquet", ".arrow", ".faiss", ".npy"}
    assert verify(corpus).faults == []
    for path in files:
        data = path.read_bytes()
        half = len(data) // 2
        damaged = data[: half - 1] if path.suffix == ".json" else flipped(data, half)
        path.write_bytes(damaged)
        [fault] = verify(corpus).faults
        assert fault.startswith(f"indexes/{directory.name}/{path.name} ")
        assert "damaged" in fault
        path.unlink()
        [fault] = verify(corpus).faults
        assert path.name in fault
        assert "is missing" in fault
        path.write_bytes(data)
    assert verify(corpus).faults == []


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
