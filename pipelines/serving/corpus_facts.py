"""Facts about a corpus: counts, model, index, and the metadata to filter by."""

from collections import Counter
from typing import Any

import pyarrow as pa

from pipelines.api import Corpus
from pipelines.index.reader import OpenIndex

# A key with more values than this is no filter to choose from a list, but free text.
LISTED_VALUES = 50
COUNTED_VALUES = 2000


def describe_corpus(corpus: Corpus, index: OpenIndex, model: str, dim: int) -> dict[str, Any]:
    """Return what `GET /v1/corpus` answers.

    Args:
      corpus: an open snapshot.
      index: its open index.
      model: name of its model.
      dim: width of its vectors.
    """
    options = corpus.segments[0].options
    vectors = sum(segment.counts["token_vectors"] for segment in corpus.segments)
    return {
        "snapshot": corpus.snapshot.number,
        "created": corpus.snapshot.created,
        "index": corpus.snapshot.index,
        "unindexed_segments": len(index.unindexed),
        **corpus.live_counts(),
        "token_vectors": vectors,
        "model": {"name": model, "dim": dim, "fingerprint": corpus.fingerprint},
        "tokens_embedded": options.get("tokens"),
        "language": options["tokenizer"].get("language"),
        "metadata": count_metadata(corpus),
    }


def count_metadata(corpus: Corpus) -> list[dict[str, Any]]:
    """Count the live documents of each metadata key and of its values, the most frequent first."""
    documents: Counter[str] = Counter()
    values: dict[str, Counter[str]] = {}
    many: set[str] = set()
    for batch in corpus.read("documents", ["metadata"]):
        column = batch.column("metadata")
        pairs = pa.table({"key": column.keys, "value": column.items})
        counted = pairs.group_by(["key", "value"]).aggregate([([], "count_all")])
        for row in counted.to_pylist():
            key, value, count = row["key"], row["value"], row["count_all"]
            documents[key] += count
            if key not in many:
                values.setdefault(key, Counter())[value] += count
                if len(values[key]) > COUNTED_VALUES:
                    many.add(key)
                    values[key].clear()
    return [
        {
            "key": key,
            "documents": count,
            "values": [
                {"value": value, "documents": number}
                for value, number in sorted(
                    values[key].items(), key=lambda item: (-item[1], item[0])
                )[:LISTED_VALUES]
            ],
            "complete": key not in many and len(values[key]) <= LISTED_VALUES,
        }
        for key, count in sorted(documents.items(), key=lambda item: (-item[1], item[0]))
    ]
