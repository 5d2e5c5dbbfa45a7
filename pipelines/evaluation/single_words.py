"""Occurrences of words that have one sense, read from text, for the set `single_sense`."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pipelines.evaluation.sets import Context, Instance, SampledSet, draw
from pipelines.reading.training_text import read_training_documents
from pipelines.text.tokenizer import Tokenizer

PER_WORD = 150  # three samples of up to 100, one of 150
_GATHERED = 400
_SHORTEST, _LONGEST = 5, 60


def read_single_words(
    paths: Sequence[str],
    words: Iterable[str],
    tokenizer: Tokenizer,
    report: Callable[[int, int], None] | None = None,
) -> SampledSet:
    """Read the occurrences of words from text: files as `sensegrep train` reads them.

    A word counts as it is listed (a name has its capital). Of the first _GATHERED occurrences of a
    word PER_WORD are drawn.

    Args:
      paths: text files, one paragraph a line, an empty line between documents.
      words: that have one sense.
      tokenizer: of the text's language.
      report: told documents read and occurrences found.

    Raises:
      ValueError: if none of the words occurs in the text.
    """
    wanted = set(words)
    # Most paragraphs have none of them, and finding tokens takes most of the time.
    pattern = re.compile("|".join(map(re.escape, sorted(wanted, key=len, reverse=True))))
    gathered: dict[str, list[Instance]] = {word: [] for word in wanted}

    def is_wanted(paragraph: str) -> bool:
        return any(len(gathered[hit]) < _GATHERED for hit in pattern.findall(paragraph))

    documents = read_training_documents(paths, tokenizer, keep=is_wanted)
    for number, document in enumerate(documents):
        for place, tokens in enumerate(document):
            if not _SHORTEST <= len(tokens) <= _LONGEST:
                continue
            for index, token in enumerate(tokens):
                if token in wanted and len(gathered[token]) < _GATHERED:
                    identity = f"{number}.{place}.{index}"
                    context = Context(tuple(tokens), index)
                    gathered[token].append(Instance(id=identity, lemma=token, context=context))
        if report is not None and number % 1000 == 0:
            report(number, sum(map(len, gathered.values())))
    instances = tuple(
        gathered[word][place]
        for word in sorted(gathered)
        for place in draw([one.id for one in gathered[word]], PER_WORD, seed=0)
    )
    if not instances:
        raise ValueError(
            f"none of the {len(wanted)} words of one sense occurs in"
            f" {', '.join(Path(path).name for path in paths)}; give other text, or other words"
            " (--single-sense FILE)"
        )
    return SampledSet(name="single_sense", instances=instances)
