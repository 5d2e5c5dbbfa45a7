"""What the numbers of ranking and senses are chosen by: scores with each of them changed alone.

Of SemCor-WSI's development half, the demo's words and two of Senseval. CoarseWSD-20, WiC and
MCL-WiC, whose licences forbid commercial use, have no part in this. Needs the data of ../shared.
`-k ranking` takes 3 minutes, `-k partition` 2.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from elmo_infer import load
from pipelines.evaluation.grouping import constants_of_encoder, group_occurrences
from pipelines.evaluation.induction_sets import read_semcor_wsi
from pipelines.evaluation.sets import Context, Instance
from pipelines.index.exact import Floats
from pipelines.index.options import DEFAULT_SETTINGS
from pipelines.search import neighbours
from pipelines.search.similarity import around_mean, search_scores
from pipelines.senses import features, induction
from pipelines.senses.constants import SenseConstants
from pipelines.senses.features import Sample
from pipelines.senses.induction import adjusted_rand, induce, partition
from pipelines.senses.options import SenseOptions
from pipelines.text.tokenizer import Tokenizer

sys.path.insert(0, str(Path(__file__).parent))
from sense_corpora import Occurrence, read_demo, read_occurrences

pytestmark = pytest.mark.benchmark

K, QUERIES, LEAST = 10, 20, 20
SENSEVAL = ("interest", "serve")
# Each number of the ranking with the values that are tried; the rest stay as they are.
RANKING: dict[str, tuple[float, ...]] = {
    "sentence_weight": (0.25, 0.5, 0.75),
    "context_weight": (0.4, 0.6, 0.8),
    "NEAREST": (5, 10, 20, 30),
    "NEIGHBOUR_WEIGHT": (0, 1, 2, 3, 4),
    "BAG_WEIGHT": (0, 0.1, 0.18, 0.3, 0.5),
    "SENSE_BONUS": (0, 0.1, 0.2, 0.4, 0.8),
}
SAID = {
    "sentence_weight": "share of the sentence's vector, of both vectors",
    "context_weight": "share of the words around, in the score",
    "NEAREST": "neighbours of an occurrence",
    "NEIGHBOUR_WEIGHT": "weight of the neighbours",
    "BAG_WEIGHT": "weight of the vectors of the words around",
    "SENSE_BONUS": "what another sense than the query's costs",
    "NEIGHBOURS": "neighbours that features are averaged with",
    "BAG_SHARE": "share of the words around, in the features",
    "FEW": "occurrences from which on halves are compared",
    "SILHOUETTE_PENALTY": "what each sense costs, as silhouette",
    "STABILITY_MARGIN": "how much less stable a number of senses may be",
}
# Those of the partition: the module that has it, and the values.
PARTITION: dict[str, tuple[ModuleType, tuple[float, ...]]] = {
    "NEIGHBOURS": (features, (1, 3, 5, 8)),
    "BAG_SHARE": (features, (0, 0.25, 0.4, 0.6)),
    "FEW": (induction, (30, 60, 100)),
    "SILHOUETTE_PENALTY": (induction, (0, 0.01, 0.03)),
    "STABILITY_MARGIN": (induction, (0, 0.1, 0.2, 0.4)),
}


@dataclass(frozen=True, eq=False)
class Word:
    """A word's occurrences: gold and induced senses [n], vectors, and the words around."""

    gold: NDArray[np.int64]
    senses: NDArray[np.int32]
    sample: Sample
    lines: list[list[str]]
    counts: dict[str, int]


def words_of(instances: Sequence[Instance], elmo: Any) -> list[Word]:
    """Embed the words that occur LEAST times or more and have two senses or more."""
    grouped = group_occurrences(elmo, instances, Tokenizer("en").is_content)
    found = []
    for group in grouped.groups:
        names = [instances[row].gold[0][0] for row in group.rows]
        _, gold = np.unique(names, return_inverse=True)
        if len(gold) < LEAST or not gold.any():
            continue
        own = grouped.own[group.lemma]
        lines = [
            [t for token in instances[row].context.tokens if (t := token.casefold()) not in own]
            for row in group.rows
        ]
        senses = induce(group.sample, constants_of_encoder(elmo)).labels
        found.append(Word(gold, senses, group.sample, lines, dict(grouped.counts)))
    return found


def instances_of(occurrences: Sequence[Occurrence]) -> list[Instance]:
    return [
        Instance(
            id=one.doc_id,
            lemma=one.word,
            context=Context(one.tokens, one.index),
            gold=((one.sense, 1.0),),
        )
        for one in occurrences
    ]


def precision(word: Word, settings: dict[str, Any]) -> float | None:
    """Return the mean precision@10 of a word's first occurrences, by the ranking of the search."""
    sample, gold = word.sample, word.gold
    scores = search_scores(sample.tokens, sample.sentences, word.lines, word.counts, settings)
    bags = around_mean(sample.bags)
    scores = np.asarray(scores + neighbours.BAG_WEIGHT * (bags @ bags.T), np.float32)
    table = neighbours.make_table(np.arange(len(gold)), scores, bags, bags[0])
    shares = [
        _share(table.rank(scores[row]), scores[row], word, row)
        for row in range(min(QUERIES, len(gold)))
        if (gold == gold[row]).sum() > 1
    ]
    return float(np.mean(shares)) if shares else None


