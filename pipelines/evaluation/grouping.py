"""Embed the occurrences of a set's words as a corpus of its sentences would, grouped by word."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.evaluation.sets import Instance
from pipelines.index.exact import Floats
from pipelines.index.options import DEFAULT_SETTINGS
from pipelines.search.similarity import search_scores
from pipelines.senses.constants import SenseConstants, constants_for
from pipelines.senses.features import Sample
from pipelines.senses.learning import Embedded, Place, ReadText, embed_places


@dataclass(frozen=True, kw_only=True, eq=False)
class Grouped:
    """A lemma's occurrences: their numbers in the set, and what they are clustered by."""

    lemma: str
    rows: npt.NDArray[np.int64]
    sample: Sample


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupedSet:
    """A set's occurrences, and the words around them.

    Attributes:
      groups: the occurrences of each lemma.
      forms: vector [D] of each content word of the sentences, case-folded.
      counts: how often each of them stands there.
      own: the case-folded forms of each lemma.
    """

    groups: tuple[Grouped, ...]
    forms: Mapping[str, Floats]
    counts: Mapping[str, int]
    own: Mapping[str, frozenset[str]]


def group_occurrences(
    encoder: Any,
    instances: Sequence[Instance],
    is_content: Callable[[str], bool],
    report: Callable[[int, int], None] | None = None,
) -> GroupedSet:
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
            Grouped(lemma=lemma, rows=np.array(rows), sample=_sample(embedded, mine, lines))
        )
    return GroupedSet(
        groups=tuple(found),
        forms=embedded.forms,
        counts=embedded.counts,
        own={lemma: frozenset(forms) for lemma, forms in own.items()},
    )


def _sample(embedded: Embedded, rows: slice, lines: Sequence[Sequence[str]]) -> Sample:
    tokens, sentences = embedded.tokens[rows], embedded.sentences[rows]
    return Sample(
        tokens=tokens,
        sentences=sentences,
        bags=embedded.bags[rows],
        scores=search_scores(tokens, sentences, lines, embedded.counts, DEFAULT_SETTINGS),
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
