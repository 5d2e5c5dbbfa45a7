"""Which sentences train together: batches of equally long sentences, so nothing is padded."""

from collections.abc import Iterator

import numpy as np

from elmo_infer.training.token_store import TokenStore


def plan_equal_length_batches(
    lengths: np.ndarray, max_tokens: int, rng: np.random.Generator, min_length: int = 2
) -> list[np.ndarray]:
    """Put every sentence of at least min_length tokens into exactly one batch.

    Args:
      lengths: [S] tokens in each sentence.
      max_tokens: bound of sentences x length in one batch; one longer sentence is a batch alone.
      rng: shuffles sentences within a length, and the batches.
      min_length: shorter sentences teach no context and are left out.

    Returns:
      Batches, each [B] int64 sentence indices of one length, in random order.
    """
    order = rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    order = order[lengths[order] >= min_length]
    if len(order) == 0:
        return []
    batches: list[np.ndarray] = []
    sorted_lengths = lengths[order]
    starts = np.flatnonzero(np.diff(sorted_lengths, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        size = max(1, max_tokens // int(sorted_lengths[start]))
        batches += [order[low : min(low + size, end)] for low in range(start, end, size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def gather_batch(store: TokenStore, sentences: np.ndarray) -> np.ndarray:
    """Return [B, T] int64 type ids of equally long sentences."""
    starts = store.sentences[sentences]
    length = int(store.sentences[sentences[0] + 1] - starts[0])
    return store.tokens[starts[:, None] + np.arange(length)].astype(np.int64)


def epochs_of_batches(
    store: TokenStore, max_tokens: int, seed: int, skip: int = 0
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (epoch, sentence indices [B]) without end.

    The order depends on the seed and the epoch alone, so `skip` batches in, a resumed
    run sees what an uninterrupted one would have seen.

    Raises:
      ValueError: if no sentence is long enough to train on.
    """
    epoch = 0
    lengths = store.lengths
    while True:
        batches = plan_equal_length_batches(
            lengths, max_tokens, np.random.default_rng((seed, epoch))
        )
        if not batches:
            raise ValueError(
                f"no sentence of the training text has 2 tokens or more (found {len(store)} "
                "shorter ones); there is no context to learn from"
            )
        if skip >= len(batches):
            skip -= len(batches)
        else:
            for sentences in batches[skip:]:
                yield epoch, sentences
            skip = 0
        epoch += 1
