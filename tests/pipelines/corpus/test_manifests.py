"""Snapshots and segment manifests as they are read back."""

import json
from importlib import metadata
from pathlib import Path

import pytest

from pipelines.api import Corpus
from pipelines.corpus.manifests import (
    latest_snapshot,
    read_segment,
    read_snapshot,
    snapshot_numbers,
    snapshot_path,
    written_by,
)
from pipelines.corpus.store import Store
from pipelines.errors import CorpusError
from schemas import Snapshot


def test_old_snapshots_stay_readable(corpus: Corpus) -> None:
    assert snapshot_numbers(corpus.store) == [1, 2, 3, 4]
    assert read_snapshot(corpus.store, 2).segments == ("00000001", "00000002")


def without_checksums(snapshot: Path) -> None:
    fields = json.loads(snapshot.read_text())
    for name in ("checksums", "parent", "retired", "abandoned", "fenced", "purge", "sha256"):
        del fields[name]
    snapshot.write_text(json.dumps({**fields, "schema_version": 1}))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("snapshots/00000004.json", "{", "00000004.json is not JSON"),
        ("segments/00000002/segment.json", "{}", "segment.json has no schema_version"),
        (
            "segments/00000002/segment.json",
            json.dumps({"schema_version": 2, "written_by": "sensegrep 9.1"}),
            "schema version 2, written by sensegrep 9.1; this program reads versions up to 1",
        ),
    ],
)
def test_damaged_or_newer_manifests_are_told(
    name: str, text: str, words: str, corpus: Corpus, tmp_path: Path
) -> None:
    path = tmp_path / "corpus" / name
    if path.parent.name != "snapshots":  # as version 1 left it: nothing says which bytes it has
        without_checksums(tmp_path / "corpus/snapshots/00000004.json")
    path.write_text(text)
    with pytest.raises(CorpusError, match=words):
        Corpus.open(corpus.root)


def test_newest_snapshot_is_the_one_of_the_highest_number(store: Store) -> None:
    assert latest_snapshot(store) == Snapshot(number=0)
    for number in (2, 10, 9):
        text = Snapshot(number=number, segments=(f"s{number}",)).to_json()
        store.create_exclusive(snapshot_path(number), text.encode())
    for name in ("notes.json", "00000011.json.tmp", "x00000012.json"):
        store.create_exclusive(f"snapshots/{name}", b"not a snapshot")
    assert snapshot_numbers(store) == [2, 9, 10]
    assert latest_snapshot(store).segments == ("s10",)


def test_segment_that_is_not_there_is_told(store: Store) -> None:
    with pytest.raises(
        CorpusError, match=r"segments/7/segment.json is missing; restore it from a b"
    ):
        read_segment(store, "7")


def test_manifests_say_which_program_wrote_them() -> None:
    assert written_by() == f"sensegrep {metadata.version('sensegrep')}"
