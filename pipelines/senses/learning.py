"""Learn a model's constants of senses from text, without labels.

Directions: in one document a word keeps its sense (Gale, Church, Yarowsky 1992), and its other uses
there differ by chance. So for many words W is gathered, the scatter within a word's occurrences in
one document, and B, the scatter of the documents' means about the word's mean; the directions
solve B a = v ((1 - l) W + l tr(W) / d I) a, the largest v first (a shrunk linear discriminant).

The table: how words of one sense fall apart at each number of occurrences (`split_test`).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.index.centering import normalize
from pipelines.index.exact import Floats
from pipelines.search.word_bags import weighted_bag
from pipelines.senses.constants import SenseConstants
from pipelines.senses.features import Sample, whole_features
from pipelines.senses.split_test import (
    MAX_TESTED,
    SingleSenseTable,
    best_score,
    cohesion_of,
    cohesion_score,
    measure_split,
)

OCCURRENCES = 30_000  # that directions are learned from
RANK = 128
SIZES = (10, 13, 18, 24, 36, 50, 70, 100, 150)
_SHRINKAGE = 0.8
_DOCUMENTS = 12  # of a word
_MIN_DOCUMENTS, _MIN_PAIRS = 10, 4
_PER_DOCUMENT = 2
_SHORTEST, _LONGEST = 5, 50
_DRAWS = 3  # samples of a size from each word
MIN_WORDS = 30
_RANDOM_WORDS = 250
_QUANTILES = 101
_READ = 256  # sentences embedded at once


def parse_words(text: str) -> list[str]:
    """Return the words of a list, separated by spaces; lines that begin with # are remarks."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return sorted({word for line in lines for word in line.split()})


def bundled_single_words(language: str) -> list[str] | None:
    """Return the bundled words of one sense of a language; None if there is no list."""
    path = Path(__file__).with_name(f"single_sense_{language}.txt")
    return parse_words(path.read_text(encoding="utf-8")) if path.is_file() else None


class Place(NamedTuple):
    """Where a token stands in the text read."""

    document: int
    sentence: int
    token: int


@dataclass(kw_only=True)
class ReadText:
    """Text read: its sentences, and where each content word stands.

    Attributes:
      sentences: tokens of each sentence of middling length.
      places: of each lower-cased content word.
      documents, tokens: how many were read.
    """

    sentences: list[list[str]] = field(default_factory=list)
    places: dict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    documents: int = 0
    tokens: int = 0


def read_text(
    documents: Iterable[Iterator[list[str]]],
    is_content: Callable[[str], bool],
    *,
    max_tokens: int,
    report: Callable[[int, int], None] | None = None,
) -> ReadText:
    """Read documents of sentences until there are enough tokens.

    Args:
      documents: each an iterator over its sentences' tokens.
      is_content: tells content words from others.
      max_tokens: to read.
      report: told documents and tokens read so far.
    """
    found = ReadText()
    for document in documents:
        for tokens in document:
            found.tokens += len(tokens)
            if not _SHORTEST <= len(tokens) <= _LONGEST:
                continue
            for place, token in enumerate(tokens):
                if len(token) > 1 and token == token.casefold() and is_content(token):
                    where = Place(found.documents, len(found.sentences), place)
                    found.places[token].append(where)
            found.sentences.append(tokens)
        found.documents += 1
        if report is not None and found.documents % 100 == 0:
            report(found.documents, found.tokens)
        if found.tokens >= max_tokens:
            break
    return found


def choose_words(text: ReadText, excluded: Collection[str], seed: int) -> dict[str, list[Place]]:
    """Choose words that stand in many documents, twice in some, and occurrences of each."""
    rng = np.random.default_rng(seed)
    words = sorted(set(text.places) - set(excluded))
    chosen: dict[str, list[Place]] = {}
    total = 0
    for word in (words[i] for i in rng.permutation(len(words))):
        by_document: dict[int, list[Place]] = defaultdict(list)
        for place in text.places[word]:
            by_document[place.document].append(place)
        fullest = sorted(by_document, key=lambda d: (-min(len(by_document[d]), _PER_DOCUMENT), d))
        taken = fullest[:_DOCUMENTS]
        pairs = sum(len(by_document[document]) > 1 for document in taken)
        if len(taken) < _MIN_DOCUMENTS or pairs < _MIN_PAIRS:
            continue
        chosen[word] = [p for d in taken for p in by_document[d][:_PER_DOCUMENT]]
        total += len(chosen[word])
        if total >= OCCURRENCES:
            break
    return chosen


def choose_single(text: ReadText, words: Collection[str], seed: int) -> dict[str, list[Place]]:
    """Choose up to MAX_TESTED occurrences of each word that occurs often enough."""
    rng = np.random.default_rng(seed)
    chosen = {}
    for word in sorted(words):
        places = text.places.get(word, [])
        if len(places) >= SIZES[0]:
            drawn = rng.permutation(len(places))[:MAX_TESTED]
            chosen[word] = [places[i] for i in drawn]
    return chosen


