"""The corpus of ambiguous words as JSON lines: `python tests/ambiguous.py OUT.jsonl`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent / "data" / "ambiguous.txt"


def records() -> Iterator[dict[str, str]]:
    """Yield one record a sentence: id, text, and its word and sense as metadata."""
    word = sense = ""
    number = 0
    for line in SOURCE.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            word, sense = line[2:].split(": ")
            number = 0
        elif line:
            number += 1
            identity = f"{word}/{sense}/{number:02d}"
            yield {"id": identity, "text": line, "word": word, "sense": sense}


def write_jsonl(path: Path) -> int:
    """Write the records and return how many there are."""
    lines = [json.dumps(record) for record in records()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


if __name__ == "__main__":
    write_jsonl(Path(sys.argv[1]))
