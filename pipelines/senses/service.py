"""The senses of a word in a corpus: computed once per index, then read from beside it."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.corpus.store import write_then_commit
from pipelines.errors import CorpusError
from pipelines.index.centering import normalize
from pipelines.index.exact import Floats
from pipelines.index.reader import OpenIndex, OpenShard
from pipelines.search.hits import Sense
from pipelines.search.occurrences import Positions, WordForms, count_positions, positions_of
from pipelines.search.similarity import search_scores
from pipelines.search.word_bags import weighted_bags
from pipelines.senses.constants import SenseConstants, constants_for
from pipelines.senses.features import Sample, sentences_of
from pipelines.senses.induction import LEAST, SAMPLE, Induction, induce
from pipelines.senses.labels import label_words
from pipelines.senses.options import MIN_OCCURRENCES, SenseOptions, needed_surety
from pipelines.senses.store import WordSenses, from_bytes, senses_path, to_bytes
from pipelines.text.normal_forms import folded_form

PROTOTYPES = 3
CONTEXTS_PER_SENSE = 200
WINDOW = 10  # tokens to each side that count as a context
_BLOCK_ROWS = 16384


def word_senses(
    index: OpenIndex, forms: WordForms, options: SenseOptions | None = None
) -> WordSenses:
    """Return the senses of a word's forms from beside the index, or induce and keep them.

    Where the corpus cannot be written they are induced each time.
    """
    options = options or SenseOptions()
    kept = kept_senses(index, forms, options)
    if kept is not None:
        return kept
    found = induce_senses(index, forms, options)
    try:
        write_then_commit(index.corpus.store, _path(index, forms, options), to_bytes(found))
    except (OSError, CorpusError):
        return found  # a reader's copy of a corpus; what is shown is the same
    return found


def kept_senses(
    index: OpenIndex, forms: WordForms, options: SenseOptions | None = None
) -> WordSenses | None:
    """Return the senses that are kept beside the index; None if these are not.

    Raises:
      CorpusError: if what is kept is damaged.
    """
    path, store = _path(index, forms, options or SenseOptions()), index.corpus.store
    if not store.exists(path):
        return None
    return from_bytes(store.read(path), forms.word, path, constants_of(index).directions)


def _path(index: OpenIndex, forms: WordForms, options: SenseOptions) -> str:
    # Documents deleted since do not count: with them gone the senses are others.
    deleted = list(index.corpus.snapshot.tombstones)
    digest = constants_of(index).digest
    return senses_path(index.manifest.index_id, sorted(forms.counts), deleted, options, digest)


def constants_of(index: OpenIndex) -> SenseConstants:
    """Return what the senses of a corpus are told apart by: what its model has, or general ones."""
    segment = index.corpus.segments[0]
    return constants_for(
        str(segment.model.get("name", "")),
        str(segment.model.get("fingerprint", "")),
        tuple(segment.options.get("layer_weights") or ()),
        str(segment.options.get("pooling", "")),
        index.manifest.dim,
    )


def induce_senses(
    index: OpenIndex, forms: WordForms, options: SenseOptions | None = None, *, seed: int = 0
) -> WordSenses:
    """Induce the senses of a word from its live occurrences in the index."""
    options = options or SenseOptions()
    places = {
        name: where
        for name, shard in index.shards.items()
        if count_positions(where := positions_of(shard, forms.ranges, {}))
    }
    counts = index.forms.folded_counts()
    constants = constants_of(index)
    drawn, line_of, sample = _sample(index, places, forms, counts, seed)
    rule = induce(sample, constants, options, seed=seed)
    ids, numbers = _assign_all(index, places, rule)
    numbers[drawn] = rule.labels[line_of]
    copies = _copies(drawn, line_of)
    means = _means(index, places, numbers, rule.senses)
    fits = _fits(index, places, numbers, means)
    shards = np.repeat(list(places), [count_positions(where) for where in places.values()])
    positions = np.concatenate([np.zeros(0, np.int64), *(_numbers(w) for w in places.values())])
    contexts = {}
    prototypes = {}
    for sense in range(1, rule.senses + 1):
        mine = np.setdiff1d(np.flatnonzero(numbers == sense), copies)
        best = mine[np.argsort(-fits[mine], kind="stable")]
        prototypes[sense] = tuple(int(i) for i in ids[best[:PROTOTYPES]])
        shown = mine[:: max(1, len(mine) // CONTEXTS_PER_SENSE)][:CONTEXTS_PER_SENSE]
        contexts[sense] = _contexts(index, shards[shown], positions[shown])
    labels = label_words(contexts, counts, set(forms.counts), index.form_vectors.of)
    counted = np.delete(numbers, copies)
    sizes = np.bincount(counted, minlength=rule.senses + 1)[1:]
    order = np.argsort(ids)
    return WordSenses(
        word=forms.word,
        forms=forms.counts,
        senses=tuple(
            Sense(
                number=number,
                size=int(size),
                share=float(size / max(1, sizes.sum())),
                quality=float(rule.silhouettes[number - 1]),
                labels=labels[number],
                prototypes=prototypes[number],
            )
            for number, size in enumerate(sizes, start=1)
        ),
        gain=_mean_quality(rule, sizes),
        notes=_notes(forms.word, len(ids), (len(drawn), len(copies)), rule, constants, options),
        rule=rule,
        means=means,
        vector_ids=ids[order],
        numbers=numbers[order],
    )


def _mean_quality(rule: Induction, sizes: NDArray[np.int64]) -> float:
    return float((rule.silhouettes * sizes).sum() / max(1, sizes.sum()))


def _notes(
    word: str,
    count: int,
    sampled: tuple[int, int],
    rule: Induction,
    constants: SenseConstants,
    options: SenseOptions,
) -> tuple[str, ...]:
    """Say what a reader should know of how the senses came about.

    Args:
      word: as it was asked for.
      count: of its occurrences.
      sampled: how many of them were looked at, and how many of those repeat another line.
      rule: what was found.
      constants: what it was found by.
      options: what was asked for.
    """
    notes = []
    looked_at, copies = sampled
    if copies:
        notes.append(
            f"{copies:,} line{' repeats' if copies == 1 else 's repeat'} another word for word;"
            " identical lines are counted once"
        )
    if count >= MIN_OCCURRENCES > looked_at - copies and not options.force:
        notes.append(
            f"{word!r} occurs in {looked_at - copies} different"
            f" line{'' if looked_at - copies == 1 else 's'}; at least {MIN_OCCURRENCES} are"
            f" needed to find senses{_anyway(looked_at - copies)}"
        )
    elif count < MIN_OCCURRENCES and not options.force:
        notes.append(
            f"{word!r} occurs {count} time{'' if count == 1 else 's'}; at least"
            f" {MIN_OCCURRENCES} occurrences are needed to find senses{_anyway(count)}"
        )
    elif options.force and rule.senses == 1:
        notes.append(f"the occurrences of {word!r} are too few or too similar to be split")
    if options.at_most == 1:
        notes.append("with --at-most 1, senses are not told apart")
    elif rule.senses == 1 and (rule.surety or 0) >= needed_surety(looked_at - copies):
        notes.append(
            f"{word!r} looks like several senses, but every split leaves one with less than"
            f" {options.min_share:.0%} of the occurrences (--min-share) or fewer than {LEAST}"
        )
    if looked_at < count:
        notes.append(
            f"senses were found in {looked_at:,} of {count:,} occurrences, chosen at random;"
            " each of the others was given the nearest sense"
        )
    if constants.note and count >= MIN_OCCURRENCES:
        notes.append(constants.note)
    return tuple(notes)


def _anyway(lines: int) -> str:
    return " (--force splits them anyway)" if lines > 1 else ""


def _numbers(where: Positions) -> NDArray[np.int64]:
    return np.arange(where.start, where.stop) if isinstance(where, slice) else where


def _sample(
    index: OpenIndex,
    places: dict[str, Positions],
    forms: WordForms,
    background: Mapping[str, int],
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], Sample]:
    """Draw up to SAMPLE occurrences over all shards, and take identical lines as one.

    Returns:
      numbers [m] of those drawn, in order of place; for each its row in the sample; the sample.
    """
    counts = [count_positions(where) for where in places.values()]
    total = sum(counts)
    drawn = np.arange(total)
    if total > SAMPLE:
        drawn = np.sort(np.random.default_rng(seed).choice(total, SAMPLE, replace=False))
    ends = np.cumsum(counts)
    own = {folded_form(form) for form in forms.counts}
    tokens = [np.zeros((0, index.manifest.dim), np.float32)]
    sentences = list(tokens)
    lines: list[list[str]] = []
    rows: dict[tuple[Any, ...], int] = {}
    line_of: list[int] = []
    for (name, where), end, count in zip(places.items(), ends, counts, strict=True):
        mine = drawn[(drawn >= end - count) & (drawn < end)] - (end - count)
        shard, positions = index.shards[name], _numbers(where)[mine]
        keys = shard.keys[positions]
        new = np.zeros(len(keys), bool)
        inside = keys["token_index"].tolist()
        for row, line in enumerate(keys["sentence"].tolist()):
            line_tokens = shard.lines.value("tokens", line)
            known = len(rows)
            line_of.append(rows.setdefault((inside[row], *line_tokens), known))
            if line_of[-1] == known:
                new[row] = True
                words = (index.folded(token) for token in line_tokens)
                lines.append([word for word in words if word not in own])
        tokens.append(shard.tokens.vectors(positions[new]))
        sentences.append(sentences_of(shard, keys[new]))
    of_tokens, of_sentences = np.concatenate(tokens), np.concatenate(sentences)
    scores = search_scores(of_tokens, of_sentences, lines, background, index.manifest.settings)
    bags = _bags(index, lines, background)
    sample = Sample(tokens=of_tokens, sentences=of_sentences, bags=bags, scores=scores)
    return drawn, np.array(line_of, np.int64), sample


def _copies(drawn: NDArray[np.int64], line_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of those drawn whose line stands among them before."""
    _, first = np.unique(line_of, return_index=True)
    return np.delete(drawn, first)


