"""The Beam transforms of the embedding job; each may be used in another pipeline.

Wiring only: the DoFns are in `dofns`, and what they do in plain functions below them.

tasks | ReadDocuments() | TokenizeDocuments(tokenizer) | BatchByTokens(8192)
      | EmbedSentences(handler) | WriteSegment(...)

Metrics, in the namespace "sensegrep"; a runner that retries may count twice, so they are for the
eye, and the commit counts on the summaries of parts alone:

  documents_read, documents_written, rejects_<reason>
  sentences, tokens           as the tokeniser made them
  batch_tokens, batch_sentences, batch_types (distinct words)      distributions over batches
  batch_fill_percent          tokens of the budget; over 100 if one sentence exceeds it
  batch_padding_avoided_percent   of a rectangle as wide as the batch's longest sentence, the part
                              that would be padding; batches are packed, so none is computed
  word_cache_hits, word_cache_misses   of context-free vectors, by word type and computed batch
  tokenize_document_latency_us, write_batch_latency_us, bytes_written

RunInference adds its own (inference_batch_latency_micro_secs and so on) in "sensegrep_embed".
"""

from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.transforms.combiners import ToListCombineFn

import pipelines.embed.batch_coder  # noqa: F401  # registers the coder of batches
from pipelines.embed.batch import EmbeddedBatch, SentenceBatch
from pipelines.embed.dofns import (
    REJECTS,
    BatchFn,
    FinishSegmentFn,
    ReadTaskFn,
    SegmentTarget,
    TokenizeFn,
    WritePartsFn,
)
from pipelines.embed.inference import ElmoModelHandler
from pipelines.reading.documents import Document
from pipelines.reading.splits import ReadTask
from pipelines.text.tokenizer import PretokenizedText, Tokenizer
from schemas import Segment


@beam.typehints.with_input_types(ReadTask)
class ReadDocuments(beam.PTransform):
    """Reads the records of each task.

    Tasks come from a Planner, which has chosen records already, or from `range_tasks`, which
    divides whole files; of these, what cannot become a document is in the output `rejects`.
    """

    def expand(self, tasks: beam.PCollection) -> Any:
        """ReadTask -> .documents: Document, .rejects: Reject."""
        return tasks | "ReadTask" >> beam.ParDo(ReadTaskFn()).with_outputs(
            REJECTS, main="documents"
        )


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
        return documents | "Tokenize" >> beam.ParDo(TokenizeFn(self._tokenizer, self._max_tokens))


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
            | "WriteParts" >> beam.ParDo(WritePartsFn(self._target, self._tokenizer))
            | "GatherSummaries" >> beam.CombineGlobally(ToListCombineFn())
            | "FinishSegment" >> beam.ParDo(FinishSegmentFn(self._target))
        )
