"""An index opened for search: memory-mapped files, read only where a search needs them.

Several threads may search one: readers of files that keep a state take turns.
"""

import unicodedata
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.corpus.view import CorpusView
from pipelines.errors import CorpusError
from pipelines.index.approximate import search_index
from pipelines.index.arrow_rows import ArrowRows
from pipelines.index.centering import Centering
from pipelines.index.exact import FlatFile, Floats
from pipelines.index.faiss_reader import read_approximate
from pipelines.index.form_table import FormTable
from pipelines.index.form_vectors import FormVectors
from pipelines.index.format import (
    KEY,
    IndexManifest,
    Shard,
    local_path,
    open_manifest,
)
from pipelines.index.word_forms import rules_of
from pipelines.text.normal_forms import folded_form, form_rule

_FOLDED_TOKENS = 65_536
# Up to so many vectors that pass a filter, scanning them beats an approximate index.
EXACT_FILTERED_ROWS = 200_000
MIN_CANDIDATES = 64


class VectorHit(NamedTuple):
    """A vector found: its cosine with the query, and where it stands."""

    score: float
    shard: str
    position: int


class OpenShard:
    """One shard of an open index; every file is opened when first used.

    Attributes:
      shard: what index.json says of it.
    """

    def __init__(
        self, corpus: CorpusView, manifest: IndexManifest, shard: Shard, cache_dir: Path | None
    ) -> None:
        self.shard = shard
        self._corpus, self._manifest, self._cache_dir = corpus, manifest, cache_dir

    def _path(self, name: str) -> Path:
        if name not in self.shard.files:
            raise CorpusError(
                f"the index of {self._corpus.root} has an older format"
                f" (shard {self.shard.shard} has no {name}); build it again: sensegrep index"
                f" --corpus {self._corpus.root}"
            )
        return local_path(self._corpus.store, self.shard.files[name], self._cache_dir)

    def flat(self, table: str) -> FlatFile:
        """Return the exact index of `tokens` or `sentences`."""
        return self.tokens if table == "tokens" else self.sentences

    @cached_property
    def tokens(self) -> FlatFile:
        """The exact index of the token vectors, ordered by form."""
        return self._flat("tokens")

    @cached_property
    def sentences(self) -> FlatFile:
        """The exact index of the sentence vectors, in the order of the lines."""
        return self._flat("sentences")

    def _flat(self, table: str) -> FlatFile:
        manifest = self._manifest
        rows = self.shard.rows[table]
        try:
            return FlatFile(self._path(table), rows, manifest.dim, manifest.dtype)
        except ValueError as error:
            raise CorpusError(str(error)) from error

    @cached_property
    def keys(self) -> NDArray[Any]:
        """[n] records of KEY, in the order of the token vectors, mapped read-only."""
        path = self._path("keys")
        rows = self.shard.rows["tokens"]
        keys = np.load(path, mmap_mode="r" if rows else None, allow_pickle=False)
        if keys.dtype != KEY or len(keys) != rows:
            raise CorpusError(
                f"{path} holds {len(keys)} keys of type {keys.dtype}, expected {rows} of {KEY};"
                " build the index again: sensegrep index --rebuild --corpus DIR"
            )
        return keys.view(np.ndarray)  # a plain array, whose slices take less time

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """[sentences] tokens of each line, mapped read-only."""
        path = self._path("lengths")
        rows = self.shard.rows["sentences"]
        lengths = np.load(path, mmap_mode="r" if rows else None, allow_pickle=False)
        if lengths.dtype != np.int32 or lengths.shape != (rows,):
            raise CorpusError(
                f"{path} holds {lengths.shape} of type {lengths.dtype}, expected {rows} int32;"
                " build the index again: sensegrep index --rebuild --corpus DIR"
            )
        return lengths.view(np.ndarray)

    @cached_property
    def lines(self) -> ArrowRows:
        """One row a sentence."""
        return ArrowRows(self._path("lines"))

    @cached_property
    def documents(self) -> ArrowRows:
        """One row a document."""
        return ArrowRows(self._path("documents"))

    @cached_property
    def approximate(self) -> Mapping[str, Any]:
        """For each table its approximate index, where it has one."""
        return {
            table: read_approximate(
                self._path(f"{table}_ann"),
                self._manifest.tables[table]["factory"],
                self._manifest.dim,
                self.shard.rows[table],
                mapped=True,
            )
            for table in ("sentences", "tokens")
            if f"{table}_ann" in self.shard.files
        }

    @cached_property
    def sentence_documents(self) -> NDArray[np.int32]:
        """[sentences] the document number of each line."""
        numbers = self.lines.column("document")
        return numbers.to_numpy() if len(numbers) else np.zeros(0, np.int32)

    @cached_property
    def deleted(self) -> NDArray[np.bool_] | None:
        """[documents] which are deleted; None if none is."""
        live = {segment.segment_id for segment in self._corpus.segments}
        tombstones = self._corpus.tombstones
        suspects = [s for s in self.shard.segments if s not in live or s in tombstones]
        if not suspects:
            return None
        segment_ids, doc_ids = self.documents.column("segment_id"), self.documents.column("doc_id")
        deleted = np.zeros(len(doc_ids), bool)
        for segment_id in suspects:
            mine = pc.equal(segment_ids, segment_id)
            if segment_id in live:
                mine = pc.and_(mine, pc.is_in(doc_ids, tombstones[segment_id]))
            deleted |= mine.to_numpy()
        return deleted if deleted.any() else None

    def allowed_documents(self, filters: Mapping[str, str]) -> NDArray[np.bool_] | None:
        """[documents] which are live and carry the metadata; None if all do."""
        allowed = None if self.deleted is None else ~self.deleted
        if not filters:
            return allowed
        metadata = self.documents.column("metadata")
        for key, value in filters.items():
            carries = matches(metadata, key, value)
            allowed = carries if allowed is None else allowed & carries
        return allowed


