"""Whatever a text looks like: does a search find as much of it, and the same sense first?

The 288 sentences of tests/data/ambiguous.txt, shuffled, eight to a document, are embedded as they
are and as text really comes: hard-wrapped, in lower case, with note marks, as HTML. Each sentence
is a query, its word in brackets; the share of the ten nearest other occurrences with the sense of
the query is its precision@10.
"""

import html
import json
import random
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.api import Corpus, open_searcher
from pipelines.embed.jobs.job import EmbedJob
from pipelines.embed.jobs.local import embed
from pipelines.index.build import build_index
from pipelines.index.options import IndexOptions
from pipelines.search.options import SearchOptions

sys.path.insert(0, str(Path(__file__).parents[1]))
from ambiguous import records

pytestmark = pytest.mark.benchmark
SENTENCES_PER_DOCUMENT = 8
K = 10

WAYS: dict[str, Callable[[list[str]], str]] = {
    "as is": " ".join,
    "hard-wrapped": lambda sentences: textwrap.fill(" ".join(sentences), 72),
    "hard-wrapped, CRLF": lambda sentences: textwrap.fill(" ".join(sentences), 72).replace(
        "\n", "\r\n"
    ),
    "lower case": lambda sentences: " ".join(sentences).lower(),
    "note marks": lambda sentences: " ".join(sentence + "[12]" for sentence in sentences),
    "paragraphs of HTML": lambda sentences: "".join(
        f"<p>{html.escape(sentence)}</p>" for sentence in sentences
    ),
}


def shuffled() -> list[dict[str, str]]:
    found = list(records())
    random.Random(0).shuffle(found)
    return found


def occurrences_of(word: str, sentence: str) -> list[re.Match[str]]:
    return list(re.finditer(rf"\b{word}\b", sentence, re.IGNORECASE))


def embed_as(way: Callable[[list[str]], str], directory: Path) -> Corpus:
    sentences = shuffled()
    source = directory / "in.jsonl"
    with source.open("w") as file:
        for first in range(0, len(sentences), SENTENCES_PER_DOCUMENT):
            some = sentences[first : first + SENTENCES_PER_DOCUMENT]
            text = way([one["text"] for one in some])
            file.write(json.dumps({"id": f"{first:03d}", "text": text}) + "\n")
    corpus = str(directory / "corpus")
    embed(EmbedJob(inputs=[str(source)], corpus=corpus))
    build_index(corpus, IndexOptions())
    return Corpus.open(corpus)


def occurrences_in(corpus: Corpus) -> dict[int, tuple[str, int]]:
    """Return vector_id -> (document, number of this word's occurrence in it), for each ambiguous
    word; the order of occurrences in a document is the same whatever the text looks like."""
    words = {one["word"] for one in records()}
    rows: list[dict[str, Any]] = []
    for batch in corpus.read("tokens", ["vector_id", "doc_id", "start", "token"]):
        rows += [row for row in batch.to_pylist() if row["token"].lower() in words]
    rows.sort(key=lambda row: (row["doc_id"], row["start"]))
    counts: dict[tuple[str, str], int] = {}
    found = {}
    for row in rows:
        key = row["doc_id"], row["token"].lower()
        found[row["vector_id"]] = (f"{key[0]}/{key[1]}", counts.get(key, 0))
        counts[key] = counts.get(key, 0) + 1
    return found


def expected_occurrences() -> dict[tuple[str, int], dict[str, str]]:
    """Return (document/word, number) -> the sentence of the occurrence."""
    words = sorted({one["word"] for one in records()})
    counts: dict[str, int] = {}
    found = {}
    for place, one in enumerate(shuffled()):
        first = place - place % SENTENCES_PER_DOCUMENT
        for word in words:
            for _ in occurrences_of(word, one["text"]):
                key = f"{first:03d}/{word}"
                found[key, counts.get(key, 0)] = one
                counts[key] = counts.get(key, 0) + 1
    return found


def measure(way: Callable[[list[str]], str], directory: Path) -> dict[str, Any]:
    corpus = embed_as(way, directory)
    sentence_of, ids = expected_occurrences(), occurrences_in(corpus)
    found = [key for key in ids.values() if key in sentence_of]
    searcher = open_searcher(corpus)
    shares = []
    for one in shuffled():
        # Of two occurrences in a sentence the first is the query.
        match = occurrences_of(one["word"], one["text"])[0]
        query = f"{one['text'][: match.start()]}[{match.group()}]{one['text'][match.end() :]}"
        hits = searcher.search(query, SearchOptions(k=K + 3, fold_case=True, senses=False))
        sentences = [sentence_of.get(ids.get(hit.vector_id, ("", 0))) for hit in hits]
        others = [other for other in sentences if other is None or other["id"] != one["id"]][:K]
        same = [
            other is not None and (other["word"], other["sense"]) == (one["word"], one["sense"])
            for other in others
        ]
        shares.append(sum(same) / K)
    return {
        "precision": round(sum(shares) / len(shares), 4),
        "sentences": corpus.live_counts()["sentences"],
        "occurrences": len(found),
    }


def test_what_a_text_looks_like_does_no_harm(
    tmp_path: Path, record_benchmark: Callable[..., None]
) -> None:
    table = {}
    for name, way in WAYS.items():
        directory = tmp_path / name.replace(" ", "-")
        directory.mkdir()
        table[name] = measure(way, directory)
    record_benchmark(
        "text-harm",
        table,
        title="What a text looks like, and what a search finds",
        columns=["text", "precision@10", "sentences", "occurrences"],
        rows=[
            [name, round(row["precision"], 3), row["sentences"], row["occurrences"]]
            for name, row in table.items()
        ],
        notes=[
            f"{len(shuffled())} sentences, {SENTENCES_PER_DOCUMENT} to a document, each a query "
            "with `--fold-case`; model en-small"
        ],
    )
    whole = table["as is"]
    for name, row in table.items():
        assert row["precision"] >= whole["precision"] - 0.02, name
        assert row["occurrences"] == whole["occurrences"] == len(expected_occurrences()), name
        floor = 0.9 if name == "lower case" else 0.95
        assert floor * len(shuffled()) <= row["sentences"] <= 1.05 * len(shuffled()), name
