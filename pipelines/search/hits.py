"""What a search returns: hits, the line each stands in, the senses they have."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.index.exact import Floats
from pipelines.search.kwic import cut_context, sort_key


@dataclass(frozen=True, kw_only=True)
class Sense:
    """One induced sense.

    Attributes:
      number: from 1, the largest sense first.
      size: occurrences in the index.
      share: of all occurrences.
      quality: mean silhouette, -1 to 1; 0 where the word has one sense.
      labels: words typical of its contexts, the most typical first.
      prototypes: vector_ids of its most central occurrences.
    """

    number: int
    size: int
    share: float
    quality: float
    labels: tuple[str, ...]
    prototypes: tuple[int, ...]


class SensesOfWord(Protocol):
    """The senses of a word, told apart by whoever induced them (`pipelines.senses`)."""

    @property
    def senses(self) -> tuple[Sense, ...]:
        """From the largest."""

    def of(self, vector_ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the senses of occurrences in the index; 0 for any other vector."""

    def assign(self, tokens: Floats, sentences: Floats) -> NDArray[np.int32]:
        """Return the senses of occurrences that are not in the index, by vectors [n, D]."""

    def to_json(self) -> dict[str, Any]:
        """Return what `sensegrep senses --json` prints."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One line found.

    Attributes:
      score: cosine with the query after centering, or as the index's settings combine it.
      vector_id: of the token, or of the sentence.
      doc_id, sentence_index: where it is.
      token_index: of the node; None where whole sentences were searched.
      left, node, right: the sentence cut at the node, in the width asked for.
      sense: number of the induced sense, or None.
      metadata: of the document.
      tokens: [T] of the whole sentence.
      attention: [T] weights of the tokens in the sentence's own vector.
      copies: how many identical sentences the line stands for; it is the first of them.
    """

    score: float
    vector_id: int
    doc_id: str
    sentence_index: int
    token_index: int | None
    left: str
    node: str
    right: str
    sense: int | None
    metadata: Mapping[str, str]
    tokens: tuple[str, ...]
    attention: tuple[float, ...]
    copies: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return what `sensegrep search --json` prints of a hit; the id is a string."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **fields,
            "vector_id": str(self.vector_id),
            "metadata": dict(self.metadata),
            "tokens": list(self.tokens),
            "attention": [round(weight, 6) for weight in self.attention],
        }


class Hits(list[Hit]):
    """The hits of a search, best first, and what a reader should know of them.

    Attributes:
      query: as given.
      word: the bracketed word, or None.
      forms: occurrences in the index of each form compared.
      compared: vectors that passed all filters and were compared.
      senses: of the word, if they were asked for and it occurs in the index.
      notes: remarks in words.
      nearest: of a word that never occurs, the forms spelled most alike, with their occurrences.
      query_tokens: of the query's sentence; none of a search for more like some lines.
      query_attention: [T] weights of those tokens in the query's sentence vector.
      encode_ms, search_ms: time to encode the query; to search, and to read the lines.
    """

    def __init__(self, hits: Iterable[Hit], *, query: str, word: str | None) -> None:
        super().__init__(hits)
        self.query = query
        self.word = word
        self.forms: dict[str, int] = {}
        self.compared = 0
        self.senses: SensesOfWord | None = None
        self.notes: list[str] = []
        self.nearest: dict[str, int] = {}
        self.query_tokens: tuple[str, ...] = ()
        self.query_attention: tuple[float, ...] = ()
        self.encode_ms = 0.0
        self.search_ms = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return what `sensegrep search --json` prints and `GET /v1/search` answers."""
        return {
            "query": self.query,
            "word": self.word,
            "forms": self.forms,
            "compared": self.compared,
            "hits": [hit.to_json() for hit in self],
            "senses": None if self.senses is None else self.senses.to_json()["senses"],
            "notes": self.notes,
            "nearest": self.nearest,
            "query_tokens": list(self.query_tokens),
            "query_attention": [round(weight, 6) for weight in self.query_attention],
        }

    def to_arrow(self) -> pa.Table:
        """Return the hits as an Arrow table, a row a hit, metadata as a map."""
        schema = pa.schema(
            [
                ("score", pa.float32()),
                ("vector_id", pa.int64()),
                ("doc_id", pa.string()),
                ("sentence_index", pa.int32()),
                ("token_index", pa.int32()),
                ("left", pa.string()),
                ("node", pa.string()),
                ("right", pa.string()),
                ("sense", pa.int32()),
                ("metadata", pa.map_(pa.string(), pa.string())),
                ("tokens", pa.list_(pa.string())),
                ("attention", pa.list_(pa.float32())),
            ]
        )
        rows = [
            {
                **{name: getattr(hit, name) for name in schema.names},
                "metadata": list(hit.metadata.items()),
            }
            for hit in self
        ]
        return pa.Table.from_pylist(rows, schema=schema)


class Node(NamedTuple):
    """Where a hit's node is in its sentence's text; `token_index` None: the whole sentence."""

    start: int
    end: int
    token_index: int | None


def make_hit(
    line: Mapping[str, Any],
    document: Mapping[str, Any],
    node: Node,
    *,
    vector_id: int,
    score: float,
    sense: int | None,
    context: tuple[int | None, int | None],
) -> Hit:
    """Put a hit together.

    Args:
      line: a row of LINES.
      document: with doc_id and metadata.
      node: in the line's text.
      vector_id, score, sense: of the hit.
      context: tokens to show left and right; None for all.
    """
    start, end, place = node
    text = line["text"]
    left, word, right = "", text, ""
    if place is not None:
        starts = [begin - line["start"] for begin in line["token_starts"]]
        left, word, right = cut_context(text, start, end, starts, *context)
    return Hit(
        score=score,
        vector_id=vector_id,
        doc_id=document["doc_id"],
        sentence_index=line["sentence_index"],
        token_index=place,
        left=left,
        node=word,
        right=right,
        sense=sense,
        metadata=dict(document["metadata"]),
        tokens=tuple(line["tokens"]),
        attention=tuple(line["attention"]),
    )


def fold_identical(hits: Sequence[Hit]) -> list[Hit]:
    """Return hits, best first, with identical sentences as one that counts them.

    The same sentence has the same vectors, so identical lines are neighbours by score.
    """
    folded: dict[tuple[Any, ...], Hit] = {}
    for hit in hits:
        key = (hit.tokens, hit.token_index, round(hit.score, 4))
        first = folded.get(key)
        folded[key] = hit if first is None else replace(first, copies=first.copies + 1)
    return list(folded.values())


def sort_hits(hits: Hits, sort: str) -> None:
    """Sort hits in place by `document`, or by the words around the node, such as `1L`."""
    if sort == "document":
        hits.sort(key=lambda hit: (hit.doc_id, hit.sentence_index, hit.token_index or 0))
        return
    hits.sort(
        key=lambda hit: sort_key(
            hit.tokens[: hit.token_index or 0], hit.tokens[(hit.token_index or 0) + 1 :], sort
        )
    )
