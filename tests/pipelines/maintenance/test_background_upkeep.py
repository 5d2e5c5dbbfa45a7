"""Upkeep beside a writer: it is done while commits go on."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.corpus.view import CorpusView
from pipelines.errors import UsageError
from pipelines.maintenance.background_upkeep import (
    BackgroundUpkeep,
    UpkeepOptions,
)


def test_upkeep_merges_what_is_there_and_a_corpus_may_be_missing(
    run_embed: Callable, write_jsonl: Callable, tmp_path: Path
) -> None:
    upkeep = BackgroundUpkeep(
        str(tmp_path / "corpus"), UpkeepOptions(compact_every=3, vacuum_older_than_seconds=0.0)
    )
    upkeep.tend()
    run_embed(
        write_jsonl([{"id": f"d{n}", "text": f"Bank {n}."} for n in range(7)]), commit_every=1
    )
    upkeep.tend()
    corpus = CorpusView.open(tmp_path / "corpus")
    assert len(corpus.segments) <= 3
    assert corpus.live_counts()["documents"] == 7


def test_what_fails_is_logged_and_does_not_end_the_writer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "snapshots").mkdir()
    (tmp_path / "corpus" / "snapshots" / "00000001.json").write_text("damaged")
    deadline = time.monotonic() + 20
    with BackgroundUpkeep(str(tmp_path / "corpus"), UpkeepOptions()):
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "failed and is tried again" in caplog.records[0].getMessage()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"compact_every": 1}, "--compact-every is 1, expected 2 or more"),
        ({"compact_every": -3}, "--compact-every is -3"),
        ({"index_every_seconds": 0.0}, "--index-every is 0.0s"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        UpkeepOptions(**options)
