"""Fixtures: a small corpus that the commands made, and the application over it, in this process."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.serving.app import build_app
from pipelines.serving.gate import Gate
from pipelines.serving.live_corpus import LiveCorpus
from pipelines.serving.metrics import Metrics
from pipelines.serving.search_routes import Service
from pipelines.serving.settings import ServeSettings

RIVER = ["They sat on the bank of the river .", "The bank of the stream was muddy ."]
MONEY = ["He took the money to the bank .", "The bank gave her a loan ."]
HOSTILE = "See the bank <img src=x onerror=alert(1)> \x1b[31m red \u202e evil ."


def write_records(path: Path, count: int = 8) -> Path:
    """Write sentences about banks as JSON lines, and one document that is hostile."""
    records = [
        {"id": f"{topic}/{number}", "text": text, "topic": topic}
        for topic, texts in (("river", RIVER), ("money", MONEY))
        for number, text in enumerate(texts * count)
    ]
    records.append({"id": "other", "text": "Banks lend. Bank BANK. It is late. Go home."})
    records.append({"id": "<b>x</b>", "text": HOSTILE, "topic": "<img src=x>"})
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def make_corpus_of(source: Path, root: Path, model: Path, tokens: str = "all") -> str:
    """Embed and index a file."""
    arguments = ["embed", str(source), "--corpus", str(root), "--model", str(model)]
    assert main([*arguments, "--tokens", tokens]) == 0
    assert main(["index", "--corpus", str(root)]) == 0
    return str(root)


@pytest.fixture(scope="session")
def served_corpus(tmp_path_factory: pytest.TempPathFactory, tiny_elmo_dir: Path) -> str:
    """A corpus that no test changes."""
    directory = tmp_path_factory.mktemp("served")
    return make_corpus_of(
        write_records(directory / "in.jsonl"), directory / "corpus", tiny_elmo_dir
    )


@pytest.fixture
def own_corpus(served_corpus: str, tmp_path: Path) -> str:
    """A copy of it, for tests that change it."""
    return str(shutil.copytree(served_corpus, tmp_path / "corpus"))


@pytest.fixture(scope="session")
def sentences_only(tmp_path_factory: pytest.TempPathFactory, tiny_elmo_dir: Path) -> str:
    """A corpus of which only sentences were embedded."""
    directory = tmp_path_factory.mktemp("sentences")
    source = write_records(directory / "in.jsonl", 1)
    return make_corpus_of(source, directory / "corpus", tiny_elmo_dir, "none")


class Server:
    """The application over a corpus, asked without a network.

    Attributes:
      service: what its routes use.
      app: what is asked.
    """

    def __init__(self, settings: ServeSettings) -> None:
        metrics = Metrics()
        live = LiveCorpus(settings=settings, observe=metrics.observe_batch)
        metrics.watch(live)
        self.service = Service(settings, live, metrics)
        self.app: Gate = build_app(self.service)

    def load(self) -> "Server":
        self.service.live.load(Corpus.open(self.service.settings.corpus))
        return self

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost"
            ) as client:
                return await client.request(method, path, **options)

        return asyncio.run(once())

    def close(self) -> None:
        self.service.close()
        if self.service.live.served is not None:
            self.service.live.served.model.batches.close()


@pytest.fixture(scope="session")
def server_class() -> type[Server]:
    """The class of servers, for fixtures that live longer than a test."""
    return Server


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """A function that makes a server; keywords are fields of ServeSettings."""
    started: list[Server] = []

    def make(corpus: str, *, load: bool = True, **settings: Any) -> Server:
        server = Server(ServeSettings(corpus=corpus, **settings))
        started.append(server)
        return server.load() if load else server

    yield make
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def server(served_corpus: str) -> Iterator[Server]:
    """A server with default settings over the corpus that no test changes."""
    made = Server(ServeSettings(corpus=served_corpus)).load()
    yield made
    made.close()
