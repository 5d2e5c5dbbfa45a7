"""The contents of an evaluation set, its split and its sample.

Seven kinds of question are asked:

  SenseSet        occurrences of a word, each with its sense
  InductionSet    occurrences of words whose senses are to be induced
  SampledSet      few occurrences of words of several senses, or of one sense
  LabelledSet     do the label words of a sense tell where it is used?
  UsagePairs      two usages of a word: the same meaning (WiC), or how similar (SCWS)
  SentencePairs   two sentences: how similar
  Collection      documents, queries, and which document answers which query
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

Sentence = tuple[str, ...]

SAMPLE_SIZES = (24, 50, 100, 150)
HELD_OUT_SHARE = 0.3  # of each sense; CoarseWSD-20's own split is near 70/30


@dataclass(frozen=True)
class Context:
    """A sentence and the position of the token in question."""

    tokens: Sentence
    index: int


@dataclass(frozen=True, kw_only=True)
class Occurrence:
    """One use of a word.

    Attributes:
      id: the set's own name for it.
      word: the word (lemma) whose senses are told apart.
      sense: gold sense, unique within the word.
      context: the sentence and where in it the word stands.
      held_out: True for the part that is classified, False for the part that builds centroids.
    """

    id: str
    word: str
    sense: str
    context: Context
    held_out: bool = False


@dataclass(frozen=True, kw_only=True)
class SenseSet:
    """Sense-labelled occurrences of a few words, in the order of the file."""

    name: str
    occurrences: tuple[Occurrence, ...]


@dataclass(frozen=True, kw_only=True)
class UsagePair:
    """Two usages and the gold answer: 1.0 same sense and 0.0 not, or a graded similarity."""

    id: str
    left: Context
    right: Context
    gold: float


@dataclass(frozen=True, kw_only=True)
class UsagePairs:
    """Pairs of usages.

    Attributes:
      name: of the set.
      pairs: those that are scored.
      train: those that a threshold is tuned on; may be empty.
      graded: True if gold is a similarity (rank correlation), False if it is yes or no.
    """

    name: str
    pairs: tuple[UsagePair, ...]
    train: tuple[UsagePair, ...] = ()
    graded: bool = False


@dataclass(frozen=True, kw_only=True)
class SentencePairs:
    """Sentences left[i] and right[i] and their gold similarity gold[i]."""

    name: str
    left: tuple[Sentence, ...]
    right: tuple[Sentence, ...]
    gold: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A test collection.

    Attributes:
      name: of the set.
      document_ids: one per document.
      documents: the sentences of each document; a document may be empty.
      queries: the sentences of each query that has a relevant document.
      gains: for each query, document number -> gain (above 0; larger is more relevant).
    """

    name: str
    document_ids: tuple[str, ...]
    documents: tuple[tuple[Sentence, ...], ...]
    queries: tuple[tuple[Sentence, ...], ...]
    gains: tuple[dict[int, float], ...]


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One occurrence of a word whose sense is to be induced.

    Attributes:
      id: the set's own name for it.
      lemma: the word, with its part of speech where the set tells it.
      context: the sentence and where in it the word stands.
      gold: senses with weights, the largest 1; empty where there is no gold.
    """

    id: str
    lemma: str
    context: Context
    gold: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class InductionSet:
    """Occurrences whose senses are to be induced, in the order of the files.

    Attributes:
      name: of the set.
      instances: the occurrences.
      force: every word is split, as the set's own measure asks.
    """

    name: str
    instances: tuple[Instance, ...]
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class SampledSet:
    """Occurrences of words, of which samples of some sizes are drawn to induce senses from.

    Attributes:
      name: of the set.
      instances: the occurrences, with gold senses; with none, every word has one sense.
      sizes: numbers of occurrences in a sample.
    """

    name: str
    instances: tuple[Instance, ...]
    sizes: tuple[int, ...] = SAMPLE_SIZES


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Occurrences with gold senses; one half gets labels, which tell the senses of the other."""

    name: str
    instances: tuple[Instance, ...]


