"""Write one part of a segment under temporary names, and summarise it in a PartSummary.

What an attempt wrote whose summary never arrived is an orphan that nothing names.
"""

from collections import Counter
from collections.abc import Callable

import pyarrow as pa

from pipelines.corpus.parquet_writer import TableWriter
from pipelines.corpus.segment_files import COUNTS
from pipelines.corpus.store import Store
from pipelines.embed.arrow_rows import document_rows, reject_rows, sentence_rows, token_rows
from pipelines.embed.batch import DocumentEnd, EmbeddedBatch, PartEnd, PartId
from pipelines.embed.recipe import Recipe
from pipelines.reading.documents import EMBED, TOKENIZE, Reject
from schemas import TABLES, PartSummary, table_schema


class PartWriter:
    """Writes the tables of one part of a segment.

    Args:
      store: of the corpus.
      part: which.
      recipe: decides dtype, width and which tokens are stored.
      keep: says of a token whether its vector is stored; None stores all.
      row_group_bytes: of vectors in a row group.
    """

    def __init__(
        self,
        store: Store,
        part: PartId,
        recipe: Recipe,
        keep: Callable[[str], bool] | None,
        row_group_bytes: int,
    ) -> None:
        self._store = store
        self._directory = f"segments/{part.segment_id}"
        self.part = part
        self._recipe = recipe
        self._keep = keep
        self._row_group_bytes = row_group_bytes
        self._dtype = str(recipe.options["vector_dtype"])
        self._writers: dict[str, TableWriter] = {}
        self._counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        self._next_sequence = 0
        # Of documents whose end has not come yet: sentences, tokens, rejected sentences.
        self._open: dict[str, list[int]] = {}

    def write(self, embedded: EmbeddedBatch) -> None:
        """Write the next batch of the part.

        Raises:
          RuntimeError: if it is not the next one: the runner tore the part apart.
        """
        batch = embedded.batch
        if batch.sequence != self._next_sequence:
            raise RuntimeError(
                f"part {self.part.part} got batch {batch.sequence} when {self._next_sequence} was"
                " next: the runner split a part over several bundles, which is not supported;"
                " use an engine that docs/engines.md lists"
            )
        self._next_sequence += 1
        if len(batch):
            self._put("sentences", sentence_rows(embedded, self._dtype))
            if self._recipe.options["tokens"] != "none":
                rows = token_rows(embedded, self._dtype, self._keep)
                self._put("tokens", rows)
                self._counts["token_vectors"] += rows.num_rows
        self._counts["sentences"] += len(batch)
        for sentence in batch.sentences:
            totals = self._open.setdefault(sentence.doc_id, [0, 0, 0])
            totals[0] += 1
            totals[1] += len(sentence.tokens)
            self._counts["tokens"] += len(sentence.tokens)
        self._write_rejects(batch.rejects)
        self._write_ends(batch.ends)

    def _write_rejects(self, rejects: list[Reject]) -> None:
        if not rejects:
            return
        self._put("rejects", reject_rows(rejects))
        self._counts["rejects"] += len(rejects)
        for reject in rejects:
            if reject.sentence_index is not None:
                self._open.setdefault(str(reject.doc_id), [0, 0, 0])[2] += 1
                self._counts["rejected_sentences"] += 1
            elif reject.stage in (TOKENIZE, EMBED):  # it was planned as a document
                self._counts["documents_rejected"] += 1

    def _write_ends(self, ends: list[DocumentEnd]) -> None:
        rows = []
        for end in ends:
            sentences, tokens, rejected = self._open.pop(end.doc_id, (0, 0, 0))
            if sentences + rejected != end.sentences:
                raise RuntimeError(
                    f"document {end.doc_id!r} has {end.sentences} sentences, but {sentences} were"
                    f" written and {rejected} rejected"
                )
            row = {name: getattr(end, name) for name in DocumentEnd.__dataclass_fields__}
            row.update(sentences=sentences, tokens=tokens, rejected_sentences=rejected)
            rows.append(row)
            self._counts["characters"] += end.characters
        if rows:
            self._put("documents", document_rows(rows))
            self._counts["documents"] += len(rows)

    def _put(self, table: str, rows: pa.RecordBatch) -> None:
        if not rows.num_rows:
            return
        if table not in self._writers:
            self._writers[table] = TableWriter(
                self._store,
                f"{self._directory}/{table}/part-{self.part.part:05d}.parquet",
                table_schema(table, dtype=self._dtype, dim=self._recipe.dim),
                self._row_group_bytes,
            )
        self._writers[table].write(rows)

    def finish(self, end: PartEnd) -> PartSummary:
        """Close the files and tell what was written.

        Raises:
          RuntimeError: if not every document of the part was written or rejected.
        """
        accounted = self._counts["documents"] + self._counts["documents_rejected"]
        if accounted != end.documents:
            raise RuntimeError(
                f"part {self.part.part} of segment {self.part.segment_id} accounts for {accounted}"
                f" documents, but {end.documents} were planned; run the command again"
            )
        files = {}
        for table in TABLES:
            if table in self._writers:
                writer = self._writers[table]
                files[table] = (writer.temporary, writer.close(self._directory))
        return PartSummary(
            part=self.part.part,
            files=files,
            counts={**self._counts, "documents_planned": end.documents},
            segment_id=self.part.segment_id,
            segment_parts=end.segment_parts,
            supersede=dict(end.supersede),
        )

    def abort(self) -> None:
        """Remove the files of a part that will not be finished."""
        for writer in self._writers.values():
            writer.abort()
