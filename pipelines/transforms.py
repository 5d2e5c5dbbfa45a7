"""The Beam transforms of the embedding job; each may be used in another pipeline. Wiring only.

tasks | ReadDocuments() | TokenizeDocuments(tokenizer) | BatchByTokens(8192)
      | EmbedSentences(handler) | WriteSegment(...)

Metrics, in the namespace "sensegrep"; a runner that retries may count twice, so they are for the
eye, and the commit counts on the summaries of parts alone:

  documents_read, documents_unchanged, documents_written, rejects_<reason>
  sentences, tokens           as the tokeniser made them
  batch_tokens, batch_sentences, batch_types (distinct words)      distributions over batches
  batch_fill_percent          tokens of the budget; over 100 if one sentence exceeds it
  batch_padding_avoided_percent   of a rectangle as wide as the batch's longest sentence, the part
                              that would be padding; batches are packed, so none is computed
  word_cache_hits, word_cache_misses   of context-free vectors, by word type and computed batch
  tokenize_document_latency_us, write_batch_latency_us, bytes_written

RunInference adds its own (inference_batch_latency_micro_secs and so on) in "sensegrep_embed".
"""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import RunInference
from apache_beam.transforms.combiners import ToListCombineFn
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.batches import EmbeddedBatch, SentenceBatch, TokenBatcher, tokenize_document
from pipelines.corpus import Corpus
from pipelines.documents import Document, Reject
from pipelines.inference import ElmoModelHandler
from pipelines.options import Recipe
from pipelines.planning import ReadTask, duplicate, read_task
from pipelines.progress import METER, METRICS
from pipelines.selection import LiveDocuments, Selector, digest
from pipelines.storage import Store
from pipelines.tokenization import PretokenizedText, Tokenizer
from pipelines.writing import PartWriter, finish_segment
from schemas import PartSummary, Segment

REJECTS, UNCHANGED = "rejects", "unchanged"


@beam.typehints.with_input_types(ReadTask)
class ReadDocuments(beam.PTransform):
    """Reads the records of each task.

    Tasks come from a Planner, which has chosen records already, or from `range_tasks`, which
    divides whole files; of these, what cannot become a document is in the output `rejects`.
    """

    def expand(self, tasks: beam.PCollection) -> Any:
        """ReadTask -> .documents: Document, .rejects: Reject."""
        return tasks | "ReadTask" >> beam.ParDo(_ReadTask()).with_outputs(REJECTS, main="documents")


@beam.typehints.with_input_types(Document)
class SelectNew(beam.PTransform):
    """Parts documents into new ones, unchanged ones and duplicates.

    The planner of `sensegrep embed` decides the same, record after record, before a pipeline runs;
    this is for pipelines whose documents come from elsewhere. Of equal ids the first wins, in the
    order of (uri, position). No text is grouped: only digests of ids and places are.

    Args:
      root: of the corpus; it may be empty.
      recipe: documents made by another one count as changed.
    """

    def __init__(self, root: str, recipe: Recipe) -> None:
        super().__init__()
        self._root = root
        self._recipe = recipe

    def expand(self, documents: beam.PCollection) -> Any:
        """Document -> .documents: Document, .unchanged: Document, .rejects: Reject."""
        first = (
            documents
            | "PlaceOfId" >> beam.Map(_place_of_id).with_output_types(tuple[bytes, tuple[str, int]])
            | "FirstOfId" >> beam.CombinePerKey(_first_and_count)
            | "OnlyRepeated" >> beam.Filter(_is_repeated)
            | "FirstPlace" >> beam.MapTuple(_key_and_place)
        )
        return documents | "Select" >> beam.ParDo(
            _Select(self._root, self._recipe), beam.pvalue.AsDict(first)
        ).with_outputs(REJECTS, UNCHANGED, main="documents")


@beam.typehints.with_input_types(Document)
@beam.typehints.with_output_types(SentenceBatch)
class TokenizeDocuments(beam.PTransform):
    """Splits documents into sentences and tokens with offsets.

    Args:
      tokenizer: of the job.
      max_tokens: of an output batch; a long document gives several.
    """

    def __init__(self, tokenizer: Tokenizer | PretokenizedText, max_tokens: int = 2048) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens

    def expand(self, documents: beam.PCollection) -> beam.PCollection:
        """Document -> SentenceBatch, the last of a document with its end."""
        return documents | "Tokenize" >> beam.ParDo(_Tokenize(self._tokenizer, self._max_tokens))


