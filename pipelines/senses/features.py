"""The features that occurrences are clustered by: vectors of word, sentence and words around.

Let c(X) be rows X around their own mean, drawn towards zero where there are few, of length 1. With
t the vectors of the occurrences, s those of their sentences, A a model's directions (`constants`)
and b the weighted means of the vectors of the content words around, features are

    f = c([c(t), c(s)] A / sqrt 2)        of any occurrence
    [sqrt(1 - w) f, sqrt(w) c(b)]          of a sample's, w = BAG_SHARE

Centring the sentence too, about the word, takes out what all sentences with this word share.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.index.centering import normalize, shrunk_mean
from pipelines.index.exact import Floats
from pipelines.search.similarity import around_mean

NEIGHBOURS = 5
BAG_SHARE = 0.4


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Occurrences of a word.

    Attributes:
      tokens: [n, D] centred on the corpus, of length 1.
      sentences: [n, D] the same of their sentences.
      bags: [n, D] weighted means of the vectors of the content words around each.
      scores: [n, n] scores of each with each, as the search scores them.
    """

    tokens: Floats
    sentences: Floats
    bags: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: NDArray[np.int64]) -> "Sample":
        """Return some of the occurrences."""
        return Sample(
            tokens=self.tokens[rows],
            sentences=self.sentences[rows],
            bags=self.bags[rows],
            scores=self.scores[np.ix_(rows, rows)],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Makes features f of vectors, around the means of a sample.

    Attributes:
      token_mean, sentence_mean: [D] what the word's vectors, and its sentences', share.
      mean: [R] what these share in the directions.
      directions: [2D, R]; None leaves vectors as they are, R = 2D.
    """

    token_mean: Floats
    sentence_mean: Floats
    mean: Floats
    directions: Floats | None

    @classmethod
    def of_sample(cls, tokens: Floats, sentences: Floats, directions: Floats | None) -> "Features":
        """Learn a word's means from vectors [n, D] of occurrences and of their sentences."""
        means = [shrunk_mean(rows.sum(axis=0), len(rows)) for rows in (tokens, sentences)]
        both = _beside(tokens - means[0], sentences - means[1], directions)
        return cls(
            token_mean=means[0],
            sentence_mean=means[1],
            mean=shrunk_mean(both.sum(axis=0), len(both)),
            directions=directions,
        )

    def __call__(self, tokens: Floats, sentences: Floats) -> Floats:
        """Return features [n, R] float32 of length 1.

        Args:
          tokens: [n, D] centred on the corpus, of length 1.
          sentences: [n, D] the same of their sentences.
        """
        both = _beside(tokens - self.token_mean, sentences - self.sentence_mean, self.directions)
        return normalize(both - self.mean)


def _beside(tokens: Floats, sentences: Floats, directions: Floats | None) -> Floats:
    both = np.concatenate([normalize(tokens), normalize(sentences)], axis=1) * np.float32(0.5**0.5)
    if directions is not None:
        both = both @ directions
    return np.asarray(both, np.float32)


def whole_features(sample: Sample, directions: Floats | None) -> Floats:
    """Return the features [n, F] of a sample, the words around included."""
    features = Features.of_sample(sample.tokens, sample.sentences, directions)
    own = features(sample.tokens, sample.sentences)
    parts = [np.sqrt(1 - BAG_SHARE) * own, np.sqrt(BAG_SHARE) * around_mean(sample.bags)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def smooth(features: Floats, scores: Floats) -> Floats:
    """Average each of a sample's features [n, F] with its nearest neighbours' by scores [n, n]."""
    others = scores.copy()
    np.fill_diagonal(others, -np.inf)
    count = min(NEIGHBOURS, max(1, len(features) // 6))
    nearest = np.argpartition(-others, count - 1, axis=1)[:, :count]  # in any order: for a mean
    return normalize(features + features[nearest].mean(axis=1))


def sentences_of(shard: Any, keys: NDArray[Any]) -> Floats:
    """Return the sentence vectors [n, D] of some tokens, by their keys."""
    return np.asarray(shard.sentences.vectors(keys["sentence"].astype(np.int64)))
