"""Building an index: what stands in its files, what an increment keeps, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit
from pipelines.errors import CorpusError, UsageError
from pipelines.index.build import build_index
from pipelines.index.layout import bucket_bounds
from pipelines.index.options import IndexOptions
from pipelines.index.parts import sampled
from pipelines.index.reader import OpenIndex
from pipelines.maintenance.verify import verify

WORDS = ["bank", "Bank", "banks", "river", "money", "the", "Zürich", "of", "straße", "STRASSE", "."]


@pytest.fixture
def documents(hand_document: type) -> Callable[..., list[Any]]:
    """A function that draws documents of random sentences; the seed is in their ids."""

    def draw(count: int, seed: int, sentences: int = 4) -> list[Any]:
        rng = np.random.default_rng(seed)
        return [
            hand_document(
                doc_id=f"{seed}/{number}",
                sentences=[rng.choice(WORDS, 7).tolist() for _ in range(sentences)],
                metadata={"parity": str(number % 2)},
            )
            for number in range(count)
        ]

    return draw


def live_tokens(corpus: Corpus) -> dict[int, dict[str, Any]]:
    return {row["vector_id"]: row for batch in corpus.read("tokens") for row in batch.to_pylist()}


def check_against_tables(index: OpenIndex, corpus: Corpus) -> None:
    """Every live token must stand in its form's range with its own vector, line and document."""
    rows = live_tokens(corpus)
    lines = {
        (row["doc_id"], row["sentence_index"]): row
        for batch in corpus.read("sentences")
        for row in batch.to_pylist()
    }
    seen = []
    for entry in index.forms.table().to_pylist():
        shard = index.shards[entry["shard"]]
        stretch = slice(entry["first"], entry["first"] + entry["count"])
        keys, vectors = shard.keys[stretch], shard.tokens.vectors(stretch)
        assert (np.diff(keys["vector_id"]) > 0).all()
        for key, vector in zip(keys, vectors, strict=True):
            row = rows[int(key["vector_id"])]
            line = shard.lines.row(int(key["sentence"]))
            document = shard.documents.row(int(key["document"]))
            sentence = lines[row["doc_id"], row["sentence_index"]]
            assert row["token"] == entry["form"] == line["text"][key["start"] : key["end"]]
            assert document["doc_id"] == row["doc_id"]
            assert line["vector_id"] == sentence["vector_id"]
            assert line["tokens"] == sentence["tokens"]
            expected = index.centering["tokens"].apply(np.array([row["vector"]], np.float32))[0]
            np.testing.assert_allclose(vector, expected, atol=1e-3)
            seen.append(int(key["vector_id"]))
    assert sorted(seen) == sorted(rows)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("tokens", ["all", "content"])
def test_every_vector_stands_in_its_forms_range(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any], dtype: str, tokens: str
) -> None:
    corpus = make_corpus(documents(7, 1), documents(5, 2), dtype=dtype, tokens=tokens, parts=2)
    report = build_index(corpus.root, IndexOptions())
    corpus = Corpus.open(corpus.root)
    assert corpus.snapshot.index == report["index_id"]
    check_against_tables(OpenIndex.open(corpus), corpus)
    assert report["recall_at_10"] == 1.0
    assert report["tables"]["tokens"]["vectors"] == len(live_tokens(corpus))


def test_a_sort_in_many_runs_and_buckets_gives_the_same_index(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    segments = documents(9, 1), documents(6, 2)
    whole = make_corpus(*segments, name="whole")
    build_index(whole.root, IndexOptions())
    # 1000 bytes hold 15 records: 47 runs, and forms larger than a bucket.
    monkeypatch.setattr("pipelines.index.plan._CHUNK_BYTES", (1000, 1000))
    monkeypatch.setattr("pipelines.index.tokens.BATCH_ROWS", 10)
    split = make_corpus(*segments, name="split")
    build_index(split.root, IndexOptions())
    left, right = (OpenIndex.open(Corpus.open(c.root)).manifest for c in (whole, split))
    assert left.forms.sha256 == right.forms.sha256
    assert left.shards[0].files == right.shards[0].files


def test_the_same_corpus_gives_the_same_bytes(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any]
) -> None:
    reports = []
    for name in ("one", "two"):
        corpus = make_corpus(documents(5, 1), name=name)
        reports.append(build_index(corpus.root, IndexOptions(remove_components=1)))
    manifests = [
        json.loads((corpus.parent / name / "indexes" / r["index_id"] / "index.json").read_text())
        for corpus, name, r in zip([Path(corpus.root)] * 2, ("one", "two"), reports, strict=True)
    ]
    for manifest in manifests:
        del manifest["measured"]
    assert manifests[0] == manifests[1]


