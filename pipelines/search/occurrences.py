"""The occurrences of a word: which forms are compared, and where they are. No Beam."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.corpus.scan import vectors_of
from pipelines.index.exact import Floats
from pipelines.index.form_table import FormRange
from pipelines.index.reader import OpenIndex, OpenShard, matches
from pipelines.index.word_forms import forms_of, rules_of
from pipelines.text.normal_forms import folded_form
from pipelines.text.tokenizer import make_tokenizer
from pipelines.text.word_forms import inflections, nearest_forms

Positions = slice | NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class WordForms:
    """What counts as an occurrence of a word.

    Attributes:
      word: as asked for.
      forms: exactly these forms; None where `folded` decides.
      folded: casefolded spellings of which every form counts; None where `forms` decides.
      ranges: where they stand in the index.
      notes: what a reader should know of the choice.
    """

    word: str
    forms: frozenset[str] | None
    folded: frozenset[str] | None
    ranges: tuple[FormRange, ...]
    notes: tuple[str, ...] = ()

    @property
    def indexed(self) -> int:
        """Occurrences in the index, deleted ones included."""
        return sum(stretch.rows for stretch in self.ranges)

    @property
    def counts(self) -> dict[str, int]:
        """Occurrences of each form in the index, the most frequent first."""
        counts: dict[str, int] = {}
        for stretch in self.ranges:
            counts[stretch.form] = counts.get(stretch.form, 0) + stretch.rows
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def select(self, forms: pa.Array) -> pa.Array:
        """Say which of a column of forms are occurrences."""
        if self.forms is not None:
            return pc.is_in(forms, pa.array(sorted(self.forms), pa.string()))
        assert self.folded is not None
        encoded = forms.dictionary_encode()
        chosen = [folded_form(form) in self.folded for form in encoded.dictionary.to_pylist()]
        return pa.array(np.array(chosen, bool)[encoded.indices.to_numpy()])


def choose_forms(
    index: OpenIndex,
    word: str,
    *,
    fold_case: bool = False,
    inflected: bool = False,
    starts_sentence: bool = False,
) -> WordForms:
    """Decide which forms count as a word.

    By default the form itself; at the start of the query's sentence a capital is only spelling,
    so there the form in lower case counts too, and a note says so.

    Args:
      index: the open index.
      word: a form.
      fold_case: take all forms that differ in case only.
      inflected: take simple inflections too, in any case.
      starts_sentence: the word is the first of its sentence.
    """
    word = index.form(word)
    folded = folded_form(word)
    if inflected or fold_case:
        spellings = inflections(word) if inflected else frozenset({folded})
        ranges = [r for spelling in sorted(spellings) for r in index.forms.ranges(spelling)]
        return WordForms(word=word, forms=None, folded=spellings, ranges=tuple(ranges))
    forms = {word}
    notes = []
    if starts_sentence and word[:1].isupper() and word[1:].islower():
        forms.add(word[0].lower() + word[1:])
        notes.append(
            f"{word!r} begins the query, so {word[0].lower() + word[1:]!r} counts as the same word"
        )
    same = index.forms.ranges(folded)
    ranges = [stretch for stretch in same if stretch.form in forms]
    others = {stretch.form: 0 for stretch in same if stretch.form not in forms}
    for stretch in same:
        if stretch.form in others:
            others[stretch.form] += stretch.rows
    if others:
        listed = ", ".join(f"{form} ({count})" for form, count in sorted(others.items())[:4])
        notes.append(f"not searched: {listed}; --fold-case finds them too")
    return WordForms(
        word=word, forms=frozenset(forms), folded=None, ranges=tuple(ranges), notes=tuple(notes)
    )


def nearest_indexed(index: OpenIndex, word: str) -> dict[str, int]:
    """Return the forms of the index that are spelled most like a word, with their occurrences."""
    counts = index.forms.counts()
    return {form: counts[form] for form in nearest_forms(word, counts)}


def describe_absence(index: OpenIndex, word: str, near: Mapping[str, int]) -> str:
    """Say that a word never occurs, and which forms are spelled most alike."""
    options = index.corpus.segments[0].options
    stored = options.get("tokens")
    if stored == "content" and not make_tokenizer(dict(options["tokenizer"])).is_content(word):
        return (
            f"{word!r} is a stop word or punctuation, and only content words were embedded, so its"
            " occurrences cannot be searched; for those, embed into a new corpus with --tokens all"
        )
    text = f"{word!r} never occurs in this corpus"
    if stored == "content":
        text += " (of which only content words were embedded: no stop words, no punctuation)"
    if near:
        text += "; nearest forms: " + ", ".join(f"{form} ({n})" for form, n in near.items())
    return text


def positions_of(
    shard: OpenShard, ranges: Sequence[FormRange], filters: Mapping[str, str]
) -> Positions:
    """Return the positions of some forms in a shard, live and with the metadata wanted.

    One contiguous range stays a slice, which is scanned without a copy of the positions.
    """
    mine = sorted((r.first, r.first + r.rows) for r in ranges if r.shard == shard.shard.shard)
    joined: list[list[int]] = []
    for first, stop in mine:
        if joined and joined[-1][1] == first:
            joined[-1][1] = stop
        else:
            joined.append([first, stop])
    allowed = shard.allowed_documents(filters)
    if allowed is None and len(joined) == 1:
        return slice(*joined[0])
    positions = np.concatenate(
        [np.zeros(0, np.int64), *(np.arange(first, stop) for first, stop in joined)]
    )
    if allowed is not None and len(positions):
        positions = positions[allowed[shard.keys["document"][positions]]]
    return positions


def count_positions(places: Positions) -> int:
    """Return how many positions there are."""
    return places.stop - places.start if isinstance(places, slice) else len(places)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scanned:
    """Live tokens or sentences of a segment that the index does not cover.

    Attributes:
      segment_id: of the segment.
      rows: its columns without the vectors.
      vectors: [n, D] float32, centred, of length 1.
    """

    segment_id: str
    rows: pa.RecordBatch
    vectors: Floats


def scan_unindexed(
    index: OpenIndex, table: str, forms: WordForms | None, filters: Mapping[str, str]
) -> Iterator[Scanned]:
    """Read what the index does not cover: occurrences of a word, or with None everything."""
    columns = ["vector_id", "doc_id", "sentence_index", "start", "vector"]
    columns += ["end", "token_index", "token"] if table == "tokens" else ["text"]
    rules = rules_of(index.corpus)
    for segment_id in index.unindexed:
        wanted = _documents_with(index, segment_id, filters) if filters else None
        for batch in index.corpus.read(table, columns, [segment_id], batch_rows=8192):
            if forms is not None:
                batch = batch.filter(forms.select(forms_of(batch.column("token"), rules)))
            if wanted is not None:
                batch = batch.filter(pc.is_in(batch.column("doc_id"), wanted))
            if batch.num_rows:
                vectors = index.centering[table].apply(vectors_of(batch, index.manifest.dim))
                yield Scanned(
                    segment_id=segment_id, rows=batch.drop_columns("vector"), vectors=vectors
                )


def _documents_with(index: OpenIndex, segment_id: str, filters: Mapping[str, str]) -> pa.Array:
    found: list[Any] = []
    for batch in index.corpus.read("documents", ["doc_id", "metadata"], [segment_id]):
        chosen = np.ones(batch.num_rows, bool)
        for key, value in filters.items():
            chosen &= matches(batch.column("metadata"), key, value)
        found += batch.column("doc_id").filter(pa.array(chosen)).to_pylist()
    return pa.array(found, pa.string())


def join_forms(forms: Sequence[WordForms]) -> WordForms:
    """Join the choices of several examples' words."""
    if len(forms) == 1:
        return forms[0]
    exact = [choice.forms for choice in forms if choice.forms is not None]
    folded = [choice.folded for choice in forms if choice.folded is not None]
    return WordForms(
        word=" ".join(choice.word for choice in forms),
        forms=frozenset().union(*exact) if exact else None,
        folded=frozenset().union(*folded) if folded else None,
        ranges=tuple(dict.fromkeys(r for choice in forms for r in choice.ranges)),
        notes=tuple(note for choice in forms for note in choice.notes),
    )
