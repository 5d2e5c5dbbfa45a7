"""Similarities among the occurrences of a word, as the search scores them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.index.centering import normalize, shrunk_mean
from pipelines.index.exact import Floats


def around_mean(rows: Floats) -> Floats:
    """Return rows [n, D] around their shrunk mean, of length 1."""
    return normalize(rows - shrunk_mean(rows.sum(axis=0), len(rows)))


def search_scores(
    tokens: Floats,
    sentences: Floats,
    lines: Sequence[Sequence[str]],
    counts: Mapping[str, int],
    settings: Mapping[str, Any],
    total: int | None = None,
) -> Floats:
    """Return the scores [n, n] of a word's occurrences among themselves, as the search has them.

    Args:
      tokens, sentences: [n, D] centred on the corpus, of length 1.
      lines: the tokens around each, casefolded, without the word itself.
      counts: occurrences of each casefolded word in the corpus; other words do not count.
      settings: of the index.
      total: tokens in the corpus; None takes the sum of `counts`.
    """
    sentence_weight = float(settings["sentence_weight"])
    context_weight = float(settings.get("context_weight", 0))
    own = around_mean(tokens) if settings["word_center"] else tokens
    scores = (1 - sentence_weight) * (own @ own.T) + sentence_weight * (sentences @ sentences.T)
    scores *= 1 - context_weight
    scores += context_weight * context_similarity(lines, counts, total)
    return np.asarray(scores, np.float32)


def context_similarity(
    lines: Sequence[Sequence[str]], counts: Mapping[str, int], total: int | None = None
) -> Floats:
    """Return the cosines [n, n] of lines as TF-IDF vectors, each word counted once.

    idf is log(N / count) + 1 over N tokens, `total` or what `counts` adds up to; words of one line
    only are in its length and in no product.
    """
    total = max(1, sum(counts.values()) if total is None else total)
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
