"""The two forms of a model: for a sentence or two, and for batches; by the number of sentences."""

from collections.abc import Sequence

from pipelines.serving.micro_batches import Embedded, Model

# Measured with the bundled model on 2 cores: 11 tokens take 4 ms in NumPy and 7 in PyTorch, whose
# batch of four takes 8.
FEW = 2


class ModelByCount:
    """A Model that asks one of two, whose vectors are the same within 2e-5.

    Args:
      single: computes one sentence after the other.
      batches: computes sentences together.
    """

    def __init__(self, single: Model, batches: Model) -> None:
        self._single, self._batches = single, batches

    def embed(
        self,
        sentences: Sequence[Sequence[str]],
        layer_weights: Sequence[float] | None = None,
        pooling: str = "attention",
    ) -> Embedded:
        """Return token vectors, sentence vectors and attention."""
        model = self._single if len(sentences) <= FEW else self._batches
        return model.embed(sentences, layer_weights, pooling)