@beam.typehints.with_input_types(SentenceBatch)
@beam.typehints.with_output_types(SentenceBatch)
class BatchByTokens(beam.PTransform):
    """Joins small batches of a part into batches of at most `max_tokens` tokens.

    Args:
      max_tokens: budget; a single sentence may exceed it.
    """

    def __init__(self, max_tokens: int) -> None:
        super().__init__()
        self._max_tokens = max_tokens

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """SentenceBatch -> SentenceBatch, numbered within their part."""
        return batches | "Batch" >> beam.ParDo(_Batch(self._max_tokens))


@beam.typehints.with_input_types(SentenceBatch)
@beam.typehints.with_output_types(EmbeddedBatch)
class EmbedSentences(beam.PTransform):
    """Embeds batches through RunInference; sentences that fail alone become rejects.

    Args:
      handler: names the model and how its layers are mixed and pooled.
    """

    def __init__(self, handler: ElmoModelHandler) -> None:
        super().__init__()
        self._handler = handler

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """SentenceBatch -> EmbeddedBatch."""
        return batches | "RunElmo" >> RunInference(self._handler.with_no_batching())


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


@beam.typehints.with_input_types(EmbeddedBatch)
@beam.typehints.with_output_types(Segment)
class WriteSegment(beam.PTransform):
    """Writes each part under temporary names, then all final names and segment.json.

    Args:
      target: where and how.
      tokenizer: tells content tokens from others, if only those are stored.
    """

    def __init__(self, target: SegmentTarget, tokenizer: Tokenizer | PretokenizedText) -> None:
        super().__init__()
        self._target = target
        self._tokenizer = tokenizer

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """EmbeddedBatch -> the one Segment."""
        return (
            batches
            | "WriteParts" >> beam.ParDo(_WriteParts(self._target, self._tokenizer))
            | "GatherSummaries" >> beam.CombineGlobally(ToListCombineFn())
            | "FinishSegment" >> beam.ParDo(_FinishSegment(self._target))
        )


class _ReadTask(beam.DoFn):
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


Place = tuple[str, int]


def _place_of_id(document: Document) -> tuple[bytes, Place]:
    return digest(document.doc_id), (document.uri, document.position)


def _first_and_count(places: Iterable[Any]) -> tuple[Place, int]:
    """Combine places, and what this gave before, into the first place and their number."""
    counted = [place if isinstance(place[0], tuple) else (place, 1) for place in places]
    return min(place for place, _ in counted), sum(count for _, count in counted)


def _is_repeated(entry: tuple[bytes, tuple[Place, int]]) -> bool:
    return entry[1][1] > 1


def _key_and_place(key: bytes, found: tuple[Place, int]) -> tuple[bytes, Place]:
    return key, found[0]


class _Select(beam.DoFn):
    def __init__(self, root: str, recipe: Recipe) -> None:
        self._root = root
        self._recipe = recipe

    def setup(self) -> None:
        self._live = LiveDocuments(Corpus.open_or_create(self._root), self._recipe.digest)

    def process(self, document: Document, first: dict[bytes, Place]) -> Iterator[Any]:
        place = first.get(digest(document.doc_id))
        if place is not None and place != (document.uri, document.position):
            Metrics.counter(METRICS, "rejects_duplicate-id").inc()
            yield beam.pvalue.TaggedOutput(REJECTS, duplicate(document))
        elif Selector(self._live).decide(document).kind == UNCHANGED:
            Metrics.counter(METRICS, "documents_unchanged").inc()
            yield beam.pvalue.TaggedOutput(UNCHANGED, document)
        else:
            yield document


class _Tokenize(beam.DoFn):
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


class _Batch(beam.DoFn):
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


class _WriteParts(beam.DoFn):
    """Writes each batch in a thread of its own, beside the model's work on the next one."""

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


class _FinishSegment(beam.DoFn):
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
