"""The senses of a word in a corpus: induced once per index, kept beside it, described. No Beam.

Kept as indexes/<index_id>/senses/<name>.parquet: vector_id and sense of every occurrence; the rule
that assigns vectors, and what is said of each sense, stand in the file's metadata as JSON.
"""

import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.corpus import Corpus
from pipelines.errors import CorpusError
from pipelines.index.centering import normalize
from pipelines.index.exact import Floats
from pipelines.index.reader import OpenIndex, OpenShard
from pipelines.search.occurrences import (
    Places,
    WordForms,
    count_places,
    places_of,
)
from pipelines.senses.features import NEIGHBOURS, Features, sentences_of
from pipelines.senses.induction import SAMPLE, Induction, induce
from pipelines.storage import write_then_commit

LABELS = 6
PROTOTYPES = 3
CONTEXTS_PER_SENSE = 200
WINDOW = 10  # tokens to each side that count as a context
_VERSION = 2  # of how senses are induced; raised when it changes
_BLOCK_ROWS = 16384
_PRIOR = 50.0
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, kw_only=True)
class Sense:
    """One induced sense.

    Attributes:
      number: from 1, the largest sense first.
      size: occurrences in the index.
      share: of all occurrences.
      quality: mean silhouette, -1 to 1; 0 where the word has one sense.
      labels: words typical of its contexts, the most typical first.
      prototypes: vector_ids of its most central occurrences.
    """

    number: int
    size: int
    share: float
    quality: float
    labels: tuple[str, ...]
    prototypes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class WordSenses:
    """The senses of a word.

    Attributes:
      word: as asked for.
      forms: occurrences of each form.
      senses: from the largest.
      gain: how much better than in structureless draws the occurrences fall apart; 0 for one sense.
      rule: puts any occurrence into a sense, by its features.
      features: of an occurrence's vectors.
      means: [S, D] float32 of length 1, the mean direction of each sense.
      vector_ids: [n] int64 ascending, of the occurrences in the index.
      numbers: [n] int32, their senses.
    """

    word: str
    forms: dict[str, int]
    senses: tuple[Sense, ...]
    gain: float
    rule: Induction
    features: Features
    means: Floats
    vector_ids: NDArray[np.int64]
    numbers: NDArray[np.int32]

    def of(self, vector_ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the senses of occurrences in the index; 0 for any other vector."""
        if not len(self.vector_ids):
            return np.zeros(len(vector_ids), np.int32)
        place = np.searchsorted(self.vector_ids, vector_ids).clip(max=len(self.vector_ids) - 1)
        return np.where(self.vector_ids[place] == vector_ids, self.numbers[place], 0)

    def assign(self, tokens: Floats, sentences: Floats) -> NDArray[np.int32]:
        """Return the senses of occurrences that are not in the index, by vectors [n, D]."""
        return self.rule.assign(self.features(tokens, sentences))

    def to_json(self) -> dict[str, Any]:
        """Return what `sensegrep senses --json` prints; ids as strings."""
        senses = [
            {**asdict(sense), "prototypes": [str(i) for i in sense.prototypes]}
            for sense in self.senses
        ]
        return {"word": self.word, "forms": self.forms, "gain": self.gain, "senses": senses}


def senses(corpus: Corpus, word: str, **options: Any) -> WordSenses:
    """Return the senses of a word, inducing them if they are not kept beside the index yet.

    Args:
      corpus: with an index.
      word: a form.
      **options: fold_case, inflections, cache_dir; see `lines.describe_senses`.

    Raises:
      UsageError: if the word never occurs in the index; names the nearest forms.
      CorpusError: if there is no index, or no token vectors.
    """
    from pipelines.senses.lines import describe_senses

    return describe_senses(corpus, word, **options).senses


def check_has_tokens(index: OpenIndex) -> None:
    """Refuse to look for words where only sentences were embedded.

    Raises:
      CorpusError: if the corpus has no token vectors.
    """
    if not any(segment.counts["token_vectors"] for segment in index.corpus.segments):
        raise CorpusError(
            f"the corpus at {index.corpus.root} has no token vectors (it was embedded with --tokens"
            " none), so words cannot be searched; search without brackets, or embed it with"
            " --tokens content or all"
        )


def word_senses(index: OpenIndex, forms: WordForms) -> WordSenses:
    """Return the senses of a word's forms from beside the index, or induce and keep them.

    Where the corpus cannot be written they are induced each time.
    """
    path = _path(index, forms)
    store = index.corpus.store
    if store.exists(path):
        return _read(store.read(path), forms, path)
    found = induce_senses(index, forms)
    try:
        write_then_commit(store, path, _write(found))
    except (OSError, CorpusError):
        return found  # a reader's copy of a corpus; what is shown is the same
    return found


def _path(index: OpenIndex, forms: WordForms) -> str:
    # Documents that died since count no more, so their senses are others'.
    dead = list(index.corpus.snapshot.tombstones)
    named = json.dumps([_VERSION, sorted(forms.counts), index.manifest.index_id, dead])
    name = hashlib.sha256(named.encode()).hexdigest()[:24]
    return f"indexes/{index.manifest.index_id}/senses/{name}.parquet"


# --- induction over an index ---------------------------------------------------------------------


def induce_senses(index: OpenIndex, forms: WordForms, *, seed: int = 0) -> WordSenses:
    """Induce the senses of a word from its live occurrences in the index."""
    places = {
        name: where
        for name, shard in index.shards.items()
        if count_places(where := places_of(shard, forms.ranges, {}))
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
    shards = np.repeat(list(places), [count_places(where) for where in places.values()])
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


def _numbers(where: Places) -> NDArray[np.int64]:
    return np.arange(where.start, where.stop) if isinstance(where, slice) else where


def _sample(
    index: OpenIndex, places: dict[str, Places], forms: WordForms, seed: int
) -> tuple[NDArray[np.int64], Floats, Floats, list[list[str]]]:
    """Draw up to SAMPLE occurrences over all shards.

    Returns:
      their numbers in order of place, vectors [n, D], vectors of their sentences [n, D], and the
      words of these, casefolded, without the word itself.
    """
    counts = [count_places(where) for where in places.values()]
    total = sum(counts)
    drawn = np.arange(total)
    if total > SAMPLE:
        drawn = np.sort(np.random.default_rng(seed).choice(total, SAMPLE, replace=False))
    ends = np.cumsum(counts)
    own = {form.casefold() for form in forms.counts}
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
            words = (token.casefold() for token in shard.lines.row(line)["tokens"])
            lines.append([word for word in words if word not in own])
    return drawn, np.concatenate(tokens), np.concatenate(sentences), lines


def _assign_all(
    index: OpenIndex, places: dict[str, Places], rule: Induction, features: Features
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return vector_id and sense of every occurrence in order of place."""
    ids = [np.zeros(0, np.int64)]
    numbers = [np.zeros(0, np.int32)]
    for shard, keys, vectors in _blocks(index, places):
        ids.append(keys["vector_id"])
        numbers.append(rule.assign(features(vectors, sentences_of(shard, keys))))
    return np.concatenate(ids), np.concatenate(numbers)


def _means(
    index: OpenIndex, places: dict[str, Places], numbers: NDArray[np.int32], senses: int
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
    index: OpenIndex, places: dict[str, Places], numbers: NDArray[np.int32], means: Floats
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
    index: OpenIndex, places: dict[str, Places]
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
        tokens = shard.lines.row(int(key["sentence"]))["tokens"]
        place = int(key["token_index"])
        contexts.append(tokens[max(0, place - WINDOW) : place + WINDOW + 1])
    return contexts


def _background(index: OpenIndex) -> Counter[str]:
    """Count words, casefolded, of the whole index; content words only if those were embedded."""
    counts: Counter[str] = Counter()
    for form, count in index.forms.counts().items():
        counts[form.casefold()] += count
    return counts


def label_words(
    contexts: dict[int, list[list[str]]], background: Counter[str], own: Iterable[str]
) -> dict[int, tuple[str, ...]]:
    """Choose words that are typical of each sense's contexts and not of the others'.

    Log-odds ratio with an informative Dirichlet prior (Monroe, Colaresi, Quinn 2008, eq. 22): the
    prior is the corpus, so that words frequent everywhere are typical of nothing.

    Args:
      contexts: for each sense, lists of tokens.
      background: counts of casefolded words in the corpus; other words are not considered.
      own: forms of the word itself, which says nothing.
    """
    ignored = {form.casefold() for form in own}
    total = max(1, sum(background.values()))
    counted = {
        sense: Counter(
            word
            for context in lists
            for word in {token.casefold() for token in context}  # once a context
            if word in background and word not in ignored and _WORD.fullmatch(word)
        )
        for sense, lists in contexts.items()
    }
    labels = {}
    for sense, counts in counted.items():
        others: Counter[str] = Counter()
        for other, theirs in counted.items():
            if other != sense:
                others.update(theirs)
        if not others:
            others = background
        scored = _log_odds(counts, others, background, total)
        labels[sense] = tuple(word for word, score in scored[:LABELS] if score > 1)
    return labels


def _log_odds(
    counts: Counter[str], others: Counter[str], background: Counter[str], total: int
) -> list[tuple[str, float]]:
    size, other_size = sum(counts.values()), sum(others.values())
    scored = []
    for word, count in counts.items():
        if count < 2:
            continue
        prior = _PRIOR * background[word] / total + 0.01
        mine, theirs = count + prior, others[word] + prior
        odds = np.log(mine / (size + _PRIOR - mine)) - np.log(
            theirs / max(other_size + _PRIOR - theirs, 1e-9)
        )
        scored.append((word, float(odds / np.sqrt(1 / mine + 1 / theirs))))
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))


