"""The search of a word's occurrences: what a segment beyond the index gives."""

import numpy as np
import pyarrow as pa

from pipelines.search.occurrences import Scanned
from pipelines.search.word_search import best_of_scanned


def scanned_rows(count: int) -> Scanned:
    table = pa.record_batch({"vector_id": pa.array(range(10, 10 + count), pa.int64())})
    return Scanned(rows=table, vectors=np.zeros((count, 2), np.float32), segment_id="s")


def test_the_best_come_first_with_their_senses_and_filtered_ones_not_at_all() -> None:
    scores = np.array([0.1, -np.inf, 0.9, 0.5], np.float32)
    found = best_of_scanned(scanned_rows(4), scores, np.array([1, 1, 2, 1], np.int32), 5)
    assert [(hit.vector_id, hit.sense) for hit in found] == [(12, 2), (13, 1), (10, 1)]
    assert [hit.vector_id for hit in best_of_scanned(scanned_rows(4), scores, None, 1)] == [12]
