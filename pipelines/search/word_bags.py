"""The words around an occurrence as one vector: a mean of their vectors, weighted by idf."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.index.centering import normalize
from pipelines.index.exact import Floats


def weighted_bag(
    words: Sequence[str], vectors: Mapping[str, Floats], idf: Mapping[str, float]
) -> Floats | None:
    """Return the mean [D] of words' vectors by idf, of length 1; None if none is known."""
    known = [word for word in words if word in vectors]
    if not known:
        return None
    total = np.sum([idf[word] * vectors[word] for word in known], axis=0)
    return np.asarray(normalize(total[None].astype(np.float32))[0])


def weighted_bags(
    lines: Sequence[Sequence[str]],
    vectors: Mapping[str, Floats],
    idf: Mapping[str, float],
    dim: int,
) -> Floats:
    """Return `weighted_bag` of the words of each line, each counted once, [n, D].

    A line without a known word has zeros.
    """
    rows = {word: row for row, word in enumerate(vectors)}
    weighed = np.zeros((len(rows), dim), np.float32)
    for word, row in rows.items():
        weighed[row] = idf[word] * vectors[word]
    sums = np.zeros((len(lines), dim), np.float32)
    for number, line in enumerate(lines):
        mine = [rows[word] for word in sorted(set(line)) if word in rows]
        if mine:
            sums[number] = weighed[mine].sum(axis=0)
    return normalize(sums)
