"""Each transform by itself, as another pipeline would use it."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from pipelines.api import Corpus
from pipelines.corpus.store import Store
from pipelines.embed.batch import PartEnd, PartId, PartRecord, SentenceBatch
from pipelines.embed.inference import ElmoModelHandler, load_model
from pipelines.embed.job_directory import JobDirectory
from pipelines.embed.options import EmbedOptions, ModelOptions
from pipelines.embed.recipe import make_recipe
from pipelines.embed.segments import SegmentPlan
from pipelines.embed.transforms import (
    BatchByTokens,
    CommitSegment,
    EmbedParts,
    EmbedSentences,
    PartReader,
    TokenizeRecords,
    WriteParts,
)
from pipelines.maintenance.compact import compact
from pipelines.reading.documents import Document
from pipelines.text.tokenizer import PretokenizedText, Tokenizer

PART = PartId("00000001", 1, 0)

RECORDS = [{"id": f"d{n}", "text": f"Text {n} is here. It ends."} for n in range(30)]


def announced_job(store: Store) -> JobDirectory:
    """Return the directory of a job as the process that submits it leaves it."""
    job = JobDirectory(store, uuid.uuid4().hex)
    job.announce()
    return job


def pipeline() -> beam.Pipeline:
    return beam.Pipeline(runner="FnApiRunner")


def records_of(*parts: list[Document]) -> list[PartRecord]:
    return [
        PartRecord(PartId("00000001", 1, number), record)
        for number, documents in enumerate(parts)
        for record in (*documents, PartEnd(len(documents), len(parts)))
    ]


@pytest.fixture
def handler(tiny_elmo_dir: Path) -> ElmoModelHandler:
    """A handler of the tiny model."""
    model = ModelOptions(model=str(tiny_elmo_dir))
    recipe = make_recipe(load_model(model), model, EmbedOptions(), Tokenizer("en"))
    return ElmoModelHandler(model, recipe)


def read_records(task: tuple[int, int], settled: frozenset[PartId]) -> Iterator[PartRecord]:
    """Read every third record, of the part that the task names."""
    part, parts = task
    mine = [Document(str(r["id"]), str(r["text"])) for r in RECORDS[part::parts]]
    if PartId("00000001", 1, part) not in settled:
        for record in (*mine, PartEnd(len(mine), parts)):
            yield PartRecord(PartId("00000001", 1, part), record)


def part_ids(task: tuple[int, int]) -> list[PartId]:
    return [PartId("00000001", 1, task[0])]


def run_parts(plan: SegmentPlan, handler: ElmoModelHandler) -> None:
    reader, tokenizer = PartReader(part_ids, read_records), Tokenizer("en")
    with pipeline() as p:
        committed = (
            p
            | beam.Create([(part, 3) for part in range(3)])
            | EmbedParts(reader, handler, tokenizer, plan)
            | CommitSegment(plan)
        )
        counts = committed | beam.Map(lambda c: (c.segment_id, c.counts["documents"]))
        assert_that(counts, equal_to([("00000001", 30)]))


@pytest.mark.parametrize("on_engine", [False, True])
def test_parts_become_a_live_segment_and_once_more_change_nothing(
    tmp_path: Path, handler: ElmoModelHandler, *, on_engine: bool
) -> None:
    store = Store(tmp_path / "corpus")
    job = announced_job(store) if on_engine else None
    plan = SegmentPlan(store=store, recipe=handler.recipe, base=0, job=job)
    run_parts(plan, handler)
    corpus = Corpus.open(tmp_path / "corpus")
    assert (corpus.snapshot.number, corpus.snapshot.segments) == (1, ("00000001",))
    assert corpus.segments[0].counts["sentences"] == 60
    assert [part.rows for part in corpus.segments[0].parts["documents"]] == [10, 10, 10]

    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "corpus").rglob("*.*")}
    run_parts(plan, handler)
    again = Corpus.open(tmp_path / "corpus")
    assert again.snapshot.number == 1
    if on_engine:  # what was settled is not read, embedded or written again
        assert files == {
            path: path.stat().st_mtime_ns for path in (tmp_path / "corpus").rglob("*.*")
        }


def test_the_same_job_run_again_after_a_compaction_doubles_nothing(
    tmp_path: Path, handler: ElmoModelHandler
) -> None:
    store = Store(tmp_path / "corpus")
    plan = SegmentPlan(store=store, recipe=handler.recipe, base=0, job=announced_job(store))
    run_parts(plan, handler)
    compact(Corpus.open(tmp_path / "corpus"), ["00000001"])
    run_parts(plan, handler)
    corpus = Corpus.open(tmp_path / "corpus")
    assert corpus.live_counts()["documents"] == 30
    assert "00000001" not in corpus.snapshot.segments


def test_part_with_a_missing_document_is_an_error(
    tmp_path: Path, handler: ElmoModelHandler
) -> None:
    plan = SegmentPlan(store=Store(tmp_path), recipe=handler.recipe, base=0)
    tokenizer = Tokenizer("en")
    p = pipeline()
    short = [PartRecord(PartId("00000001", 1, 0), r) for r in (Document("a", "One."), PartEnd(2))]
    _ = (
        p
        | beam.Create(short, reshuffle=False)
        | TokenizeRecords(tokenizer)
        | BatchByTokens(100)
        | EmbedSentences(handler)
        | WriteParts(plan, tokenizer)
    )
    with pytest.raises(RuntimeError, match="accounts for 1 documents, but 2 were planned"):
        p.run()
    assert not list(tmp_path.rglob("*.parquet"))


def test_metrics_count_what_passed(tmp_path: Path, handler: ElmoModelHandler) -> None:
    model = load_model(handler.options)
    model.forget_words()
    model.take_word_counts()
    p = pipeline()
    documents = [Document(str(r["id"]), str(r["text"])) for r in RECORDS]
    plan = SegmentPlan(store=Store(tmp_path), recipe=handler.recipe, base=0)
    _ = (
        p
        | beam.Create(records_of(documents), reshuffle=False)
        | TokenizeRecords(Tokenizer("en"))
        | BatchByTokens(100)
        | EmbedSentences(handler)
        | WriteParts(plan, Tokenizer("en"))
    )
    result = p.run()
    result.wait_until_finish()
    metrics = result.metrics().query()
    counters = {m.key.metric.name: m.committed for m in metrics["counters"]}
    assert counters["sentences"] == 60
    assert counters["tokens"] == 30 * 8
    files = list(tmp_path.rglob("*.parquet"))
    assert counters["bytes_written"] == sum(f.stat().st_size for f in files)
    assert (counters["documents_written"], counters.get("documents_read")) == (30, None)
    spread = {m.key.metric.name: m.committed for m in metrics["distributions"]}
    # Twelve documents of two sentences, 5 and 3 tokens, fill a batch: 96 of 100 tokens.
    expected = {
        "batch_tokens": [96, 96, 48],
        "batch_sentences": [24, 24, 12],
        "batch_types": [6 + 12, 6 + 12, 6 + 6],  # six words that all share, and the numbers
        "batch_fill_percent": [96, 96, 48],
        "batch_padding_avoided_percent": [20, 20, 20],  # (5 - 4) / 5
    }
    for name, values in expected.items():
        found = (spread[name].count, spread[name].sum, spread[name].min, spread[name].max)
        assert found == (3, sum(values), min(values), max(values)), name
    assert (counters["word_cache_hits"], counters["word_cache_misses"]) == (6 + 6, 6 + 30)
    assert spread["write_batch_latency_us"].count == 3
    assert spread["tokenize_document_latency_us"].count == 30
    assert spread["inference_batch_latency_micro_secs"].count == 3


def test_metrics_of_an_over_full_batch_and_of_one_without_sentences() -> None:
    p = pipeline()
    documents = [Document("long", "a b c d e f"), Document("blank", "")]
    _ = (
        p
        | beam.Create(records_of(documents), reshuffle=False)
        | TokenizeRecords(PretokenizedText(), 4)
        | BatchByTokens(4)
    )
    result = p.run()
    result.wait_until_finish()
    spread = {m.key.metric.name: m.committed for m in result.metrics().query()["distributions"]}
    assert (spread["batch_fill_percent"].min, spread["batch_fill_percent"].max) == (0, 150)
    padding = spread["batch_padding_avoided_percent"]
    assert (padding.count, padding.sum) == (1, 0)


def test_part_torn_over_bundles_is_an_error(tmp_path: Path, handler: ElmoModelHandler) -> None:
    plan, part = SegmentPlan(store=Store(tmp_path), recipe=handler.recipe, base=0), PART
    torn = [
        ([SentenceBatch(part, sequence=1)], "the runner split a part over several bundles"),
        ([SentenceBatch(part)], "did not end in its bundle: the runner split a part"),
        ([SentenceBatch(part), SentenceBatch(PartId("00000001", 1, 1))], "part 0 .* did not end"),
    ]
    for batches, words in torn:
        p = pipeline()
        _ = (
            p
            | beam.Create(batches, reshuffle=False)
            | EmbedSentences(handler)
            | WriteParts(plan, Tokenizer("en"))
        )
        with pytest.raises(RuntimeError, match=words):
            p.run()