EvaluationSet = (
    SenseSet | InductionSet | SampledSet | LabelledSet | UsagePairs | SentencePairs | Collection
)


# --- splits and samples ---------------------------------------------------------------------------


def _drawn(seed: int | str, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def hold_out(occurrences: Sequence[Occurrence]) -> tuple[Occurrence, ...]:
    """Mark the share HELD_OUT_SHARE of each sense (rounded, at least one) as held out.

    Those whose SHA-256 of "held-out:ID" is smallest are taken, so the split depends on the ids
    alone. A sense with one occurrence has it in the part that builds centroids.
    """
    by_sense: dict[tuple[str, str], list[Occurrence]] = defaultdict(list)
    for occurrence in occurrences:
        by_sense[occurrence.word, occurrence.sense].append(occurrence)
    chosen: set[str] = set()
    for members in by_sense.values():
        count = max(1, round(HELD_OUT_SHARE * len(members))) if len(members) > 1 else 0
        ordered = sorted(members, key=lambda member: _drawn("held-out", member.id))
        chosen.update(member.id for member in ordered[:count])
    return tuple(replace(each, held_out=each.id in chosen) for each in occurrences)


def draw(names: Sequence[str], count: int, seed: int) -> list[int]:
    """Positions of the `count` names that a seeded hash puts first, in their original order."""
    ordered = sorted(range(len(names)), key=lambda i: _drawn(seed, names[i]))
    return sorted(ordered[:count])


def sample(evaluation_set: EvaluationSet, count: int, seed: int) -> EvaluationSet:
    """Bound a set: at most `count` occurrences a word, pairs (and training pairs), or documents.

    The choice depends on the seed and the ids only, so every model gets the same sample. Of a
    collection, queries stay that still have a relevant document among those drawn: its scores
    compare only with scores on the same sample.
    """
    match evaluation_set:
        case SenseSet():
            by_word: dict[str, list[Occurrence]] = defaultdict(list)
            for occurrence in evaluation_set.occurrences:
                by_word[occurrence.word].append(occurrence)
            kept = [
                members[i]
                for members in by_word.values()
                for i in draw([member.id for member in members], count, seed)
            ]
            return replace(evaluation_set, occurrences=hold_out(kept))
        case (
            InductionSet(instances=instances)
            | SampledSet(instances=instances)
            | LabelledSet(instances=instances)
        ):
            by_lemma: dict[str, list[Instance]] = defaultdict(list)
            for instance in instances:
                by_lemma[instance.lemma].append(instance)
            drawn = {
                group[i].id
                for group in by_lemma.values()
                for i in draw([one.id for one in group], count, seed)
            }
            return replace(
                evaluation_set, instances=tuple(one for one in instances if one.id in drawn)
            )
        case UsagePairs(pairs=pairs, train=train):
            return replace(
                evaluation_set,
                pairs=tuple(pairs[i] for i in draw([p.id for p in pairs], count, seed)),
                train=tuple(train[i] for i in draw([p.id for p in train], count, seed)),
            )
        case SentencePairs(left=left, right=right, gold=gold):
            rows = draw([str(i) for i in range(len(gold))], count, seed)
            return replace(
                evaluation_set,
                left=tuple(left[i] for i in rows),
                right=tuple(right[i] for i in rows),
                gold=tuple(gold[i] for i in rows),
            )
        case Collection():
            return _sample_collection(evaluation_set, count, seed)


def _sample_collection(collection: Collection, count: int, seed: int) -> Collection:
    rows = draw(collection.document_ids, count, seed)
    new_number = {row: number for number, row in enumerate(rows)}
    gains = [
        {new_number[row]: gain for row, gain in judged.items() if row in new_number}
        for judged in collection.gains
    ]
    return replace(
        collection,
        document_ids=tuple(collection.document_ids[row] for row in rows),
        documents=tuple(collection.documents[row] for row in rows),
        queries=tuple(
            query for query, judged in zip(collection.queries, gains, strict=True) if judged
        ),
        gains=tuple(judged for judged in gains if judged),
    )
