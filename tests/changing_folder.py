"""A folder that is rewritten all the time, and what a stream of it must end with."""

import json
import random
import threading
import time
from pathlib import Path

from pipelines.api import Corpus

DOCUMENTS = 200
FILES = 8


class Folder(threading.Thread):
    """Rewrites files until it is told to end; knows what the latest version of each document is."""

    def __init__(self, path: Path, seed: int) -> None:
        super().__init__()
        self._path = path
        self._random = random.Random(seed)
        self._ended = threading.Event()
        self.latest: dict[str, str] = {}
        self.rejects = 0

    def run(self) -> None:
        for number in range(FILES):
            self._rewrite(number, 1)
        turn = 1
        while not self._ended.is_set():
            turn += 1
            self._rewrite(self._random.randrange(FILES), turn)
            time.sleep(0.3)

    def end(self) -> None:
        self._ended.set()
        self.join()

    def _rewrite(self, number: int, turn: int) -> None:
        """Write a file's documents anew: some changed, some deleted; half of the times torn."""
        path = self._path / f"{number}.jsonl"
        lines = []
        for index in range(number, DOCUMENTS, FILES):
            name = f"d{index}"
            if self._random.random() < 0.1:
                lines.append({"id": name, "deleted": True})
                self.latest.pop(name, None)
            else:
                self.latest[name] = f"Version {turn} of {name} stands on the bank."
                lines.append({"id": name, "text": self.latest[name]})
        data = "".join(json.dumps(line) + "\n" for line in lines)
        if self._random.random() < 0.5:
            with path.open("w") as file:  # seen half-written
                file.write(data[: len(data) // 2])
                file.flush()
                time.sleep(0.05)
                file.write(data[len(data) // 2 :])
        else:
            temporary = path.with_suffix(".part")
            temporary.write_text(data)
            temporary.replace(path)


def snapshots(root: Path) -> int:
    return len(list((root / "snapshots").glob("*.json")))


def live(root: Path) -> dict[str, str]:
    corpus = Corpus.open(root)
    documents = [d for b in corpus.read("documents") for d in b.column("doc_id").to_pylist()]
    texts = [
        (row["doc_id"], row["text"])
        for batch in corpus.read("sentences", ["doc_id", "text"])
        for row in batch.to_pylist()
    ]
    assert len(documents) == len(set(documents)) == len(texts)
    return dict(texts)
