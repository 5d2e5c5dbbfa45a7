"""The Beam transforms of the embedding job. Each can be used in another pipeline.

Wiring only: the DoFns are in `dofns`, and what they do in plain functions below them.

tasks | EmbedParts(reader, handler, tokenizer, plan) | CommitSegment(plan)

where EmbedParts is Read | TokenizeRecords | BatchByTokens | EmbedSentences | WriteParts. A part
travels as its records and a mark after the last; all of it must pass through one bundle, as it does
where no shuffle stands between (the stages are fused).

Metrics, in the namespace "sensegrep"; a runner that retries may count twice, so they are for the
eye, and the commit counts on the summaries of parts alone:

  documents_read, documents_written, tokens_written, parts_written, rejects_<reason>
  sentences, tokens           as the tokenizer made them
  batch_tokens, batch_sentences, batch_types (distinct words)      distributions over batches
  batch_fill_percent          tokens of the budget; over 100 if one sentence exceeds it
  batch_padding_avoided_percent   of a rectangle as wide as the batch's longest sentence, the part
                              that would be padding; batches are packed, so none is computed
  word_cache_hits, word_cache_misses   of context-free vectors, by word type and computed batch
  tokenize_document_latency_us, write_batch_latency_us, bytes_written

RunInference adds its own (inference_batch_latency_micro_secs and so on) in "sensegrep_embed".
"""

from dataclasses import dataclass

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference

import pipelines.embed.batch_coder  # noqa: F401  # registers the coder of batches
from pipelines.embed.batch import EmbeddedBatch, PartRecord, SentenceBatch
from pipelines.embed.dofns import (
    SETTLED,
    BatchFn,
    CommitSegmentFn,
    PartIds,
    ReadPartsFn,
    ReadRecords,
    SettleFn,
    TokenizeFn,
    WritePartsFn,
)
from pipelines.embed.inference import ElmoModelHandler
from pipelines.embed.segments import CommittedSegment, SegmentPlan
from pipelines.text.tokenizer import PretokenizedText, Tokenizer
from schemas import PartSummary


@dataclass(frozen=True)
class PartReader:
    """How tasks are read: functions of an importable module, for workers.

    Attributes:
      parts: task -> the parts it holds.
      read: (task, parts to pass over) -> PartRecord, those of a part followed by its PartEnd.
    """

    parts: PartIds
    read: ReadRecords


@beam.typehints.with_input_types(PartRecord)
@beam.typehints.with_output_types(SentenceBatch)
class TokenizeRecords(beam.PTransform):
    """Splits documents into sentences and tokens with offsets.

    Args:
      tokenizer: of the job.
      max_tokens: of an output batch; a long document gives several.
    """

    def __init__(self, tokenizer: Tokenizer | PretokenizedText, max_tokens: int = 2048) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        """PartRecord -> SentenceBatch, the last of a document with its end."""
        return records | "Tokenize" >> beam.ParDo(TokenizeFn(self._tokenizer, self._max_tokens))


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
        return batches | "Batch" >> beam.ParDo(BatchFn(self._max_tokens))


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


@beam.typehints.with_input_types(EmbeddedBatch)
@beam.typehints.with_output_types(PartSummary)
class WriteParts(beam.PTransform):
    """Writes each part under temporary names, and tells of it when it is at its end.

    Args:
      plan: where and how.
      tokenizer: tells content tokens from others, if only those are stored.
    """

    def __init__(self, plan: SegmentPlan, tokenizer: Tokenizer | PretokenizedText) -> None:
        super().__init__()
        self._plan = plan
        self._tokenizer = tokenizer

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """EmbeddedBatch -> PartSummary."""
        return batches | "Write" >> beam.ParDo(WritePartsFn(self._plan, self._tokenizer))


@beam.typehints.with_output_types(PartSummary)
class EmbedParts(beam.PTransform):
    """Embeds whole parts: read, tokenize, batch, infer, write.

    On an engine (`plan.job`) a part that was finished before is passed over, of two attempts
    the first to finish counts, and a segment is committed as soon as its parts are settled.

    Args:
      reader: how a task is read.
      handler: the model, its mix and its pooling.
      tokenizer: of the job.
      plan: where and how parts are written.
    """

    def __init__(
        self,
        reader: PartReader,
        handler: ElmoModelHandler,
        tokenizer: Tokenizer | PretokenizedText,
        plan: SegmentPlan,
    ) -> None:
        super().__init__()
        self._reader = reader
        self._handler = handler
        self._tokenizer = tokenizer
        self._plan = plan

    def expand(self, tasks: beam.PCollection) -> beam.PCollection:
        """Any task that the reader reads -> PartSummary."""
        job, budget = self._plan.job, self._handler.options.max_tokens_per_batch
        read = tasks | "Read" >> beam.ParDo(
            ReadPartsFn(self._reader.parts, self._reader.read, job)
        ).with_outputs(SETTLED, main="records")
        written = (
            read.records
            | "TokenizeRecords" >> TokenizeRecords(self._tokenizer, max(1, budget // 4))
            | "BatchByTokens" >> BatchByTokens(budget)
            | "EmbedSentences" >> EmbedSentences(self._handler)
            | "WriteParts" >> WriteParts(self._plan, self._tokenizer)
        )
        if job is None:
            return written
        # Before the two are put together: an engine may end the stage there.
        settled = written | "Settle" >> beam.ParDo(SettleFn(self._plan))
        before = read[SETTLED] | "SettleAgain" >> beam.ParDo(SettleFn(self._plan))
        return (settled, before) | "Summaries" >> beam.Flatten()


@beam.typehints.with_input_types(PartSummary)
@beam.typehints.with_output_types(CommittedSegment)
class CommitSegment(beam.PTransform):
    """Makes segments live, in a worker; a segment that is live already stays as it is.

    Args:
      plan: of the job.
    """

    def __init__(self, plan: SegmentPlan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, summaries: beam.PCollection) -> beam.PCollection:
        """PartSummary -> CommittedSegment, once a segment."""
        return (
            summaries
            | "KeyBySegment" >> beam.Map(_by_segment)
            | "GroupBySegment" >> beam.GroupByKey()
            | "Commit" >> beam.ParDo(CommitSegmentFn(self._plan))
        )


def _by_segment(summary: PartSummary) -> tuple[str, PartSummary]:
    return summary.segment_id, summary
