"""The DoFns of the embedding job; each wraps a plain function of batches or parts."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.corpus.store import Store
from pipelines.embed.batch import EmbeddedBatch, SentenceBatch
from pipelines.embed.meter import METER, METRICS
from pipelines.embed.part_writer import PartWriter
from pipelines.embed.recipe import Recipe
from pipelines.embed.segments import finish_segment
from pipelines.embed.token_batcher import TokenBatcher
from pipelines.embed.tokenizing import tokenize_document
from pipelines.reading.documents import Document, Reject
from pipelines.reading.splits import ReadTask, read_task
from pipelines.text.tokenizer import PretokenizedText, Tokenizer
from schemas import PartSummary, Segment

REJECTS = "rejects"  # the output of what cannot become a document


@dataclass(frozen=True)
class SegmentTarget:
    """Where and how a segment is written.

    Attributes:
      store: of the corpus.
      segment_id: reserved for this segment alone.
      number: its number.
      recipe: of its rows.
      planned_documents: that must be accounted for.
      planned_parts: parts written before the pipeline ran (rejects of the plan).
      row_group_bytes: of vectors in a row group.
    """

    store: Store
    segment_id: str
    number: int
    recipe: Recipe
    planned_documents: int
    planned_parts: tuple[PartSummary, ...] = ()
    row_group_bytes: int = 8 << 20


class ReadTaskFn(beam.DoFn):
    """ReadTask -> Document, and Reject in the output REJECTS."""

    def __init__(self) -> None:
        self._documents = Metrics.counter(METRICS, "documents_read")

    def process(self, task: ReadTask) -> Iterator[Any]:
        for record in read_task(task):
            if isinstance(record, Reject):
                Metrics.counter(METRICS, f"rejects_{record.reason}").inc()
                yield beam.pvalue.TaggedOutput(REJECTS, record)
            else:
                self._documents.inc()
                yield record


class TokenizeFn(beam.DoFn):
    """Document -> SentenceBatch, the last of a document with its end."""

    def __init__(self, tokenizer: Tokenizer | PretokenizedText, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._sentences = Metrics.counter(METRICS, "sentences")
        self._tokens = Metrics.counter(METRICS, "tokens")
        self._latency = Metrics.distribution(METRICS, "tokenize_document_latency_us")

    def process(self, document: Document) -> Iterator[SentenceBatch]:
        spent, started = 0, time.perf_counter_ns()
        for batch in tokenize_document(document, self._tokenizer, self._max_tokens):
            spent += time.perf_counter_ns() - started
            self._sentences.inc(len(batch))
            self._tokens.inc(batch.n_tokens)
            yield batch
            started = time.perf_counter_ns()  # what came between was not this stage's
        self._latency.update((spent + time.perf_counter_ns() - started) // 1000)


class BatchFn(beam.DoFn):
    """SentenceBatch -> SentenceBatch of at most `max_tokens`, numbered within their part."""

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

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for batch in self._measured(self._batcher.flush()):
            yield beam.transforms.window.GlobalWindows.windowed_value(batch)

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


class WritePartsFn(beam.DoFn):
    """EmbeddedBatch -> PartSummary; a thread writes beside the model's work on the next batch."""

    def __init__(self, target: SegmentTarget, tokenizer: Tokenizer | PretokenizedText) -> None:
        self._target = target
        self._tokenizer = tokenizer
        self._latency = Metrics.distribution(METRICS, "write_batch_latency_us")
        self._documents = Metrics.counter(METRICS, "documents_written")
        self._bytes = Metrics.counter(METRICS, "bytes_written")
        self._writer: PartWriter | None = None
        self._writing: tuple[SentenceBatch, Future[int]] | None = None

    def setup(self) -> None:
        self._thread = ThreadPoolExecutor(1, "write")

    def process(self, embedded: EmbeddedBatch) -> Iterator[PartSummary]:
        self._wait()
        if self._writer is not None and self._writer.part != embedded.batch.part:
            yield self._finish()
        if self._writer is None:
            self._writer = self._open(embedded.batch.part)
        self._writing = embedded.batch, self._thread.submit(_write, self._writer, embedded)

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
        METER.add(documents=len(batch.ends), tokens=batch.n_tokens, rejects=len(batch.rejects))
        for reject in batch.rejects:
            Metrics.counter(METRICS, f"rejects_{reject.reason}").inc()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        self._wait()
        if self._writer is not None:
            yield beam.transforms.window.GlobalWindows.windowed_value(self._finish())

    def teardown(self) -> None:
        self._abort()
        self._thread.shutdown()

    def _open(self, part: int) -> PartWriter:
        target = self._target
        keep = self._tokenizer.is_content if target.recipe.options["tokens"] == "content" else None
        return PartWriter(
            target.store,
            target.segment_id,
            target.number,
            part,
            target.recipe,
            keep,
            target.row_group_bytes,
        )

    def _finish(self) -> PartSummary:
        assert self._writer is not None
        try:
            summary = self._writer.finish()
        except BaseException:
            self._abort()
            raise
        self._writer = None
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


class FinishSegmentFn(beam.DoFn):
    """The summaries of all parts -> the segment."""

    def __init__(self, target: SegmentTarget) -> None:
        self._target = target

    def process(self, summaries: list[PartSummary], *_: Any) -> Iterator[Segment]:
        target = self._target
        yield finish_segment(
            target.store,
            target.segment_id,
            target.number,
            target.recipe,
            [*target.planned_parts, *summaries],
            target.planned_documents,
        )
