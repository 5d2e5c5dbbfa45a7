"""What txtai's process imports: our model encodes its queries, our vectors fill its index.

The environment of the process names the corpus (SENSEGREP_BENCHMARK_CORPUS) and which of its
vectors are searched (SENSEGREP_BENCHMARK_TABLE: sentences or tokens). Run as a program, it writes
an index of them for txtai: python txtai_vectors.py FOLDER.
"""

import json
import os
import sys
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipelines.api import Corpus, open_searcher

CORPUS = os.environ["SENSEGREP_BENCHMARK_CORPUS"]
TABLE = os.environ["SENSEGREP_BENCHMARK_TABLE"]
# txtai trains its cells on all vectors unless told otherwise: many minutes for a million.
SAMPLE = {"sentences": None, "tokens": 0.1}[TABLE]

SEARCHER = open_searcher(Corpus.open(CORPUS))


def encode(texts: list[str]) -> NDArray[np.float32]:
    """Encode queries as sensegrep does: [B, D] sentence vectors, centred like the index."""
    vectors = [SEARCHER.encode(text).sentence_vector for text in texts]
    return SEARCHER.index.centering[TABLE].apply(np.stack(vectors))


def rows() -> Iterator[tuple[NDArray[np.float32], list[str]]]:
    """Yield blocks of vectors with the text of the sentence that each is of."""
    for shard in SEARCHER.index.shards.values():
        texts = shard.lines.column("text").to_pylist()
        flat = shard.tokens if TABLE == "tokens" else shard.sentences
        for start in range(0, flat.rows, 4096):
            where = slice(start, min(start + 4096, flat.rows))
            numbers = (
                shard.keys["sentence"][where] if TABLE == "tokens" else range(flat.rows)[where]
            )
            yield flat.vectors(where), [texts[number] for number in numbers]


def build(folder: str) -> None:
    """Write txtai's index, with its defaults and the texts as content; print how it went."""
    from txtai import Embeddings

    started = time.perf_counter()
    waiting: list[NDArray[np.float32]] = []

    def stored(texts: list[str]) -> NDArray[np.float32]:
        """Return the vectors that come next: txtai asks in the order of the rows."""
        while sum(map(len, waiting)) < len(texts):
            raise RuntimeError(f"{len(texts)} texts were asked for, {len(waiting)} blocks wait")
        joined = np.concatenate(waiting)
        waiting[:] = [joined[len(texts) :]]
        return joined[: len(texts)]

    def documents() -> Iterator[str]:
        for vectors, texts in rows():
            waiting.append(vectors)
            yield from texts

    faiss = {} if SAMPLE is None else {"sample": SAMPLE}
    embeddings = Embeddings(method="external", transform=stored, content=True, faiss=faiss)
    embeddings.index(documents())
    embeddings.config["transform"] = "txtai_vectors.encode"
    embeddings.save(folder)
    print(
        json.dumps(
            {
                "vectors": embeddings.count(),
                "factory": embeddings.config["build"]["settings"],
                "seconds": round(time.perf_counter() - started, 1),
            }
        )
    )


if __name__ == "__main__":
    build(sys.argv[1])
