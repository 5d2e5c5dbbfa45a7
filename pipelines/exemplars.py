"""Lines given as examples by their vector_id: what they are and where their vectors stand."""

import numpy as np

from pipelines.ann import Floats
from pipelines.errors import UsageError
from pipelines.index_reader import OpenIndex, OpenShard
from pipelines.occurrences import scan_unindexed


def find_example(index: OpenIndex, table: str, vector_id: int) -> tuple[Floats, str]:
    """Return the centred vector of an example, and its form (empty for a sentence)."""
    for shard in index.shards.values():
        if table == "tokens":
            ids = shard.keys["vector_id"]
        else:
            lines = shard.lines.table()
            ids = lines["vector_id"].to_numpy() if len(lines) else np.zeros(0, np.int64)
        places = np.flatnonzero(ids == vector_id)
        if len(places) and _is_live(shard, table, int(places[0])):
            vector = shard.flat(table).vectors(places[:1])[0]
            if table == "sentences":
                return vector, ""
            key = shard.keys[int(places[0])]
            text = shard.lines.row(int(key["sentence"]))["text"]
            return vector, text[int(key["start"]) : int(key["end"])]
    for scanned in scan_unindexed(index, table, None, {}):
        places = np.flatnonzero(scanned.rows.column("vector_id").to_numpy() == vector_id)
        if len(places):
            row = scanned.rows.slice(int(places[0]), 1).to_pylist()[0]
            return scanned.vectors[places[0]], row.get("token", "")
    raise UsageError(
        f"there is no live {table[:-1]} with the vector_id {vector_id} in this corpus; ids are"
        " printed by sensegrep search --json"
    )


def _is_live(shard: OpenShard, table: str, position: int) -> bool:
    if shard.dead is None:
        return True
    numbers = shard.keys["document"] if table == "tokens" else shard.sentence_documents
    return not shard.dead[int(numbers[position])]
