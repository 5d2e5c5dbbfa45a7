"""What occurrences of a word are clustered by: their vectors, their sentences', the words around.

The vectors of an occurrence are its own, around the word's mean, and its sentence's, weighed as the
search weighs them. Each is then averaged with its nearest neighbours, as the whole search score has
them: so the words around have their say, though they have no vector, and noise averages out.
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Makes features of vectors.

    Attributes:
      mean: [D] what the word's vectors share.
      sentence_weight: share of the sentences, 0 to 1.
      context_weight: share of the words around when neighbours are chosen, 0 to 1.
    """

    mean: Floats
    sentence_weight: float
    context_weight: float

    @classmethod
    def of_sample(cls, tokens: Floats, settings: Mapping[str, Any]) -> "Features":
        """Learn a word's mean from vectors [n, D], and take the weights of an index's settings."""
        return cls(
            mean=shrunk_mean(tokens.sum(axis=0), len(tokens)),
            sentence_weight=float(settings["sentence_weight"]),
            context_weight=float(settings.get("context_weight", 0)),
        )

    def __call__(self, tokens: Floats, sentences: Floats) -> Floats:
        """Return features [n, 2D] of length at most 1.

        Args:
          tokens: [n, D] centred, of length 1.
          sentences: [n, D] the same of their sentences.
        """
        own = np.sqrt(1 - self.sentence_weight) * normalize(tokens - self.mean)
        around = np.sqrt(self.sentence_weight) * sentences
        return np.concatenate([own, around], axis=1).astype(np.float32)

    def smooth(
        self, features: Floats, lines: Sequence[Sequence[str]], counts: Mapping[str, int]
    ) -> Floats:
        """Average each of a sample's features [n, 2D] with its nearest neighbours'.

        Args:
          features: of the sample.
          lines: the tokens around each, casefolded, without the word itself.
          counts: occurrences of each casefolded word in the corpus; other words do not count.
        """
        scores = (1 - self.context_weight) * (features @ features.T)
        scores += self.context_weight * context_similarity(lines, counts)
        np.fill_diagonal(scores, -np.inf)
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBOURS]
        return normalize(features + features[nearest].mean(axis=1))


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
