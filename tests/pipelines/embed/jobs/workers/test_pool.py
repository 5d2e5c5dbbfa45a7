"""What an embedding job on several worker processes gives, and what it survives."""

import gzip
import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pipelines
from pipelines.api import Corpus
from pipelines.errors import CorpusError

Run = Callable[..., Any]
RECORDS = [
    {"id": f"d{n}", "text": f"Document {n} stands on the bank. It has {n} words."}
    for n in range(40)
]


def test_killed_worker_fails_the_job_and_a_rerun_goes_on(
    tmp_path: Path, write_jsonl: Run, run_embed: Run, rows_of: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.embed.jobs.workers.pool import WorkerPool

    source = write_jsonl(RECORDS)
    serve = WorkerPool.serve

    def serve_and_kill(self: WorkerPool, handler: Any) -> None:
        serve(self, handler)
        if (tmp_path / "corpus/snapshots/00000002.json").exists():
            os.kill(self.process_ids[0], signal.SIGKILL)

    monkeypatch.setattr(WorkerPool, "serve", serve_and_kill)
    with pytest.raises(RuntimeError, match="ended by signal 9 in the middle of its work"):
        run_embed(source, commit_every=10, workers=2)
    assert len(rows_of("documents")) == 20
    assert files_of(tmp_path / "corpus/segments/00000003") == ["reserved"]
    monkeypatch.undo()
    report = run_embed(source, commit_every=10)
    assert (report.unchanged, report.written) == (20, 20)


def test_workers_write_the_rows_that_one_process_writes(
    tmp_path: Path, write_jsonl: Run, run_embed: Run, assert_same_rows: Run
) -> None:
    source = write_jsonl([*RECORDS, "{", RECORDS[0]])
    one = run_embed(source, corpus=tmp_path / "one")
    two = run_embed(source, workers=2)
    assert (one.written, one.rejected) == (two.written, two.rejected) == (40, 2)
    assert_same_rows(tmp_path / "corpus", tmp_path / "one")
    assert len(Corpus.open(tmp_path / "corpus").segments[0].parts["sentences"]) == 2


@pytest.fixture
def in_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that lets each worker process run some code as it starts, and not this one."""

    def arrange(code: str) -> None:
        directory = tmp_path / "site"
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(code)
        root = Path(pipelines.__file__).parents[1]
        monkeypatch.setenv("PYTHONPATH", f"{directory}{os.pathsep}{root}")

    return arrange


FAIL_ON_17_AND_EVERY_TENTH_BATCH = """
import itertools
from elmo_infer.embedder import Elmo

embed, calls = Elmo.embed, itertools.count(1)

def wrapped(self, sentences, **settings):
    if next(calls) % 10 == 0 or any("17" in sentence for sentence in sentences):
        raise ValueError("cannot do that")
    return embed(self, sentences, **settings)

Elmo.embed = wrapped
"""


def test_workers_reject_one_failing_record_and_lose_no_other(
    write_jsonl: Run, run_embed: Run, rows_of: Run, in_workers: Run
) -> None:
    in_workers(FAIL_ON_17_AND_EVERY_TENTH_BATCH)
    source = write_jsonl(RECORDS)
    report = run_embed(source, workers=2, max_tokens_per_batch=32, max_sentence_tokens=32)
    assert (report.written, report.rejected, report.rejected_sentences) == (40, 0, 2)
    rejects = rows_of("rejects")
    assert [(r["doc_id"], r["sentence_index"]) for r in rejects] == [("d17", 0), ("d17", 1)]
    assert all("cannot do that" in r["detail"] for r in rejects)
    found = {(s["doc_id"], s["sentence_index"]) for s in rows_of("sentences")}
    assert found == {(f"d{n}", index) for n in range(40) for index in (0, 1) if n != 17}


FULL_AFTER_THREE_KILOBYTES = """
import errno, os
from pipelines.corpus.checksums import HashingWriter

write, written = HashingWriter.write, 0

def full(self, data):
    global written
    written += memoryview(data).nbytes
    if written > 3000:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return write(self, data)

HashingWriter.write = full
"""


def test_full_disk_under_workers_leaves_the_corpus_as_it_was(
    tmp_path: Path,
    write_jsonl: Run,
    run_embed: Run,
    rows_of: Run,
    in_workers: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_embed(write_jsonl(RECORDS[:5]))
    in_workers(FULL_AFTER_THREE_KILOBYTES)
    with pytest.raises(RuntimeError, match="No space left on device"):
        run_embed(write_jsonl(RECORDS), workers=2)
    assert len(rows_of("documents")) == 5
    assert files_of(tmp_path / "corpus/segments/00000002") == ["reserved"]
    monkeypatch.undo()
    assert run_embed(write_jsonl(RECORDS)).written == 35


def files_of(directory: Path) -> list[str]:
    return [path.name for path in directory.rglob("*") if path.is_file()]


ODD_LINES = [
    b'{"id": "bytes", "text": "\xff\xfe"}',
    b'{"id": "half", "text": "\\ud800"}',
    b'{"id": "blank", "text": " \\n\\t "}',
    b'{"id": "number", "text": 5}',
    b'{"id": "nothing"}',
    b"{broken",
    b"",
    b'{"text": "No id, so its place is its id."}',
    *(
        json.dumps({"id": name, "text": text}).encode()
        for name, text in {
            "nul": "A NUL\x00 inside.",
            "rtl": "שלום עולם. مرحبا!",
            "combining": "e\u0301tude na\u0308ive.",
            "emoji": "👩‍👩‍👧 smiles. 🇩🇪",
            "unbroken": "a" * 10_000_000,
        }.items()
    ),
    b'{"id": "nul", "text": "The same id again."}',
]


def write_odd_input(directory: Path) -> list[Path]:
    odd, truncated = directory / "odd.jsonl", directory / "truncated.jsonl.gz"
    odd.write_bytes(b"\n".join(ODD_LINES))
    noise = random.Random(0)
    lines = [
        json.dumps({"id": f"z{n}", "text": f"{noise.getrandbits(300):x} ends."}) for n in range(99)
    ]
    data = gzip.compress("\n".join(lines).encode())
    truncated.write_bytes(data[: len(data) // 2])
    return [odd, truncated]


def test_workers_take_odd_input_as_one_process_does(
    tmp_path: Path, run_embed: Run, rows_of: Run, assert_same_rows: Run
) -> None:
    inputs = write_odd_input(tmp_path)
    one = run_embed(*inputs, corpus=tmp_path / "one", tokens="none")
    two = run_embed(*inputs, tokens="none", workers=2)
    assert (one.read, one.written, one.rejected) == (two.read, two.written, two.rejected)
    assert_same_rows(tmp_path / "corpus", tmp_path / "one")
    assert [row["reason"] for row in rows_of("rejects")] == [
        "invalid-utf8",
        "lone-surrogate",
        "empty-document",
        "wrong-type",
        "missing-text",
        "invalid-json",
        "duplicate-id",
        "damaged-file",
    ]
    ids = [row["doc_id"] for row in rows_of("documents")]
    assert ids[1:6] == ["nul", "rtl", "combining", "emoji", "unbroken"]
    assert ids[6] == "z0"
    assert len(ids) > 30


BROKEN_MODEL = """
from elmo_infer.embedder import Elmo

def fail(self, sentences, **settings):
    raise ValueError("cannot do anything")

Elmo.embed = fail
"""


def test_broken_model_under_workers_leaves_the_corpus_as_it_was(
    tmp_path: Path, write_jsonl: Run, run_embed: Run, rows_of: Run, in_workers: Run
) -> None:
    run_embed(write_jsonl([{"id": "before", "text": "It was here."}]))
    in_workers(BROKEN_MODEL)
    with pytest.raises(RuntimeError, match="the model or the device is broken"):
        run_embed(write_jsonl(RECORDS), workers=2)
    assert [row["doc_id"] for row in rows_of("documents")] == ["before"]
    assert files_of(tmp_path / "corpus/segments/00000002") == ["reserved"]


def test_two_jobs_with_workers_at_once_commit_no_document_twice(
    write_jsonl: Run, run_embed: Run, rows_of: Run, interleave: Run
) -> None:
    first, second = write_jsonl(RECORDS[:4], "1.jsonl"), write_jsonl(RECORDS[3:6], "2.jsonl")
    interleave(lambda: run_embed(second, workers=2))
    with pytest.raises(CorpusError, match=r"committed 1 of the same documents, such as 'd3'"):
        run_embed(first, workers=2)
    assert [row["doc_id"] for row in rows_of("documents")] == ["d3", "d4", "d5"]
    assert run_embed(first).written == 3
