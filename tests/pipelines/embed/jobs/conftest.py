"""Fixtures: a stream of a source in memory, and the corpus that it fills."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus.view import CorpusView
from pipelines.embed.jobs import streaming
from pipelines.embed.jobs.stream_job import (
    StopRequest,
    StreamJob,
    StreamOptions,
    StreamReport,
    StreamStatus,
)
from pipelines.embed.jobs.streaming import stream
from pipelines.embed.options import ModelOptions
from tests.message_log import Log


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    source = Log()
    monkeypatch.setattr(streaming, "open_source", lambda *_: source)
    monkeypatch.setattr(streaming, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(streaming, "MAX_PAUSE_SECONDS", 0.01)
    return source


@pytest.fixture
def run(tmp_path: Path, tiny_elmo_dir: Path) -> Callable[..., StreamReport]:
    """A function that streams until the log is at its end; keywords are StreamOptions."""

    def run(
        stop: StopRequest | None = None, status: StreamStatus | None = None, **options: Any
    ) -> StreamReport:
        chosen = StreamOptions(
            **{
                "every_seconds": 0.01,
                "until_idle_seconds": 0.02,
                "max_reject_fraction": 1.0,
                **options,
            }
        )
        job = StreamJob(
            source="kafka:here/log",
            corpus=str(tmp_path / "corpus"),
            model=ModelOptions(model=str(tiny_elmo_dir)),
            running=chosen,
        )
        return stream(job, stop or StopRequest(20.0), status or StreamStatus())

    return run


@pytest.fixture
def view(tmp_path: Path) -> Callable[[], CorpusView]:
    return lambda: CorpusView.open(tmp_path / "corpus")


@pytest.fixture
def texts(view: Callable[[], CorpusView]) -> Callable[[], list[tuple[str, str]]]:
    """A function that returns (id, text of the only sentence) of all live documents, sorted."""

    def read() -> list[tuple[str, str]]:
        corpus = view()
        documents = [d for b in corpus.read("documents") for d in b.column("doc_id").to_pylist()]
        found = [
            (row["doc_id"], row["text"])
            for batch in corpus.read("sentences", ["doc_id", "text"])
            for row in batch.to_pylist()
        ]
        assert sorted(documents) == sorted(doc_id for doc_id, _ in found)
        return sorted(found)

    return read
