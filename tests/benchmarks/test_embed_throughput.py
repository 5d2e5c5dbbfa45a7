"""Many short documents through a tiny model: documents/s of everything but the model.

SENSEGREP_BENCHMARK_DOCUMENTS sets how many; 1,000,000 is the size to publish. Where the time goes
is told in seconds of this thread's processor, which a busy machine does not lengthen as it does
those of the clock.
"""

import json
import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.embed import dofns, planned_parts
from pipelines.embed.inference import load_model
from pipelines.embed.jobs.job import EmbedJob
from pipelines.embed.jobs.local import embed
from pipelines.embed.options import JobOptions, ModelOptions
from pipelines.embed.part_writer import PartWriter
from pipelines.embed.planner import Planner

pytestmark = pytest.mark.benchmark


class Clock:
    """Adds up the processor time of this thread within some functions and iterators."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: Counter[str] = Counter()
        self._monkeypatch = monkeypatch

    def put_on(self, owner: Any, name: str, stage: str) -> None:
        self._monkeypatch.setattr(owner, name, self._timed(getattr(owner, name), stage))

    def put_on_iterator(self, owner: Any, name: str, stage: str) -> None:
        original = getattr(owner, name)

        def iterate(*arguments: Any) -> Iterator[Any]:
            step = self._timed(iter(original(*arguments)).__next__, stage)
            while True:
                try:
                    item = step()
                except StopIteration:
                    return
                yield item

        self._monkeypatch.setattr(owner, name, iterate)

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed(*arguments: Any, **settings: Any) -> Any:
            started = time.thread_time()
            try:
                return function(*arguments, **settings)
            finally:
                self.seconds[stage] += time.thread_time() - started

        return timed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(monkeypatch)
    clock.put_on_iterator(Planner, "slices", "planning")
    clock.put_on_iterator(planned_parts, "read_task", "reading")
    clock.put_on_iterator(dofns, "tokenize_record", "tokenising")
    clock.put_on_iterator(dofns.TokenBatcher, "add", "batching")
    clock.put_on(PartWriter, "write", "writing")
    clock.put_on(PartWriter, "finish", "writing")
    return clock


def write_documents(path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for n in range(count):
            ranks = np.minimum(rng.zipf(1.3, size=10), 30_000)
            text = " ".join(f"w{rank}" for rank in ranks)
            file.write(json.dumps({"id": n, "text": f"{text.capitalize()}."}) + "\n")


def test_short_documents(
    tmp_path: Path, tiny_elmo_dir: Path, clock: Clock, record_benchmark: Callable[..., None]
) -> None:
    count = int(os.environ.get("SENSEGREP_BENCHMARK_DOCUMENTS", "50000"))
    source = tmp_path / "in.jsonl"
    write_documents(source, count)
    options = ModelOptions(model=str(tiny_elmo_dir))
    clock.put_on(load_model(options), "embed", "model")
    job = EmbedJob(
        inputs=[str(source)],
        corpus=str(tmp_path / "corpus"),
        model=options,
        running=JobOptions(commit_every=20_000),
    )
    started = time.thread_time()
    first = embed(job)
    spent = time.thread_time() - started
    stages = dict(clock.seconds)
    stages["Beam, commits and the rest"] = spent - sum(stages.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    again = embed(job)
    result = {
        "documents": count,
        "seconds": round(first.seconds, 1),
        "documents_per_second": round(count / first.seconds),
        "processor_seconds": round(spent, 1),
        "documents_per_processor_second_without_model": round(count / (spent - stages["model"])),
        "processor_seconds_by_stage": {name: round(s, 1) for name, s in stages.items()},
        "peak_megabytes": round(peak),
        "unchanged_documents_per_second": round(count / again.seconds),
    }
    record_benchmark(
        "embed-throughput",
        result,
        title=f"Where the time goes: {count:,} documents of eleven tokens, a tiny model",
        columns=["part", "processor seconds"],
        rows=[
            *([name, round(seconds, 1)] for name, seconds in stages.items()),
            ["all", round(spent, 1)],
        ],
        notes=[
            f"{result['documents_per_processor_second_without_model']:,} documents/s of everything "
            f"but the model; peak memory {round(peak):,} MB"
        ],
    )
    assert first.written == again.unchanged == count
    assert count / (spent - stages["model"]) > 1500
