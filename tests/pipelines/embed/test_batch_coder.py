"""Batches on their way between stages."""

from collections.abc import Callable

import numpy as np
from apache_beam import coders

from pipelines.embed.batch import EmbeddedBatch, SentenceBatch
from pipelines.embed.batch_coder import PackedCoder

Embedded = Callable[..., EmbeddedBatch]


def test_coder_is_registered_and_gives_back_what_it_got(embedded: Embedded) -> None:
    batch = embedded()
    for value in (batch, batch.batch):
        coder = coders.registry.get_coder(type(value))
        assert isinstance(coder, PackedCoder)
        again = coder.decode(coder.encode(value))
        left = again if isinstance(again, SentenceBatch) else again.batch
        assert left == batch.batch
        assert coder.estimate_size(value) > 100
    np.testing.assert_array_equal(again.sentences[0].tokens, ["The", "bank", "closed", "."])
