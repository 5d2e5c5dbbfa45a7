"""The result of a search: hits with their lines and senses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.index.exact import Floats
from pipelines.search.kwic import cut_context, sort_key


@dataclass(frozen=True, kw_only=True)
class Sense:
    """One sense of a word, found from its occurrences.

    Attributes:
      number: counted from 1, largest sense first.
      size: number of occurrences in the index.
      share: size as a share of all occurrences.
      quality: mean silhouette, -1 to 1; 0 if the word has one sense.
      labels: words that are typical of its contexts, most typical first.
      prototypes: vector_ids of its most central occurrences.
    """

    number: int
    size: int
    share: float
    quality: float
    labels: tuple[str, ...]
    prototypes: tuple[int, ...]


class SensesOfWord(Protocol):
    """The senses of a word, as `pipelines.senses` finds them."""

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
    """One hit of a search.

    Attributes:
      score: similarity to the query, as the index's settings compute it.
      vector_id: id of the token's vector, or of the sentence's in a search of sentences.
      doc_id, sentence_index: key of the sentence.
      token_index: place of the word in its sentence; None in a search of sentences.
      left, node, right: the text before the word, the word, and the text after it.
      sense: number of the sense, or None.
      metadata: metadata of the document.
      tokens: [T] tokens of the whole sentence.
      attention: [T] weights of the tokens in the sentence's vector.
      copies: number of identical sentences that this hit stands for; it is the first of them.
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
        """Return the hit as `sensegrep search --json` prints it; the id is a string."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **fields,
            "vector_id": str(self.vector_id),
            "metadata": dict(self.metadata),
            "tokens": list(self.tokens),
            "attention": _rounded(self.attention),
        }


class Hits(list[Hit]):
    """The hits of a search, best first, with facts about the search.

    Attributes:
      query: the query as given.
      word: the bracketed word, or None.
      forms: the forms that were compared, with their number of occurrences in the index.
      compared: number of vectors that passed all filters and were compared.
      senses: senses of the word, if the search asked for them and the word is in the index.
      notes: remarks for the user.
      nearest: if the word is not in the index: the forms with the most similar spelling, with
        their number of occurrences.
      query_tokens: tokens of the query's sentence; empty for a search for similar lines.
      query_attention: [T] weights of those tokens in the query's sentence vector.
      encode_ms, search_ms: time to encode the query; time to search and to read the lines.
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
            "query_attention": _rounded(self.query_attention),
        }

    def to_arrow(self) -> pa.Table:
        """Return the hits as an Arrow table with one row per hit; metadata is a map column."""
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


def _rounded(weights: Sequence[float]) -> list[float]:
    """Return float32 weights with six decimals, as `round` gives them: such products are exact."""
    rounded: list[float] = np.round(np.array(weights, np.float64), 6).tolist()
    return rounded


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
