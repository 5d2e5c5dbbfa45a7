"""Documents in memory -> a segment: tokenize, batch, embed, write, without a runner.

The same plain functions that the Beam transforms wrap; a stream embeds its batches with them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipelines.corpus.segment_files import clean_segment
from pipelines.corpus.store import Store
from pipelines.embed.batch import PartEnd, PartId, PartRecord, SentenceBatch
from pipelines.embed.inference import embed_batch
from pipelines.embed.meter import METER
from pipelines.embed.part_writer import PartWriter
from pipelines.embed.planner import MAX_PART_BYTES
from pipelines.embed.recipe import Recipe
from pipelines.embed.segments import finish_segment
from pipelines.embed.token_batcher import TokenBatcher
from pipelines.embed.tokenizing import tokenize_record
from pipelines.reading.documents import Document, Reject
from pipelines.text.tokenizer import PretokenizedText, Tokenizer
from schemas import PartSummary, Segment


class Interrupted(Exception):
    """Embedding was given up between two batches; nothing of the segment is left."""


@dataclass(frozen=True, kw_only=True)
class RecordEmbedder:
    """All that turns documents into segments.

    Attributes:
      store: of the corpus.
      model: loaded.
      recipe: of the rows.
      tokenizer: of the recipe.
      max_tokens_per_batch: tokens embedded together.
      row_group_bytes: of vectors in a row group.
      give_up: asked between two batches; True ends the work.
    """

    store: Store
    model: Any
    recipe: Recipe
    tokenizer: Tokenizer | PretokenizedText
    max_tokens_per_batch: int
    row_group_bytes: int = 8 << 20
    give_up: Callable[[], bool] = lambda: False

    def write(
        self,
        segment_id: str,
        number: int,
        documents: Sequence[Document],
        rejects: Sequence[Reject],
    ) -> Segment:
        """Write one segment, segment.json last; what fails leaves nothing behind.

        Args:
          segment_id: reserved for this segment.
          number: its number.
          documents: to embed, ids unique.
          rejects: to be written beside them.

        Raises:
          Interrupted: if `give_up` said so.
          RuntimeError: if the model or the device is broken.
        """
        groups = list(_groups(documents)) or [[]]
        summaries: list[PartSummary] = []
        try:
            with ThreadPoolExecutor(1, "write") as thread:
                for part, group in enumerate(groups):
                    records = _records(
                        PartId(segment_id, number, part),
                        group,
                        rejects if part == 0 else (),
                        len(groups),
                    )
                    summaries.append(self._write_part(records, thread))
            return finish_segment(self.store, self.recipe, summaries)
        except BaseException:
            clean_segment(self.store, segment_id)
            raise

    def _write_part(self, records: Sequence[PartRecord], thread: ThreadPoolExecutor) -> PartSummary:
        keep = self.tokenizer.is_content if self.recipe.options["tokens"] == "content" else None
        writer = PartWriter(self.store, records[0].part, self.recipe, keep, self.row_group_bytes)
        writing: Future[None] | None = None
        try:
            for batch in self._batches(records):
                embedded = embed_batch(batch, self.model, self.recipe)
                if writing is not None:
                    writing.result()  # so no more than one is held
                writing = thread.submit(writer.write, embedded)
                METER.add(
                    documents=len(batch.ends), tokens=batch.n_tokens, rejects=len(batch.rejects)
                )
                if self.give_up():
                    raise Interrupted
            if writing is not None:
                writing.result()
            end = records[-1].record
            assert isinstance(end, PartEnd)
            return writer.finish(end)
        except BaseException:
            if writing is not None:
                writing.exception()
            writer.abort()
            raise

    def _batches(self, records: Iterable[PartRecord]) -> Iterator[SentenceBatch]:
        batcher = TokenBatcher(self.max_tokens_per_batch)
        small_tokens = max(1, self.max_tokens_per_batch // 4)
        for record in records:
            for small in tokenize_record(record, self.tokenizer, small_tokens):
                yield from batcher.add(small)


def _records(
    part: PartId, documents: Sequence[Document], rejects: Sequence[Reject], parts: int
) -> list[PartRecord]:
    """Return what a part is made of, its end last."""
    end = PartEnd(documents=len(documents), segment_parts=parts)
    records: list[Document | Reject | PartEnd] = [*rejects, *documents, end]
    return [PartRecord(part, record) for record in records]


def _groups(documents: Sequence[Document]) -> Iterator[list[Document]]:
    """Divide documents, in order, into parts of MAX_PART_BYTES; a larger one is alone."""
    group: list[Document] = []
    held = 0
    for document in documents:
        size = len(document.text.encode())
        if group and held + size > MAX_PART_BYTES:
            yield group
            group, held = [], 0
        group.append(document)
        held += size
    if group:
        yield group
