"""A word's senses, and how they are kept beside the index that they were induced from.

indexes/<index_id>/senses/<name>.parquet: vector_id and sense of every occurrence; the rule that
assigns vectors, what is said of each sense, and a checksum of all stand in the file's metadata.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.corpus.store import Store
from pipelines.errors import CorpusError
from pipelines.index.exact import Floats
from pipelines.search.hits import Sense
from pipelines.senses.features import Features
from pipelines.senses.induction import Induction

_VERSION = 2  # of how senses are induced; raised when it changes


@dataclass(frozen=True, kw_only=True, eq=False)
class WordSenses:
    """The senses of a word.

    Attributes:
      word: as asked for.
      forms: occurrences of each form.
      senses: from the largest.
      gain: how much better than in structureless draws the occurrences fall apart; 0 for one sense.
      rule: puts any occurrence into a sense, by its features.
      features: of an occurrence's vectors.
      means: [S, D] float32 of length 1, the mean direction of each sense.
      vector_ids: [n] int64 ascending, of the occurrences in the index.
      numbers: [n] int32, their senses.
    """

    word: str
    forms: dict[str, int]
    senses: tuple[Sense, ...]
    gain: float
    rule: Induction
    features: Features
    means: Floats
    vector_ids: NDArray[np.int64]
    numbers: NDArray[np.int32]

    def of(self, vector_ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the senses of occurrences in the index; 0 for any other vector."""
        if not len(self.vector_ids):
            return np.zeros(len(vector_ids), np.int32)
        place = np.searchsorted(self.vector_ids, vector_ids).clip(max=len(self.vector_ids) - 1)
        return np.where(self.vector_ids[place] == vector_ids, self.numbers[place], 0)

    def assign(self, tokens: Floats, sentences: Floats) -> NDArray[np.int32]:
        """Return the senses of occurrences that are not in the index, by vectors [n, D]."""
        return self.rule.assign(self.features(tokens, sentences))

    def to_json(self) -> dict[str, Any]:
        """Return what `sensegrep senses --json` prints; ids as strings."""
        senses = [
            {**asdict(sense), "prototypes": [str(i) for i in sense.prototypes]}
            for sense in self.senses
        ]
        return {"word": self.word, "forms": self.forms, "gain": self.gain, "senses": senses}


def senses_path(index_id: str, forms: Sequence[str], tombstones: Sequence[str]) -> str:
    """Return where the senses of some forms are kept, relative to the corpus."""
    named = json.dumps([_VERSION, list(forms), index_id, list(tombstones)])
    name = hashlib.sha256(named.encode()).hexdigest()[:24]
    return f"{senses_directory(index_id)}/{name}.parquet"


def senses_directory(index_id: str) -> str:
    """Return where all senses of an index are kept."""
    return f"indexes/{index_id}/senses"


def check_senses(store: Store, path: str) -> str | None:
    """Say what is wrong with a file of senses; None if it is whole."""
    try:
        from_bytes(store.read(path), "", path)
    except CorpusError as error:
        return str(error)
    return None


def to_bytes(found: WordSenses) -> bytes:
    """Return what is kept of a word's senses, with its checksum."""
    about = {
        "word": found.word,
        "forms": found.forms,
        "gain": found.gain,
        "senses": [asdict(sense) for sense in found.senses],
        "weights": found.rule.weights.tolist(),
        "bias": found.rule.bias.tolist(),
        "silhouettes": found.rule.silhouettes.tolist(),
        "means": found.means.tolist(),
        "features": {**asdict(found.features), "mean": found.features.mean.tolist()},
    }
    table = pa.table({"vector_id": found.vector_ids, "sense": found.numbers})
    text = json.dumps(about)
    checksum = _checksum(text, found.vector_ids, found.numbers)
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"senses": text, "sha256": checksum}), buffer)
    return buffer.getvalue()


def _checksum(text: str, vector_ids: NDArray[np.int64], numbers: NDArray[np.int32]) -> str:
    parts = text.encode(), vector_ids.astype("<i8").tobytes(), numbers.astype("<i4").tobytes()
    return hashlib.sha256(b"".join(parts)).hexdigest()


def from_bytes(data: bytes, word: str, path: str) -> WordSenses:
    """Read what `to_bytes` gave.

    Raises:
      CorpusError: if it is damaged; the message names `path`.
    """
    try:
        table = pq.read_table(io.BytesIO(data))
        text = table.schema.metadata[b"senses"].decode()
        ids, numbers = table["vector_id"].to_numpy(), table["sense"].to_numpy()
        if table.schema.metadata[b"sha256"].decode() != _checksum(text, ids, numbers):
            raise ValueError("its checksum is another")
        about = json.loads(text)
        rule = Induction(
            weights=np.array(about["weights"], np.float32),
            bias=np.array(about["bias"], np.float32),
            silhouettes=np.array(about["silhouettes"], np.float32),
            gain=about["gain"],
        )
        return WordSenses(
            word=word,
            forms=about["forms"],
            senses=tuple(
                Sense(
                    **{
                        **sense,
                        "labels": tuple(sense["labels"]),
                        "prototypes": tuple(sense["prototypes"]),
                    }
                )
                for sense in about["senses"]
            ),
            gain=about["gain"],
            rule=rule,
            features=Features(
                **{**about["features"], "mean": np.array(about["features"]["mean"], np.float32)}
            ),
            means=np.array(about["means"], np.float32),
            vector_ids=ids,
            numbers=numbers,
        )
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise CorpusError(
            f"{path} is damaged ({error}); remove it, and the senses are induced again"
        ) from error
