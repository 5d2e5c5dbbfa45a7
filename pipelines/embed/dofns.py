"""The DoFns of the embedding job; each wraps a plain function of batches or parts."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.embed.batch import EmbeddedBatch, PartEnd, PartId, PartRecord, SentenceBatch
from pipelines.embed.job_directory import JobDirectory
from pipelines.embed.meter import METER, METRICS
from pipelines.embed.part_writer import PartWriter
from pipelines.embed.segments import CommittedSegment, SegmentPlan, commit_segment, settle_part
from pipelines.embed.token_batcher import TokenBatcher
from pipelines.embed.tokenizing import tokenize_record
from pipelines.reading.documents import Document
from pipelines.text.tokenizer import PretokenizedText, Tokenizer
from schemas import PartSummary

SETTLED = "settled"  # the output of summaries that an earlier attempt left

# What a task holds: its parts, and the records of those that are not to be passed over.
PartIds = Callable[[Any], Iterable[PartId]]
ReadRecords = Callable[[Any, frozenset[PartId]], Iterator[PartRecord]]


class ReadPartsFn(beam.DoFn):
    """A task -> PartRecord; the summaries of parts that are settled in the output SETTLED."""

    def __init__(self, parts: PartIds, read: ReadRecords, job: JobDirectory | None) -> None:
        self._parts = parts
        self._read = read
        self._job = job
        self._documents = Metrics.counter(METRICS, "documents_read")

    def setup(self) -> None:
        if self._job is not None:
            self._job.join()  # a worker that came later has read no input yet

    def process(self, task: Any) -> Iterator[Any]:
        settled = set()
        for part in self._parts(task) if self._job else ():
            assert self._job is not None
            summary = self._job.settled(part.segment_id, part.part)
            if summary is not None:
                settled.add(part)
                yield beam.pvalue.TaggedOutput(SETTLED, summary)
        for record in self._read(task, frozenset(settled)):
            if isinstance(record.record, Document):
                self._documents.inc()
            yield record


class TokenizeFn(beam.DoFn):
    """PartRecord -> SentenceBatch, the last of a document with its end."""

    def __init__(self, tokenizer: Tokenizer | PretokenizedText, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._sentences = Metrics.counter(METRICS, "sentences")
        self._tokens = Metrics.counter(METRICS, "tokens")
        self._latency = Metrics.distribution(METRICS, "tokenize_document_latency_us")

    def process(self, record: PartRecord) -> Iterator[SentenceBatch]:
        spent, started = 0, time.perf_counter_ns()
        for batch in tokenize_record(record, self._tokenizer, self._max_tokens):
            spent += time.perf_counter_ns() - started
            self._sentences.inc(len(batch))
            self._tokens.inc(batch.n_tokens)
            yield batch
            started = time.perf_counter_ns()  # what came between was not this stage's
        if isinstance(record.record, Document):
            self._latency.update((spent + time.perf_counter_ns() - started) // 1000)


class BatchFn(beam.DoFn):
    """SentenceBatch -> SentenceBatch of at most `max_tokens`, numbered within their part.

    What is left goes on at the mark of the part's end, in the window of that mark.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._tokens = Metrics.distribution(METRICS, "batch_tokens")
        self._sentences = Metrics.distribution(METRICS, "batch_sentences")
        self._types = Metrics.distribution(METRICS, "batch_types")
        self._fill = Metrics.distribution(METRICS, "batch_fill_percent")
        self._padding = Metrics.distribution(METRICS, "batch_padding_avoided_percent")

    def start_bundle(self) -> None:
        self._batcher = TokenBatcher(self._max_tokens)

    def process(self, small: SentenceBatch) -> Iterator[SentenceBatch]:
        yield from self._measured(self._batcher.add(small))

    def finish_bundle(self) -> None:
        if self._batcher.open_part is not None:
            raise RuntimeError(_torn(self._batcher.open_part))

    def _measured(self, batches: Iterable[SentenceBatch]) -> Iterator[SentenceBatch]:
        for batch in batches:
            n_tokens = batch.n_tokens
            self._tokens.update(n_tokens)
            self._sentences.update(len(batch))
            self._types.update(batch.n_types)
            self._fill.update(round(100 * n_tokens / self._max_tokens))
            if n_tokens:  # a batch of empty documents and rejects has no rectangle
                rectangle = len(batch) * max(len(each.tokens) for each in batch.sentences)
                self._padding.update(round(100 * (1 - n_tokens / rectangle)))
            yield batch


