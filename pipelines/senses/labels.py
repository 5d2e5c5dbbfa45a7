"""Label words: what is typical of the contexts of each sense."""

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np

from pipelines.text.normal_forms import folded_form

LABELS = 6


_PRIOR = 50.0


_WORD = re.compile(r"[^\W\d_]{2,}")


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
    ignored = {folded_form(form) for form in own}
    total = max(1, sum(background.values()))
    counted = {
        sense: Counter(
            word
            for context in lists
            for word in {folded_form(token) for token in context}  # once a context
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