def test_building_again_changes_nothing(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any]
) -> None:
    corpus = make_corpus(documents(5, 1))
    first = build_index(corpus.root, IndexOptions())
    number = Corpus.open(corpus.root).snapshot.number
    again = build_index(corpus.root, IndexOptions())
    assert (first["built"], again["built"]) == (True, False)
    assert again["index_id"] == first["index_id"]
    assert Corpus.open(corpus.root).snapshot.number == number


def test_new_segments_become_a_shard_beside_the_old_one(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    add_segment: Callable[..., Corpus],
) -> None:
    corpus = make_corpus(documents(8, 1))
    build_index(corpus.root, IndexOptions(remove_components=1))
    before = OpenIndex.open(Corpus.open(corpus.root)).manifest
    add_segment(Corpus.open(corpus.root), documents(3, 2))
    report = build_index(corpus.root, IndexOptions())
    corpus = Corpus.open(corpus.root)
    index = OpenIndex.open(corpus)
    assert index.manifest.shards[0] == before.shards[0]
    assert index.manifest.centering == before.centering
    assert index.manifest.settings["remove_components"] == 1
    assert (report["shards"], report["reason"]) == (2, "1 new segments")
    check_against_tables(index, corpus)


def test_an_index_that_is_outgrown_is_built_anew(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    add_segment: Callable[..., Corpus],
) -> None:
    corpus = make_corpus(documents(2, 1))
    build_index(corpus.root, IndexOptions())
    add_segment(Corpus.open(corpus.root), documents(8, 2))
    report = build_index(corpus.root, IndexOptions())
    assert report["shards"] == 1
    assert "over 3 times the" in report["reason"]


def test_dead_documents_are_not_indexed_and_die_in_an_index(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any]
) -> None:
    corpus = make_corpus(documents(6, 1), documents(6, 2))
    first, second = (segment.segment_id for segment in corpus.segments)
    corpus = commit(corpus, Change(operation="delete", supersede={first: ["1/0", "1/3"]}))
    build_index(corpus.root, IndexOptions())
    corpus = Corpus.open(corpus.root)
    index = OpenIndex.open(corpus)
    check_against_tables(index, corpus)
    corpus = commit(corpus, Change(operation="delete", supersede={second: ["2/5"]}))
    [shard] = OpenIndex.open(corpus).shards.values()
    allowed = shard.allowed_documents({})
    assert allowed is not None
    dead = shard.documents.table()["doc_id"].filter(~allowed).to_pylist()
    assert dead == ["2/5"]


@pytest.mark.parametrize("factory", ["IVF4,SQfp16", "HNSW8,SQfp16"])
def test_approximate_indexes_are_built_over_shards(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any], factory: str
) -> None:
    corpus = make_corpus(documents(35, 1), documents(35, 2))
    options = IndexOptions(factory=factory, shard_rows=1000, target_recall=0.8)
    report = build_index(corpus.root, options)
    corpus = Corpus.open(corpus.root)
    index = OpenIndex.open(corpus)
    assert (report["factory"], report["shards"]) == (factory, 2)
    assert report["recall_at_10"] >= 0.8
    check_against_tables(index, corpus)
    query = index.shards["00001"].tokens.vectors(np.array([17]))[0]
    best = index.nearest("tokens", query, 5)[0]
    assert best.score == pytest.approx(1, abs=2e-3)
    # One list of four holds fewer: more are tried until there are k.
    assert len(index.nearest("tokens", query, 900, effort=1)) == 900


