"""Scoring whole sets: with encoders whose vectors one can work out by hand."""

import numpy as np
import pytest

from elmo_infer.static import StaticEncoder
from pipelines.evaluation.evaluate import EvaluationOptions, evaluate
from pipelines.evaluation.scores import (
    score_retrieval,
    score_usages,
)
from pipelines.evaluation.sets import (
    Collection,
    Context,
    Occurrence,
    SenseSet,
    SentencePairs,
    UsagePair,
    UsagePairs,
)

RAW = EvaluationOptions(centerings=("raw",))


def score_of(report, metric, **wanted):
    wanted = {"word": "", "pooling": "", "centering": "raw", **wanted}
    found = [
        score.value
        for score in report.scores
        if score.metric == metric and all(getattr(score, k) == v for k, v in wanted.items())
    ]
    assert len(found) == 1, found
    return found[0]


@pytest.fixture
def banks() -> SenseSet:
    """Two senses of "bank", told apart by the word before it; every third is held out."""
    occurrences = [
        Occurrence(
            id=f"{sense}{number}",
            word="bank",
            sense=sense,
            context=Context((f"{number}", before, "bank"), 2),
            held_out=number % 3 == 0,
        )
        for sense, before, count in (("water", "river", 12), ("money", "savings", 6))
        for number in range(count)
    ]
    return SenseSet(name="banks", occurrences=tuple(occurrences))


class TestSenses:
    def test_context_finds_the_sense_and_the_word_alone_is_chance(self, banks, neighbour_encoder):
        report = evaluate(neighbour_encoder, banks, RAW)
        assert report.items == {"occurrences": 18, "words": 1}
        assert score_of(report, "accuracy", layer="layer 1") == 1.0
        assert score_of(report, "macro_f1", layer="layer 1") == 1.0
        # Water finds 10 of its 11 others; money has 5 others among its 10 nearest.
        precision = score_of(report, "precision_at_10", layer="layer 1")
        assert precision == pytest.approx((1.0 + 0.5) / 2)
        micro = score_of(report, "precision_at_10_micro", layer="layer 1")
        assert micro == pytest.approx((12 * 1.0 + 6 * 0.5) / 18)
        assert score_of(report, "map", layer="layer 1") == 1.0
        chance = (11 / 17 + 5 / 17) / 2
        assert score_of(report, "chance_precision_at_10", layer="layer 1") == pytest.approx(chance)
        assert score_of(report, "precision_at_10", layer="layer 0") == pytest.approx(chance)
        chance_map = score_of(report, "chance_map", layer="layer 0")
        assert score_of(report, "map", layer="layer 0") == pytest.approx(chance_map)

    def test_a_static_encoder_gets_the_most_frequent_sense(self, banks, neighbour_encoder):
        report = evaluate(neighbour_encoder, banks, RAW)
        # Of the 6 held out, 4 are water: F1 of water 8/10, of money 0.
        assert score_of(report, "accuracy", layer="layer 0") == pytest.approx(4 / 6)
        assert score_of(report, "macro_f1", layer="layer 0") == pytest.approx(0.4)
        assert score_of(report, "majority_accuracy", layer="layer 1") == pytest.approx(4 / 6)

    def test_centering_takes_out_what_hides_the_sense(self, rng):
        # All share a far point; along one axis they vary most, for no reason; the sense is a third.
        noise = rng.permutation(np.linspace(-30, 30, 24))
        senses = ["ab"[number % 2] for number in range(24)]
        vectors = np.stack([np.full(24, 100.0), noise, [(s == "a") * 2 - 1 for s in senses]], 1)
        forms = [f"form{number}" for number in range(24)]
        encoder = StaticEncoder(name="forms", words=forms, vectors=vectors.astype(np.float32))
        occurrences = tuple(
            Occurrence(id=form, word="w", sense=sense, context=Context((form,), 0))
            for form, sense in zip(forms, senses, strict=True)
        )
        options = EvaluationOptions(centerings=("raw", "mean", "mean-1", "word"))
        report = evaluate(encoder, SenseSet(name="forms", occurrences=occurrences), options)
        found = {
            name: score_of(report, "precision_at_10", layer="layer 0", centering=name)
            for name in options.centerings
        }
        assert found["mean-1"] == 1.0
        assert max(found["raw"], found["mean"], found["word"]) < 0.8
        assert found["word"] == pytest.approx(found["mean"])  # there is one word only

    def test_word_centering_takes_out_each_words_own_mean(self, banks, neighbour_encoder):
        report = evaluate(neighbour_encoder, banks, EvaluationOptions(centerings=("word",)))
        assert score_of(report, "map", layer="layer 1", centering="word") == 1.0
        chance = score_of(report, "chance_map", layer="layer 0", centering="word")
        assert score_of(report, "map", layer="layer 0", centering="word") == pytest.approx(chance)

    def test_scores_of_each_word_are_kept(self, banks, neighbour_encoder):
        report = evaluate(neighbour_encoder, banks, RAW)
        assert score_of(report, "accuracy", layer="layer 1", word="bank") == 1.0

    def test_a_word_of_one_sense_is_left_out(self, banks, neighbour_encoder):
        extra = [
            Occurrence(id=f"x{i}", word="only", sense="s", context=Context(("only",), 0))
            for i in range(3)
        ]
        more = SenseSet(name="banks", occurrences=(*banks.occurrences, *extra))
        report = evaluate(neighbour_encoder, more, RAW)
        assert report.items == {"occurrences": 21, "words": 1}
        assert {score.word for score in report.scores} == {"", "bank"}