def random_words(text: ReadText, seed: int) -> list[str]:
    """Choose words at random among those that occur often enough, where there is no list.

    Most words have one sense, and what is learned of them is robust to the others.
    """
    often = sorted(word for word, places in text.places.items() if len(places) >= MAX_TESTED // 2)
    drawn = np.random.default_rng(seed).permutation(len(often))[:_RANDOM_WORDS]
    return [often[i] for i in drawn]


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """Occurrences of words as vectors.

    Attributes:
      words, documents: [n] of each occurrence.
      tokens, sentences, bags: [n, D] as in `features.Sample`.
      forms: vector [D] of each content word of the sentences, case-folded.
      counts: how often each of them stands there.
    """

    words: NDArray[Any]
    documents: NDArray[np.int64]
    tokens: Floats
    sentences: Floats
    bags: Floats
    forms: Mapping[str, Floats] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    def of(self, word: str) -> NDArray[np.int64]:
        """Return the rows of a word."""
        return np.flatnonzero(self.words == word)


def embed_places(
    elmo: Any,
    text: ReadText,
    chosen: Mapping[str, Sequence[Place]],
    is_content: Callable[[str], bool],
    report: Callable[[int, int], None] | None = None,
    own: Mapping[str, Collection[str]] | None = None,
) -> Embedded:
    """Embed the sentences of chosen occurrences, and centre all vectors on their means.

    Args:
      elmo: the model.
      text: holds the sentences.
      chosen: places of each word.
      is_content: tells content words from others.
      report: told sentences embedded and to embed.
      own: casefolded forms of each word, which are none of the words around it; None takes the
        word itself.

    Raises:
      ValueError: if no occurrence is chosen.
    """
    rows = [(word, place) for word, places in chosen.items() for place in places]
    if not rows:
        raise ValueError(
            "the text is too small: no word occurs often enough to learn from; give more text,"
            " with an empty line between documents"
        )
    wanted = sorted({place.sentence for _, place in rows})
    by_length = sorted(wanted, key=lambda s: (len(text.sentences[s]), s))
    tokens: dict[tuple[int, int], Floats] = {}
    sentences: dict[int, Floats] = {}
    sums: dict[str, Floats] = {}
    counts: Counter[str] = Counter()
    needed: dict[int, set[int]] = defaultdict(set)
    for _, place in rows:
        needed[place.sentence].add(place.token)
    for first in range(0, len(by_length), _READ):
        block = by_length[first : first + _READ]
        result = elmo.embed([text.sentences[s] for s in block])
        for number, start in zip(block, result.offsets, strict=False):
            sentences[number] = result.sentence_vectors[block.index(number)].copy()
            for position, token in enumerate(text.sentences[number]):
                vector = result.token_vectors[start + position]
                if position in needed[number]:
                    tokens[number, position] = vector.copy()  # not the whole batch
                if is_content(token):
                    form = token.casefold()
                    sums[form] = sums[form] + vector if form in sums else vector.copy()
                    counts[form] += 1
        if report is not None:
            report(first + len(block), len(by_length))
    total = sum(counts.values())
    # Of content words, as an index has them.
    mean = np.asarray(np.sum(list(sums.values()), axis=0) / max(1, total), np.float32)
    forms = {
        form: normalize(np.asarray(s / counts[form] - mean, np.float32)[None])[0]
        for form, s in sums.items()
    }
    idf = {form: float(np.log(total / count)) + 1 for form, count in counts.items()}
    stacked = np.stack([tokens[p.sentence, p.token] for _, p in rows])
    of_sentences = np.stack([sentences[p.sentence] for _, p in rows])
    bags = [
        weighted_bag(
            sorted(
                {t.casefold() for t in text.sentences[p.sentence]} - set(own[w] if own else [w])
            ),
            forms,
            idf,
        )
        for w, p in rows
    ]
    sentence_mean = np.mean([sentences[s] for s in wanted], axis=0)
    return Embedded(
        words=np.array([word for word, _ in rows]),
        documents=np.array([place.document for _, place in rows]),
        tokens=normalize(np.asarray(stacked - mean, np.float32)),
        sentences=normalize(np.asarray(of_sentences - sentence_mean, np.float32)),
        bags=np.stack([np.zeros(len(mean), np.float32) if b is None else b for b in bags]),
        forms=forms,
        counts=counts,
    )


def learn_directions(embedded: Embedded, rank: int = RANK) -> Floats:
    """Return directions [2D, R] float32 that tell documents apart; see the module's head.

    Raises:
      ValueError: if no word stands twice in a document, or none in two documents.
    """
    from scipy.linalg import eigh

    both = np.concatenate([embedded.tokens, embedded.sentences], axis=1) * 0.5**0.5
    width = both.shape[1]
    within, between = np.zeros((width, width)), np.zeros((width, width))
    n_within = n_between = 0
    for word in dict.fromkeys(embedded.words.tolist()):
        rows = embedded.of(word)
        centered = both[rows] - both[rows].mean(axis=0)
        _, group = np.unique(embedded.documents[rows], return_inverse=True)
        sizes = np.bincount(group)
        means = np.zeros((len(sizes), width))
        np.add.at(means, group, centered)
        means /= sizes[:, None]
        inside = (centered - means[group])[sizes[group] > 1]
        within += inside.T @ inside
        n_within += int((sizes[sizes > 1] - 1).sum())
        about = means - means.mean(axis=0)
        between += about.T @ about
        n_between += len(sizes) - 1
    if not n_within or not n_between:
        raise ValueError(
            "the text is too small: no word occurs twice in one document and also in another"
            " document; give more text, with an empty line between documents"
        )
    within, between = within / n_within, between / n_between
    floor = _SHRINKAGE * np.trace(within) / width * np.eye(width)
    _, vectors = eigh(between, (1 - _SHRINKAGE) * within + floor)
    found = vectors[:, ::-1][:, :rank]
    # A direction and its opposite are the same: fix the sign for equal bytes.
    largest = np.abs(found).argmax(axis=0)
    found = found * np.sign(found[largest, np.arange(found.shape[1])])
    return np.asarray(found / np.sqrt((found**2).sum(axis=0).mean()), np.float32)


def learn_table(
    embedded: Embedded,
    directions: Floats | None,
    *,
    seed: int,
    report: Callable[[int, int], None] | None = None,
) -> SingleSenseTable:
    """Measure how words of one sense fall apart at each of SIZES.

    Sizes that fewer than MIN_WORDS words have are left out.

    Raises:
      ValueError: if even the least size has too few words.
    """
    rng = np.random.default_rng(seed)
    words = list(dict.fromkeys(embedded.words.tolist()))
    sizes, means, deviations, spreads, quantiles, cohesions = [], [], [], [], [], []
    for number, size in enumerate(SIZES):
        found, cohesion = [], []
        enough = [word for word in words if len(embedded.of(word)) >= size]
        if len(enough) < MIN_WORDS:
            break
        for word in enough:
            rows = embedded.of(word)
            for _ in range(_DRAWS if len(rows) >= 1.5 * size else 1):
                drawn = rng.permutation(rows)[:size]
                sample = _bare_sample(embedded, drawn)
                found.append(measure_split(whole_features(sample, directions)))
                cohesion.append(cohesion_of(sample.tokens))
        measures = np.stack(found)  # [draws, K, 3]
        middle, spread = _middle_and_spread(measures)
        usual = np.array(_middle_and_spread(np.array(cohesion)), np.float32)
        of_sum = ((measures - middle) / spread).sum(axis=2).std(axis=0)
        scores = best_score(measures, middle, spread, of_sum, size)
        scores = scores - cohesion_score(np.array(cohesion, np.float32), usual)
        sizes.append(size)
        means.append(middle)
        deviations.append(spread)
        spreads.append(of_sum)
        cohesions.append(usual)
        quantiles.append(np.quantile(scores, np.linspace(0, 1, _QUANTILES)))
        if report is not None:
            report(number + 1, len(SIZES))
    if not sizes:
        raise ValueError(
            f"{len(words)} words of one sense occur {SIZES[0]} times or more in the text; expected"
            f" {MIN_WORDS}: give more text, or a longer list of words (--single-sense)"
        )
    return SingleSenseTable(
        sizes=np.array(sizes, np.float32),
        means=np.array(means, np.float32),
        deviations=np.array(deviations, np.float32),
        spreads=np.array(spreads, np.float32),
        quantiles=np.array(quantiles, np.float32),
        cohesions=np.array(cohesions, np.float32),
    )


def _middle_and_spread(values: Floats) -> tuple[Floats, Floats]:
    """Return the median of rows and the median distance from it as a standard deviation."""
    middle = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - middle), axis=0)
    return np.asarray(middle), np.maximum(spread, 1e-6)


def _bare_sample(embedded: Embedded, rows: NDArray[np.int64]) -> Sample:
    return Sample(
        tokens=embedded.tokens[rows],
        sentences=embedded.sentences[rows],
        bags=embedded.bags[rows],
        scores=np.zeros((len(rows), len(rows)), np.float32),
    )


def learn_constants(
    directed: Embedded | None,
    single: Embedded,
    *,
    seed: int,
    report: Callable[[int, int], None] | None = None,
) -> SenseConstants:
    """Learn directions from many words, and the table from words of one sense.

    Args:
      directed: occurrences of many words; None learns the table of vectors as they are.
      single: occurrences of words of one sense.
      seed: of the draws.
      report: told sizes measured of how many.
    """
    directions = None
    if directed is not None:
        # As they are stored: the table must be that of these very numbers.
        directions = learn_directions(directed).astype(np.float16).astype(np.float32)
    table = learn_table(single, directions, seed=seed, report=report)
    return SenseConstants(directions=directions, table=table)