def _torn(part: PartId) -> str:
    return (
        f"part {part.part} of segment {part.segment_id} did not end in its bundle: the runner"
        " split a part over several bundles, which is not supported; use an engine that"
        " docs/engines.md lists"
    )


class WritePartsFn(beam.DoFn):
    """EmbeddedBatch -> PartSummary; a thread writes beside the model's work on the next batch."""

    def __init__(self, plan: SegmentPlan, tokenizer: Tokenizer | PretokenizedText) -> None:
        self._plan = plan
        self._tokenizer = tokenizer
        self._latency = Metrics.distribution(METRICS, "write_batch_latency_us")
        self._documents = Metrics.counter(METRICS, "documents_written")
        self._written = Metrics.counter(METRICS, "tokens_written")
        self._parts = Metrics.counter(METRICS, "parts_written")
        self._bytes = Metrics.counter(METRICS, "bytes_written")
        self._writer: PartWriter | None = None
        self._writing: tuple[SentenceBatch, Future[int]] | None = None

    def setup(self) -> None:
        self._thread = ThreadPoolExecutor(1, "write")

    def start_bundle(self) -> None:
        # What an attempt that failed left behind.
        self._abort()

    def process(self, embedded: EmbeddedBatch) -> Iterator[PartSummary]:
        self._wait()
        if self._writer is None:
            self._writer = self._open(embedded.batch.part)
        elif self._writer.part != embedded.batch.part:
            part = self._writer.part
            self._abort()
            raise RuntimeError(_torn(part))
        self._writing = embedded.batch, self._thread.submit(_write, self._writer, embedded)
        if embedded.batch.last is not None:
            self._wait()
            yield self._finish(embedded.batch.last)

    def _wait(self) -> None:
        """Wait until the batch before is written; so no more than one is held."""
        if self._writing is None:
            return
        batch, future = self._writing
        try:
            microseconds = future.result()
        except BaseException:
            self._abort()
            raise
        self._writing = None
        self._latency.update(microseconds)
        self._count(batch)

    def _count(self, batch: SentenceBatch) -> None:
        self._documents.inc(len(batch.ends))
        self._written.inc(batch.n_tokens)
        METER.add(documents=len(batch.ends), tokens=batch.n_tokens, rejects=len(batch.rejects))
        for reject in batch.rejects:
            Metrics.counter(METRICS, f"rejects_{reject.reason}").inc()

    def finish_bundle(self) -> None:
        if self._writer is not None:
            part = self._writer.part
            self._abort()
            raise RuntimeError(_torn(part))

    def teardown(self) -> None:
        self._abort()
        self._thread.shutdown()

    def _open(self, part: PartId) -> PartWriter:
        plan = self._plan
        keep = self._tokenizer.is_content if plan.recipe.options["tokens"] == "content" else None
        return PartWriter(plan.store, part, plan.recipe, keep, plan.row_group_bytes)

    def _finish(self, end: PartEnd) -> PartSummary:
        assert self._writer is not None
        try:
            summary = self._writer.finish(end)
        except BaseException:
            self._abort()
            raise
        self._writer = None
        self._parts.inc()
        self._bytes.inc(sum(part.bytes for _, part in summary.files.values()))
        return summary

    def _abort(self) -> None:
        if self._writing is not None:
            wait([self._writing[1]])
            self._writing = None
        if self._writer is not None:
            self._writer.abort()
            self._writer = None


def _write(writer: PartWriter, embedded: EmbeddedBatch) -> int:
    """Write a batch; returns the microseconds that it took."""
    started = time.perf_counter_ns()
    writer.write(embedded)
    return (time.perf_counter_ns() - started) // 1000


class SettleFn(beam.DoFn):
    """PartSummary -> the summary of the attempt at this part that finished first.

    A segment is committed here as soon as its last part is settled: a grouping waits for the whole
    input on most engines, and a job that fails an hour later keeps what was committed.
    """

    def __init__(self, plan: SegmentPlan) -> None:
        self._plan = plan

    def process(self, summary: PartSummary) -> Iterator[PartSummary]:
        assert self._plan.job is not None
        yield settle_part(self._plan, self._plan.job, summary)


class CommitSegmentFn(beam.DoFn):
    """(segment_id, its summaries) -> CommittedSegment."""

    def __init__(self, plan: SegmentPlan) -> None:
        self._plan = plan

    def process(self, grouped: tuple[str, Iterable[PartSummary]]) -> Iterator[CommittedSegment]:
        yield commit_segment(self._plan, list(grouped[1]))