# --- beside the index ----------------------------------------------------------------------------


def _write(found: WordSenses) -> bytes:
    about = {
        "word": found.word,
        "forms": found.forms,
        "gain": found.gain,
        "senses": [asdict(sense) for sense in found.senses],
        "weights": found.rule.weights.tolist(),
        "bias": found.rule.bias.tolist(),
        "silhouettes": found.rule.silhouettes.tolist(),
        "means": found.means.tolist(),
        "features": {**asdict(found.features), "mean": found.features.mean.tolist()},
    }
    table = pa.table({"vector_id": found.vector_ids, "sense": found.numbers})
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"senses": json.dumps(about)}), buffer)
    return buffer.getvalue()


def _read(data: bytes, forms: WordForms, path: str) -> WordSenses:
    try:
        table = pq.read_table(io.BytesIO(data))
        about = json.loads(table.schema.metadata[b"senses"])
        rule = Induction(
            weights=np.array(about["weights"], np.float32),
            bias=np.array(about["bias"], np.float32),
            silhouettes=np.array(about["silhouettes"], np.float32),
            gain=about["gain"],
        )
        return WordSenses(
            word=forms.word,
            forms=about["forms"],
            senses=tuple(
                Sense(
                    **{
                        **sense,
                        "labels": tuple(sense["labels"]),
                        "prototypes": tuple(sense["prototypes"]),
                    }
                )
                for sense in about["senses"]
            ),
            gain=about["gain"],
            rule=rule,
            features=Features(
                **{**about["features"], "mean": np.array(about["features"]["mean"], np.float32)}
            ),
            means=np.array(about["means"], np.float32),
            vector_ids=table["vector_id"].to_numpy(),
            numbers=table["sense"].to_numpy(),
        )
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
        raise CorpusError(
            f"{path} is damaged ({error}); remove it, and the senses are induced again"
        ) from error