def test_recall_below_the_target_fails_and_commits_nothing(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The index is kept from trying harder, and from scoring many candidates again.
    monkeypatch.setattr("pipelines.index.reader.MIN_CANDIDATES", 10)
    monkeypatch.setattr("pipelines.index.build.RERANK", 1)
    corpus = make_corpus(documents(30, 1))
    options = IndexOptions(factory="IVF1,PQ1x4", target_recall=0.999)
    with pytest.raises(CorpusError, match=r"recall@10 over \w+ is 0\.\d+ with IVF1,PQ1x4 \(at"):
        build_index(corpus.root, options)
    assert Corpus.open(corpus.root).snapshot.index is None
    low = IndexOptions(factory="IVF1,PQ1x4", target_recall=0.999, allow_low_recall=True)
    assert build_index(corpus.root, low)["recall_at_10"] < 0.999


def test_a_factory_too_fine_for_the_corpus_is_refused(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any]
) -> None:
    corpus = make_corpus(documents(2, 1))
    with pytest.raises(UsageError, match="IVF4096,SQfp16 takes at least 4522 vectors to train and"):
        build_index(corpus.root, IndexOptions(factory="IVF4096,SQfp16"))


def test_a_corpus_without_token_vectors_gets_a_sentence_index(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any]
) -> None:
    corpus = make_corpus(documents(5, 1), tokens="none")
    report = build_index(corpus.root, IndexOptions())
    assert report["tables"]["tokens"]["vectors"] == 0
    assert report["tables"]["sentences"]["vectors"] == 20


def test_an_empty_corpus_is_refused(make_corpus: Callable[..., Corpus]) -> None:
    corpus = make_corpus([])
    with pytest.raises(CorpusError, match="no sentences, so there is nothing to index"):
        build_index(corpus.root, IndexOptions())


def test_what_a_crash_left_behind_does_not_matter(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus = make_corpus(documents(5, 1))

    def crash(*_: Any) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.index.build.write_then_commit", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            build_index(corpus.root, IndexOptions())
    assert Corpus.open(corpus.root).snapshot.index is None
    build_index(corpus.root, IndexOptions())
    corpus = Corpus.open(corpus.root)
    check_against_tables(OpenIndex.open(corpus), corpus)
    assert not list(Path(corpus.root).glob("indexes/*/scratch*"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_memory_bytes": 1 << 20}, "needs at least"),
        ({"target_recall": 0.0}, "--target-recall is 0.0"),
        ({"target_recall": 1.5}, "--target-recall is 1.5"),
        ({"sentence_weight": 2.0}, "--sentence-weight is 2.0"),
        ({"remove_components": 65}, "--remove-components is 65"),
        ({"remove_components": 1, "center": False}, "needs centering"),
        ({"shard_rows": 0}, "--shard-rows is 0"),
    ],
)
def test_impossible_options_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        IndexOptions(**settings)
    assert words in str(caught.value)


def test_verify_names_a_damaged_file_of_the_index(
    make_corpus: Callable[..., Corpus], documents: Callable[..., Any]
) -> None:
    corpus = make_corpus(documents(35, 1))
    build_index(corpus.root, IndexOptions(factory="IVF4,SQfp16", target_recall=0.8))
    corpus = Corpus.open(corpus.root)
    directory = Path(corpus.root) / "indexes" / str(corpus.snapshot.index)
    files = sorted(directory.glob("*.*"))
    assert {path.suffix for path in files} == {".json", ".parquet", ".arrow", ".faiss", ".npy"}
    assert verify(corpus).faults == []
    for path in files:
        data = path.read_bytes()
        half = len(data) // 2
        damaged = data[: half - 1] if path.suffix == ".json" else flipped(data, half)
        path.write_bytes(damaged)
        [fault] = verify(corpus).faults
        assert fault.startswith(f"indexes/{directory.name}/{path.name} ")
        assert "damaged" in fault
        path.unlink()
        [fault] = verify(corpus).faults
        assert path.name in fault
        assert "is missing" in fault
        path.write_bytes(data)
    assert verify(corpus).faults == []


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("counts", "bounds"),
    [([], [0]), ([1], [0, 1]), ([9], [0, 1]), ([2, 3, 9, 1, 1], [0, 2, 3, 5]), ([5, 5], [0, 1, 2])],
)
def test_buckets_hold_whole_forms(counts: list[int], bounds: list[int]) -> None:
    assert bucket_bounds(np.array(counts, np.int64), 5).tolist() == bounds


def test_a_sample_depends_on_ids_and_seed_alone(rng: np.random.Generator) -> None:
    ids = rng.permutation(20_000).astype(np.int64) + (1 << 40)
    chosen = set(ids[sampled(ids, 0.1, seed=1)])
    ids.sort()
    assert set(ids[sampled(ids, 0.1, seed=1)]) == chosen
    assert set(ids[sampled(ids, 0.1, seed=2)]) != chosen
    assert 1800 < len(chosen) < 2200
