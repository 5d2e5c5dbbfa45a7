"""Lines of what was found, in the index and beyond it, against the rows of the tables."""

from collections.abc import Callable
from typing import Any

import pytest

from pipelines.api import Corpus
from pipelines.index.reader import OpenIndex
from pipelines.search.hits import Hit
from pipelines.search.line_reader import LineReader, LocatedHit, by_score
from pipelines.search.occurrences import scan_unindexed
from pipelines.search.searcher import Searcher


@pytest.fixture
def index(
    own_searcher: Searcher, add_segment: Callable[..., Corpus], documents: Callable[..., Any]
) -> OpenIndex:
    """An index over two segments of a corpus that has a third."""
    return OpenIndex.open(add_segment(own_searcher.corpus, documents(4, 7)))


def located(index: OpenIndex, table: str) -> list[LocatedHit]:
    """Every vector of a table, as a search would have found it: indexed and not."""
    found = []
    for name, shard in index.shards.items():
        ids = (
            shard.keys["vector_id"].tolist()
            if table == "tokens"
            else shard.lines.column("vector_id").to_pylist()
        )
        found += [
            LocatedHit(0.5, vector_id, name, position, {}, "", 2)
            for position, vector_id in enumerate(ids)
        ]
    for scanned in scan_unindexed(index, table, None, {}):
        found += [
            LocatedHit(0.25, row["vector_id"], None, 0, row, scanned.segment_id, None)
            for row in scanned.rows.to_pylist()
        ]
    return found


def tables(index: OpenIndex, table: str) -> tuple[dict, dict, dict]:
    read = index.corpus.read
    rows = {row["vector_id"]: row for batch in read(table) for row in batch.to_pylist()}
    lines = {
        (row["doc_id"], row["sentence_index"]): row
        for batch in read("sentences")
        for row in batch.to_pylist()
    }
    metadata = {
        row["doc_id"]: dict(row["metadata"])
        for batch in read("documents")
        for row in batch.to_pylist()
    }
    return rows, lines, metadata


@pytest.mark.parametrize("table", ["tokens", "sentences"])
def test_each_vector_gets_its_own_line(index: OpenIndex, table: str) -> None:
    found = located(index, table)
    rows, lines, metadata = tables(index, table)
    assert {one.vector_id for one in found} == set(rows)
    assert any(one.shard is None for one in found)

    hits = LineReader(index).hits(found, table)

    for one, hit in zip(found, hits, strict=True):
        row = rows[one.vector_id]
        line = lines[row["doc_id"], row["sentence_index"]]
        assert (hit.vector_id, hit.score, hit.sense) == (one.vector_id, one.score, one.sense)
        assert (hit.doc_id, hit.sentence_index) == (row["doc_id"], row["sentence_index"])
        assert hit.left + hit.node + hit.right == line["text"]
        assert list(hit.tokens) == line["tokens"]
        assert list(hit.attention) == line["attention"]
        assert dict(hit.metadata) == metadata[row["doc_id"]]
        if table == "tokens":
            assert (hit.node, hit.token_index) == (row["token"], row["token_index"])
            assert len(hit.left) == row["start"] - line["start"]
        else:
            assert (hit.left, hit.node, hit.token_index) == ("", line["text"], None)


@pytest.mark.parametrize("table", ["tokens", "sentences"])
def test_identical_lines_are_folded_as_hits_would_be(index: OpenIndex, table: str) -> None:
    found = located(index, table) * 2  # each line has a copy
    reader, known = LineReader(index), {}
    expected: dict[tuple, list[int]] = {}
    for hit in reader.hits(found, table):
        expected.setdefault((hit.tokens, hit.token_index, hit.score), []).append(hit.vector_id)
    folded = reader.fold(found, table, known)
    assert [(first.vector_id, n) for first, n in folded] == [
        (ids[0], len(ids)) for ids in expected.values()
    ]
    assert {n for _, n in folded} == {2}
    assert set(known) == {one.vector_id for one in found}


def test_context_is_cut_on_both_sides(index: OpenIndex) -> None:
    found = located(index, "tokens")

    def words(hits: list[Hit]) -> list[tuple[int, int]]:
        return [(len(hit.left.split()), len(hit.right.split())) for hit in hits]

    whole = words(LineReader(index).hits(found, "tokens"))
    cut = words(LineReader(index).hits(found, "tokens", (2, 1)))
    assert cut == [(min(left, 2), min(right, 1)) for left, right in whole]


def test_equal_scores_stand_by_their_ids() -> None:
    found = [
        LocatedHit(score, vector_id, None, 0, {}, "s", None)
        for score, vector_id in ((0.5, 3), (0.9, 9), (0.5, 1))
    ]
    assert [one.vector_id for one in sorted(found, key=by_score)] == [9, 1, 3]
