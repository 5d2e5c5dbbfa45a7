"""A source of streams in memory, and what is put into it."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.reading.input_files import InputFile
from pipelines.reading.messages import message_from_payload
from pipelines.reading.options import InputOptions
from pipelines.reading.stream_batch import BatchLimits, Lag, Mark, RecordsLost, StreamBatch


class Log:
    """A source in memory: for each partition its messages, and what is to go wrong."""

    source_id = "kafka:cluster/log"
    acknowledges = False

    def __init__(self) -> None:
        self.partitions: dict[str, list[bytes | None]] = {}
        self.next: dict[str, int] = {}
        self.faults: list[Exception] = []
        self.before_fill: Callable[[], object] | None = None
        self.told: list[dict[str, int]] = []

    def put(self, partition: str, *messages: Mapping[str, Any] | str) -> None:
        log = self.partitions.setdefault(partition, [])
        log += [m.encode() if isinstance(m, str) else json.dumps(m).encode() for m in messages]

    def start(self, positions: Mapping[str, int], marks: Mapping[str, Mark]) -> dict[str, int]:
        assert marks == {}
        ends = {name: len(log) for name, log in self.partitions.items()}
        if any(position > ends.get(name, 0) for name, position in positions.items()):
            raise RecordsLost("ends before what was read; give --replace-source")
        self.next = {name: positions.get(name, 0) for name in self.partitions}
        return dict(self.next)

    def fill(self, batch: StreamBatch, limits: BatchLimits, seconds: float) -> bool:
        del seconds
        if self.before_fill is not None:
            self.before_fill()
        if self.faults:
            raise self.faults.pop()
        before = len(batch.records)
        for name, log in self.partitions.items():
            if name not in self.next:
                batch.origins[name] = self.next[name] = 0
            while self.next[name] < len(log) and not batch.is_full(limits):
                at = self.next[name]
                file = InputFile(f"kafka:log/{name}", "jsonl")
                message = message_from_payload(file, InputOptions(), at, log[at], None)
                batch.add(message, 100)
                batch.cover(name, at, at + 1)
                self.next[name] = at + 1
        return len(batch.records) > before

    def committed(self) -> None:
        self.told.append(dict(self.next))

    def lag(self) -> Lag:
        waiting = sum(len(log) - self.next.get(n, 0) for n, log in self.partitions.items())
        return Lag(waiting, float(waiting))

    def close(self) -> None:
        pass


def version(name: str, number: int) -> dict[str, str]:
    return {"id": name, "text": f"Version {number} of {name}."}


def few(records: int) -> BatchLimits:
    return BatchLimits(records=records, bytes=1 << 30)
