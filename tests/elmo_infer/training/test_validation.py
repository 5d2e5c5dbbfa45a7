"""Perplexity on text with a vocabulary of its own."""

from pathlib import Path

import numpy as np
import pytest

from elmo_infer.training.checkpoint import PretrainOptions, new_state
from elmo_infer.training.presets import preset
from elmo_infer.training.spelled_batch import SENTENCE_END, SENTENCE_START, word_ids
from elmo_infer.training.token_store import build_token_store
from elmo_infer.training.validation import validation_perplexity


def test_words_are_spelled_and_counted_as_what_they_are_in_either_text(tmp_path: Path) -> None:
    training = [["a", "cat", "sat", "there"], ["a", "dog", "sat", "down"], ["a", "cat", "a", "cat"]]
    store = build_token_store([training], tmp_path / "text")
    # Other words are the frequent ones here, so their ids are others; one is new.
    sentences = [["dog", "dog", "sat", "down"], ["dog", "saw", "cat", "there"]]
    valid = build_token_store([sentences], tmp_path / "valid")
    options = PretrainOptions(steps=1, draws=8, vocabulary=100)
    network = new_state(store, preset("tiny"), options).network
    spellings = network.spellings

    found = validation_perplexity(network, store.types, valid)

    # By hand: a text of all the words, in the order of the training text and then the new one.
    everything = [*store.types, "saw"]
    both = build_token_store(
        [[[word] * (20 - place) for place, word in enumerate(everything)]], tmp_path / "both"
    )
    assert both.types == everything
    reader = new_state(both, preset("tiny"), PretrainOptions(steps=1)).network
    reader.parameters, reader.table = network.parameters, network.table
    types = np.array([[everything.index(word) for word in sentence] for sentence in sentences])
    batch = reader.prepare(types, np.arange(2), np.random.default_rng(0))
    ids = word_ids(types, reader.vocabulary).T
    ends, starts = np.full((1, 2), SENTENCE_END), np.full((1, 2), SENTENCE_START)
    targets = (np.concatenate([ids, ends]).ravel(), np.concatenate([ids[::-1], starts]).ravel())
    expected = np.exp(reader.likelihood(batch, targets) / 10)  # 2 sentences of 4 words and an end
    assert found == pytest.approx(tuple(expected), rel=1e-5)
    # The next batch may be being prepared meanwhile, with the network's own.
    assert network.spellings is spellings
