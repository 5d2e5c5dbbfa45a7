"""Token vectors in the order of an index."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.api import Corpus
from pipelines.errors import CorpusError
from pipelines.index.build import build_index
from pipelines.index.centering import Centering, normalize
from pipelines.index.exact import flat_header
from pipelines.index.layout import lay_out
from pipelines.index.measure_parts import measure_part
from pipelines.index.options import IndexOptions
from pipelines.index.parts import Build
from pipelines.index.reader import OpenIndex
from pipelines.index.tokens import RunSlice, assemble_tokens, scatter_tokens, sort_bucket


def test_a_sort_in_many_runs_and_buckets_gives_the_same_index(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    segments = documents(9, 1), documents(6, 2)
    whole = make_corpus(*segments, name="whole")
    build_index(whole.root, IndexOptions())
    # 1000 bytes hold 15 records: 47 runs, and forms larger than a bucket.
    monkeypatch.setattr("pipelines.index.plan.CHUNK_BYTES", (1000, 1000))
    monkeypatch.setattr("pipelines.index.tokens.BATCH_ROWS", 10)
    split = make_corpus(*segments, name="split")
    build_index(split.root, IndexOptions())
    left, right = (OpenIndex.open(Corpus.open(c.root)).manifest for c in (whole, split))
    assert left.forms.sha256 == right.forms.sha256
    assert left.shards[0].files == right.shards[0].files


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 99),
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    parts=st.integers(1, 2),
    chunk_rows=st.integers(1, 40),
)
def test_external_sort_equals_a_plain_sort(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    make_build: Callable[..., Build],
    seed: int,
    sizes: list[int],
    parts: int,
    chunk_rows: int,
) -> None:
    name = uuid.uuid4().hex
    segments = [documents(count, 10 * seed + n) for n, count in enumerate(sizes)]
    corpus = make_corpus(*segments, name=name, parts=parts, dtype="float32")
    record = make_build(corpus).record.itemsize
    build = make_build(corpus, chunk_rows * record)
    layout = lay_out([measure_part(part, build) for part in build.parts], build)
    nothing = Centering(np.zeros(build.dim, np.float32), np.zeros((0, build.dim), np.float32))

    slices: dict[tuple[str, int], list[RunSlice]] = {}
    for part in build.parts:
        if part.table == "tokens":
            for run in scatter_tokens(part, build, layout, nothing):
                for place, piece in run.slices():
                    slices.setdefault(place, []).append(piece)
    pieces = [sort_bucket(place, found, build, layout) for place, found in slices.items()]
    files = assemble_tokens("00000", pieces, build, layout).files

    rows = [row for batch in corpus.read("tokens") for row in batch.to_pylist()]
    rows.sort(key=lambda row: (row["token"].casefold(), row["token"], row["vector_id"]))
    keys = np.load(Path(corpus.root) / files["keys"].path)
    assert keys["vector_id"].tolist() == [row["vector_id"] for row in rows]
    assert keys["token_index"].tolist() == [row["token_index"] for row in rows]
    lines = [row for batch in corpus.read("sentences") for row in batch.to_pylist()]
    mine = [lines[number] for number in keys["sentence"]]
    starts = [row["start"] - line["start"] for row, line in zip(rows, mine, strict=True)]
    assert keys["start"].tolist() == starts
    assert [line["doc_id"] for line in mine] == [row["doc_id"] for row in rows]
    data = (Path(corpus.root) / files["tokens"].path).read_bytes()
    vectors = np.frombuffer(data[len(flat_header(len(rows), build.dim, "float32")) :], "f4")
    np.testing.assert_array_equal(
        vectors.reshape(-1, build.dim), normalize(np.array([r["vector"] for r in rows], np.float32))
    )


def test_token_without_its_sentence_is_told(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    make_build: Callable[..., Build],
) -> None:
    corpus = make_corpus(documents(3, 1))
    build = make_build(corpus)
    layout = lay_out([measure_part(part, build) for part in build.parts], build)
    [path] = (Path(corpus.root) / "segments/00000001/sentences").iterdir()
    pq.write_table(pq.read_table(path).slice(0, 5), path)
    [part] = [part for part in build.parts if part.table == "tokens"]
    nothing = Centering(np.zeros(build.dim, np.float32), np.zeros((0, build.dim), np.float32))
    with pytest.raises(CorpusError, match=r"token \d+ of segment 00000001 has no sentence .*ver"):
        list(scatter_tokens(part, build, layout, nothing))


def test_rows_that_were_lost_underneath_are_told(
    make_corpus: Callable[..., Corpus],
    documents: Callable[..., Any],
    make_build: Callable[..., Build],
) -> None:
    corpus = make_corpus(documents(3, 1))
    build = make_build(corpus)
    layout = lay_out([measure_part(part, build) for part in build.parts], build)
    with pytest.raises(CorpusError, match=r"has 84 live token vectors, but 0 came through the"):
        assemble_tokens("00000", [], build, layout)
