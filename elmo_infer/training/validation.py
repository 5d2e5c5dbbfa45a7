"""Perplexity of a biLM in training on held-out text."""

from dataclasses import replace

import numpy as np

from elmo_infer.training.batches import gather_batch, plan_equal_length_batches
from elmo_infer.training.network import Network
from elmo_infer.training.spelled_batch import (
    N_SPECIAL,
    SENTENCE_END,
    SENTENCE_START,
    Spellings,
    word_ids,
)
from elmo_infer.training.token_store import TokenStore


def validation_perplexity(
    network: Network, types: list[str], store: TokenStore, max_tokens: int = 15_000
) -> tuple[float, float]:
    """Return the perplexity per word of both directions under the full softmax.

    The end marks count as words, and everything outside the vocabulary as one word.

    Args:
      network: the model.
      types: words of the training text, in the order of the softmax.
      store: validation text.
      max_tokens: about how many tokens of it to use.
    """
    place = {word: index for index, word in enumerate(types[: network.vocabulary - N_SPECIAL])}
    beyond = len(types)
    to_training = np.array([place.get(word, beyond) for word in store.types])
    # Another view of the same weights: the next batch is being prepared on the network itself.
    reader = replace(network, spellings=Spellings.of(store.types, network.config.max_characters))
    totals, words = np.zeros(2), 0
    rng = np.random.default_rng(0)
    for sentences in plan_equal_length_batches(store.lengths, 4096, rng):
        own = gather_batch(store, sentences)
        batch = reader.prepare(own, sentences, rng)
        ids = word_ids(to_training[own], network.vocabulary).T
        end = np.full((1, len(sentences)), SENTENCE_END)
        start = np.full((1, len(sentences)), SENTENCE_START)
        targets = (np.concatenate([ids, end]), np.concatenate([ids[::-1], start]))
        totals += reader.likelihood(batch, (targets[0].ravel(), targets[1].ravel()))
        words += batch.n_targets
        if words >= max_tokens:
            break
    forward, backward = np.exp(totals / max(1, words))
    return float(forward), float(backward)