def usage(name, word, before, gold):
    left, right = Context(("a", word), 1), Context((before, word), 1)
    return UsagePair(id=name, left=left, right=right, gold=gold)


class TestUsages:
    pairs = (usage("p", "bank", "a", 1.0), usage("q", "bank", "river", 0.0))

    def test_threshold_comes_from_the_training_part(self, neighbour_encoder):
        train = (usage("t", "sense", "a", 1.0), usage("u", "sense", "b", 0.0))
        found = UsagePairs(name="usages", pairs=self.pairs, train=train)
        report = evaluate(neighbour_encoder, found, RAW)
        assert score_of(report, "accuracy", layer="layer 1") == 1.0
        assert score_of(report, "accuracy", layer="layer 0") == 0.5
        assert score_of(report, "majority_accuracy", layer="layer 0") == 0.5

    def test_without_training_part_each_half_is_judged_by_the_other(self):
        pairs = tuple(
            UsagePair(id=str(i), left=Context(("a",), 0), right=Context(("b",), 0), gold=i % 2)
            for i in range(40)
        )
        gold = np.array([pair.gold for pair in pairs])
        usages = UsagePairs(name="u", pairs=pairs)
        assert score_usages(gold - 0.5, usages) == {"accuracy": 1.0, "majority_accuracy": 0.5}
        # A half whose own best answer is "always yes" says nothing to the other.
        assert score_usages(np.zeros(40), usages)["accuracy"] == pytest.approx(0.5, abs=0.15)

    def test_graded_pairs_are_ranked(self, neighbour_encoder):
        graded = UsagePairs(name="g", pairs=self.pairs, graded=True)
        report = evaluate(neighbour_encoder, graded, RAW)
        assert score_of(report, "spearman", layer="layer 1") == pytest.approx(1.0)


@pytest.fixture
def table() -> StaticEncoder:
    vectors = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32)
    return StaticEncoder(name="table", words=["x", "y", "xy"], vectors=vectors)


