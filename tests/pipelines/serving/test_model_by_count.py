"""Few sentences go to one model, many to the other."""

from pathlib import Path

import numpy as np
import pytest

from elmo_infer import load, load_sentence_encoder
from pipelines.serving.model_by_count import FEW, ModelByCount


class Refusing:
    def embed(self, *_: object) -> None:
        raise AssertionError("asked the wrong model")


@pytest.mark.parametrize("count", [1, FEW, FEW + 1])
def test_either_gives_the_same_vectors(tiny_elmo_dir: Path, count: int) -> None:
    sentences = [["the", "bank"], ["a", "river"], ["money"]][:count]
    single, batches = load_sentence_encoder(tiny_elmo_dir), load(tiny_elmo_dir, device="cpu")
    few = count <= FEW
    model = ModelByCount(single if few else Refusing(), Refusing() if few else batches)
    found = model.embed(sentences, None, "mean")
    expected = batches.embed(sentences, None, "mean")
    np.testing.assert_allclose(found.token_vectors, expected.token_vectors, atol=2e-5, rtol=0)
