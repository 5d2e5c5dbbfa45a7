"""The commands that take turns: each is the real one, with documents of one sentence."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.corpus import writers
from pipelines.corpus.commits import (
    Change,
    commit,
    commit_index,
    committed_numbers,
    reserve_segment,
)
from pipelines.corpus.number_ranges import add_numbers
from pipelines.corpus.segment_files import write_manifest
from pipelines.corpus.store import Store
from pipelines.corpus.view import CorpusView
from pipelines.index.format import IndexFile, IndexManifest, manifest_path
from pipelines.maintenance.compact import LazyTable, compact, groups_to_compact
from pipelines.maintenance.delete import delete, find_documents, purge
from pipelines.maintenance.vacuum import vacuum
from schemas import Part, Segment, first_vector_id, table_schema
from tests.made_manifests import made_segment
from tests.pipelines.corpus.interleaving import Worker
from tests.pipelines.corpus.stepped_store import SteppedStore

DIM = 2
TABLES = ("sentences", "tokens")
MEASURED: dict[str, Any] = {
    "factory": "SQfp16",
    "effort": 0,
    "rerank": 1,
    "rows": 0,
    "fitted_rows": 0,
    "held_out": {"share": 0.0, "seed": 0},
    "trained": None,
    "recall_at_10": 1.0,
    "recall_bound": 1.0,
    "recall_queries": 0,
}


def embed(documents: Mapping[str, str], slice_documents: int = 1) -> Any:
    """Embed as the local job does: planned once, committed slice after slice."""

    def run(worker: Worker, store: SteppedStore) -> None:
        with writers.running_writer(store, "embed") as writer:
            corpus = CorpusView.newest(store)
            known = committed_numbers(corpus.snapshot, corpus.segments)
            live = {
                row["doc_id"]: (segment.segment_id, row["sha256"])
                for segment in corpus.segments
                for batch in corpus.read("documents", ["doc_id", "sha256"], [segment.segment_id])
                for row in batch.to_pylist()
            }
            chosen = [i for i, v in documents.items() if live.get(i, ("", ""))[1] != v]
            for start in range(0, len(chosen), slice_documents):
                ids = chosen[start : start + slice_documents]
                supersede: dict[str, list[str]] = {}
                for doc_id in ids:
                    if doc_id in live:
                        supersede.setdefault(live[doc_id][0], []).append(doc_id)
                segment_id, number = reserve_segment(store, writer.writer_id)
                segment = write_segment(
                    store, segment_id, number, {doc_id: documents[doc_id] for doc_id in ids}
                )
                worker.expected = {i: (live.get(i, ("", None))[1], documents[i]) for i in ids}
                change = Change(
                    operation="embed",
                    add=(segment,),
                    supersede=supersede,
                    claims=frozenset(ids),
                    known=known,
                    writer=writer.writer_id,
                )
                corpus = commit(corpus, change)
                known = add_numbers(known, [number])

    return run


def write_segment(
    store: Store, segment_id: str, number: int, documents: Mapping[str, str]
) -> Segment:
    """Write a segment of documents with one sentence each; the version stands as sha256."""
    rows: dict[str, list[dict[str, Any]]] = {"documents": [], "sentences": []}
    for place, (doc_id, version) in enumerate(documents.items()):
        common = {"doc_id": doc_id, "sentence_index": 0, "start": 0, "end": 1, "cut": False}
        rows["sentences"].append(
            {
                **common,
                "vector_id": first_vector_id(number, "sentences", 0) + place,
                "text": "x",
                "tokens": ["x"],
                "token_starts": [0],
                "attention": [1.0],
                "vector": [0.0] * DIM,
            }
        )
        rows["documents"].append(
            {
                "doc_id": doc_id,
                "sha256": version,
                "uri": "in",
                "position": place,
                "metadata": [],
                "characters": 1,
                "sentences": 1,
                "tokens": 1,
                "rejected_sentences": 0,
            }
        )
    parts: dict[str, tuple[Part, ...]] = {}
    for table, found in rows.items():
        schema = table_schema(table, dtype="float32", dim=DIM)
        path = f"segments/{segment_id}/{table}/part-00000.parquet"
        with LazyTable(store, path, schema) as writer:
            writer.write(pa.RecordBatch.from_pylist(found, schema=schema))
        assert writer.part is not None
        parts[table] = (writer.part,)
    count = len(documents)
    segment = made_segment(
        segment_id,
        number,
        options={"vector_dtype": "float32", "tokens": "none"},
        dim=DIM,
        counts={"documents": count, "sentences": count, "tokens": count},
        parts=parts,
    )
    write_manifest(store, segment)
    return segment


def remove(doc_ids: Sequence[str], *, purged: bool = False) -> Any:
    """Delete documents as the command does, and purge if asked; it does not wait for others."""

    def run(worker: Worker, store: SteppedStore) -> None:
        corpus = CorpusView.newest(store)
        found, _ = find_documents(corpus, doc_ids)
        ids = [doc_id for ids in found.values() for doc_id in ids]
        worker.expected = dict.fromkeys(ids, (None, None)) if ids else None
        corpus = delete(corpus, found, purge=purged)
        if purged:
            purge(corpus)

    return run


def merge(worker: Worker, store: SteppedStore) -> None:
    """Compact as the command does."""
    del worker
    corpus = CorpusView.newest(store)
    for group in groups_to_compact(corpus, 100):
        if set(group) <= set(corpus.snapshot.segments):
            corpus = compact(corpus, group)


def clean(worker: Worker, store: SteppedStore) -> None:
    """Vacuum, whatever the age."""
    del worker
    vacuum(CorpusView.newest(store), older_than_seconds=0.0)


def index(worker: Worker, store: SteppedStore) -> None:
    """Build an index: read the segments, write two files, commit."""
    del worker
    with writers.running_writer(store, "index") as writer:
        corpus = CorpusView.newest(store)
        ids = [
            i for batch in corpus.read("documents", ["doc_id"]) for i in batch["doc_id"].to_pylist()
        ]
        data = repr((corpus.snapshot.segments, sorted(ids))).encode()
        index_id = hashlib.sha256(data).hexdigest()[:16]
        path = f"indexes/{index_id}/forms.parquet"
        with store.open(path, "wb") as file:
            file.write(data)
        manifest = IndexManifest(
            index_id=index_id,
            fingerprint="f",
            dim=DIM,
            dtype="float32",
            centering={key: {"mean": [0.0] * DIM, "components": []} for key in TABLES},
            settings={
                "word_center": False,
                "sentence_weight": 0.0,
                "center": False,
                "remove_components": 0,
                "factory": None,
            },
            tables=dict.fromkeys(TABLES, MEASURED),
            shards=(),
            forms=IndexFile(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()),
        )
        with store.open(manifest_path(index_id), "wb") as file:
            file.write(manifest.to_json().encode())
        commit_index(corpus, index_id, writer.writer_id)