def _bags(index: OpenIndex, lines: list[list[str]], background: Mapping[str, int]) -> Floats:
    """Return the words around each occurrence as vectors [n, D]."""
    total = max(1, sum(background.values()))
    words = sorted({word for line in lines for word in line if word in background})
    known = index.form_vectors.of(words)
    idf = {word: float(np.log(total / background[word])) + 1 for word in known}
    return weighted_bags(lines, known, idf, index.manifest.dim)


def _assign_all(
    index: OpenIndex, places: dict[str, Positions], rule: Induction
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return vector_id and sense of every occurrence in order of place."""
    ids = [np.zeros(0, np.int64)]
    numbers = [np.zeros(0, np.int32)]
    for shard, keys, vectors in _blocks(index, places):
        ids.append(keys["vector_id"])
        if rule.senses > 1:
            numbers.append(rule.assign(vectors, sentences_of(shard, keys)))
        else:
            numbers.append(np.ones(len(keys), np.int32))
    return np.concatenate(ids), np.concatenate(numbers)


def _means(
    index: OpenIndex, places: dict[str, Positions], numbers: NDArray[np.int32], senses: int
) -> Floats:
    """Return the mean direction of each sense's vectors, [S, D] of length 1."""
    sums = np.zeros((senses, index.manifest.dim))
    first = 0
    for _, _, vectors in _blocks(index, places):
        mine = numbers[first : first + len(vectors)]
        for sense in range(senses):
            sums[sense] += vectors[mine == sense + 1].sum(axis=0)
        first += len(vectors)
    return normalize(sums.astype(np.float32))


def _fits(
    index: OpenIndex, places: dict[str, Positions], numbers: NDArray[np.int32], means: Floats
) -> Floats:
    """Return the cosine of every occurrence with the mean of its sense."""
    fits = [np.zeros(0, np.float32)]
    first = 0
    for _, _, vectors in _blocks(index, places):
        mine = numbers[first : first + len(vectors)]
        fits.append((vectors * means[mine - 1]).sum(axis=1))
        first += len(vectors)
    return np.concatenate(fits)


def _blocks(
    index: OpenIndex, places: dict[str, Positions]
) -> Iterator[tuple[OpenShard, NDArray[Any], Floats]]:
    """Yield shard, keys and vectors of all occurrences, some at a time."""
    for name, where in places.items():
        shard = index.shards[name]
        positions = _numbers(where)
        for first in range(0, len(positions), _BLOCK_ROWS):
            block = positions[first : first + _BLOCK_ROWS]
            yield shard, shard.keys[block], shard.tokens.vectors(block)


def _contexts(
    index: OpenIndex, shards: NDArray[np.str_], positions: NDArray[np.int64]
) -> list[list[str]]:
    contexts = []
    for name, position in zip(shards, positions, strict=True):
        shard = index.shards[str(name)]
        key = shard.keys[int(position)]
        line = shard.lines.value("tokens", int(key["sentence"]))
        tokens = [index.form(token) for token in line]
        place = int(key["token_index"])
        contexts.append(tokens[max(0, place - WINDOW) : place + WINDOW + 1])
    return contexts
