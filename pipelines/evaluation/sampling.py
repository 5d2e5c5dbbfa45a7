"""Induce senses from samples of a word's occurrences, as small corpora have them, and score them.

For each size N, DRAWS samples of each word that has so many occurrences; means over a word's draws,
then over words, with the 95 % interval of a bootstrap over words.

  split_at_N          share of the words that were split
  words_at_N          how many words there were
and of words of several senses, where some sample of N has at least two of them:
  ari_at_N            adjusted Rand index of the induced senses; one cluster a word has 0
  shuffled_at_N       of the induced sizes, occurrences permuted within the sample
  random_at_N         of one of two senses at random
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pipelines.evaluation.clusterings import Labels, bootstrap_interval
from pipelines.evaluation.grouping import Grouped
from pipelines.evaluation.sets import SampledSet
from pipelines.senses.constants import SenseConstants
from pipelines.senses.induction import adjusted_rand, induce
from pipelines.senses.options import SenseOptions

DRAWS = 3
Measured = dict[str, float]


def score_samples(
    found: SampledSet,
    groups: Sequence[Grouped],
    constants: SenseConstants,
    report: Callable[[int, int], None] | None = None,
) -> tuple[Measured, tuple[str, ...]]:
    """Score the senses of samples; see the module's head.

    Args:
      found: the set.
      groups: its occurrences by word.
      constants: what senses are told apart by.
      report: told samples done and to do.

    Returns:
      the scores, and key lines "size draw word id sense".
    """
    plan = [
        (size, group, draw)
        for size in found.sizes
        for group in groups
        if len(group.rows) >= size
        for draw in range(DRAWS if len(group.rows) >= 1.5 * size else 1)
    ]
    values: dict[tuple[str, int], dict[str, list[float]]] = {}

    def note(metric: str, size: int, word: str, value: float) -> None:
        values.setdefault((metric, size), {}).setdefault(word, []).append(value)

    lines: list[str] = []
    for done, (size, group, draw) in enumerate(plan, start=1):
        rng = np.random.default_rng([size, draw])
        drawn = np.sort(rng.permutation(len(group.rows))[:size])
        numbers = induce(group.sample.take(drawn), constants, SenseOptions()).labels
        rows = group.rows[drawn]
        ids = [found.instances[row].id for row in rows]
        lines += [
            f"{size} {draw} {group.lemma} {one} {group.lemma}.{number}"
            for one, number in zip(ids, numbers.tolist(), strict=True)
        ]
        note("split", size, group.lemma, float(numbers.max() > 1))
        gold = _gold(found, rows)
        if gold.max() > 0:
            mine = numbers.astype(np.int64) - 1
            note("ari", size, group.lemma, adjusted_rand(gold, mine))
            note("shuffled", size, group.lemma, adjusted_rand(gold, rng.permutation(mine)))
            coins = rng.integers(0, 2, size)
            note("random", size, group.lemma, adjusted_rand(gold, coins))
        if report is not None:
            report(done, len(plan))
    return _means(values), tuple(lines)


def _gold(found: SampledSet, rows: npt.NDArray[np.int64]) -> Labels:
    names = [max(found.instances[r].gold, key=lambda g: g[1], default=("", 1.0))[0] for r in rows]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _means(values: dict[tuple[str, int], dict[str, list[float]]]) -> Measured:
    measured: Measured = {}
    for (metric, size), by_word in values.items():
        of_words = np.array([np.mean(draws) for draws in by_word.values()])
        measured[f"{metric}_at_{size}"] = float(of_words.mean())
        if metric in ("split", "ari"):
            low, high = bootstrap_interval(of_words)
            measured[f"{metric}_at_{size}_low"], measured[f"{metric}_at_{size}_high"] = low, high
        if metric == "split":
            measured[f"words_at_{size}"] = float(len(of_words))
    return measured
