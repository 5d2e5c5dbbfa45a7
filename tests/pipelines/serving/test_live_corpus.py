"""A newer snapshot is taken up; a damaged one is not, and that is said."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.search.options import SearchOptions


@pytest.fixture
def add_document(own_corpus: str, tmp_path: Path, tiny_elmo_dir: Path) -> Callable[[str], None]:
    """A function that embeds one more document into the corpus, without indexing it."""

    def add(name: str) -> None:
        source = tmp_path / f"{name}.jsonl"
        source.write_text(json.dumps({"id": name, "text": "A bank by the sea ."}) + "\n")
        arguments = ["embed", str(source), "--corpus", own_corpus, "--model", str(tiny_elmo_dir)]
        assert main([*arguments, "--tokens", "all"]) == 0

    return add


def count(made: Any) -> int:
    return int(made.get("/v1/search?q=a+[bank]&k=99").json()["compared"])


def test_a_new_segment_and_a_new_index_are_taken_up(
    start: Callable[..., Any], own_corpus: str, add_document: Callable[[str], None]
) -> None:
    made = start(own_corpus)
    live = made.service.live
    model = live.served.model
    assert not live.refresh()
    add_document("new")
    assert count(made) == 33
    assert live.refresh()
    assert count(made) == 34
    assert "sensegrep_unindexed_segments 1.0" in made.get("/metrics").text
    assert made.get("/v1/document?doc_id=new").json()["sentences"][0]["text"].startswith("A bank")
    assert main(["index", "--corpus", own_corpus]) == 0
    assert live.refresh()
    assert "sensegrep_unindexed_segments 0.0" in made.get("/metrics").text
    assert count(made) == 34
    assert live.served.model is model


def test_a_request_under_way_keeps_its_snapshot(
    start: Callable[..., Any], own_corpus: str, add_document: Callable[[str], None]
) -> None:
    made = start(own_corpus)
    before = made.service.live.served
    add_document("new")
    assert main(["index", "--corpus", own_corpus]) == 0
    assert made.service.live.refresh()
    for old in Path(own_corpus).glob(f"indexes/{before.corpus.snapshot.index}/*"):
        if old.is_file():
            old.unlink()
    assert len(before.searcher.search("a [bank]", SearchOptions(k=99, unfold=True))) == 33


def test_a_damaged_new_snapshot_keeps_the_old_one_in_service(
    start: Callable[..., Any],
    own_corpus: str,
    add_document: Callable[[str], None],
    tmp_path: Path,
) -> None:
    made = start(own_corpus)
    live = made.service.live
    add_document("new")
    assert main(["index", "--corpus", own_corpus]) == 0
    index = Path(own_corpus) / "indexes" / str(Corpus.open(own_corpus).snapshot.index)
    damaged = max(index.glob("*.faiss"), key=lambda path: path.stat().st_mtime)
    shutil.copy(damaged, tmp_path / "whole")
    damaged.write_bytes(damaged.read_bytes()[:-7])
    assert not live.refresh()
    assert count(made) == 33
    ready = made.get("/readyz")
    assert ready.status_code == 200
    assert "is damaged" in ready.json()["problem"]
    assert ready.json()["snapshot"] == 2
    assert "sensegrep_refresh_failed 1.0" in made.get("/metrics").text
    shutil.copy(tmp_path / "whole", damaged)
    assert live.refresh()
    assert count(made) == 34
    assert made.get("/readyz").json()["problem"] is None


def test_a_snapshot_that_is_no_json_keeps_the_old_one(
    start: Callable[..., Any], own_corpus: str
) -> None:
    made = start(own_corpus)
    (Path(own_corpus) / "snapshots" / "00000009.json").write_text("{")
    assert not made.service.live.refresh()
    assert made.get("/v1/search?q=a+[bank]").is_success
    assert "00000009.json" in made.get("/readyz").json()["problem"]


@pytest.mark.slow
def test_a_corpus_on_s3_is_served_and_refreshed(
    start: Callable[..., Any],
    own_corpus: str,
    bucket: str,
    tmp_path: Path,
    tiny_elmo_dir: Path,
) -> None:
    import s3fs

    s3fs.S3FileSystem().put(f"{own_corpus}/", f"{bucket}/served", recursive=True)
    cache = tmp_path / "cache"
    made = start(f"{bucket}/served", cache_dir=str(cache))
    assert count(made) == 33
    assert any(path.name.endswith(".faiss") for path in cache.iterdir())
    source = tmp_path / "new.jsonl"
    source.write_text(json.dumps({"id": "new", "text": "A bank by the sea ."}) + "\n")
    arguments = ["--corpus", f"{bucket}/served", "--model", str(tiny_elmo_dir)]
    assert main(["embed", str(source), *arguments, "--tokens", "all"]) == 0
    assert made.service.live.refresh()
    assert count(made) == 34
    assert made.get("/v1/document?doc_id=new").json()["sentences"][0]["text"].startswith("A bank")
    # A damaged index in the bucket keeps the old snapshot, as on a disk.
    assert main(["index", "--corpus", f"{bucket}/served"]) == 0
    index = Corpus.open(f"{bucket}/served").snapshot.index
    damaged = s3fs.S3FileSystem().glob(f"{bucket}/served/indexes/{index}/*.faiss")
    for path in damaged:
        s3fs.S3FileSystem().pipe_file(path, s3fs.S3FileSystem().cat_file(path)[:-7])
    assert not made.service.live.refresh()
    assert count(made) == 34
    assert made.get("/readyz").json()["problem"]


def test_a_remote_corpus_is_served_through_a_cache(
    start: Callable[..., Any], served_corpus: str, tmp_path: Path
) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(served_corpus, "/served", recursive=True)
    made = start("memory://served", cache_dir=str(tmp_path / "cache"))
    assert count(made) == 33
    assert any(path.name.endswith(".faiss") for path in (tmp_path / "cache").iterdir())
    memory.rm("/served", recursive=True)
