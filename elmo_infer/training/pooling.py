"""Learn the pooling query without labels, from which sentence follows which.

The query q of attention pooling (softmax(q . k / sqrt(D)) over a sentence's token vectors) is
trained so that a sentence's pooled vector tells the sentence after it from the other sentences
of the batch: InfoNCE (van den Oord et al. 2018) over cosines, the batch's mean removed first,
as an index does. Attention's mass on punctuation and stop words can be made to cost. The model
itself stays as it is.
"""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.sentence_losses import masses
from elmo_infer.training.token_store import TokenStore

TEMPERATURE = 0.05

# Lists of words -> token vectors [n, D] float32 and offsets [B + 1].
Encode = Callable[[list[list[str]]], tuple[np.ndarray, np.ndarray]]


def neighbour_pairs(
    store: TokenStore, batch: int, rng: np.random.Generator, min_tokens: int = 5
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of neighbouring sentences: two arrays [batch] of sentence indices.

    Both are of one document and at least min_tokens long; no document is twice in a batch.
    A last batch that is not full is left out.
    """
    lengths = store.lengths
    long_enough = lengths >= min_tokens
    inside = np.ones(len(store), dtype=bool)
    inside[np.minimum(store.documents[1:] - 1, len(store) - 1)] = False
    first = np.flatnonzero(inside[:-1] & long_enough[:-1] & long_enough[1:])
    first = rng.permutation(first)
    document = np.searchsorted(store.documents, first, side="right")
    # One pair a document: the first that the shuffle brought up.
    first = first[np.unique(document, return_index=True)[1]]
    first = rng.permutation(first)
    for low in range(0, len(first) - batch + 1, batch):
        yield first[low : low + batch], first[low : low + batch] + 1


def learn_query(
    store: TokenStore,
    encode: Encode,
    dim: int,
    *,
    steps: int = 200,
    batch: int = 128,
    learning_rate: float = 0.03,
    seed: int = 0,
    kinds: np.ndarray | None = None,
    penalty: tuple[float, float] = (0.0, 0.0),
    report: Callable[[int, float], None] | None = None,
) -> Tensor:
    """Learn a pooling query for an encoder.

    Args:
      store: text with documents of several sentences.
      encode: words to mixed token vectors.
      dim: width D.
      steps: batches of pairs; fewer where the text has fewer.
      batch: pairs in a batch, each the others' contrast.
      learning_rate: of Adam at the start; it falls to nothing, or the last batches would show.
      seed: of the pairs' order.
      kinds: [V] int8 of the text's types, see forms.py; needed by a penalty.
      penalty: weights of attention's mass on punctuation and on stop words.
      report: told (step, loss) at every step.

    Returns:
      [D] float32.

    Raises:
      ValueError: if the text has not one batch of neighbouring sentences.
    """
    query = torch.zeros(dim, requires_grad=True)  # all tokens weigh the same at first
    optimizer = torch.optim.Adam([query], lr=learning_rate)
    words = store.types
    pairs = list(islice(neighbour_pairs(store, batch, np.random.default_rng(seed)), steps))
    if not pairs:
        raise ValueError(
            f"the text has fewer than {batch} documents with two neighbouring sentences of five "
            "tokens; a pooling query cannot be learned from fewer; give more text"
        )
    for step, (first, second) in enumerate(pairs):
        tokens = [
            store.tokens[store.sentences[i] : store.sentences[i + 1]]
            for i in np.concatenate([first, second])
        ]
        vectors, offsets = encode([[words[token] for token in one] for one in tokens])
        padded, mask = _pad(torch.from_numpy(vectors), np.diff(offsets))
        scores = (padded @ query / dim**0.5).masked_fill(~mask, -torch.inf)
        weights = torch.softmax(scores, dim=1)
        pooled = (weights[:, :, None] * padded).sum(1)
        pooled = F.normalize(pooled - pooled.mean(0).detach(), dim=1)
        cosines = pooled[:batch] @ pooled[batch:].t() / TEMPERATURE
        right = torch.arange(batch)
        loss = (F.cross_entropy(cosines, right) + F.cross_entropy(cosines.t(), right)) / 2
        if kinds is not None:
            kind = torch.full(mask.shape, -1, dtype=torch.int8)
            kind[mask] = torch.from_numpy(kinds[np.concatenate(tokens)])
            on_punctuation, on_stop_words = masses(weights, kind)
            loss = loss + penalty[0] * on_punctuation + penalty[1] * on_stop_words
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / len(pairs))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if report is not None:
            report(step + 1, float(loss.detach()))
    return query.detach()


def _pad(vectors: Tensor, lengths: np.ndarray) -> tuple[Tensor, Tensor]:
    """Spread packed [n, D] vectors over [B, T, D], and return the mask of real tokens [B, T]."""
    parts = vectors.split([int(length) for length in lengths])
    padded = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
    mask = torch.arange(padded.shape[1])[None, :] < torch.from_numpy(lengths)[:, None]
    return padded, mask
