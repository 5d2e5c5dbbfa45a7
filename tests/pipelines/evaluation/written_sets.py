"""Files of evaluation sets as a test writes them, and a tokenizer that a reader can follow."""

import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Words:
    tokens: list[str]
    token_starts: list[int]
    token_ends: list[int]


def tokenize(text: str) -> list[Words]:
    """Sentences end at ". "; tokens are runs of letters or single other characters."""
    sentences = []
    for sentence in re.finditer(r".+?(?:\. |$)", text):
        found = list(re.finditer(r"\w+|[^\w\s]", sentence.group()))
        starts = [sentence.start() + match.start() for match in found]
        ends = [sentence.start() + match.end() for match in found]
        sentences.append(Words([match.group() for match in found], starts, ends))
    return sentences


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def json_lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