def matches(metadata: pa.ChunkedArray | pa.Array, key: str, value: str) -> NDArray[np.bool_]:
    """Say which rows of a metadata column have a key with a value."""
    values = pa.array(_spellings(value))
    chosen = np.zeros(len(metadata), bool)
    for name in _spellings(key):
        found = pc.is_in(pc.map_lookup(metadata, name, "first"), value_set=values)
        chosen |= pc.fill_null(found, False).to_numpy(zero_copy_only=False)
    return chosen


def _spellings(text: str) -> list[str]:
    """Return a text as given, composed and decomposed: all of them are the same to a reader."""
    forms = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    return list(dict.fromkeys([text, *forms]))


class OpenIndex:
    """An index opened for search.

    Attributes:
      manifest: index.json.
      shards: by name.
      centering: for sentences and tokens.
    """

    def __init__(
        self, corpus: CorpusView, manifest: IndexManifest, cache_dir: str | Path | None = None
    ) -> None:
        self.corpus = corpus
        self.manifest = manifest
        directory = None if cache_dir is None else Path(cache_dir)
        self._cache_dir = directory
        self.shards = {
            shard.shard: OpenShard(corpus, manifest, shard, directory) for shard in manifest.shards
        }
        self.centering = {
            table: Centering.from_json(fields) for table, fields in manifest.centering.items()
        }

    @cached_property
    def form(self) -> Callable[[str], str]:
        """Return the form of a token, by the corpus's version of the token rules."""
        return form_rule(rules_of(self.corpus))

    @cached_property
    def folded(self) -> Callable[[str], str]:
        """Return the form of a token without its case: what words are compared by."""
        form = self.form
        return lru_cache(_FOLDED_TOKENS)(lambda token: folded_form(form(token)))

    @cached_property
    def form_vectors(self) -> FormVectors:
        """The mean vector of each word, measured when first asked for."""

        def rows(shard: str, where: NDArray[np.int64]) -> Floats:
            return self.shards[shard].tokens.vectors(where)

        return FormVectors(self.forms, rows, self.manifest.dim)

    @classmethod
    def open(cls, corpus: CorpusView, cache_dir: str | Path | None = None) -> "OpenIndex":
        """Open the corpus's current index.

        Raises:
          CorpusError: if there is none, it is damaged, or its vectors are of another model or
            other settings than the corpus's.
        """
        index_id = corpus.snapshot.index
        if index_id is None:
            raise CorpusError(
                f"the corpus at {corpus.root} has no index; build one: sensegrep index --corpus"
                f" {corpus.root}"
            )
        manifest = open_manifest(corpus, index_id)
        if manifest.fingerprint != corpus.fingerprint:
            raise CorpusError(
                f"the index {index_id} holds vectors of another model or other settings"
                f" ({manifest.fingerprint[:12]}...) than the corpus ({corpus.fingerprint[:12]}...);"
                f" build it again: sensegrep index --corpus {corpus.root}"
            )
        return cls(corpus, manifest, cache_dir)

    @cached_property
    def forms(self) -> FormTable:
        """Where each word form stands."""
        return FormTable(local_path(self.corpus.store, self.manifest.forms, self._cache_dir))

    @cached_property
    def unindexed(self) -> list[str]:
        """Ids of live segments that the index does not cover; a search scans them exactly."""
        covered = set(self.manifest.segments)
        return [s.segment_id for s in self.corpus.segments if s.segment_id not in covered]

    def nearest(
        self,
        table: str,
        query: Floats,
        k: int,
        *,
        filters: Mapping[str, str] = MappingProxyType({}),
        effort: int | None = None,
    ) -> list[VectorHit]:
        """Find the nearest live vectors of a table, by its approximate index if it has one.

        Args:
          table: sentences or tokens.
          query: [D] float32, centred, of length 1.
          k: how many.
          filters: metadata their documents must carry.
          effort: nprobe or efSearch; None takes what the build found to reach its target.

        Returns:
          at most k matches, the highest score first; equal scores by shard and position.
        """
        found: list[VectorHit] = []
        for name, shard in self.shards.items():
            allowed = self._allowed(shard, table, filters)
            index = shard.approximate.get(table)
            if index is None or (allowed is not None and allowed.sum() <= EXACT_FILTERED_ROWS):
                where = None if allowed is None else np.flatnonzero(allowed)
            else:
                where = self._candidates(index, table, query, k, effort, allowed)
            scores, positions = shard.flat(table).search(query[None], k, where)
            pairs = zip(scores[0].tolist(), positions[0].tolist(), strict=True)
            found += [VectorHit(score, name, position) for score, position in pairs]
        return _best(found, k)

    def nearest_exactly(self, table: str, queries: Floats, k: int) -> list[list[VectorHit]]:
        """Find the nearest vectors of each query [Q, D] by one scan of all of a table.

        It is what recall is measured against.
        """
        found: list[list[VectorHit]] = [[] for _ in queries]
        for name, shard in self.shards.items():
            allowed = self._allowed(shard, table, {})
            where: slice | NDArray[np.int64] = slice(0, shard.shard.rows[table])
            if allowed is not None:
                where = np.flatnonzero(allowed)
            scores, positions = shard.flat(table).search(queries, k, where)
            for matches_of, mine, places in zip(found, scores, positions, strict=True):
                pairs = zip(mine.tolist(), places.tolist(), strict=True)
                matches_of += [VectorHit(score, name, position) for score, position in pairs]
        return [_best(matches_of, k) for matches_of in found]

    def _candidates(
        self,
        index: Any,
        table: str,
        query: Floats,
        k: int,
        effort: int | None,
        allowed: NDArray[np.bool_] | None,
    ) -> NDArray[np.int64]:
        """Positions that the approximate index proposes; they are scored again exactly."""
        known = self.manifest.tables[table]
        wanted = min(max(known["rerank"] * k, MIN_CANDIDATES), index.ntotal)
        tried = max(1, known["effort"] if effort is None else effort)
        reachable = index.ntotal if allowed is None else int(allowed.sum())
        while True:
            _, positions = search_index(index, query[None], wanted, tried, allowed)
            found = positions[0][positions[0] >= 0]
            if len(found) and found.max() >= index.ntotal:
                raise CorpusError(
                    f"the index of {table} names the vector {found.max()}, but has {index.ntotal};"
                    " build it again: sensegrep index --rebuild --corpus DIR"
                )
            # The lists tried may hold fewer than k that are allowed: try more of them.
            if len(found) >= min(k, reachable) or tried >= index.ntotal:
                return np.sort(found)
            tried = min(2 * tried, index.ntotal)

    def _allowed(
        self, shard: OpenShard, table: str, filters: Mapping[str, str]
    ) -> NDArray[np.bool_] | None:
        """[n] which vectors of a shard may be found; None if all."""
        documents = shard.allowed_documents(filters)
        if documents is None:
            return None
        numbers = shard.keys["document"] if table == "tokens" else shard.sentence_documents
        return documents[numbers]


def _best(found: list[VectorHit], k: int) -> list[VectorHit]:
    return sorted(found, key=lambda match: (-match.score, match.shard, match.position))[:k]
