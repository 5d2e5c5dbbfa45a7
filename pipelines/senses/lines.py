"""The senses of a word with the lines that show them best."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pipelines.corpus.view import CorpusView
from pipelines.errors import AbsentWord, UsageError
from pipelines.index.reader import OpenIndex
from pipelines.search.checks import check_has_tokens
from pipelines.search.hits import Hit
from pipelines.search.line_reader import LineReader, LocatedHit
from pipelines.search.occurrences import WordForms, choose_forms, describe_absence, nearest_indexed
from pipelines.search.query import check_unicode
from pipelines.senses.options import SenseOptions
from pipelines.senses.service import word_senses
from pipelines.senses.store import WordSenses

TellWordSenses = Callable[[OpenIndex, WordForms], WordSenses]


@dataclass(frozen=True, kw_only=True, eq=False)
class DescribedSenses:
    """What `sensegrep senses` shows.

    Attributes:
      senses: of the word.
      lines: for each sense its prototypes, the most central first; their score is the cosine with
        the mean of the sense.
      index: they were read from.
      forms: that count as the word.
    """

    senses: WordSenses
    lines: Mapping[int, list[Hit]]
    index: OpenIndex
    forms: WordForms

    def to_json(self) -> dict[str, Any]:
        """Return what `sensegrep senses --json` prints."""
        fields = self.senses.to_json()
        for sense in fields["senses"]:
            sense["lines"] = [hit.to_json() for hit in self.lines[sense["number"]]]
        return fields


def describe_senses(
    corpus: CorpusView,
    word: str,
    *,
    fold_case: bool = False,
    inflections: bool = False,
    options: SenseOptions | None = None,
    cache_dir: str | None = None,
) -> DescribedSenses:
    """Return the senses of a word with their prototype lines.

    Raises:
      AbsentWord: if the word never occurs in the index; names the nearest forms.
      UsageError: if the word is empty.
      CorpusError: if there is no index, or no token vectors.
    """
    index = OpenIndex.open(corpus, cache_dir)
    return describe_senses_in(
        index,
        word,
        fold_case=fold_case,
        inflections=inflections,
        tell_senses=partial(word_senses, options=options),
    )


def describe_senses_in(
    index: OpenIndex,
    word: str,
    *,
    fold_case: bool = False,
    inflections: bool = False,
    tell_senses: TellWordSenses = word_senses,
) -> DescribedSenses:
    """Do as `describe_senses` in an index that is open.

    Args:
      index: the open index.
      word: a form.
      fold_case, inflections: which other forms count as the word.
      tell_senses: who tells them, such as a cache of `word_senses`.
    """
    check_unicode(word, "the word")
    if word.strip("[]") != word:
        raise UsageError(
            f"the word is {word!r}; write it without brackets: sensegrep senses"
            f" {word.strip('[]') or 'bank'} --corpus DIR"
        )
    if not word.strip():
        raise UsageError("the word is empty; give one, such as: sensegrep senses bank --corpus DIR")
    check_has_tokens(index)
    forms = choose_forms(index, word, fold_case=fold_case, inflected=inflections)
    if not forms.indexed:
        near = nearest_indexed(index, word)
        raise AbsentWord(describe_absence(index, word, near), near)
    found = tell_senses(index, forms)
    return DescribedSenses(
        senses=found, lines=_prototype_lines(index, forms, found), index=index, forms=forms
    )


def _prototype_lines(index: OpenIndex, forms: WordForms, found: WordSenses) -> dict[int, list[Hit]]:
    wanted = {i: sense.number for sense in found.senses for i in sense.prototypes}
    places: dict[int, LocatedHit] = {}
    for stretch in forms.ranges:
        shard = index.shards[stretch.shard]
        ids = shard.keys["vector_id"][stretch.first : stretch.first + stretch.rows]
        for offset in np.flatnonzero(np.isin(ids, list(wanted))).tolist():
            vector_id, position = int(ids[offset]), stretch.first + offset
            vector = shard.tokens.vectors(np.array([position]))[0]
            number = wanted[vector_id]
            score = float(vector @ found.means[number - 1])
            places[vector_id] = LocatedHit(
                score, vector_id, stretch.shard, position, {}, "", number
            )
    reader = LineReader(index)
    return {
        sense.number: reader.hits([places[i] for i in sense.prototypes if i in places], "tokens")
        for sense in found.senses
    }
