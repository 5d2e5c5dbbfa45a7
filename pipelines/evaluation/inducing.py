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

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.evaluation.clusterings import (
    Labels,
    bcubed_f,
    bootstrap_interval,
    fuzzy_bcubed,
    fuzzy_nmi,
    memberships,
)
from pipelines.evaluation.sets import InductionSet, Instance
from pipelines.index.options import DEFAULT_SETTINGS
from pipelines.search.similarity import search_scores
from pipelines.senses.constants import SenseConstants, constants_for
from pipelines.senses.features import Sample
from pipelines.senses.induction import induce
from pipelines.senses.learning import Embedded, Place, ReadText, embed_places
from pipelines.senses.options import SenseOptions

Measured = dict[str, float]
_SHUFFLES = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Grouped:
    """A lemma's occurrences: their numbers in the set, and what they are clustered by."""

    lemma: str
    rows: npt.NDArray[np.int64]
    sample: Sample


def samples_of(
    encoder: Any,
    instances: Sequence[Instance],
    is_content: Callable[[str], bool],
    report: Callable[[int, int], None] | None = None,
) -> list[Grouped]:
    """Embed occurrences, and make of each lemma's what `induce` takes.

    Args:
      encoder: an ELMo or a static encoder.
      instances: occurrences of any lemmas.
      is_content: tells content words, which are the words around.
      report: told tokens embedded and to embed.
    """
    text = ReadText()
    numbers: dict[tuple[str, ...], int] = {}
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, one in enumerate(instances):
        if one.context.tokens not in numbers:
            numbers[one.context.tokens] = len(text.sentences)
            text.sentences.append(list(one.context.tokens))
        rows_of[one.lemma].append(row)
    own = {
        lemma: {instances[i].context.tokens[instances[i].context.index].casefold() for i in rows}
        for lemma, rows in rows_of.items()
    }
    places = {
        lemma: [
            Place(0, numbers[instances[i].context.tokens], instances[i].context.index) for i in rows
        ]
        for lemma, rows in rows_of.items()
    }
    # Shortest first, as they are embedded.
    tokens = np.cumsum(sorted(len(line) for line in text.sentences)).tolist()

    def show(done: int, _: int) -> None:
        if report is not None:
            report(tokens[done - 1], tokens[-1])

    embedded = embed_places(encoder, text, places, is_content, show, own)
    counts = Counter(
        token.casefold() for line in text.sentences for token in line if is_content(token)
    )
    ends = np.cumsum([len(rows) for rows in rows_of.values()])
    found = []
    for (lemma, rows), end in zip(rows_of.items(), ends.tolist(), strict=True):
        lines = [
            [
                t
                for token in instances[i].context.tokens
                if (t := token.casefold()) not in own[lemma]
            ]
            for i in rows
        ]
        mine = slice(end - len(rows), end)
        found.append(
            Grouped(lemma=lemma, rows=np.array(rows), sample=_sample(embedded, mine, lines, counts))
        )
    return found


def _sample(
    embedded: Embedded, rows: slice, lines: Sequence[Sequence[str]], counts: Counter[str]
) -> Sample:
    tokens, sentences = embedded.tokens[rows], embedded.sentences[rows]
    return Sample(
        tokens=tokens,
        sentences=sentences,
        bags=embedded.bags[rows],
        scores=search_scores(tokens, sentences, lines, counts, DEFAULT_SETTINGS),
    )


def constants_of_encoder(encoder: Any) -> SenseConstants:
    """Return what the senses of a model's vectors are told apart by."""
    return constants_for(
        str(encoder.name),
        str(encoder.fingerprint),
        tuple(encoder.default_layer_weights),
        "attention",
        int(encoder.dim),
    )


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