class TestSentences:
    def test_rank_correlation_by_hand(self, table):
        # Cosines 1, 0.707.., 0 against 5, 1, 3: ranks 3 2 1 and 3 1 2.
        pairs = SentencePairs(
            name="pairs",
            left=(("x",), ("x",), ("x",)),
            right=(("x", "x"), ("x", "y"), ("y",)),
            gold=(5.0, 1.0, 3.0),
        )
        options = EvaluationOptions(centerings=("raw", "word"))
        report = evaluate(table, pairs, options)
        for pooling in ("attention", "mean", "max"):
            found = score_of(report, "spearman", layer="layer 0", pooling=pooling)
            assert found == pytest.approx(0.5)
        assert {score.centering for score in report.scores} == {"raw"}  # "word" has no meaning here

    def test_yes_or_no_is_scored_as_a_classifier_too(self, table):
        # Cosines 1 and 0, 20 of each; gold says the same but for two pairs, one of each cosine.
        gold = [1.0] * 19 + [0.0] + [0.0] * 19 + [1.0]
        pairs = SentencePairs(
            name="pairs",
            left=(("x",),) * 40,
            right=(("x",),) * 20 + (("y",),) * 20,
            gold=tuple(gold),
        )
        report = evaluate(table, pairs, EvaluationOptions(centerings=("raw",), poolings=("mean",)))
        wanted = {"layer": "layer 0", "pooling": "mean"}
        assert score_of(report, "accuracy", **wanted) == 38 / 40
        # Of 20 x 20 pairs of a yes and a no, 19 x 19 are won, 19 + 19 tied and 1 lost.
        assert score_of(report, "auc", **wanted) == pytest.approx((361 + 19) / 400)
        assert score_of(report, "spearman", **wanted) == pytest.approx(0.9)

    def test_unknown_words_are_told(self, table):
        pairs = SentencePairs(name="p", left=(("x", "z"),), right=(("y", "x"),), gold=(1.0,))
        assert evaluate(table, pairs, RAW).unknown_share == 0.25


class TestCollection:
    def test_ranking_by_hand(self, table):
        found = Collection(
            name="c",
            document_ids=("1", "2", "3", "4"),
            documents=((("x",), ("x",)), (("x",), ("y",)), (("y",),), ()),
            queries=((("x",),), (("y",),)),
            gains=({1: 1.0}, {2: 2.0, 0: 1.0}),
        )
        report = evaluate(table, found, EvaluationOptions(centerings=("raw",), poolings=("mean",)))
        assert report.items == {"documents": 4, "queries": 2}
        # Query x ranks 1 2 3 4; query y ranks 3 2 1 4 (document 4 is empty: cosine 0, as 1).
        wanted = {"layer": "layer 0", "pooling": "mean"}
        assert score_of(report, "map", **wanted) == pytest.approx((1 / 2 + (1 + 2 / 3) / 2) / 2)
        ndcg = (2 + 1 / np.log2(4)) / (2 + 1 / np.log2(3))
        expected = (1 / np.log2(3) + ndcg) / 2
        assert score_of(report, "ndcg_at_10", **wanted) == pytest.approx(expected)
        assert score_of(report, "recall_at_100", **wanted) == 1.0

    def test_rankings_by_hand(self):
        scores = score_retrieval(np.array([[0.1, 0.3, 0.2]]), [{0: 1.0}])
        assert scores["map"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"centerings": ("median",)}, "unknown centering 'median'; expected raw, mean, mean-R"),
        ({"centerings": ("mean-0",)}, "unknown centering 'mean-0'"),
        ({"poolings": ("sum",)}, "unknown pooling 'sum'; expected attention, mean, max"),
        ({"poolings": ()}, "at least one centering and one pooling"),
    ],
)
def test_unknown_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        EvaluationOptions(**options)


def test_more_components_than_vectors_are_refused(table):
    pairs = SentencePairs(name="p", left=(("x",),), right=(("y",),), gold=(1.0,))
    with pytest.raises(ValueError, match="cannot remove 9 principal components"):
        evaluate(table, pairs, EvaluationOptions(centerings=("mean-9",)))
