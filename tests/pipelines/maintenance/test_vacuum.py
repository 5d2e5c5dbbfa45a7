"""vacuum: orphans and old states go, nothing that is named."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.corpus.commits import reserve_segment
from pipelines.maintenance.vacuum import vacuum

Run = Callable[..., Any]


def test_vacuum_removes_orphans_and_old_states_only(
    corpus_dir: str, rows_of: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compact", "--corpus", corpus_dir])
    orphan = Path(corpus_dir) / "segments/00000009/sentences/part-00000.parquet"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"never finished")
    mine = Path(corpus_dir) / "notes.txt"
    mine.write_text("not the corpus's")
    before = rows_of("sentences")
    assert main(["vacuum", "--corpus", corpus_dir]) == 0  # all is younger than a day
    assert orphan.exists()
    out = capsys.readouterr().out
    assert "removed 0 files, 0 bytes" in out
    assert "that no snapshot uses were kept: younger than 1d" in out
    assert main(["vacuum", "--corpus", corpus_dir, "--older-than", "0s"]) == 0
    assert "stayed" not in capsys.readouterr().out
    assert not orphan.exists()
    assert mine.exists()
    assert rows_of("sentences") == before
    segments = sorted(p.name for p in (Path(corpus_dir) / "segments").iterdir())
    assert segments == ["00000005"]


def test_vacuum_never_lets_a_number_be_given_out_again(corpus_dir: str) -> None:
    corpus = Corpus.open(corpus_dir)
    segment_id, number = reserve_segment(corpus.store)
    vacuum(corpus, older_than_seconds=0.0)
    assert reserve_segment(corpus.store)[1] == number + 1
    assert segment_id == "00000005"


def test_vacuum_keeps_as_many_states_as_asked(corpus_dir: str) -> None:
    vacuum(Corpus.open(corpus_dir), older_than_seconds=0.0, keep_snapshots=2)
    names = sorted(p.name for p in (Path(corpus_dir) / "snapshots").iterdir())
    # Its own commit, which gives up what goes, changes nothing that is live.
    assert names == ["00000003.json", "00000004.json", "00000005.json"]


def test_directory_of_a_job_on_an_engine_stays_while_its_workers_write(
    make_corpus: Any, hand_document: Any
) -> None:
    corpus = make_corpus([hand_document(doc_id="d", sentences=[["One", "."]])])
    job = corpus.store.full("jobs/0123/segments/0-0.json")
    os.makedirs(os.path.dirname(job))
    with open(job, "w") as file:
        file.write("[]")
    vacuum(corpus, older_than_seconds=0)
    assert os.path.exists(job)
    os.utime(job, (1, 1))
    vacuum(corpus, older_than_seconds=0)
    assert not os.path.exists(job)
    report = corpus.store.full("jobs/0123/report.json")
    os.makedirs(os.path.dirname(report), exist_ok=True)
    with open(report, "w") as file:
        file.write("{}")
    vacuum(corpus, older_than_seconds=3600)
    assert os.path.exists(report)
    vacuum(corpus, older_than_seconds=0)
    assert not os.path.exists(report)


def test_age_counts_from_when_nothing_names_a_file_and_not_from_its_writing(
    corpus_dir: str,
) -> None:
    old = [path for path in Path(corpus_dir).rglob("*") if path.is_file()]
    for path in old:
        os.utime(path, (1, 1))
    number = Corpus.open(corpus_dir).snapshot.number
    main(["compact", "--corpus", corpus_dir])
    vacuum(Corpus.open(corpus_dir), older_than_seconds=3600)
    named = Path(corpus_dir) / f"snapshots/{number:08d}.json"  # it was current until just now
    assert named.exists()
    assert list(Path(corpus_dir).glob("segments/00000001/sentences/*"))
    vacuum(Corpus.open(corpus_dir), older_than_seconds=0)
    assert not named.exists()
    assert not list(Path(corpus_dir).glob("segments/00000001/sentences/*"))


def test_what_a_failed_index_left_goes(corpus_dir: str) -> None:
    left = Path(corpus_dir) / "indexes/0123456789abcdef/.tmp-0123-00000-tokens.faiss"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    vacuum(Corpus.open(corpus_dir), older_than_seconds=3600)
    assert left.exists()  # it may be an index being written elsewhere
    os.utime(left, (1, 1))
    vacuum(Corpus.open(corpus_dir), older_than_seconds=3600)
    assert not left.parent.exists()