def _share(ranked: Floats, scores: Floats, word: Word, row: int) -> float:
    """Return how many of the ten best others have the gold sense of the occurrence `row`."""
    if word.senses.max() > 1:
        mine = neighbours.query_s_sense(scores, word.senses)
        ranked = ranked - neighbours.SENSE_BONUS * (word.senses != mine)
    others = np.delete(np.arange(len(ranked)), row)
    best = others[np.argsort(-ranked[others], kind="stable")[:K]]
    return float((word.gold[best] == word.gold[row]).mean())


def partition_ari(word: Word, constants: SenseConstants) -> float:
    """Return the adjusted Rand index of a word that is split in any case."""
    found = partition(word.sample, constants.directions, SenseOptions(force=True))
    return 0.0 if found is None else adjusted_rand(word.gold, found.astype(np.int64))


def has_two_frequent_senses(word: Word) -> bool:
    sizes = np.sort(np.bincount(word.gold))[::-1]
    return bool(sizes[1] >= max(3, 0.1 * sizes.sum()))


@pytest.fixture(scope="module")
def elmo() -> Any:
    return load("en-small", device="cpu")


@pytest.fixture(scope="module")
def sets(shared: Path, elmo: Any) -> dict[str, list[Word]]:
    semcor = read_semcor_wsi(shared / "data" / "eval" / "semcor_wsi").instances
    senseval = [one for one in read_occurrences(shared) if one.word in SENSEVAL]
    return {
        "SemCor-WSI": words_of(semcor, elmo),
        "demo": words_of(instances_of(list(read_demo())), elmo),
        "interest, serve": words_of(instances_of(senseval), elmo),
    }


def rows_of(
    tried: dict[str, dict[str, list[float]]], used: dict[str, float]
) -> list[list[str | float]]:
    return [
        [SAID[name], f"{value} (used)" if value == f"{used[name]:g}" else value, *scores]
        for name, values in tried.items()
        for value, scores in values.items()
    ]


def test_numbers_of_the_ranking(
    sets: dict[str, list[Word]],
    monkeypatch: pytest.MonkeyPatch,
    record_benchmark: Callable[..., None],
) -> None:
    def measure(settings: dict[str, Any]) -> list[float]:
        means = []
        for words in sets.values():
            shares = [share for word in words if (share := precision(word, settings)) is not None]
            means.append(round(float(np.mean(shares)), 4))
        return means

    shipped = measure(dict(DEFAULT_SETTINGS))
    used = {n: float(DEFAULT_SETTINGS.get(n) or getattr(neighbours, n)) for n in RANKING}
    tried: dict[str, dict[str, list[float]]] = {}
    for name, values in RANKING.items():
        tried[name] = {}
        for value in values:
            with monkeypatch.context() as patch:
                settings = dict(DEFAULT_SETTINGS)
                if name in settings:
                    settings[name] = value
                else:
                    patch.setattr(neighbours, name, value)
                tried[name][f"{value:g}"] = measure(settings)
    record_benchmark(
        "ranking-weights",
        {"shipped": shipped, "tried": tried},
        title="Same-sense precision@10, one number of the ranking changed",
        columns=["number", "value", *sets],
        rows=rows_of(tried, used),
        notes=[
            f"{len(sets['SemCor-WSI'])} lemmas of SemCor-WSI's development half with {LEAST} "
            "occurrences or more and at least two senses, the 12 words of the demo, two words of "
            f"Senseval; the first {QUERIES} occurrences of each are the queries",
            "the model en-small, float32",
        ],
    )
    for name, values in tried.items():
        assert values[f"{used[name]:g}"] == shipped
        assert shipped[0] > max(scores[0] for scores in values.values()) - 0.002


def test_numbers_of_the_partition(
    sets: dict[str, list[Word]],
    elmo: Any,
    monkeypatch: pytest.MonkeyPatch,
    record_benchmark: Callable[..., None],
) -> None:
    constants = constants_of_encoder(elmo)
    chosen = {name: list(filter(has_two_frequent_senses, words)) for name, words in sets.items()}

    def measure() -> list[float]:
        return [
            round(float(np.mean([partition_ari(word, constants) for word in words])), 3)
            for words in chosen.values()
        ]

    shipped = measure()
    used = {name: float(getattr(module, name)) for name, (module, _) in PARTITION.items()}
    tried: dict[str, dict[str, list[float]]] = {}
    for name, (module, values) in PARTITION.items():
        tried[name] = {}
        for value in values:
            with monkeypatch.context() as patch:
                patch.setattr(module, name, value)
                tried[name][f"{value:g}"] = measure()
    record_benchmark(
        "partition-numbers",
        {"shipped": shipped, "tried": tried},
        title="Adjusted Rand index of words that are split, one number of the partition changed",
        columns=["number", "value", *sets],
        rows=rows_of(tried, used),
        notes=[
            f"{len(chosen['SemCor-WSI'])} lemmas of SemCor-WSI's development half with {LEAST} "
            "occurrences or more and a second sense of at least 10 %, the 12 words of the demo, "
            "two words of Senseval; all are split (`--force`)",
            "the model en-small, float32",
        ],
    )
    for name, values in tried.items():
        assert values[f"{used[name]:g}"] == shipped
