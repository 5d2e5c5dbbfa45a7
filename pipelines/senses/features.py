"""What occurrences of a word are clustered by: their vectors, their sentences', the words around.

Let c(X) be rows X around their own mean, drawn towards zero where there are few, of length 1. With
t the vectors of the occurrences, s those of their sentences, A a model's directions (`constants`)
and b the weighted means of the vectors of the content words around, features are

    f = c([c(t), c(s)] A / sqrt 2)        of any occurrence
    [sqrt(1 - w) f, sqrt(w) c(b)]          of a sample's, w = BAG_SHARE

Centring the sentence too, about the word, takes out what all sentences with this word share.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.index.centering import normalize, shrunk_mean
from pipelines.index.exact import Floats

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


def around_mean(rows: Floats) -> Floats:
    """Return rows [n, D] around their shrunk mean, of length 1."""
    return normalize(rows - shrunk_mean(rows.sum(axis=0), len(rows)))


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
    nearest = np.argsort(-others, axis=1, kind="stable")[:, :count]
    return normalize(features + features[nearest].mean(axis=1))


def search_scores(
    tokens: Floats,
    sentences: Floats,
    lines: Sequence[Sequence[str]],
    counts: Mapping[str, int],
    settings: Mapping[str, Any],
) -> Floats:
    """Return the scores [n, n] of a word's occurrences among themselves, as the search has them.

    Args:
      tokens, sentences: [n, D] centred on the corpus, of length 1.
      lines: the tokens around each, casefolded, without the word itself.
      counts: occurrences of each casefolded word in the corpus; other words do not count.
      settings: of the index.
    """
    sentence_weight = float(settings["sentence_weight"])
    context_weight = float(settings.get("context_weight", 0))
    own = around_mean(tokens) if settings["word_center"] else tokens
    scores = (1 - sentence_weight) * (own @ own.T) + sentence_weight * (sentences @ sentences.T)
    scores *= 1 - context_weight
    scores += context_weight * context_similarity(lines, counts)
    return np.asarray(scores, np.float32)


def context_similarity(lines: Sequence[Sequence[str]], counts: Mapping[str, int]) -> Floats:
    """Return the cosines [n, n] of lines as TF-IDF vectors, each word counted once.

    idf is log(N / count) + 1 over the N tokens that `counts` adds up to; words of one line only
    are in its length and in no product.
    """
    total = max(1, sum(counts.values()))
    words = [{word for word in line if word in counts} for line in lines]
    idf = {word: float(np.log(total / counts[word])) + 1 for line in words for word in line}
    lengths = np.array([max(1e-9, sum(idf[word] ** 2 for word in line)) for line in words])
    shared = Counter(word for line in words for word in line)
    columns = {word: i for i, word in enumerate(sorted(w for w, n in shared.items() if n > 1))}
    table = np.zeros((len(lines), len(columns)), np.float32)
    for row, line in enumerate(words):
        for word in line & columns.keys():
            table[row, columns[word]] = idf[word]
    table /= np.sqrt(lengths)[:, None].astype(np.float32)
    return np.asarray(table @ table.T, np.float32)


def sentences_of(shard: Any, keys: NDArray[Any]) -> Floats:
    """Return the sentence vectors [n, D] of some tokens, by their keys."""
    return np.asarray(shard.sentences.vectors(keys["sentence"].astype(np.int64)))
