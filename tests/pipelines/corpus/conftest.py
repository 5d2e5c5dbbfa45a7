"""Fixtures: stores, a bucket of S3 on this machine, and a corpus of three segments."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit
from pipelines.corpus.store import Store

RECORDS = [{"id": f"d{n}", "text": f"Text {n} is here. It ends."} for n in range(6)]


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of a server that speaks S3's protocol and keeps its objects in memory."""
    reason = "needs s3fs and moto's server: pip install s3fs 'moto[s3]' flask flask-cors"
    pytest.importorskip("s3fs", reason=reason)
    pytest.importorskip("flask_cors", reason=reason)
    server = pytest.importorskip("moto.server", reason=reason).ThreadedMotoServer(
        "127.0.0.1", 0, verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty bucket."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    name = tmp_path.name.replace("_", "-")[:60].lower()
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind that is fast."""
    if request.param == "local":
        return Store(tmp_path / "store")
    return Store(f"memory://stores/{tmp_path.name}")


@pytest.fixture
def corpus(write_jsonl: Any, run_embed: Callable[..., Any], tmp_path: Path) -> Corpus:
    """A corpus of three segments of two documents, d0 to d5, with d1 deleted."""
    run_embed(write_jsonl(RECORDS), commit_every=2)
    opened = Corpus.open(tmp_path / "corpus")
    return commit(opened, Change(operation="delete", supersede={"00000001": ["d1"]}))
