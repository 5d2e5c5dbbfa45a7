"""Induce the senses of a set's words as a corpus of its sentences would, and score them.

Scores of a hard set (SemCor-WSI), means over lemmas of B-cubed F:

  bcubed_f            of the induced senses
  one_cluster         of one cluster a lemma
  random              of one of two at random, each occurrence by itself (mean of 20 draws)
  shuffled            of the induced sizes, occurrences permuted within the lemma (mean of 20)
  over_one_cluster    bcubed_f - one_cluster, with the 95 % interval of a bootstrap over lemmas
  over_shuffled       bcubed_f - shuffled, likewise

and of a forced one (SemEval-2013), each of whose lemmas is split in two, with fuzzy B-cubed and
fuzzy NMI as means over lemmas:

  avg                 their geometric mean; random_avg and shuffled_avg as above. One cluster a
                      lemma has none, for its NMI is 0.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from pipelines.evaluation.clusterings import (
    Labels,
    bcubed_f,
    bootstrap_interval,
    fuzzy_bcubed,
    fuzzy_nmi,
    memberships,
)
from pipelines.evaluation.grouping import Grouped
from pipelines.evaluation.sets import InductionSet
from pipelines.senses.constants import SenseConstants
from pipelines.senses.induction import induce
from pipelines.senses.options import SenseOptions

Measured = dict[str, float]
_SHUFFLES = 20


def induce_set(
    grouped: Sequence[Grouped], constants: SenseConstants, options: SenseOptions, count: int
) -> Labels:
    """Return the sense [n] of each of a set's occurrences, from 1 within its lemma."""
    numbers = np.ones(count, np.int64)
    for group in grouped:
        numbers[group.rows] = induce(group.sample, constants, options).labels
    return numbers


def key_lines(found: InductionSet, numbers: Labels) -> tuple[str, ...]:
    """Return a key file's lines: "row<TAB>sense" of a hard set, else "lemma instance sense"."""
    return tuple(
        f"{one.lemma} {one.id} {one.lemma}.{number}"
        if found.force
        else f"{one.id}\t{one.lemma}.{number}"
        for one, number in zip(found.instances, numbers.tolist(), strict=True)
    )


def score_induced(found: InductionSet, numbers: Labels) -> Measured:
    """Score the senses of a set's occurrences; empty where the set has no gold."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, one in enumerate(found.instances):
        if one.gold:
            groups[one.lemma].append(row)
    if not groups:
        return {}
    golds = [[dict(found.instances[row].gold) for row in rows] for rows in groups.values()]
    labels = [
        np.unique(numbers[rows], return_inverse=True)[1].astype(np.int64)
        for rows in groups.values()
    ]
    measured = _score_fuzzy(golds, labels) if found.force else _score_hard(golds, labels)
    measured["senses"] = float(np.mean([len(np.unique(each)) for each in labels]))
    return measured


def _score_hard(golds: Sequence[Sequence[dict[str, float]]], labels: Sequence[Labels]) -> Measured:
    rng = np.random.default_rng(0)
    truth = []
    for rows in golds:
        names = [max(row, key=lambda sense: row[sense]) for row in rows]
        truth.append(np.unique(names, return_inverse=True)[1].astype(np.int64))
    pairs = list(zip(truth, labels, strict=True))
    own = np.array([bcubed_f(gold, mine) for gold, mine in pairs])
    one = np.array([bcubed_f(gold, np.zeros_like(gold)) for gold in truth])
    shuffled = np.array(
        [
            np.mean([bcubed_f(gold, rng.permutation(mine)) for _ in range(_SHUFFLES)])
            if mine.any()
            else bcubed_f(gold, mine)
            for gold, mine in pairs
        ]
    )
    at_random = [
        np.mean([bcubed_f(gold, rng.integers(0, 2, len(gold))) for _ in range(_SHUFFLES)])
        for gold in truth
    ]
    found = {
        "bcubed_f": float(own.mean()),
        "one_cluster": float(one.mean()),
        "random": float(np.mean(at_random)),
        "shuffled": float(shuffled.mean()),
        "lemmas_better": float((own > one + 1e-9).sum()),
        "lemmas_worse": float((own < one - 1e-9).sum()),
    }
    for name, beside in (("one_cluster", one), ("shuffled", shuffled)):
        low, high = bootstrap_interval(own - beside)
        found[f"over_{name}"] = float((own - beside).mean())
        found[f"over_{name}_low"], found[f"over_{name}_high"] = low, high
    return found


def _score_fuzzy(golds: Sequence[Sequence[dict[str, float]]], labels: Sequence[Labels]) -> Measured:
    rng = np.random.default_rng(0)
    truth = [memberships(rows) for rows in golds]

    def scored(kind: Callable[[Labels], Labels], draws: int) -> tuple[float, float]:
        values = np.array(
            [
                (fuzzy_nmi(gold, induced), fuzzy_bcubed(gold, induced))
                for gold, mine in zip(truth, labels, strict=True)
                for _ in range(draws)
                for induced in [np.eye(int(mine.max()) + 2)[kind(mine)]]
            ]
        )
        nmi, bcubed = values.mean(axis=0).tolist()
        return nmi, bcubed

    nmi, bcubed = scored(lambda mine: mine, 1)
    by_chance = scored(lambda mine: rng.integers(0, 2, len(mine)), _SHUFFLES)
    shuffled = scored(rng.permutation, _SHUFFLES)
    return {
        "fuzzy_nmi": nmi,
        "fuzzy_bcubed": bcubed,
        "avg": float(np.sqrt(nmi * bcubed)),
        "random_avg": float(np.sqrt(np.prod(by_chance))),
        "shuffled_avg": float(np.sqrt(np.prod(shuffled))),
    }
