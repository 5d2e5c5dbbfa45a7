"""Reads the lines of hits: from the index's own copy, or from segments that it does not cover."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.index.arrow_rows import string_list_key
from pipelines.index.format import LINES
from pipelines.index.reader import OpenIndex
from pipelines.search.hits import Hit, Node, make_hit

_LineKey = tuple[str, str, int]  # segment_id, doc_id, sentence_index
# What identical lines share: the tokens of the sentence, and which of them was found.
Identity = tuple[bytes, int | None]


class LocatedHit(NamedTuple):
    """A vector found: its score, and where its line is read from.

    `shard` and `position` say where in the index; in a segment that the index does not cover,
    `shard` is None, and `segment_id` and the token's or sentence's own `row` say where.
    """

    score: float
    vector_id: int
    shard: str | None
    position: int
    row: Mapping[str, Any]
    segment_id: str
    sense: int | None


def by_score(found: LocatedHit) -> tuple[float, int]:
    """Sort key: the highest score first, then the lowest id."""
    return -found.score, found.vector_id


class LineReader:
    """Turns what was found into hits."""

    def __init__(self, index: OpenIndex) -> None:
        self._index = index

    def hits(
        self,
        found: Sequence[LocatedHit],
        table: str,
        context: tuple[int | None, int | None] = (None, None),
    ) -> list[Hit]:
        """Read the lines of tokens or sentences, in the order given.

        Args:
          found: what to read.
          table: tokens or sentences.
          context: tokens to show left and right of the node; None for all.
        """
        scanned = self._read_scanned([one for one in found if one.shard is None])
        hits = []
        for one in found:
            if one.shard is None:
                line, document = scanned[_line_key(one)]
                node = _scanned_node(one.row, line)
            else:
                line, document, node = self._read_indexed(one.shard, one.position, table)
            hits.append(
                make_hit(
                    line,
                    document,
                    node,
                    vector_id=one.vector_id,
                    score=one.score,
                    sense=one.sense,
                    context=context,
                )
            )
        return hits

    def fold(
        self, found: Sequence[LocatedHit], table: str, known: dict[int, Identity]
    ) -> list[tuple[LocatedHit, int]]:
        """Return the first of each group of identical sentences, best first, and the group's size.

        The same sentence has the same vectors, so identical lines are neighbours by score.

        Args:
          found: best first.
          table: tokens or sentences.
          known: what was read of lines before, by vector_id; filled here.
        """
        self._identify([one for one in found if one.vector_id not in known], table, known)
        groups: dict[tuple[Identity, float], tuple[LocatedHit, int]] = {}
        for one in found:
            key = known[one.vector_id], round(float(one.score), 4)
            first, copies = groups.get(key, (one, 0))
            groups[key] = first, copies + 1
        return list(groups.values())

    def _identify(
        self, found: Sequence[LocatedHit], table: str, known: dict[int, Identity]
    ) -> None:
        """Read the tokens of lines, and of a line no more than that."""
        unindexed = [one for one in found if one.shard is None]
        scanned = self._read_scanned(unindexed)
        for one in unindexed:
            line, _ = scanned[_line_key(one)]
            known[one.vector_id] = string_list_key(line["tokens"]), one.row.get("token_index")
        for name in dict.fromkeys(one.shard for one in found if one.shard is not None):
            shard = self._index.shards[name]
            here = [one for one in found if one.shard == name]
            positions = np.array([one.position for one in here])
            numbers, places = positions, [None] * len(here)
            if table == "tokens":
                rows = shard.keys[positions]
                numbers, places = rows["sentence"], rows["token_index"].tolist()
            keys = shard.lines.string_list_keys("tokens", numbers.tolist())
            for one, key, place in zip(here, keys, places, strict=True):
                known[one.vector_id] = key, place

    def _read_indexed(
        self, shard_name: str, position: int, table: str
    ) -> tuple[Mapping[str, Any], Mapping[str, Any], Node]:
        shard = self._index.shards[shard_name]
        if table == "tokens":
            key = shard.keys[position]
            line = shard.lines.row(int(key["sentence"]))
            node = Node(int(key["start"]), int(key["end"]), int(key["token_index"]))
        else:
            line, node = shard.lines.row(position), Node(0, 0, None)
        return line, shard.documents.row(line["document"]), node

    def _read_scanned(
        self, found: Iterable[LocatedHit]
    ) -> dict[_LineKey, tuple[Mapping[str, Any], Mapping[str, Any]]]:
        wanted = {_line_key(one) for one in found}
        lines: dict[_LineKey, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
        columns = [name for name in LINES.names if name != "document"]
        for segment_id in sorted({place[0] for place in wanted}):
            doc_ids = pa.array(sorted({p[1] for p in wanted if p[0] == segment_id}), pa.string())
            documents = {
                row["doc_id"]: row
                for row in self._rows("documents", ["doc_id", "metadata"], segment_id, doc_ids)
            }
            for row in self._rows("sentences", [*columns, "doc_id"], segment_id, doc_ids):
                place = (segment_id, row["doc_id"], row["sentence_index"])
                if place in wanted:
                    lines[place] = (row, documents[row["doc_id"]])
        return lines

    def _rows(
        self, table: str, columns: list[str], segment_id: str, doc_ids: pa.Array
    ) -> Iterable[dict[str, Any]]:
        for batch in self._index.corpus.read(table, columns, [segment_id]):
            yield from batch.filter(pc.is_in(batch.column("doc_id"), doc_ids)).to_pylist()


def _line_key(found: LocatedHit) -> _LineKey:
    return found.segment_id, found.row["doc_id"], found.row["sentence_index"]


def _scanned_node(row: Mapping[str, Any], line: Mapping[str, Any]) -> Node:
    if "token_index" not in row:
        return Node(0, 0, None)
    begin = line["start"]
    return Node(row["start"] - begin, row["end"] - begin, row["token_index"])
