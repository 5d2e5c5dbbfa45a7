"""Training text on disk as integers, for all trainers.

A token store is a directory:

    store.json      counts, settings, a digest of the contents
    types.json      the distinct words, most frequent first; a word's place is its id
    counts.npy      [V] int64, occurrences of each type
    tokens.npy      [n] int32, the type of every token, sentence after sentence
    sentences.npy   [S + 1] int64, where each sentence starts in tokens
    documents.npy   [M + 1] int64, where each document starts in sentences

It is read memory-mapped, so a corpus larger than memory trains as well as a small one.
"""

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_CHUNK_TOKENS = 4_000_000
_ARRAYS = ("counts", "tokens", "sentences", "documents")


@dataclass(frozen=True, kw_only=True)
class TokenStore:
    """Sentences of a corpus as type ids.

    Attributes:
      directory: where the store lies.
      types: [V] the distinct words, most frequent first.
      counts: [V] int64 occurrences.
      tokens: [n] int32 memory-mapped type ids.
      sentences: [S + 1] int64 offsets into tokens.
      documents: [M + 1] int64 offsets into sentences.
      digest: SHA-256 of types and tokens, in hex; a checkpoint remembers it.
    """

    directory: Path
    types: list[str]
    counts: np.ndarray
    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray
    digest: str

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as the directory; arrays would be copied otherwise."""
        return open_token_store, (self.directory,)

    def __iter__(self) -> Iterator[list[str]]:
        """Yield every sentence as a list of words, in corpus order."""
        types = self.types
        for start, end in zip(self.sentences[:-1], self.sentences[1:], strict=True):
            yield [types[token] for token in self.tokens[start:end]]

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.sentences) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Return [S] int64, tokens in each sentence."""
        return np.diff(self.sentences)


