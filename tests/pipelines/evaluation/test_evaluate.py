"""Scoring whole sets: with encoders whose vectors one can work out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from elmo_infer import load
from elmo_infer.static import StaticEncoder
from pipelines.evaluation.evaluate import EvaluationOptions, evaluate
from pipelines.evaluation.scores import (
    mean_over_words,
    score_retrieval,
    score_usages,
    score_word,
    segment_means,
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
from pipelines.evaluation.vectors import (
    plan_blocks,
    sentence_vectors,
    target_vectors,
    views_of,
)

RAW = EvaluationOptions(centerings=("raw",))


class NeighbourEncoder:
    """Layer 0 is the token's own vector, layer 1 that of the token before it (or zero)."""

    name, fingerprint, dim, n_layers = "toy", "0", 4, 2
    default_layer_weights = (0.25, 0.75)
    pooling = SimpleNamespace(query=None)

    def __init__(self) -> None:
        self.embedded: list[tuple[str, ...]] = []

    @staticmethod
    def vector(token: str) -> np.ndarray:
        return np.random.default_rng(list(token.encode())).standard_normal(4).astype(np.float32)

    def layers(self, sentences):
        self.embedded += [tuple(sentence) for sentence in sentences]
        found = []
        for sentence in sentences:
            own = np.zeros((len(sentence), 4), np.float32)
            for position, token in enumerate(sentence):
                own[position] = self.vector(token)
            before = np.concatenate([np.zeros((1, 4), np.float32), own])[: len(sentence)]
            found.append(np.stack([own, before]))
        return found


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
    def test_context_finds_the_sense_and_the_word_alone_is_chance(self, banks):
        report = evaluate(NeighbourEncoder(), banks, RAW)
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

    def test_a_static_encoder_gets_the_most_frequent_sense(self, banks):
        report = evaluate(NeighbourEncoder(), banks, RAW)
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

    def test_word_centering_takes_out_each_words_own_mean(self, banks):
        report = evaluate(NeighbourEncoder(), banks, EvaluationOptions(centerings=("word",)))
        assert score_of(report, "map", layer="layer 1", centering="word") == 1.0
        chance = score_of(report, "chance_map", layer="layer 0", centering="word")
        assert score_of(report, "map", layer="layer 0", centering="word") == pytest.approx(chance)

    def test_scores_of_each_word_are_kept(self, banks):
        report = evaluate(NeighbourEncoder(), banks, RAW)
        assert score_of(report, "accuracy", layer="layer 1", word="bank") == 1.0

    def test_a_word_of_one_sense_is_left_out(self, banks):
        extra = [
            Occurrence(id=f"x{i}", word="only", sense="s", context=Context(("only",), 0))
            for i in range(3)
        ]
        more = SenseSet(name="banks", occurrences=(*banks.occurrences, *extra))
        report = evaluate(NeighbourEncoder(), more, RAW)
        assert report.items == {"occurrences": 21, "words": 1}
        assert {score.word for score in report.scores} == {"", "bank"}


def usage(name, word, before, gold):
    left, right = Context(("a", word), 1), Context((before, word), 1)
    return UsagePair(id=name, left=left, right=right, gold=gold)


class TestUsages:
    pairs = (usage("p", "bank", "a", 1.0), usage("q", "bank", "river", 0.0))

    def test_threshold_comes_from_the_training_part(self):
        train = (usage("t", "sense", "a", 1.0), usage("u", "sense", "b", 0.0))
        found = UsagePairs(name="usages", pairs=self.pairs, train=train)
        report = evaluate(NeighbourEncoder(), found, RAW)
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

    def test_graded_pairs_are_ranked(self):
        graded = UsagePairs(name="g", pairs=self.pairs, graded=True)
        report = evaluate(NeighbourEncoder(), graded, RAW)
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


def test_segment_means_with_an_empty_run():
    means = segment_means(np.array([[2.0], [4.0], [9.0]], np.float32), np.array([2, 0, 1, 0]))
    assert means.tolist() == [[3.0], [0.0], [9.0], [0.0]]


def test_word_without_held_out_occurrences_has_no_accuracy():
    vectors = np.eye(3, dtype=np.float32)
    scores = score_word(vectors, np.array(["a", "a", "b"]), np.zeros(3, dtype=bool))
    assert "accuracy" not in scores.means
    assert "accuracy" not in mean_over_words([scores])


