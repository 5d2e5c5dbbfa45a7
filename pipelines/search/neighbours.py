"""Ranking with neighbours: an occurrence's score and those of its nearest are combined.

With S the scores of a word's occurrences among themselves and q a query's scores with them, each
side is taken together with its k nearest: x + b mean N(x), in the space whose inner products S and
q are,

    <q + b mean N(q), x + b mean N(x)> / (|q + b mean N(q)| |x + b mean N(x)|)

so that a line which shares no word with the query, and whose neighbours do, comes up. Then the
sense of most of the query's nearest comes first. S takes a table, made once a word, for up to
MAX_TABLE occurrences; of more, the best by the plain score are scored again with the mean of the
query and its three nearest (feedback), at a cost that does not grow.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.index.exact import Floats
from pipelines.index.form_table import FormRange
from pipelines.index.reader import OpenIndex
from pipelines.search.occurrences import Positions, WordForms
from pipelines.search.similarity import around_mean, search_scores
from pipelines.search.word_bags import weighted_bag, weighted_bags
from pipelines.text.normal_forms import folded_form

# On SemCor's lemmas no other value of these four is better by more than 0.001 of same-sense
# precision@10, and on the demo's words by more than 0.007: tests/benchmarks/test_chosen_numbers.py.
NEAREST = 20
NEIGHBOUR_WEIGHT = 2.0
BAG_WEIGHT = 0.18
SENSE_BONUS = 0.4
MAX_TABLE = 1200
FEEDBACK = 3
RESCORED = 1000
_KEPT_BYTES = 256 << 20  # of all tables together


@dataclass(frozen=True, kw_only=True, eq=False)
class NeighbourTable:
    """A word's live occurrences among themselves.

    Attributes:
      vector_ids: [n] of the occurrences, in the order of the rows.
      scores: [n, n] S.
      nearest: [n, k] each occurrence's nearest others.
      lengths: [n] of x + b mean N(x).
      bags: [n, D] the words around each, around their mean; rows may be zero.
      bag_mean: [D] that mean.
    """

    vector_ids: NDArray[np.int64]
    scores: Floats
    nearest: NDArray[np.int64]
    lengths: Floats
    bags: Floats
    bag_mean: Floats

    @property
    def size(self) -> int:
        """Bytes of the arrays."""
        arrays = (self.vector_ids, self.scores, self.nearest, self.lengths, self.bags)
        return sum(array.nbytes for array in arrays)

    def rank(self, query: Floats) -> Floats:
        """Return the neighbours' say [n] of a query's scores [n] with the occurrences."""
        count = len(query)
        near = np.argsort(-query, kind="stable")[: self.nearest.shape[1] or 1]
        own = query + NEIGHBOUR_WEIGHT * query[self.nearest].mean(axis=1)
        theirs = self.scores[near].mean(axis=0)  # S is symmetric: of each occurrence with them
        theirs = theirs + NEIGHBOUR_WEIGHT * theirs[self.nearest].mean(axis=1)
        joined = own + NEIGHBOUR_WEIGHT * theirs
        inside = self.scores[np.ix_(near, near)].mean()
        square = 1 + BAG_WEIGHT + 2 * NEIGHBOUR_WEIGHT * query[near].mean()
        square += NEIGHBOUR_WEIGHT**2 * inside
        length = float(np.sqrt(max(float(square), 1e-9)))
        return np.asarray(joined / self.lengths / length, np.float32)[:count]

    def bag_scores(self, bag: Floats | None) -> Floats:
        """Return the cosines [n] of a query's words around with each occurrence's."""
        if bag is None:
            return np.zeros(len(self.bags), np.float32)
        centered = bag - self.bag_mean
        length = max(float(np.linalg.norm(centered)), 1e-9)
        return np.asarray(self.bags @ (centered / length), np.float32)


def neighbourhood(count: int) -> int:
    """Return how many of a word's occurrences are near one of them: at most a quarter of all."""
    return min(NEAREST, max(1, count // 4))


def make_table(
    vector_ids: NDArray[np.int64], scores: Floats, bags: Floats, bag_mean: Floats
) -> NeighbourTable:
    """Make a table of n >= 2 occurrences from their scores among themselves, [n, n]."""
    count = len(scores)
    kept = neighbourhood(count)
    others = scores.copy()
    np.fill_diagonal(others, -np.inf)
    nearest = greatest(others, kept)
    rows = np.arange(count)
    # |x + b mean N(x)|^2 = S(x, x) + 2 b mean S(x, N(x)) + b^2 mean S(N(x), N(x))
    near = scores[rows[:, None], nearest].mean(axis=1)
    among = scores[nearest[:, :, None], nearest[:, None, :]].mean(axis=(1, 2))
    squares = scores[rows, rows] + 2 * NEIGHBOUR_WEIGHT * near + NEIGHBOUR_WEIGHT**2 * among
    return NeighbourTable(
        vector_ids=vector_ids,
        scores=scores,
        nearest=nearest,
        lengths=np.sqrt(np.maximum(squares, 1e-9)).astype(np.float32),
        bags=bags,
        bag_mean=bag_mean,
    )


def greatest(scores: Floats, count: int) -> NDArray[np.int64]:
    """Return the columns of each row's greatest scores [n, count], of equal ones the first.

    As a sort of whole rows would, in a tenth of its time.
    """
    least = np.partition(scores, -count, axis=1)[:, -count]
    columns = np.empty((len(scores), count), np.int64)
    for row, (mine, bound) in enumerate(zip(scores, least, strict=True)):
        candidates = np.flatnonzero(mine >= bound)
        columns[row] = candidates[np.argsort(-mine[candidates], kind="stable")[:count]]
    return columns


class Neighbours:
    """Keeps the tables of words searched lately.

    Args:
      index: the open index.
    """

    def __init__(self, index: OpenIndex) -> None:
        self._index = index
        self._total = sum(shard.shard.rows["tokens"] for shard in index.shards.values())
        self._tables: OrderedDict[tuple[FormRange, ...], NeighbourTable] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def table(self, forms: WordForms, places: Mapping[str, Positions]) -> NeighbourTable:
        """Return the table of a word's live occurrences, at least 2 of them.

        Args:
          forms: of the word.
          places: all its live positions by shard.
        """
        with self._lock:
            found = self._tables.get(forms.ranges)
            if found is not None:
                self._tables.move_to_end(forms.ranges)
                return found
        found = self._make(forms, places)
        with self._lock:
            if forms.ranges not in self._tables:
                self._tables[forms.ranges] = found
                self._bytes += found.size
            while self._bytes > _KEPT_BYTES and len(self._tables) > 1:
                _, oldest = self._tables.popitem(last=False)
                self._bytes -= oldest.size
        return found

    def bag(self, tokens: Sequence[str], own: frozenset[str]) -> Floats | None:
        """Return the words around a query's word as a vector [D]; None if the index has none."""
        words = sorted({folded_form(token) for token in tokens} - own)
        known = self._index.form_vectors.of(words)
        counts = {word: self._index.forms.count(word) for word in known}
        return weighted_bag(words, known, self._idfs(counts))

    def _idfs(self, counts: Mapping[str, int]) -> dict[str, float]:
        total = max(self._total, 1)
        return {word: float(np.log(total / max(count, 1))) + 1 for word, count in counts.items()}

    def _make(self, forms: WordForms, places: Mapping[str, Positions]) -> NeighbourTable:
        ids, tokens, sentences = [], [], []
        lines: list[list[str]] = []
        own = frozenset(folded_form(form) for form in forms.counts)
        folded, dim = self._index.folded, self._index.manifest.dim
        for name, where in places.items():
            shard = self._index.shards[name]
            keys = shard.keys[where]
            ids.append(keys["vector_id"])
            tokens.append(shard.tokens.vectors(where))
            sentences.append(shard.sentences.vectors(keys["sentence"].astype(np.int64)))
            for line in keys["sentence"].tolist():
                words = {folded(token) for token in shard.lines.value("tokens", line)}
                lines.append(sorted(words - own))
        around = sorted({word for line in lines for word in line})
        counts = {word: count for word in around if (count := self._index.forms.count(word))}
        known = self._index.form_vectors.of(around)
        bags = weighted_bags(lines, known, self._idfs(counts), dim)
        centered = around_mean(bags)
        of_tokens, of_sentences = np.concatenate(tokens), np.concatenate(sentences)
        scores = search_scores(
            of_tokens, of_sentences, lines, counts, self._index.manifest.settings, self._total
        )
        scores += BAG_WEIGHT * (centered @ centered.T)
        mean = bags.sum(axis=0) / (len(bags) + 10)
        return make_table(np.concatenate(ids), scores, centered, np.asarray(mean, np.float32))


def query_s_sense(scores: Floats, senses: NDArray[np.int32]) -> int:
    """Return the sense that most of a query's nearest have, by their scores; 0 for none.

    Args:
      scores: [n] of the occurrences.
      senses: [n] from 1; 0 where it is not known.
    """
    near = np.argsort(-scores, kind="stable")[: neighbourhood(len(scores))]
    votes = np.bincount(senses[near], weights=np.maximum(scores[near], 0))
    votes[0] = 0
    return int(votes.argmax()) if votes.any() else 0
