"""Do label words tell the right sense? Labels of gold senses, asked of lines they were not made of.

Of each word the senses count that have SENSE_LEAST occurrences or more. Of each sense, one half of
the occurrences (by a hash of their ids) gives its labels; of the other half each line is asked:

  right            the sense whose labels' mean vector is nearest to the words around is its own;
                   mean over a sense's lines, then over senses, then over words
  right_low, _high the 95 % interval of a bootstrap over words
  chance           one of the senses at random
  random_words     as `right`, the labels being words drawn at random from the same lines
  all_words        as `right`, of all words of these lines in place of six: what is to be had
  stands           share of the lines in which a label word of any sense stands
  stands_right     of these, the share in which most of the label words that stand there are of the
                   line's own sense; no vectors have a part in this (half a point for a tie of two)
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.evaluation.clusterings import bootstrap_interval
from pipelines.evaluation.grouping import GroupedSet
from pipelines.evaluation.sets import Instance, LabelledSet, draw
from pipelines.index.centering import normalize
from pipelines.index.exact import Floats
from pipelines.search.word_bags import weighted_bag, weighted_bags
from pipelines.senses.labels import LABELS, label_words
from pipelines.senses.service import WINDOW
from pipelines.text.normal_forms import folded_form

SENSE_LEAST = 10
Measured = dict[str, float]
Context = list[str]


def score_labels(found: LabelledSet, grouped: GroupedSet) -> tuple[Measured, tuple[str, ...]]:
    """Score the labels of a set's gold senses; see the module's head.

    Returns:
      the scores, and lines "word sense label label ...".
    """
    measured: dict[str, list[float]] = defaultdict(list)
    lines: list[str] = []
    for group in grouped.groups:
        contexts = _contexts([found.instances[row] for row in group.rows])
        if len(contexts) < 2:
            continue
        word = _Word(grouped, grouped.own[group.lemma])
        labels = word.labels({sense: made for sense, (made, _) in contexts.items()})
        asked = {sense: lines for sense, (_, lines) in contexts.items()}
        for metric, value in word.scores(contexts, labels, asked).items():
            measured[metric].append(value)
        lines += [f"{group.lemma} {sense} {' '.join(words)}" for sense, words in labels.items()]
    if not measured:
        return {}, ()
    scores = {metric: float(np.mean(values)) for metric, values in measured.items()}
    low, high = bootstrap_interval(np.array(measured["right"]))
    return scores | {"right_low": low, "right_high": high}, tuple(lines)


def _contexts(instances: Sequence[Instance]) -> dict[str, tuple[list[Context], list[Context]]]:
    """Return each sense's lines that labels are made of, and those that are asked."""
    by_sense: dict[str, list[Instance]] = defaultdict(list)
    for one in instances:
        if one.gold:
            by_sense[max(one.gold, key=lambda gold: gold[1])[0]].append(one)
    found = {}
    for sense, members in sorted(by_sense.items()):
        if len(members) >= SENSE_LEAST:
            asked = set(draw([one.id for one in members], len(members) // 2, seed=0))
            halves: tuple[list[Context], list[Context]] = ([], [])
            for place, one in enumerate(members):
                tokens, index = one.context.tokens, one.context.index
                context = list(tokens[max(0, index - WINDOW) : index + WINDOW + 1])
                halves[place in asked].append(context)
            found[sense] = halves
    return found


class _Word:
    """The labels of one word's senses, and what is asked of them."""

    def __init__(self, grouped: GroupedSet, own: frozenset[str]) -> None:
        self._counts, self._forms, self._own = grouped.counts, grouped.forms, own
        total = max(1, sum(grouped.counts.values()))
        self._idf = {w: float(np.log(total / count)) + 1 for w, count in grouped.counts.items()}

    def labels(self, contexts: Mapping[str, Sequence[Context]]) -> dict[str, tuple[str, ...]]:
        """Return the label words of each sense, as `sensegrep senses` chooses them."""
        numbers = dict(enumerate(contexts.values(), start=1))
        known = self._forms
        found = label_words(
            numbers,
            self._counts,
            self._own,
            lambda words: {word: known[word] for word in words if word in known},
        )
        return {sense: found[place] for place, sense in enumerate(contexts, start=1)}

    def scores(
        self,
        contexts: Mapping[str, tuple[list[Context], list[Context]]],
        labels: Mapping[str, Sequence[str]],
        asked: Mapping[str, Sequence[Context]],
    ) -> Measured:
        """Return the scores of one word."""
        rng = np.random.default_rng(0)
        pools = {sense: sorted(set(self._words(made))) for sense, (made, _) in contexts.items()}
        at_random = {
            sense: [pool[i] for i in rng.permutation(len(pool))[:LABELS]]
            for sense, pool in pools.items()
        }
        every = {sense: self._words(made) for sense, (made, _) in contexts.items()}
        found = {
            "right": self._right(labels, asked),
            "chance": 1 / len(labels),
            "random_words": self._right(at_random, asked),
            "all_words": self._right(every, asked),
        }
        stands, right = self._standing(labels, asked)
        return found | {"stands": stands, **({} if right is None else {"stands_right": right})}

    def _words(self, lines: Sequence[Context]) -> list[str]:
        """Return the content words of lines, each as often as it stands there."""
        words = (folded_form(token) for line in lines for token in line)
        return [word for word in words if word in self._forms and word not in self._own]

    def _right(
        self, words: Mapping[str, Sequence[str]], asked: Mapping[str, Sequence[Context]]
    ) -> float:
        dim = len(next(iter(self._forms.values())))
        means = [weighted_bag(list(mine), self._forms, self._idf) for mine in words.values()]
        mine = np.stack([np.zeros(dim, np.float32) if m is None else m for m in means])
        # What the senses' words share says nothing.
        apart: Floats = normalize(mine - mine.mean(axis=0))
        shares = []
        for place, lines in enumerate(asked.values()):
            bags = weighted_bags(
                [self._words([line]) for line in lines], self._forms, self._idf, dim
            )
            shares.append(float(((bags @ apart.T).argmax(axis=1) == place).mean()))
        return float(np.mean(shares))

    def _standing(
        self, labels: Mapping[str, Sequence[str]], asked: Mapping[str, Sequence[Context]]
    ) -> tuple[float, float | None]:
        sets = [set(mine) for mine in labels.values()]
        stands, right = [], []
        for place, lines in enumerate(asked.values()):
            counts = np.array(
                [[len(mine & set(self._words([line]))) for mine in sets] for line in lines]
            )
            some = counts.max(axis=1) > 0
            stands.append(float(some.mean()))
            best = counts == counts.max(axis=1, keepdims=True)
            points = best[:, place] / best.sum(axis=1)
            right.append((float(points[some].sum()), int(some.sum())))
        # A sense none of whose lines has a label word counts in `stands` alone.
        shares = [points / count for points, count in right if count]
        return float(np.mean(stands)), float(np.mean(shares)) if shares else None
