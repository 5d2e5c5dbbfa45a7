"""The senses of a word in a corpus: induced once per index, then read from beside it."""

from collections import Counter
from collections.abc import Iterator
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
from pipelines.senses.features import NEIGHBOURS, Features, sentences_of
from pipelines.senses.induction import SAMPLE, Induction, induce
from pipelines.senses.labels import label_words
from pipelines.senses.store import WordSenses, from_bytes, senses_path, to_bytes
from pipelines.text.normal_forms import folded_form

PROTOTYPES = 3


CONTEXTS_PER_SENSE = 200


WINDOW = 10  # tokens to each side that count as a context


_BLOCK_ROWS = 16384


def word_senses(index: OpenIndex, forms: WordForms) -> WordSenses:
    """Return the senses of a word's forms from beside the index, or induce and keep them.

    Where the corpus cannot be written they are induced each time.
    """
    # Documents deleted since do not count: with them gone the senses are others.
    deleted = list(index.corpus.snapshot.tombstones)
    path = senses_path(index.manifest.index_id, sorted(forms.counts), deleted)
    store = index.corpus.store
    if store.exists(path):
        return from_bytes(store.read(path), forms.word, path)
    found = induce_senses(index, forms)
    try:
        write_then_commit(store, path, to_bytes(found))
    except (OSError, CorpusError):
        return found  # a reader's copy of a corpus; what is shown is the same
    return found


def induce_senses(index: OpenIndex, forms: WordForms, *, seed: int = 0) -> WordSenses:
    """Induce the senses of a word from its live occurrences in the index."""
    places = {
        name: where
        for name, shard in index.shards.items()
        if count_positions(where := positions_of(shard, forms.ranges, {}))
    }
    counts = _background(index)
    drawn, tokens, sentences, lines = _sample(index, places, forms, seed)
    features = Features.of_sample(tokens, index.manifest.settings)
    vectors = features(tokens, sentences)
    smoothed = None
    if features.context_weight and len(vectors) > NEIGHBOURS:
        smoothed = features.smooth(vectors, lines, counts)
    rule = induce(vectors, smoothed=smoothed, seed=seed)
    ids, numbers = _assign_all(index, places, rule, features)
    numbers[drawn] = rule.labels
    means = _means(index, places, numbers, rule.senses)
    fits = _fits(index, places, numbers, means)
    shards = np.repeat(list(places), [count_positions(where) for where in places.values()])
    positions = np.concatenate([np.zeros(0, np.int64), *(_numbers(w) for w in places.values())])
    contexts = {}
    prototypes = {}
    for sense in range(1, rule.senses + 1):
        mine = np.flatnonzero(numbers == sense)
        best = mine[np.argsort(-fits[mine], kind="stable")]
        prototypes[sense] = tuple(int(i) for i in ids[best[:PROTOTYPES]])
        drawn = mine[:: max(1, len(mine) // CONTEXTS_PER_SENSE)][:CONTEXTS_PER_SENSE]
        contexts[sense] = _contexts(index, shards[drawn], positions[drawn])
    labels = label_words(contexts, counts, set(forms.counts))
    sizes = np.bincount(numbers, minlength=rule.senses + 1)[1:]
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
        gain=rule.gain,
        rule=rule,
        features=features,
        means=means,
        vector_ids=ids[order],
        numbers=numbers[order],
    )


def _numbers(where: Positions) -> NDArray[np.int64]:
    return np.arange(where.start, where.stop) if isinstance(where, slice) else where


def _sample(
    index: OpenIndex, places: dict[str, Positions], forms: WordForms, seed: int
) -> tuple[NDArray[np.int64], Floats, Floats, list[list[str]]]:
    """Draw up to SAMPLE occurrences over all shards.

    Returns:
      their numbers in order of place, vectors [n, D], vectors of their sentences [n, D], and the
      words of these, casefolded, without the word itself.
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
    for (name, where), end, count in zip(places.items(), ends, counts, strict=True):
        mine = drawn[(drawn >= end - count) & (drawn < end)] - (end - count)
        shard, positions = index.shards[name], _numbers(where)[mine]
        keys = shard.keys[positions]
        tokens.append(shard.tokens.vectors(positions))
        sentences.append(sentences_of(shard, keys))
        for line in keys["sentence"].tolist():
            words = (index.folded(token) for token in shard.lines.row(line)["tokens"])
            lines.append([word for word in words if word not in own])
    return drawn, np.concatenate(tokens), np.concatenate(sentences), lines


def _assign_all(
    index: OpenIndex, places: dict[str, Positions], rule: Induction, features: Features
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return vector_id and sense of every occurrence in order of place."""
    ids = [np.zeros(0, np.int64)]
    numbers = [np.zeros(0, np.int32)]
    for shard, keys, vectors in _blocks(index, places):
        ids.append(keys["vector_id"])
        numbers.append(rule.assign(features(vectors, sentences_of(shard, keys))))
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
        tokens = [index.form(token) for token in shard.lines.row(int(key["sentence"]))["tokens"]]
        place = int(key["token_index"])
        contexts.append(tokens[max(0, place - WINDOW) : place + WINDOW + 1])
    return contexts


def _background(index: OpenIndex) -> Counter[str]:
    """Count words, casefolded, of the whole index; content words only if those were embedded."""
    counts: Counter[str] = Counter()
    for form, count in index.forms.counts().items():
        counts[folded_form(form)] += count
    return counts
