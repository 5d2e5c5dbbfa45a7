"""The Beam coder of batches; importing this module registers it."""

import pickle
from typing import Any

from apache_beam import coders

from pipelines.embed.batch import EmbeddedBatch, SentenceBatch


class PackedCoder(coders.Coder):
    """Moves batches between processes: arrays as their bytes, never as lists of numbers."""

    def encode(self, value: Any) -> bytes:
        """Return the bytes of a batch."""
        return pickle.dumps(value, protocol=5)

    def decode(self, encoded: bytes) -> Any:
        """Return the batch again."""
        return pickle.loads(encoded)

    def estimate_size(self, value: Any) -> int:
        """Return about how many bytes a batch takes."""
        vectors = value.nbytes if isinstance(value, EmbeddedBatch) else 0
        batch = value.batch if isinstance(value, EmbeddedBatch) else value
        return vectors + sum(
            200 + 4 * len(sentence.text) + 24 * len(sentence.tokens) for sentence in batch.sentences
        )

    def is_deterministic(self) -> bool:
        """Batches are not used as keys."""
        return False


coders.registry.register_coder(SentenceBatch, PackedCoder)
coders.registry.register_coder(EmbeddedBatch, PackedCoder)
