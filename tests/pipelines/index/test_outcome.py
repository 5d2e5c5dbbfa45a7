"""What the builder's workers hand to the command: read back the same, and never run."""

import io
import pickle

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import CorpusError
from pipelines.index.centering import Centering
from pipelines.index.fit import Fitted
from pipelines.index.format import IndexFile
from pipelines.index.outcome import read_outcome, write_outcome
from pipelines.index.parts import ShardFiles, ShardLayout


def test_outcome_is_read_as_it_was_written() -> None:
    layout = {
        name: ShardLayout(
            forms=pa.array(forms, pa.string()),
            counts=np.arange(len(forms), dtype=np.int64),
            bounds=np.zeros(1, np.int64),
            first={},
            rows={"documents": 1, "sentences": 2, "tokens": 3},
        )
        for name, forms in {"00001": [], "00000": ["Bank", "bank"]}.items()
    }
    trained = IndexFile(path="indexes/i/t.faiss", bytes=3, sha256="a")
    mean = np.array([0.1, -3e-8], np.float32)
    known = Fitted(centering=Centering(mean, np.zeros((0, 2), np.float32)), trained=trained, rows=7)
    files = [ShardFiles(shard="00000", files={"tokens": trained})]
    file = io.BytesIO()
    write_outcome(file, layout, {"tokens": known}, files)
    found = read_outcome(io.BytesIO(file.getvalue()), "scratch/outcome")
    assert list(found.shards) == ["00000", "00001"]
    assert found.shards["00000"].forms.to_pylist() == ["Bank", "bank"]
    assert found.shards["00000"].counts.tolist() == [0, 1]
    assert found.shards["00001"].rows == {"documents": 1, "sentences": 2, "tokens": 3}
    assert found.fitted is not None
    assert found.fitted["tokens"].trained == trained
    assert found.fitted["tokens"].rows == 7
    np.testing.assert_array_equal(found.fitted["tokens"].centering.mean, mean)
    assert found.files == tuple(files)


class Trap:
    """Runs something when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("it was unpickled",)


def test_pickle_in_its_place_is_refused_and_not_run() -> None:
    with pytest.raises(CorpusError, match=r"scratch/outcome is not what this build wrote .* again"):
        read_outcome(io.BytesIO(pickle.dumps(Trap())), "scratch/outcome")
