"""Readers of sets with gold senses: CoarseWSD-20, Senseval, and samples of both."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pipelines.evaluation.set_files import json_lines
from pipelines.evaluation.sets import (
    Context,
    Instance,
    LabelledSet,
    Occurrence,
    SampledSet,
    SenseSet,
    draw,
    hold_out,
)

SAMPLED = 150  # occurrences a word: three samples of up to 100, one of 150


def context_at(where: str, tokens: Sequence[str], index: int) -> Context:
    """Return a context with its target at tokens[index]; ValueError if there is none."""
    if not 0 <= index < len(tokens):
        raise ValueError(f"{where}: target position {index} outside the {len(tokens)} tokens")
    return Context(tuple(tokens), index)


def read_occurrences(name: str, paths: Sequence[Path]) -> SenseSet:
    """Read files of one JSON object a line: id, word, index of the word, sense, tokens."""
    occurrences = []
    for path in paths:
        for where, row in json_lines(path, "id", "word", "index", "sense", "tokens"):
            occurrences.append(
                Occurrence(
                    id=str(row["id"]),
                    word=row["word"],
                    sense=str(row["sense"]),
                    context=context_at(where, row["tokens"], row["index"]),
                )
            )
    if len({occurrence.id for occurrence in occurrences}) < len(occurrences):
        raise ValueError(f"{name}: an id occurs twice; each occurrence needs its own id")
    return SenseSet(name=name, occurrences=hold_out(occurrences))


def read_coarsewsd20(folder: Path) -> SenseSet:
    """CoarseWSD-20 (Loureiro et al. 2021): train.jsonl.gz, lower-cased, in tokens."""
    return read_occurrences("coarsewsd20", [folder / "train.jsonl.gz"])


def read_senseval(folder: Path) -> SenseSet:
    """Senseval-2's "four words": *.jsonl.gz, one word each, in tokens."""
    return read_occurrences("senseval", sorted(folder.glob("*.jsonl.gz")))


def _read_words_with_senses(folder: Path) -> tuple[Instance, ...]:
    """CoarseWSD-20 and, where it lies beside it, Senseval: SAMPLED occurrences a word or fewer."""
    sets = [read_occurrences("coarsewsd20", [folder / "train.jsonl.gz"])]
    beside = sorted(folder.with_name("senseval_4words").glob("*.jsonl.gz"))
    if beside:
        sets.append(read_occurrences("senseval", beside))
    by_word: dict[str, list[Occurrence]] = defaultdict(list)
    for one in (occurrence for each in sets for occurrence in each.occurrences):
        by_word[one.word].append(one)
    return tuple(
        Instance(id=one.id, lemma=one.word, context=one.context, gold=((one.sense, 1.0),))
        for members in by_word.values()
        for one in (members[i] for i in draw([m.id for m in members], SAMPLED, seed=0))
    )


def read_small_samples(folder: Path) -> SampledSet:
    """Samples of the occurrences of words of several senses, as small corpora have them."""
    return SampledSet(name="small_samples", instances=_read_words_with_senses(folder))


def read_labels(folder: Path) -> LabelledSet:
    """The same occurrences, to make label words of one half and ask them of the other."""
    return LabelledSet(name="sense_labels", instances=_read_words_with_senses(folder))