def test_words_weigh_the_same_in_the_mean_and_occurrences_in_the_micro_mean():
    # One word is told apart: 3 + 3 occurrences, each finds its 2 among 5. The other is not: 2 + 2
    # of one vector, each finds 1 among 3, as chance has it.
    apart = np.repeat(np.eye(2, dtype=np.float32), 3, axis=0)
    alike = np.ones((4, 2), dtype=np.float32)
    nobody = np.zeros(4, dtype=bool)
    scores = mean_over_words(
        [
            score_word(apart, np.array(["a"] * 3 + ["b"] * 3), np.zeros(6, dtype=bool)),
            score_word(alike, np.array(["a", "a", "b", "b"]), nobody),
        ]
    )
    assert scores["precision_at_10"] == pytest.approx((2 / 5 + 1 / 3) / 2)
    assert scores["precision_at_10_micro"] == pytest.approx((6 * 2 / 5 + 4 * 1 / 3) / 10)
    assert scores["chance_precision_at_10"] == pytest.approx((2 / 5 + 1 / 3) / 2)
    # The one relevant of three may stand first, second or third.
    assert scores["map"] == pytest.approx((1 + (1 + 1 / 2 + 1 / 3) / 3) / 2)


# --- vectors --------------------------------------------------------------------------------------


def test_each_distinct_sentence_is_embedded_once():
    encoder = NeighbourEncoder()
    contexts = [Context(("a", "b"), 0), Context(("a", "b"), 1), Context(("c",), 0)]
    vectors = target_vectors(encoder, contexts)
    assert sorted(encoder.embedded) == [("a", "b"), ("c",)]
    assert vectors.shape == (2, 3, 4)
    assert vectors[0, 1].tolist() == encoder.vector("b").tolist()
    assert vectors[1, 1].tolist() == encoder.vector("a").tolist()
    assert vectors[0, 2].tolist() == encoder.vector("c").tolist()


@pytest.mark.parametrize("pooling", ["attention", "mean", "max"])
@pytest.mark.parametrize("layer", ["layer 0", "layer 2", "mix", "mix 0.2,0.5,0.3"])
def test_sentence_vectors_are_those_of_embed(tiny_elmo_dir, pooling, layer):
    elmo = load(tiny_elmo_dir, device="cpu")
    sentences = [("The", "bank"), (), ("A", "river", "runs", "."), ("The", "bank")]
    views = views_of(elmo, [(0.2, 0.5, 0.3)])
    found = sentence_vectors(elmo, sentences, views, [pooling])
    weights = next(view.weights for view in views if view.name == layer)
    expected = elmo.embed(sentences, layer_weights=weights, pooling=pooling).sentence_vectors
    assert found[layer, pooling] == pytest.approx(expected, abs=2e-5)


def test_attention_asks_with_the_learned_query(table):
    table.pooling = SimpleNamespace(query=np.array([0, 5], dtype=np.float32))
    found = sentence_vectors(table, [("x", "y")], views_of(table), ["attention"])
    weights = np.exp(np.array([0, 5]) / np.sqrt(2))
    assert found["layer 0", "attention"][0] == pytest.approx(weights / weights.sum())


def test_progress_counts_distinct_tokens():
    calls = []
    target_vectors(NeighbourEncoder(), [Context(("a", "b"), 0)] * 3, lambda *c: calls.append(c))
    assert calls == [(2, 2)]


def test_blocks_hold_every_sentence_once_within_the_limit():
    lengths = [3, 9, 0, 2, 5, 30, 1]
    blocks = plan_blocks(lengths, block_tokens=10)
    assert sorted(index for block in blocks for index in block) == list(range(7))
    assert all(len(block) == 1 or sum(lengths[i] for i in block) <= 10 for block in blocks)


def test_views_are_the_layers_and_the_mix():
    views = views_of(NeighbourEncoder(), [(1.0, -0.5)])
    assert [(view.name, view.weights) for view in views] == [
        ("layer 0", (1.0, 0.0)),
        ("layer 1", (0.0, 1.0)),
        ("mix", (0.25, 0.75)),
        ("mix 1,-0.5", (1.0, -0.5)),
    ]
    with pytest.raises(ValueError, match="3 layer weights for toy, which has 2 layers"):
        views_of(NeighbourEncoder(), [(1, 1, 1)])


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
