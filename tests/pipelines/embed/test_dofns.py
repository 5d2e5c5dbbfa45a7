"""The DoFns of the embedding job, called without a runner."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from apache_beam.pvalue import TaggedOutput

from pipelines.corpus.checksums import HashingWriter
from pipelines.corpus.store import Store
from pipelines.embed.batch import EmbeddedBatch, PartEnd, PartId, PartRecord, SentenceBatch
from pipelines.embed.dofns import BatchFn, ReadPartsFn, TokenizeFn, WritePartsFn
from pipelines.embed.recipe import Recipe
from pipelines.embed.segments import SegmentPlan
from pipelines.reading.documents import READ, Document, Reject
from pipelines.text.tokenizer import PretokenizedText, Tokenizer

Embedded = Callable[..., EmbeddedBatch]
PARTS = [PartId("00000003", 3, number) for number in range(2)]


class SettledJob:
    """A job directory in which one part is settled."""

    def settled(self, segment_id: str, part: int) -> str | None:
        return f"summary of {segment_id}" if part == 0 else None


def read(task: int, settled: frozenset[PartId]) -> Iterator[PartRecord]:
    for part in PARTS[:task]:
        if part not in settled:
            yield PartRecord(part, Document(f"d{part.part}", "text"))
            yield PartRecord(part, Reject("u", 0, READ, "invalid-json", ""))
            yield PartRecord(part, PartEnd(1))


def test_settled_parts_are_not_read_again() -> None:
    fn = ReadPartsFn(lambda task: PARTS[:task], read, SettledJob())  # type: ignore[arg-type]
    first, *others = fn.process(2)
    assert isinstance(first, TaggedOutput)
    assert (first.tag, first.value) == ("settled", "summary of 00000003")
    assert [record.part.part for record in others] == [1, 1, 1]
    without = ReadPartsFn(lambda task: PARTS[:task], read, None)
    assert [record.part.part for record in without.process(2)] == [0, 0, 0, 1, 1, 1]


def test_records_become_batches_and_reject_and_end_go_along() -> None:
    fn = TokenizeFn(PretokenizedText("en"), 3)
    records = [
        PartRecord(PARTS[0], Document("d", "a b\nc d e\nf")),
        *list(read(1, frozenset()))[1:],
    ]
    batches = [batch for record in records for batch in fn.process(record)]
    assert [[s.tokens for s in batch.sentences] for batch in batches] == [
        [["a", "b"]],
        [["c", "d", "e"]],
        [["f"]],
        [],
        [],
    ]
    assert [len(batch.ends) for batch in batches] == [0, 0, 1, 0, 0]
    assert [len(batch.rejects) for batch in batches] == [0, 0, 0, 1, 0]
    assert batches[-1].last == PartEnd(1)


def test_batches_are_closed_at_the_parts_end_and_not_before() -> None:
    fn = BatchFn(100)
    fn.start_bundle()
    assert list(fn.process(SentenceBatch(PARTS[0], rejects=[Reject("u", 0, READ, "r", "")]))) == []
    with pytest.raises(RuntimeError, match="part 0 of segment 00000003 did not end in its bundle"):
        fn.finish_bundle()
    [whole] = fn.process(SentenceBatch(PARTS[0], last=PartEnd(0)))
    assert (len(whole.rejects), whole.last) == (1, PartEnd(0))
    fn.finish_bundle()


@pytest.fixture
def plan(store: Store) -> SegmentPlan:
    """Where rows of width 4 are written."""
    options = {
        "layer_weights": [1.0],
        "pooling": "mean",
        "initial_state": "zero",
        "tokenizer": {},
        "vector_dtype": "float16",
        "tokens": "all",
    }
    recipe = Recipe(model={"name": "m", "fingerprint": "f", "layers": 1}, options=options, dim=4)
    return SegmentPlan(store=store, recipe=recipe, base=0)


@pytest.fixture
def store(tmp_path: Any) -> Store:
    """An empty corpus."""
    return Store(tmp_path / "corpus")


@pytest.fixture
def writer(plan: SegmentPlan) -> Iterator[WritePartsFn]:
    """A writer that is set up, and torn down after the test."""
    fn = WritePartsFn(plan, Tokenizer("en"))
    fn.setup()
    fn.start_bundle()
    yield fn
    fn.teardown()


def empty(part: PartId, sequence: int = 0, last: PartEnd | None = None) -> EmbeddedBatch:
    none = np.zeros((0, 4), np.float16)
    batch = SentenceBatch(part, sequence, last=last)
    return EmbeddedBatch(batch, none, none, np.zeros(0, np.float32))


def test_part_is_written_and_told_of_at_its_end(
    writer: WritePartsFn, embedded: Embedded, store: Store
) -> None:
    [summary] = writer.process(embedded())
    writer.finish_bundle()
    counts = summary.counts
    assert (counts["documents"], counts["sentences"], counts["token_vectors"]) == (2, 3, 9)
    assert {table: part.rows for table, (_, part) in summary.files.items()} == {
        "documents": 2,
        "sentences": 3,
        "tokens": 9,
    }
    written = {path: size for path, size, _ in store.files()}
    assert written == {temporary: part.bytes for temporary, part in summary.files.values()}


def test_failed_write_leaves_nothing(
    writer: WritePartsFn, embedded: Embedded, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(HashingWriter, "write", full)
    with pytest.raises(OSError, match="no space left"):
        list(writer.process(embedded()))
    assert list(store.files()) == []


def test_part_torn_over_bundles_is_an_error_and_leaves_nothing(
    writer: WritePartsFn, embedded: Embedded, store: Store
) -> None:
    batch = embedded()
    batch.batch.last = None
    for end in (writer.finish_bundle, lambda: list(writer.process(empty(PARTS[1])))):
        assert list(writer.process(batch)) == []
        with pytest.raises(RuntimeError, match="part 0 of segment 00000003 did not end in its bu"):
            end()
        assert list(store.files()) == []


def test_batch_out_of_turn_is_an_error(writer: WritePartsFn) -> None:
    with pytest.raises(RuntimeError, match="part 1 got batch 2 when 0 was next"):
        list(writer.process(empty(PARTS[1], 2, PartEnd(0))))


def test_document_that_was_planned_and_is_not_there_is_an_error(writer: WritePartsFn) -> None:
    with pytest.raises(RuntimeError, match="accounts for 0 documents, but 4 were planned"):
        list(writer.process(empty(PARTS[1], 0, PartEnd(4))))
