"""Score an encoder on sense and similarity sets: per layer and mixed, centered or not, per pooling.

What is measured, with every metric between 0 and 1 (rank correlations from -1), higher is better:

SenseSet: a word counts that has at least two senses with two occurrences or more (a sample may
leave some without).
  accuracy, macro_f1        held-out occurrences get the sense of the nearest centroid of the other
                            occurrences; mean over words. majority_accuracy is that of vectors that
                            tell nothing apart, which get the most frequent sense.
  precision_at_10, map      each occurrence ranks all others of its word; mean over the occurrences
                            of a sense, then over the senses of a word, then over words: each sense
                            weighs the same within its word. chance_* is a random ranking's.
  *_micro                   the same as a plain mean over all occurrences of all words.
InductionSet: senses are induced as a corpus of the set's sentences would; see inducing.py's head.
SampledSet: the same of samples of few occurrences; see sampling.py's head.
LabelledSet: do label words tell the right sense? See labelling.py's head.
UsagePairs:
  accuracy                  "same sense" if the cosine reaches a threshold tuned on the training
                            part; where there is none, on one half for the other and the reverse.
                            majority_accuracy is that of the more frequent answer, always given.
  spearman                  of cosine and rating, for graded pairs.
SentencePairs:
  spearman                  of cosine and rating.
  auc, accuracy             where the rating is yes or no: as a classifier; the threshold is
                            tuned on one half for the other and the reverse.
Collection: a document's vector is the mean of its sentences' vectors, and so is a query's.
  map, ndcg_at_10, recall_at_100   mean over queries.

Centerings: "raw"; "mean" takes out the mean; "mean-R" also the top R principal components around
it; "word" the mean of the word's own occurrences (SenseSet only). They are fitted, without labels,
on all vectors of the set (of a collection, on its documents), as an index does it.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from pipelines.evaluation import metrics
from pipelines.evaluation.grouping import GroupedSet, constants_of_encoder, group_occurrences
from pipelines.evaluation.inducing import induce_set, key_lines, score_induced
from pipelines.evaluation.labelling import score_labels
from pipelines.evaluation.sampling import score_samples
from pipelines.evaluation.scores import (
    Measured,
    WordScores,
    around_own_mean,
    mean_over_words,
    score_retrieval,
    score_similarities,
    score_usages,
    score_word,
    segment_means,
    words_with_senses,
)
from pipelines.evaluation.sets import (
    Collection,
    Context,
    EvaluationSet,
    InductionSet,
    Instance,
    LabelledSet,
    SampledSet,
    SenseSet,
    Sentence,
    SentencePairs,
    UsagePairs,
)
from pipelines.evaluation.vectors import (
    Encoder,
    View,
    mix,
    sentence_vectors,
    target_vectors,
    views_of,
)
from pipelines.index.centering import Centering, fit_centering
from pipelines.senses.options import SenseOptions

Vectors = npt.NDArray[np.float32]

POOLINGS = ("attention", "mean", "max")
DEFAULT_CENTERINGS = ("raw", "mean", "mean-1", "word")


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What to compare.

    Attributes:
      centerings: of "raw", "mean", "mean-R" and "word".
      poolings: of "attention", "mean" and "max"; for sentence sets.
      mixes: layer weights to score beside the layers and the model's own mix; each of [L] numbers.
      language: of the sets; tells which words around a word count.
    """

    centerings: tuple[str, ...] = DEFAULT_CENTERINGS
    poolings: tuple[str, ...] = POOLINGS
    mixes: tuple[tuple[float, ...], ...] = ()
    language: str = "en"

    def __post_init__(self) -> None:
        for centering in self.centerings:
            removed_components(centering)
        for pooling in self.poolings:
            if pooling not in POOLINGS:
                raise ValueError(f"unknown pooling {pooling!r}; expected {', '.join(POOLINGS)}")
        if not (self.centerings and self.poolings):
            raise ValueError("at least one centering and one pooling are needed")


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number. `pooling` is empty for token sets, `word` for means over words."""

    set: str
    layer: str
    centering: str
    metric: str
    value: float
    pooling: str = ""
    word: str = ""


@dataclass(frozen=True, kw_only=True)
class SetReport:
    """Scores of one model on one set.

    Attributes:
      name: of the set.
      items: what was scored, by kind: {"occurrences": 120, "words": 3}.
      unknown_share: share of the scored tokens (targets, or all tokens of sentences) outside a
        static encoder's vocabulary; 0 for an ELMo.
      embed_seconds: time to embed.
      score_seconds: time to score.
      scores: all numbers.
      key: lines that say which sense was given to each occurrence; of an InductionSet.
    """

    name: str
    items: dict[str, int]
    unknown_share: float
    embed_seconds: float
    score_seconds: float
    scores: tuple[Score, ...]
    key: tuple[str, ...] = ()


SetProgress = Callable[[str, int, int], None]  # set, tokens done, tokens in all


def removed_components(centering: str) -> int:
    """Number of principal components that a centering takes out; ValueError if it is unknown."""
    if centering in ("raw", "mean", "word"):
        return 0
    kind, _, number = centering.partition("-")
    if kind != "mean" or not number.isdigit() or not 1 <= int(number) <= 64:
        raise ValueError(
            f"unknown centering {centering!r}; expected raw, mean, mean-R with R from 1 to 64, "
            "or word"
        )
    return int(number)


def evaluate(
    encoder: Encoder,
    evaluation_set: EvaluationSet,
    options: EvaluationOptions | None = None,
    progress: SetProgress | None = None,
) -> SetReport:
    """Score one encoder on one set under every view, centering and (for sentences) pooling.

    Raises:
      ValueError: if an option does not fit the model, or more components are to be removed than
        the set has vectors.
    """
    options = options or EvaluationOptions()
    run = _Run(encoder, evaluation_set.name, options, views_of(encoder, options.mixes))
    if progress is not None:
        run.report = lambda done, total: progress(evaluation_set.name, done, total)
    # NumPy's matrices are small here: BLAS's threads cost more than they give, and on a machine
    # that is busy they wait for each other many times as long.
    with threadpool_limits(1, "blas"):
        match evaluation_set:
            case SenseSet():
                return run.senses(evaluation_set)
            case InductionSet():
                return run.induced(evaluation_set)
            case SampledSet():
                return run.sampled(evaluation_set)
            case LabelledSet():
                return run.labelled(evaluation_set)
            case UsagePairs():
                return run.usages(evaluation_set)
            case SentencePairs():
                return run.sentences(evaluation_set)
            case Collection():
                return run.collection(evaluation_set)


@dataclass
class _Run:
    """One model on one set."""

    encoder: Encoder
    name: str
    options: EvaluationOptions
    views: tuple[View, ...]
    report: Callable[[int, int], None] | None = None
    scores: list[Score] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def senses(self, evaluation_set: SenseSet) -> SetReport:
        occurrences = evaluation_set.occurrences
        contexts = [occurrence.context for occurrence in occurrences]
        layers = target_vectors(self.encoder, contexts, self.report)
        embedded = time.monotonic()
        words = np.array([occurrence.word for occurrence in occurrences])
        senses = np.array([occurrence.sense for occurrence in occurrences])
        held_out = np.array([occurrence.held_out for occurrence in occurrences])
        for view in self.views:
            vectors = mix(layers, view)
            for centering, apply in self._centerings(vectors, word_means=True):
                rows_of = words_with_senses(words, senses)
                by_word = {}
                for word, rows in rows_of.items():
                    centered = apply(vectors[rows])
                    by_word[word] = score_word(centered, senses[rows], held_out[rows])
                self._add_words(view, centering, by_word)
        items = {"occurrences": len(occurrences), "words": len(words_with_senses(words, senses))}
        return self._finish(items, embedded, [(c.tokens[c.index],) for c in contexts])

    def induced(self, evaluation_set: InductionSet) -> SetReport:
        instances = evaluation_set.instances
        grouped = self._grouped(instances)
        embedded = time.monotonic()
        options = SenseOptions(force=True, at_most=2) if evaluation_set.force else SenseOptions()
        constants = constants_of_encoder(self.encoder)
        numbers = induce_set(grouped.groups, constants, options, len(instances))
        key = key_lines(evaluation_set, numbers)
        return self._told(instances, embedded, score_induced(evaluation_set, numbers), key)

    def sampled(self, evaluation_set: SampledSet) -> SetReport:
        grouped = self._grouped(evaluation_set.instances)
        embedded = time.monotonic()
        constants = constants_of_encoder(self.encoder)
        scores, key = score_samples(evaluation_set, grouped.groups, constants)
        return self._told(evaluation_set.instances, embedded, scores, key)

    def labelled(self, evaluation_set: LabelledSet) -> SetReport:
        grouped = self._grouped(evaluation_set.instances)
        embedded = time.monotonic()
        scores, key = score_labels(evaluation_set, grouped)
        return self._told(evaluation_set.instances, embedded, scores, key)

    def _grouped(self, instances: Sequence[Instance]) -> GroupedSet:
        from pipelines.text.tokenizer import Tokenizer

        is_content = Tokenizer(self.options.language).is_content
        return group_occurrences(self.encoder, instances, is_content, self.report)

    def _told(
        self,
        instances: Sequence[Instance],
        embedded: float,
        scores: Measured,
        key: tuple[str, ...],
    ) -> SetReport:
        """Report what was scored of senses, which are induced from the model's own mix."""
        self._add(View("mix", tuple(self.encoder.default_layer_weights)), "", "", scores)
        items = {"occurrences": len(instances), "words": len({one.lemma for one in instances})}
        targets = [(one.context.tokens[one.context.index],) for one in instances]
        return replace(self._finish(items, embedded, targets), key=key)

    def usages(self, evaluation_set: UsagePairs) -> SetReport:
        pairs = (*evaluation_set.pairs, *evaluation_set.train)
        contexts = [*(pair.left for pair in pairs), *(pair.right for pair in pairs)]
        distinct = list(dict.fromkeys(contexts))
        row_of: dict[Context, int] = {context: row for row, context in enumerate(distinct)}
        left, right = ([row_of[getattr(p, side)] for p in pairs] for side in ("left", "right"))
        layers = target_vectors(self.encoder, distinct, self.report)
        embedded = time.monotonic()
        for view in self.views:
            vectors = mix(layers, view)
            for centering, apply in self._centerings(vectors):
                centered = apply(vectors)
                cosines = metrics.paired_cosines(centered[left], centered[right])
                self._add(view, centering, "", score_usages(cosines, evaluation_set))
        items = {"pairs": len(evaluation_set.pairs), "training pairs": len(evaluation_set.train)}
        return self._finish(items, embedded, [(c.tokens[c.index],) for c in distinct])

    def sentences(self, evaluation_set: SentencePairs) -> SetReport:
        both = (*evaluation_set.left, *evaluation_set.right)
        count = len(evaluation_set.gold)
        vectors_of, embedded = self._pooled(both)
        for view, pooling, vectors in vectors_of:
            for centering, apply in self._centerings(vectors):
                centered = apply(vectors)
                cosines = metrics.paired_cosines(centered[:count], centered[count:])
                measured = score_similarities(cosines, evaluation_set.gold)
                self._add(view, centering, pooling, measured)
        return self._finish({"pairs": count}, embedded, both)

    def collection(self, evaluation_set: Collection) -> SetReport:
        texts = (*evaluation_set.documents, *evaluation_set.queries)
        flat = [sentence for text in texts for sentence in text]
        lengths = np.array([len(text) for text in texts])
        vectors_of, embedded = self._pooled(flat)
        count = len(evaluation_set.documents)
        for view, pooling, vectors in vectors_of:
            text_vectors = segment_means(vectors, lengths)
            documents, queries = text_vectors[:count], text_vectors[count:]
            for centering, apply in self._centerings(documents):
                similarity = apply(queries) @ apply(documents).T
                self._add(
                    view, centering, pooling, score_retrieval(similarity, evaluation_set.gains)
                )
        items = {"documents": count, "queries": len(evaluation_set.queries)}
        return self._finish(items, embedded, flat)

    def _pooled(
        self, sentences: Sequence[Sentence]
    ) -> tuple[Iterable[tuple[View, str, Vectors]], float]:
        poolings = self.options.poolings
        found = sentence_vectors(self.encoder, sentences, self.views, poolings, self.report)
        embedded = time.monotonic()
        return ((v, p, found[v.name, p]) for v in self.views for p in poolings), embedded

    def _centerings(
        self, vectors: Vectors, word_means: bool = False
    ) -> Iterable[tuple[str, Callable[[Vectors], Vectors]]]:
        """Yield each centering's name and what applies it (to one word's vectors, for "word")."""
        most = max(removed_components(name) for name in self.options.centerings)
        whole = fit_centering(vectors, center=True, remove_components=most)
        for name in self.options.centerings:
            if name == "raw":
                yield name, metrics.unit_rows
            elif name != "word":
                components = whole.components[: removed_components(name)]
                yield name, Centering(whole.mean, components).apply
            elif word_means:
                yield name, around_own_mean

    def _add(
        self, view: View, centering: str, pooling: str, measured: Measured, word: str = ""
    ) -> None:
        for metric, value in measured.items():
            self.scores.append(
                Score(
                    set=self.name,
                    layer=view.name,
                    centering=centering,
                    pooling=pooling,
                    word=word,
                    metric=metric,
                    value=value,
                )
            )

    def _add_words(self, view: View, centering: str, by_word: dict[str, WordScores]) -> None:
        self._add(view, centering, "", mean_over_words(list(by_word.values())))
        for word, scores in by_word.items():
            self._add(view, centering, "", scores.means, word)

    def _finish(
        self, items: dict[str, int], embedded: float, tokens: Sequence[Sentence]
    ) -> SetReport:
        ended = time.monotonic()
        count = getattr(self.encoder, "unknown_tokens", None)
        total = sum(len(sentence) for sentence in tokens)
        return SetReport(
            name=self.name,
            items=items,
            unknown_share=count(tokens) / max(total, 1) if count else 0.0,
            embed_seconds=embedded - self.started,
            score_seconds=ended - embedded,
            scores=tuple(self.scores),
        )


# --
