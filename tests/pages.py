"""What the pages of README and docs/ show: commands with their output, programs, links.

A block of ```console holds commands after `$ `; what follows a command is its output. A block of
```python is a program. Both are run by the tests, in a folder with the files that the pages name.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import ambiguous

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
# How wide the output on the pages is.
COLUMNS = 110
_NUMBER = re.compile(r"\d+\.\d+")


class Command(NamedTuple):
    """A command of a page, and the output that the page shows; empty if it shows none."""

    words: list[str]
    output: str


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of a page in one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def commands(page: Path) -> list[Command]:
    """Return the commands of a page in order."""
    found: list[Command] = []
    for block in blocks(page, "console"):
        first, *rest = re.split(r"^\$ ", block, flags=re.MULTILINE)
        assert first == "", (
            f"{page.name}: a console block begins with {first[:40]!r}, not with '$ '"
        )
        for text in rest:
            line, _, output = text.partition("\n")
            found.append(Command(shlex.split(line), output))
    return found


def write_files(folder: Path) -> None:
    """Write the files that the pages name: articles.jsonl and text.txt."""
    ambiguous.write_jsonl(folder / "articles.jsonl")
    texts = [record["text"] for record in ambiguous.records()]
    (folder / "text.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")


def agree(shown: str, printed: str, tolerance: float = 0.005) -> bool:
    """Say whether an output is what a page shows.

    Vectors depend on the processor (int8 moves a score by up to 0.004): decimals may differ by the
    tolerance, and lines whose scores are that near may change places.
    """
    pairs = []
    for text in (shown, printed):
        lines = [" ".join(line.split()) for line in text.splitlines()]
        pairs.append(sorted((_NUMBER.sub("#", line), _NUMBER.findall(line)) for line in lines))
    if [words for words, _ in pairs[0]] != [words for words, _ in pairs[1]]:
        return False
    numbers = [[float(one) for _, found in side for one in found] for side in pairs]
    return all(abs(a - b) <= tolerance for a, b in zip(*numbers, strict=True))
