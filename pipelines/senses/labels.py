"""Label words: words that are typical of the contexts of a sense.

A word's score is how much its vector points from the other senses' contexts to this one's, and a
little of how much more often it stands here than there:

    cos(v(w), m_mine - m_others) + 0.15 z(w)

m is the mean of the vectors of a side's words, weighted by idf, and z the log-odds ratio with an
informative Dirichlet prior (Monroe, Colaresi, Quinn 2008, eq. 22), whose prior is the corpus, so
that words frequent everywhere are typical of nothing. Counts alone say nothing in a small sample.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from pipelines.index.centering import normalize
from pipelines.index.exact import Floats
from pipelines.text.normal_forms import folded_form
from pipelines.text.word_forms import inflections

LABELS = 6
_PRIOR = 50.0
_ODDS_SHARE = 0.15
# Of letters alone; in Latin script of three at least, in others a character may be a word.
_WORD = re.compile(r"[^\W\d_]{3,}|[^\W\d_\u0000-\u024f]+")

FormVectorsOf = Callable[[Sequence[str]], Mapping[str, Floats]]


def label_words(
    contexts: Mapping[int, Sequence[Sequence[str]]],
    background: Mapping[str, int],
    own: Iterable[str],
    vectors_of: FormVectorsOf,
) -> dict[int, tuple[str, ...]]:
    """Choose up to LABELS words that are typical of each sense's contexts and not of the others'.

    Args:
      contexts: for each sense, lists of tokens.
      background: counts of casefolded words in the corpus; other words are not considered.
      own: forms of the word itself, which says nothing.
      vectors_of: returns the vectors [D] of casefolded words.
    """
    ignored = set(chain.from_iterable(inflections(folded_form(form)) for form in own))
    counted = {
        sense: Counter(
            word
            for context in lists
            for word in {folded_form(token) for token in context}  # once a context
            if word in background and word not in ignored and _WORD.fullmatch(word)
        )
        for sense, lists in contexts.items()
    }
    total = max(1, sum(background.values()))
    words = sorted(set(chain.from_iterable(counted.values())))
    vectors = vectors_of(words)
    labels = {}
    for sense, mine in counted.items():
        others: Counter[str] = Counter()
        for other, theirs in counted.items():
            if other != sense:
                others.update(theirs)
        direction = _mean(mine, vectors, background, total)
        if others:
            direction = direction - _mean(others, vectors, background, total)
        direction = normalize(direction[None])[0]
        odds = _log_odds(mine, others or Counter(background), background, total)
        scores = {
            word: float(vectors[word] @ direction) + _ODDS_SHARE * odds[word]
            for word in mine
            if word in vectors
        }
        ranked = sorted(scores, key=lambda word: (-scores[word], word))
        labels[sense] = _one_of_each_stem([word for word in ranked if scores[word] > 0])
    return labels


def _mean(
    counts: Mapping[str, int],
    vectors: Mapping[str, Floats],
    background: Mapping[str, int],
    total: int,
) -> Floats:
    """Return the mean vector [D] of counted words by idf; zeros if none has a vector."""
    sums = np.zeros(len(next(iter(vectors.values()))) if vectors else 1)
    weights = 0.0
    for word, count in counts.items():
        if word in vectors:
            weight = count * (np.log(total / background[word]) + 1)
            sums = sums + weight * vectors[word]
            weights += weight
    return np.asarray(sums / max(weights, 1e-9), np.float32)


def _log_odds(
    counts: Mapping[str, int], others: Mapping[str, int], background: Mapping[str, int], total: int
) -> dict[str, float]:
    size, other_size = sum(counts.values()), sum(others.values())
    odds = {}
    for word, count in counts.items():
        prior = _PRIOR * background[word] / total + 0.01
        mine, theirs = count + prior, others.get(word, 0) + prior
        ratio = np.log(mine / max(size + _PRIOR - mine, 1e-9)) - np.log(
            theirs / max(other_size + _PRIOR - theirs, 1e-9)
        )
        odds[word] = float(ratio / np.sqrt(1 / mine + 1 / theirs))
    return odds


def _one_of_each_stem(ranked: Sequence[str]) -> tuple[str, ...]:
    """Return the first LABELS words, of words with the same stem the first."""
    chosen: list[str] = []
    taken: set[str] = set()
    for word in ranked:
        if word in taken:
            continue
        chosen.append(word)
        taken |= inflections(word)
        if len(chosen) == LABELS:
            break
    return tuple(chosen)
