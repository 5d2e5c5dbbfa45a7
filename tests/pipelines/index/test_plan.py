"""What a build decides to do, on corpora small enough to decide by hand."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit
from pipelines.errors import CorpusError, UsageError
from pipelines.index import plan, shard_merging
from pipelines.index.build import build_index
from pipelines.index.options import IndexOptions
from pipelines.index.plan import CHUNK_BYTES, BuildPlan, plan_build
from pipelines.index.sizing import PROCESS_BYTES

Documents = Callable[..., list[Any]]


def counted(corpus: Corpus, token_vectors: Sequence[int]) -> Corpus:
    """The corpus with these counts of token vectors in its manifests; planning reads no more."""
    segments = tuple(
        replace(segment, counts={**segment.counts, "token_vectors": count, "sentences": count // 7})
        for segment, count in zip(corpus.segments, token_vectors, strict=True)
    )
    return Corpus(corpus.store, corpus.snapshot, segments)


@pytest.fixture
def corpus(make_corpus: Callable[..., Corpus], documents: Documents) -> Corpus:
    """Four segments of 2, 1, 3 and 1 documents, each of 4 sentences of 7 tokens."""
    return make_corpus(*(documents(count, seed) for seed, count in enumerate((2, 1, 3, 1))))


def planned(corpus: Corpus, **settings: Any) -> BuildPlan:
    return plan_build(Corpus.open(corpus.root), IndexOptions(**settings))


def test_first_index_takes_every_segment(corpus: Corpus) -> None:
    found = planned(corpus)
    assert found.shards == {"00000": ("00000001", "00000002", "00000003", "00000004")}
    assert (found.current, found.reused, found.fitted, found.base_forms) == (None, (), None, None)
    assert found.reason == "complete build: it is the first"
    assert {part.table for part in found.build.parts} == {"documents", "sentences", "tokens"}
    assert found.build.factories == {"sentences": None, "tokens": None}  # exact scans
    assert {held.share for held in found.build.held_out.values()} == {0.0}
    assert found.build.sample_rates == {"sentences": 1.0, "tokens": 1.0}


@pytest.mark.parametrize(
    ("shard_rows", "shards"),
    [
        # Token vectors: 56, 28, 84, 28.
        (1000, [[1, 2, 3, 4]]),
        (84, [[1, 2], [3], [4]]),
        (112, [[1, 2], [3, 4]]),
        (83, [[1], [2], [3], [4]]),  # no segment is split: the third is larger than a shard
        (1, [[1], [2], [3], [4]]),
    ],
)
def test_consecutive_segments_fill_shards(
    corpus: Corpus, shard_rows: int, shards: list[list[int]]
) -> None:
    found = planned(corpus, shard_rows=shard_rows)
    assert list(found.shards.values()) == [
        tuple(f"{number:08d}" for number in group) for group in shards
    ]
    assert list(found.shards) == [f"{number:05d}" for number in range(len(shards))]


def test_index_in_place_is_kept_and_followed(
    corpus: Corpus, documents: Documents, add_segment: Callable[..., Corpus]
) -> None:
    index_id = build_index(corpus.root, IndexOptions())["index_id"]
    same = planned(corpus)
    assert same.current is not None
    assert same.current.index_id == index_id
    assert same.shards == {}
    add_segment(Corpus.open(corpus.root), documents(1, 9))
    more = planned(corpus)
    assert (more.current, more.shards) == (None, {"00001": ("00000005",)})
    assert more.reason == "1 new segments"
    assert [shard.shard for shard in more.reused] == ["00000"]
    assert more.fitted is not None
    assert more.build.sample_rates == {}  # nothing is learned anew
    assert planned(corpus, rebuild=True).reason == "complete build: --rebuild was given"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"center": False}, "center changes from True to False"),
        ({"remove_components": 2}, "remove_components changes from 0 to 2"),
        ({"factory": "SQfp16"}, "factory changes from None to SQfp16"),
    ],
)
def test_setting_that_vectors_rest_on_asks_for_all_anew(
    corpus: Corpus, asked: dict[str, Any], reason: str
) -> None:
    build_index(corpus.root, IndexOptions())
    assert planned(corpus, **asked).reason == f"complete build: {reason}"


def test_setting_of_the_search_alone_keeps_the_shards(corpus: Corpus) -> None:
    build_index(corpus.root, IndexOptions())
    found = planned(corpus, sentence_weight=0.25)
    assert found.current is None  # the manifest says something else
    assert [shard.shard for shard in found.reused] == ["00000"]
    assert found.settings["sentence_weight"] == 0.25
    assert found.shards == {}


def test_index_that_is_mostly_dead_is_built_anew(corpus: Corpus) -> None:
    build_index(corpus.root, IndexOptions(shard_rows=1))
    merge = Change(operation="compact", remove=("00000003",))  # 12 of 28 sentences
    commit(Corpus.open(corpus.root), merge)
    assert planned(corpus, shard_rows=1).reason == (
        "complete build: only 16 of its 28 sentences are in live segments"
    )


def test_shard_with_a_dead_segment_is_built_again_and_no_other(corpus: Corpus) -> None:
    """Segments of 2 and 1 documents are one shard, 3 and 1 the other; the last is merged away."""
    build_index(corpus.root, IndexOptions(shard_rows=112))
    commit(Corpus.open(corpus.root), Change(operation="compact", remove=("00000004",)))
    found = planned(corpus, shard_rows=112)
    assert [shard.segments for shard in found.reused] == [("00000001", "00000002")]
    assert found.shards == {"00001": ("00000003",)}
    assert found.reason == "0 new segments, 1 of shards that are merged or have deleted segments"
    index = build_index(corpus.root, IndexOptions(shard_rows=112))
    assert index["tables"]["sentences"]["vectors"] == 24


def test_shard_with_few_dead_sentences_stays(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "MAX_SHARD_DELETED_SHARE", 0.25)
    build_index(corpus.root, IndexOptions(shard_rows=112))
    commit(Corpus.open(corpus.root), Change(operation="compact", remove=("00000004",)))
    assert planned(corpus, shard_rows=112).current is not None


def test_many_small_shards_are_merged_with_what_is_new_but_not_the_largest(
    corpus: Corpus,
    documents: Documents,
    add_segment: Callable[..., Corpus],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shards of 56, 28, 84 and 28 token vectors; the segment that is added has 28."""
    monkeypatch.setattr(shard_merging, "MAX_SMALL_SHARDS", 4)
    monkeypatch.setattr(shard_merging, "KEPT_SMALL_SHARDS", 2)
    build_index(corpus.root, IndexOptions(shard_rows=1))
    assert planned(corpus, shard_rows=1000).current is not None  # nothing new: they stay
    add_segment(Corpus.open(corpus.root), documents(1, 9))

    found = planned(corpus, shard_rows=1000)

    assert [shard.segments for shard in found.reused] == [("00000001",), ("00000003",)]
    assert found.shards == {"00003": ("00000002", "00000004", "00000005")}
    assert found.reason == "1 new segments, 2 of shards that are merged or have deleted segments"
    assert found.build.sample_rates == {}  # nothing is learned anew
    # Of 100 rows at most the third shard is full: three small ones are not too many.
    assert len(planned(corpus, shard_rows=100).reused) == 4
    index = build_index(corpus.root, IndexOptions(shard_rows=1000))
    assert index["tables"]["tokens"]["vectors"] == 224


