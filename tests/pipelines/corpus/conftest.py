"""Fixtures: stores, and a corpus of three segments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.api import Corpus
from pipelines.corpus.commits import Change, commit
from pipelines.corpus.store import Store

RECORDS = [{"id": f"d{n}", "text": f"Text {n} is here. It ends."} for n in range(6)]


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
