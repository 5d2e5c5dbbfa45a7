"""The senses of a word, and their file beside the index.

indexes/<index_id>/senses/<name>.parquet: vector_id and sense of every occurrence; the rule that
assigns vectors, what is said of each sense, and a checksum of all stand in the file's metadata.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
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
from pipelines.senses.options import SenseOptions

_VERSION = 4  # of how senses are induced; raised when it changes


@dataclass(frozen=True, kw_only=True, eq=False)
class WordSenses:
    """The senses of a word.

    Attributes:
      word: the word as given.
      forms: the forms, with their number of occurrences.
      senses: largest first.
      gain: mean silhouette of the occurrences, -1 to 1; 0 for one sense.
      notes: remarks on how the senses were found.
      rule: assigns an occurrence to a sense, by its vectors.
      means: [S, D] float32 of length 1, the mean direction of each sense.
      vector_ids: [n] int64 ascending, of the occurrences in the index.
      numbers: [n] int32, their senses.
    """

    word: str
    forms: dict[str, int]
    senses: tuple[Sense, ...]
    gain: float
    notes: tuple[str, ...]
    rule: Induction
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
        return self.rule.assign(tokens, sentences)

    @cached_property
    def _described(self) -> list[dict[str, Any]]:
        return [
            {**asdict(sense), "prototypes": [str(i) for i in sense.prototypes]}
            for sense in self.senses
        ]

    def to_json(self) -> dict[str, Any]:
        """Return what `sensegrep senses --json` prints; ids as strings."""
        return {
            "word": self.word,
            "forms": self.forms,
            "occurrences": len(self.vector_ids),
            "surety": self.rule.surety,
            "gain": self.gain,
            "senses": [dict(sense) for sense in self._described],
            "notes": list(self.notes),
        }


def senses_path(
    index_id: str,
    forms: Sequence[str],
    tombstones: Sequence[str],
    options: SenseOptions,
    constants: str,
) -> str:
    """Return where the senses of some forms are kept, relative to the corpus.

    Args:
      index_id: of the index.
      forms: that count as the word.
      tombstones: of the snapshot.
      options: they were told apart with.
      constants: digest of the constants they were told apart by.
    """
    chosen = [asdict(options), constants]
    named = json.dumps([_VERSION, list(forms), index_id, list(tombstones), chosen])
    name = hashlib.sha256(named.encode()).hexdigest()[:24]
    return f"{senses_directory(index_id)}/{name}.parquet"


def senses_directory(index_id: str) -> str:
    """Return where all senses of an index are kept."""
    return f"indexes/{index_id}/senses"


def check_senses(store: Store, path: str) -> str | None:
    """Say what is wrong with a file of senses; None if it is whole."""
    try:
        _read(store.read(path), path)
    except CorpusError as error:
        return str(error)
    return None


def to_bytes(found: WordSenses) -> bytes:
    """Return what is kept of a word's senses, with its checksum."""
    rule = found.rule
    about = {
        "word": found.word,
        "forms": found.forms,
        "gain": found.gain,
        "notes": found.notes,
        "senses": [asdict(sense) for sense in found.senses],
        "weights": rule.weights.tolist(),
        "bias": rule.bias.tolist(),
        "silhouettes": rule.silhouettes.tolist(),
        "surety": rule.surety,
        "means": found.means.tolist(),
        "centers": [
            rule.features.token_mean.tolist(),
            rule.features.sentence_mean.tolist(),
            rule.features.mean.tolist(),
        ],
    }
    table = pa.table({"vector_id": found.vector_ids, "sense": found.numbers})
    text = json.dumps(about)
    checksum = _checksum(text, found.vector_ids, found.numbers)
    buffer = io.BytesIO()
    # Without Arrow's own copy of the schema, which would hold the text once more, as base64.
    with pq.ParquetWriter(buffer, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"senses": text, "sha256": checksum})
    return buffer.getvalue()


def _checksum(text: str, vector_ids: NDArray[np.int64], numbers: NDArray[np.int32]) -> str:
    parts = text.encode(), vector_ids.astype("<i8").tobytes(), numbers.astype("<i4").tobytes()
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _read(data: bytes, path: str) -> tuple[pa.Table, dict[str, Any]]:
    """Return a file's table and what its metadata says.

    Raises:
      CorpusError: if it is damaged; the message names `path`.
    """
    try:
        # In this thread: one of Arrow's may hold the bytes beyond the end of Python, and abort it.
        table = pq.ParquetFile(io.BytesIO(data)).read(use_threads=False)
        text = table.schema.metadata[b"senses"].decode()
        ids, numbers = table["vector_id"].to_numpy(), table["sense"].to_numpy()
        if table.schema.metadata[b"sha256"].decode() != _checksum(text, ids, numbers):
            raise ValueError("its checksum does not match")
        return table, json.loads(text)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: str, error: Exception) -> CorpusError:
    return CorpusError(f"{path} is damaged ({error}); remove it; the senses are then induced again")


def from_bytes(data: bytes, word: str, path: str, directions: Floats | None) -> WordSenses:
    """Read what `to_bytes` gave.

    Args:
      data: of the file.
      word: as asked for.
      path: for errors.
      directions: of the constants that the path names.

    Raises:
      CorpusError: if it is damaged; the message names `path`.
    """
    table, about = _read(data, path)
    try:
        token_mean, sentence_mean, mean = (np.array(c, np.float32) for c in about["centers"])
        rule = Induction(
            features=Features(
                token_mean=token_mean,
                sentence_mean=sentence_mean,
                mean=mean,
                directions=directions,
            ),
            weights=np.array(about["weights"], np.float32),
            bias=np.array(about["bias"], np.float32),
            silhouettes=np.array(about["silhouettes"], np.float32),
            surety=about["surety"],
        )
        senses = tuple(
            Sense(
                **{
                    **sense,
                    "labels": tuple(sense["labels"]),
                    "prototypes": tuple(sense["prototypes"]),
                }
            )
            for sense in about["senses"]
        )
        return WordSenses(
            word=word,
            forms=about["forms"],
            senses=senses,
            gain=about["gain"],
            notes=tuple(about["notes"]),
            rule=rule,
            means=np.array(about["means"], np.float32),
            vector_ids=table["vector_id"].to_numpy(),
            numbers=table["sense"].to_numpy(),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