def test_samples_and_chunks_stay_within_the_memory(corpus: Corpus) -> None:
    million = 1_000_000
    large = counted(corpus, [million] * 4)
    limit = PROCESS_BYTES + (600 << 20)
    found = plan_build(large, IndexOptions(max_memory_bytes=limit))
    rates = found.build.sample_rates
    # 100,000 vectors find a mean well enough; four bytes a number.
    assert rates["tokens"] == pytest.approx(100_000 / (4 * million))
    assert rates["tokens"] * 4 * million * 4 * 16 <= (600 << 20) / 4
    assert found.build.chunk_bytes == (600 << 20) // 6
    high = plan_build(large, IndexOptions(max_memory_bytes=64 << 30))
    assert high.build.chunk_bytes == CHUNK_BYTES[1]


def test_a_share_is_held_out_of_what_is_trained(corpus: Corpus) -> None:
    large = counted(corpus, [70_000] * 4)
    held = plan_build(large, IndexOptions(factory="IVF16,SQfp16")).build.held_out
    assert held["tokens"].share == pytest.approx(2000 / 280_000)
    assert held["sentences"].share == pytest.approx(0.05)  # 2,000 would be more of 40,000


def test_index_id_follows_what_decides_its_contents(corpus: Corpus) -> None:
    def named(**settings: Any) -> str:
        return planned(corpus, **settings).build.index_id

    assert named() == named()
    others = [named(seed=1), named(center=False), named(shard_rows=1), named(sentence_weight=0.1)]
    assert len({named(), *others}) == 5


def test_coarser_factory_than_the_corpus_allows_is_refused(corpus: Corpus) -> None:
    with pytest.raises(UsageError, match=r"needs at least \d+ vectors for training and measuring"):
        planned(corpus, factory="IVF4096,SQfp16")


def test_corpus_without_sentences_is_refused(make_corpus: Callable[..., Corpus]) -> None:
    with pytest.raises(CorpusError, match="no sentences, so there is nothing to index"):
        planned(make_corpus([]))