def build_token_store(
    documents: Iterable[Iterable[Sequence[str]]],
    directory: str | Path,
    *,
    lowercase_share: float = 0.0,
    lowercase_each_pass: bool = False,
    max_sentence_tokens: int = 100,
    max_tokens: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> TokenStore:
    """Write documents (of sentences of words) as a token store and open it.

    Args:
      documents: each an iterable of sentences, each a sequence of words.
      directory: made if it is absent; a store already there is replaced.
      lowercase_share: this share of documents is lower-cased, so that a model
        also knows text that lost its capitals.
      lowercase_each_pass: the tokens stay as they are, and each pass over them lower-cases other
        documents; types and counts are those to expect then.
      max_sentence_tokens: longer sentences are cut into pieces of at most this length.
      max_tokens: stop after the document that reaches this many tokens.
      seed: chooses the documents to lower-case.
      progress: called with (documents, tokens) now and then.

    Raises:
      ValueError: if there is not a single word in the documents.
    """
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    ids: dict[str, int] = {}
    raw_path = target / "tokens.tmp"
    sentence_ends: list[int] = []
    document_ends: list[int] = []
    total = 0
    chooser = random.Random(seed)
    buffer: list[int] = []
    with open(raw_path, "wb") as raw:
        for document in documents:
            lower = chooser.random() < lowercase_share and not lowercase_each_pass
            for sentence in document:
                words = [word.lower() for word in sentence] if lower else sentence
                for start in range(0, len(words), max_sentence_tokens):
                    piece = words[start : start + max_sentence_tokens]
                    buffer += [ids.setdefault(word, len(ids)) for word in piece]
                    total += len(piece)
                    sentence_ends.append(total)
            document_ends.append(len(sentence_ends))
            if len(buffer) >= 1_000_000:
                np.asarray(buffer, dtype=np.int32).tofile(raw)
                buffer.clear()
                if progress is not None:
                    progress(len(document_ends), total)
            if max_tokens is not None and total >= max_tokens:
                break
        np.asarray(buffer, dtype=np.int32).tofile(raw)
    if total == 0:
        raw_path.unlink()
        raise ValueError(
            "the training text has no words: found 0 tokens in "
            f"{len(document_ends)} documents; expected plain text with at least one sentence"
        )
    settings: dict[str, float | int | bool | None] = {
        "lowercase_share": lowercase_share,
        "lowercase_each_pass": lowercase_each_pass,
        "max_sentence_tokens": max_sentence_tokens,
        "max_tokens": max_tokens,
        "seed": seed,
    }
    _finish(target, raw_path, ids, sentence_ends, document_ends, settings)
    return open_token_store(target)


def open_token_store(directory: str | Path) -> TokenStore:
    """Open a token store, its tokens memory-mapped.

    Raises:
      FileNotFoundError: if the directory holds no finished store.
    """
    path = Path(directory)
    if not (path / "store.json").is_file():
        raise FileNotFoundError(
            f"no token store in {path}: store.json is missing; build it from text first"
        )
    header = json.loads((path / "store.json").read_text(encoding="utf-8"))
    types = json.loads((path / "types.json").read_text(encoding="utf-8"))
    arrays = {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    return TokenStore(directory=path, types=types, digest=header["digest"], **arrays)


def _counts_with_lower_case(ids: dict[str, int], counts: np.ndarray, share: float) -> np.ndarray:
    """Add every type's lower-cased form to ids, and return [V] how often each is to be expected."""
    lower = [ids.setdefault(word.lower(), len(ids)) for word in list(ids)]
    mixed = np.zeros(len(ids))
    mixed[: len(counts)] = (1 - share) * counts
    np.add.at(mixed, lower, share * counts)
    # Whatever stands in the text once counts: the softmax starts at the logarithms.
    return np.maximum(np.rint(mixed), 1).astype(np.int64)


def _finish(
    target: Path,
    raw_path: Path,
    ids: dict[str, int],
    sentence_ends: list[int],
    document_ends: list[int],
    settings: dict[str, float | int | bool | None],
) -> None:
    """Renumber types by falling frequency (ties by spelling) and write the arrays."""
    raw = np.memmap(raw_path, dtype=np.int32, mode="r")
    counts = np.zeros(len(ids), dtype=np.int64)
    for start in range(0, len(raw), _CHUNK_TOKENS):
        chunk = raw[start : start + _CHUNK_TOKENS]
        counts += np.bincount(chunk, minlength=len(ids))
    if settings["lowercase_each_pass"]:
        counts = _counts_with_lower_case(ids, counts, float(settings["lowercase_share"] or 0.0))
    words = list(ids)
    order = sorted(range(len(words)), key=lambda index: (-counts[index], words[index]))
    rank = np.empty(len(words), dtype=np.int32)
    rank[order] = np.arange(len(words), dtype=np.int32)

    digest = hashlib.sha256()
    types_text = json.dumps([words[index] for index in order])
    digest.update(types_text.encode("ascii"))
    tokens = np.lib.format.open_memmap(
        target / "tokens.npy", mode="w+", dtype=np.int32, shape=(len(raw),)
    )
    for start in range(0, len(raw), _CHUNK_TOKENS):
        ranked = rank[raw[start : start + _CHUNK_TOKENS]]
        tokens[start : start + _CHUNK_TOKENS] = ranked
        digest.update(ranked.tobytes())
    tokens.flush()
    (target / "types.json").write_text(types_text, encoding="utf-8")
    np.save(target / "counts.npy", counts[order])
    np.save(target / "sentences.npy", np.asarray([0, *sentence_ends], dtype=np.int64))
    np.save(target / "documents.npy", np.asarray([0, *document_ends], dtype=np.int64))
    header = {
        "format": 1,
        "tokens": len(raw),
        "types": len(words),
        "sentences": len(sentence_ends),
        "documents": len(document_ends),
        "settings": settings,
        "digest": digest.hexdigest(),
    }
    # Written last and renamed: its presence means the store is whole.
    part = target / "store.json.tmp"
    part.write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
    os.replace(part, target / "store.json")
    raw_path.unlink()
