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


def agree(shown: str, printed: str, tolerance: float = 0.002) -> bool:
    """Say whether an output is what a page shows; decimals may differ by the processor."""
    if _NUMBER.sub("#", shown).split() != _NUMBER.sub("#", printed).split():
        return False
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=True)
    return all(abs(float(a) - float(b)) <= tolerance for a, b in pairs)
