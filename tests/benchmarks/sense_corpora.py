"""Corpora with gold senses, for the benchmarks of search and of senses.

The 20 words of CoarseWSD-20 with `interest` and `serve` (Senseval), and the twelve words of
tests/data/ambiguous.txt, of which `make demo` makes its corpus.
"""

import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.api import Corpus
from pipelines.embed.jobs.job import EmbedJob
from pipelines.embed.jobs.local import embed
from pipelines.embed.options import EmbedOptions, JobOptions, ModelOptions
from pipelines.reading.options import InputOptions
from pipelines.senses.lines import DescribedSenses
from pipelines.text.tokenizer import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1]))
from ambiguous import records

PER_WORD = 150
QUERIES_PER_WORD = 20


@dataclass(frozen=True)
class Occurrence:
    """A token with its gold sense."""

    doc_id: str
    word: str
    sense: str
    index: int
    tokens: tuple[str, ...]

    @property
    def query(self) -> str:
        """The sentence with the token in brackets."""
        escaped = [
            t.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]") for t in self.tokens
        ]
        escaped[self.index] = f"[{escaped[self.index]}]"
        return " ".join(escaped)


def read_occurrences(shared: Path) -> Iterator[Occurrence]:
    files = ("coarsewsd20/train", "senseval_4words/interest", "senseval_4words/serve")
    by_word: dict[str, list[Occurrence]] = defaultdict(list)
    for name in files:
        with gzip.open(
            shared / "data" / "eval" / f"{name}.jsonl.gz", "rt", encoding="utf-8"
        ) as file:
            for line in file:
                row = json.loads(line)
                tokens = tuple(row["tokens"])
                if 4 <= len(tokens) <= 60 and not any(
                    set(t) & set(" \t\xa0\u2028") for t in tokens
                ):
                    occurrence = Occurrence(
                        row["id"], row["word"], str(row["sense"]), row["index"], tokens
                    )
                    by_word[row["word"]].append(occurrence)
    rng = np.random.default_rng(0)
    for occurrences in by_word.values():
        for place in rng.permutation(len(occurrences))[:PER_WORD]:
            yield occurrences[place]


def choose_queries(occurrences: Sequence[Occurrence]) -> list[Occurrence]:
    """Return the first QUERIES_PER_WORD occurrences of each word."""
    taken: dict[str, int] = defaultdict(int)
    chosen = []
    for one in occurrences:
        if taken[one.word] < QUERIES_PER_WORD:
            taken[one.word] += 1
            chosen.append(one)
    return chosen


def read_demo() -> Iterator[Occurrence]:
    """The sentences of the demo in tokens, each the occurrence of one word."""
    tokenizer = Tokenizer("en")
    for row in records():
        tokens = [token for each in tokenizer.sentences(row["text"]) for token in each.tokens]
        index = next(i for i, token in enumerate(tokens) if token.lower() == row["word"])
        yield Occurrence(row["id"], row["word"], row["sense"], index, tuple(tokens))


def embed_occurrences(occurrences: Sequence[Occurrence], directory: Path, model: str) -> Corpus:
    """Embed occurrences as a corpus of one document each, with `sense` as metadata."""
    source = directory / "in.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for one in occurrences:
            fields = {"id": one.doc_id, "text": " ".join(one.tokens), "sense": one.sense}
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")
    embed(
        EmbedJob(
            inputs=[str(source)],
            corpus=str(directory / "corpus"),
            reading=InputOptions(),
            model=ModelOptions(model=model, device="cpu", dtype="float32"),
            embedding=EmbedOptions(pretokenized=True),
            running=JobOptions(),
        )
    )
    return Corpus.open(directory / "corpus")


def documents_of(described: DescribedSenses) -> list[str]:
    """Return the document of each occurrence of a word, by vector_id."""
    found = {}
    for stretch in described.forms.ranges:
        shard = described.index.shards[stretch.shard]
        keys = shard.keys[stretch.first : stretch.first + stretch.rows]
        table = shard.documents.column("doc_id").to_pylist()
        for key in keys:
            found[int(key["vector_id"])] = table[int(key["document"])]
    return [found[int(vector_id)] for vector_id in described.senses.vector_ids]
