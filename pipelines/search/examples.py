"""Lines given as examples by their vector_id, and their vectors."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pipelines.errors import UsageError
from pipelines.index.exact import Floats
from pipelines.index.reader import OpenIndex, OpenShard
from pipelines.search.occurrences import scan_unindexed
from pipelines.search.scoring import Scorer


class Example(NamedTuple):
    """A line given as an example.

    Attributes:
      vector: [D] centred, of length 1.
      form: of the token; empty for a sentence.
      sentence: [D] the vector of the token's sentence; of a sentence its own.
      tokens: of the token's sentence; none of a sentence.
    """

    vector: Floats
    form: str
    sentence: Floats
    tokens: Sequence[str] = ()


def find_example(index: OpenIndex, scorer: Scorer, table: str, vector_id: int) -> Example:
    """Find a live token or sentence by its id.

    Raises:
      UsageError: if there is none.
    """
    for shard in index.shards.values():
        if table == "tokens":
            ids = shard.keys["vector_id"]
        else:
            column = shard.lines.column("vector_id")
            ids = column.to_numpy() if len(column) else np.zeros(0, np.int64)
        places = np.flatnonzero(ids == vector_id)
        if len(places) and _is_live(shard, table, int(places[0])):
            vector = shard.flat(table).vectors(places[:1])[0]
            if table == "sentences":
                return Example(vector, "", vector)
            key = shard.keys[int(places[0])]
            sentence = shard.sentences.vectors(np.array([int(key["sentence"])]))[0]
            line = shard.lines.row(int(key["sentence"]))
            form = index.form(line["text"][int(key["start"]) : int(key["end"])])
            return Example(vector, form, sentence, line["tokens"])
    for scanned in scan_unindexed(index, table, None, {}):
        places = np.flatnonzero(scanned.rows.column("vector_id").to_numpy() == vector_id)
        if len(places):
            place = int(places[0])
            one = replace(
                scanned,
                rows=scanned.rows.slice(place, 1),
                vectors=scanned.vectors[place : place + 1],
            )
            if table == "sentences":
                return Example(one.vectors[0], "", one.vectors[0])
            form = index.form(one.rows.column("token")[0].as_py())
            sentences, tokens = scorer.sentences_of(one)
            return Example(one.vectors[0], form, sentences[0], tokens[0])
    raise UsageError(
        f"there is no {table[:-1]} with the vector_id {vector_id} in this corpus; ids are"
        " printed by sensegrep search --json"
    )


def _is_live(shard: OpenShard, table: str, position: int) -> bool:
    if shard.deleted is None:
        return True
    numbers = shard.keys["document"] if table == "tokens" else shard.sentence_documents
    return not shard.deleted[int(numbers[position])]
