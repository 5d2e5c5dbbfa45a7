"""Search the occurrences of a word, each by itself or together with its neighbours.

`Searcher` uses it for queries with a bracketed word.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.index.centering import normalize
from pipelines.index.exact import Floats
from pipelines.index.reader import OpenIndex, OpenShard
from pipelines.search.checks import check_sense
from pipelines.search.hits import Hits, SensesOfWord
from pipelines.search.line_reader import LocatedHit, by_score
from pipelines.search.neighbours import (
    BAG_WEIGHT,
    FEEDBACK,
    MAX_TABLE,
    RESCORED,
    SENSE_BONUS,
    Neighbours,
    query_s_sense,
)
from pipelines.search.occurrences import (
    Positions,
    Scanned,
    WordForms,
    count_positions,
    describe_absence,
    nearest_indexed,
    positions_of,
    scan_unindexed,
)
from pipelines.search.options import SearchOptions
from pipelines.search.scoring import Scorer, Target

TellSenses = Callable[[OpenIndex, WordForms], SensesOfWord]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """One search of a word.

    Attributes:
      target: what is looked for.
      forms: that count as the word.
      options: of the search.
      senses: of the word, if they are asked for.
      mean: [D] of the word's vectors, if the index compares around it.
      hits: where it is noted what was compared.
    """

    target: Target
    forms: WordForms
    options: SearchOptions
    senses: SensesOfWord | None
    mean: Floats | None
    hits: Hits

    @property
    def wanted(self) -> int:
        """How many hits, with those that are left out later."""
        return self.options.k + len(self.target.excluded)


@dataclass(frozen=True, eq=False)
class _Found:
    """Occurrences found in the index, n of them, as columns.

    Attributes:
      shards: names of their shards.
      positions: [n] in those.
      ids: [n] vector_ids.
      scores: [n] float64.
    """

    shards: list[str]
    positions: NDArray[np.int64]
    ids: NDArray[np.int64]
    scores: NDArray[np.float64]

    @staticmethod
    def join(parts: "Sequence[_Found]") -> "_Found":
        """Put those of several shards one after the other."""
        none = np.zeros(0, np.int64)
        return _Found(
            [name for part in parts for name in part.shards],
            np.concatenate([none, *(part.positions for part in parts)]),
            np.concatenate([none, *(part.ids for part in parts)]),
            np.concatenate([np.zeros(0), *(part.scores for part in parts)]),
        )

    def sorted(self, count: int | None = None) -> "_Found":
        """Return the best, in the order of `by_score`; None takes all."""
        order = np.lexsort((self.ids, -self.scores))[:count]
        shards = [self.shards[row] for row in order.tolist()]
        return _Found(shards, self.positions[order], self.ids[order], self.scores[order])

    def located(self, count: int, senses: SensesOfWord | None) -> list[LocatedHit]:
        """Return the best as hits, with their senses."""
        best = self.sorted(count)
        numbers = [None] * len(best.ids) if senses is None else senses.of(best.ids).tolist()
        columns = (best.scores, best.ids, best.positions)
        return [
            LocatedHit(score, vector_id, shard, position, {}, "", number)
            for shard, score, vector_id, position, number in zip(
                best.shards, *(column.tolist() for column in columns), numbers, strict=True
            )
        ]


class WordSearch:
    """Searches the occurrences of words in one index.

    Args:
      index: the open index.
      scorer: of the index.
      tell_senses: returns the senses of a word's forms.
    """

    def __init__(self, index: OpenIndex, scorer: Scorer, tell_senses: TellSenses) -> None:
        self._index = index
        self._scorer = scorer
        self._tell_senses = tell_senses
        self._neighbours = Neighbours(index)

    def search(
        self, target: Target, forms: WordForms, options: SearchOptions, hits: Hits
    ) -> list[LocatedHit]:
        """Search the occurrences of a word exactly; what was compared is noted in `hits`."""
        senses = None
        if forms.indexed and (options.senses or options.sense is not None):
            senses = hits.senses = self._tell_senses(self._index, forms)
        check_sense(options.sense, senses, forms.word)
        asked = _Asked(
            target=target,
            forms=forms,
            options=options,
            senses=senses,
            mean=self._scorer.word_mean(forms),
            hits=hits,
        )
        if self._neighbours_have_a_say(asked):
            found = self._by_neighbours(asked)
        else:
            found = self._plainly(asked).located(asked.wanted, senses)
        for scanned in scan_unindexed(self._index, "tokens", forms, options.filters):
            found += self._score_scanned(scanned, asked)
        if not hits.compared and not forms.indexed:
            hits.nearest = nearest_indexed(self._index, forms.word)
            hits.notes.append(describe_absence(self._index, forms.word, hits.nearest))
        elif not hits.compared:
            hits.notes.append(
                f"{forms.word!r} occurs {forms.indexed} times, but in no document that passes"
                " the filters"
            )
        return sorted(found, key=by_score)[: asked.wanted]

    def _plainly(self, asked: _Asked) -> _Found:
        """Score the occurrences of each shard by themselves; returns the best of each."""
        sense = asked.options.sense
        found = []
        for name, shard in self._index.shards.items():
            where = positions_of(shard, asked.forms.ranges, asked.options.filters)
            if sense is not None and asked.senses is not None:
                where = _of_sense(shard, where, asked.senses, sense)
            asked.hits.compared += count_positions(where)
            if count_positions(where):
                scores, positions = self._scorer.best(
                    shard, where, asked.target, asked.mean, asked.wanted
                )
                ids = shard.keys["vector_id"][positions]
                found.append(_Found([name] * len(ids), positions, ids, scores.astype(np.float64)))
        return _Found.join(found)

    def _neighbours_have_a_say(self, asked: _Asked) -> bool:
        """Say whether the neighbours' ranking applies.

        Not where an index compares vectors alone, for it was tuned with the words around; and not
        where some occurrences are not in the index.
        """
        if asked.options.plain_ranking or not self._scorer.context_weight or self._index.unindexed:
            return False
        return asked.forms.indexed > 1 and asked.target.table == "tokens"

    def _by_neighbours(self, asked: _Asked) -> list[LocatedHit]:
        """Score the occurrences of a word together with their neighbours; see `neighbours`."""
        places = {
            name: where
            for name, shard in self._index.shards.items()
            if count_positions(where := positions_of(shard, asked.forms.ranges, {}))
        }
        count = sum(count_positions(where) for where in places.values())
        target, senses = asked.target, asked.senses
        if count < 2:
            return self._plainly(asked).located(asked.wanted, senses)
        if count > MAX_TABLE:
            more = replace(asked.options, k=max(asked.options.k, RESCORED))
            plain = self._plainly(replace(asked, options=more)).sorted()
            return self._fed_back(plain, asked).located(asked.wanted, senses)
        table = self._neighbours.table(asked.forms, places)
        scores = np.concatenate(
            [
                self._scorer.scores(self._index.shards[name], where, target, asked.mean)
                for name, where in places.items()
            ]
        )
        words = sorted(target.context.weights) if target.context else []
        scores += BAG_WEIGHT * table.bag_scores(self._neighbours.bag(words, frozenset()))
        ranked = table.rank(scores)
        numbers = None
        if senses is not None:
            numbers = senses.of(table.vector_ids)
            if len(senses.senses) > 1:
                ranked = ranked - SENSE_BONUS * (numbers != query_s_sense(scores, numbers))
        return self._located(asked, places, ranked, numbers)

    def _located(
        self,
        asked: _Asked,
        places: dict[str, Positions],
        scores: Floats,
        numbers: NDArray[np.int32] | None,
    ) -> list[LocatedHit]:
        """Return the best of those occurrences that pass the filters."""
        options = asked.options
        found, row = [], 0
        for name, where in places.items():
            shard = self._index.shards[name]
            positions = np.arange(where.start, where.stop) if isinstance(where, slice) else where
            rows = row + np.arange(len(positions))
            if options.filters:
                passing = positions_of(shard, asked.forms.ranges, options.filters)
                if isinstance(passing, slice):
                    passing = np.arange(passing.start, passing.stop)
                rows = rows[np.isin(positions, passing)]
            if options.sense is not None and numbers is not None:
                rows = rows[numbers[rows] == options.sense]
            asked.hits.compared += len(rows)
            ids = shard.keys["vector_id"][positions[rows - row]]
            best = np.lexsort((ids, -scores[rows]))[: asked.wanted]
            for place, vector_id in zip(rows[best].tolist(), ids[best].tolist(), strict=True):
                number = None if numbers is None else int(numbers[place])
                position = int(positions[place - row])
                found.append(
                    LocatedHit(float(scores[place]), vector_id, name, position, {}, "", number)
                )
            row += len(positions)
        return found

    def _fed_back(self, found: _Found, asked: _Asked) -> _Found:
        """Score what was found, best first, again with the mean of the query and its nearest."""
        target, mean = asked.target, asked.mean
        vectors = np.zeros((len(found.ids), self._index.manifest.dim), np.float32)
        sentences = np.zeros_like(vectors)
        for name, shard in self._index.shards.items():
            rows = np.flatnonzero(np.array([one == name for one in found.shards], bool))
            where = found.positions[rows]
            vectors[rows] = shard.tokens.vectors(where)
            sentences[rows] = shard.sentences.vectors(
                shard.keys["sentence"][where].astype(np.int64)
            )
        nearest = slice(0, FEEDBACK)
        fed = replace(
            target,
            vector=normalize((target.vector + vectors[nearest].mean(axis=0))[None])[0],
            sentence_vector=None
            if target.sentence_vector is None
            else normalize((target.sentence_vector + sentences[nearest].mean(axis=0))[None])[0],
        )
        weighted = sentences if self._scorer.weighs_sentences(target) else None
        gains = self._scorer.combined(vectors, weighted, fed, mean)
        gains = gains - self._scorer.combined(vectors, weighted, target, mean)
        share = 1 - self._scorer.context_weight
        return replace(found, scores=found.scores + share * gains.astype(np.float64))

    def _score_scanned(self, scanned: Scanned, asked: _Asked) -> list[LocatedHit]:
        senses, sense = asked.senses, asked.options.sense
        numbers = None
        if senses is not None:
            numbers = senses.assign(scanned.vectors, self._scorer.sentences_of(scanned)[0])
        scores = self._scorer.scanned(scanned, asked.target, asked.mean)
        if sense is not None and numbers is not None:
            scores = np.where(numbers == sense, scores, -np.inf)
        asked.hits.compared += int(np.isfinite(scores).sum())
        return best_of_scanned(scanned, scores, numbers, asked.wanted)


def _of_sense(shard: OpenShard, where: Positions, senses: SensesOfWord, number: int) -> Positions:
    positions = np.arange(where.start, where.stop) if isinstance(where, slice) else where
    return positions[senses.of(shard.keys["vector_id"][positions]) == number]


def best_of_scanned(
    scanned: Scanned, scores: Floats, numbers: NDArray[np.int32] | None, wanted: int
) -> list[LocatedHit]:
    """Return the best of a segment that the index does not cover.

    Args:
      scanned: its rows.
      scores: [n] of them; those that are not finite are left out.
      numbers: [n] senses, or None.
      wanted: how many at most.
    """
    found = []
    for place in np.argsort(-scores, kind="stable")[:wanted].tolist():
        if not np.isfinite(scores[place]):
            break
        row = scanned.rows.slice(place, 1).to_pylist()[0]
        number = None if numbers is None else int(numbers[place])
        found.append(
            LocatedHit(
                float(scores[place]), row["vector_id"], None, 0, row, scanned.segment_id, number
            )
        )
    return found
