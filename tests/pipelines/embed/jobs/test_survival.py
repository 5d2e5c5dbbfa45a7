"""What the embedding job survives: kills, failing models, full disks, other writers."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from elmo_infer.embedder import Elmo
from pipelines.api import Corpus
from pipelines.corpus.checksums import HashingWriter
from pipelines.corpus.store import Store
from pipelines.embed import inference
from pipelines.errors import CorpusError

Run = Callable[..., Any]
RECORDS = [
    {"id": f"d{n}", "text": f"Document {n} stands on the bank. It has {n} words."}
    for n in range(40)
]


def command(tmp_path: Path, model: Path, source: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "pipelines", "embed", str(source)),
        *("--corpus", str(tmp_path / "corpus"), "--model", str(model), *more),
        *("--dtype", "float32"),  # that of run_embed
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_job_goes_on_where_it_stopped(
    workers: int,
    tmp_path: Path,
    tiny_elmo_dir: Path,
    write_jsonl: Run,
    run_embed: Run,
    rows_of: Run,
    assert_same_rows: Run,
) -> None:
    source = write_jsonl(RECORDS)
    run_embed(source, corpus=tmp_path / "whole", commit_every=4)
    more = ("--commit-every", "4", "--workers", str(workers))
    with subprocess.Popen(
        command(tmp_path, tiny_elmo_dir, source, *more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        snapshots = tmp_path / "corpus" / "snapshots"
        deadline = time.monotonic() + 120
        while not (snapshots / "00000002.json").exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    committed = len(rows_of("documents"))
    assert 8 <= committed < 40
    files = {p: p.read_bytes() for p in (tmp_path / "corpus/segments/00000001").rglob("*.parquet")}

    report = run_embed(source, commit_every=4)

    assert report.unchanged == committed
    assert report.written == 40 - committed
    assert all(path.read_bytes() == data for path, data in files.items())
    assert_same_rows(tmp_path / "corpus", tmp_path / "whole")


def files_of(directory: Path) -> list[str]:
    return [path.name for path in directory.rglob("*") if path.is_file()]


def failing_embed(monkeypatch: pytest.MonkeyPatch, fails: Callable[[Any], bool]) -> None:
    embed = Elmo.embed

    def wrapped(self: Elmo, sentences: Any, **settings: Any) -> Any:
        if fails(sentences):
            raise ValueError("cannot do that")
        return embed(self, sentences, **settings)

    monkeypatch.setattr(Elmo, "embed", wrapped)


def test_one_failing_sentence_is_rejected_alone(
    write_jsonl: Run, run_embed: Run, rows_of: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_embed(monkeypatch, lambda sentences: any("17" in s for s in sentences))
    report = run_embed(write_jsonl(RECORDS))
    assert (report.written, report.rejected, report.rejected_sentences) == (40, 0, 2)
    rejects = rows_of("rejects")
    assert [(r["doc_id"], r["sentence_index"]) for r in rejects] == [("d17", 0), ("d17", 1)]
    assert {(r["stage"], r["reason"]) for r in rejects} == {("embed", "model-failed")}
    assert "cannot do that" in rejects[0]["detail"]
    [document] = [d for d in rows_of("documents") if d["doc_id"] == "d17"]
    assert (document["sentences"], document["tokens"], document["rejected_sentences"]) == (0, 0, 2)
    again = run_embed(write_jsonl(RECORDS))
    assert (again.unchanged, again.rejected_sentences, again.segments) == (40, 2, [])


def test_sentence_alone_in_its_batch_is_rejected_if_the_model_is_well(
    write_jsonl: Run, run_embed: Run, rows_of: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_embed(monkeypatch, lambda sentences: any("bad" in s for s in sentences))
    run_embed(write_jsonl([{"id": "x", "text": "A bad one."}]))
    assert [r["reason"] for r in rows_of("rejects")] == ["model-failed"]


def test_model_that_fails_now_and_then_loses_nothing(
    write_jsonl: Run, run_embed: Run, rows_of: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(10**6))
    failing_embed(monkeypatch, lambda _: next(calls) % 10 == 0)
    report = run_embed(write_jsonl(RECORDS), max_tokens_per_batch=32, max_sentence_tokens=32)
    assert (report.written, report.rejected_sentences) == (40, 0)
    assert len(rows_of("sentences")) == 80
    assert next(calls) > 15


@pytest.mark.parametrize("records", [RECORDS, RECORDS[:1], [{"id": "x", "text": "One."}]])
def test_broken_model_fails_the_job_and_leaves_the_corpus_as_it_was(
    records: Any,
    tmp_path: Path,
    write_jsonl: Run,
    run_embed: Run,
    rows_of: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_embed(write_jsonl([{"id": "before", "text": "It was here."}]))
    failing_embed(monkeypatch, lambda _: True)
    with pytest.raises(RuntimeError, match="the model or the device is broken"):
        run_embed(write_jsonl(records))
    assert [d["doc_id"] for d in rows_of("documents")] == ["before"]
    assert files_of(tmp_path / "corpus/segments/00000002") == ["reserved"]


def test_full_disk_is_an_error_and_leaves_the_corpus_as_it_was(
    tmp_path: Path, write_jsonl: Run, run_embed: Run, rows_of: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_embed(write_jsonl(RECORDS[:5]))
    written = 0

    def write(self: HashingWriter, data: Any) -> int:
        nonlocal written
        written += memoryview(data).nbytes
        if written > 3000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, data)

    original = HashingWriter.write
    monkeypatch.setattr(HashingWriter, "write", write)
    with pytest.raises((OSError, RuntimeError), match="No space left on device"):
        run_embed(write_jsonl(RECORDS))
    monkeypatch.undo()
    assert len(rows_of("documents")) == 5
    assert files_of(tmp_path / "corpus/segments/00000002") == ["reserved"]
    assert run_embed(write_jsonl(RECORDS)).written == 35


def test_store_that_keeps_fewer_bytes_is_found_out(
    write_jsonl: Run, run_embed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "size", lambda _self, _path: 11)
    with pytest.raises(RuntimeError, match=r"bytes were written, but the store has 11"):
        run_embed(write_jsonl(RECORDS[:2]))


def test_two_writers_of_different_documents_both_commit(
    write_jsonl: Run, run_embed: Run, rows_of: Run, interleave: Run
) -> None:
    first, second = write_jsonl(RECORDS[:3], "1.jsonl"), write_jsonl(RECORDS[3:5], "2.jsonl")
    interleave(lambda: run_embed(second))
    run_embed(first)
    assert sorted(d["doc_id"] for d in rows_of("documents")) == ["d0", "d1", "d2", "d3", "d4"]


def test_two_writers_of_the_same_document_do_not_both_commit(
    write_jsonl: Run, run_embed: Run, rows_of: Run, interleave: Run
) -> None:
    first, second = write_jsonl(RECORDS[:3], "1.jsonl"), write_jsonl(RECORDS[2:5], "2.jsonl")
    interleave(lambda: run_embed(second))
    with pytest.raises(CorpusError, match=r"committed 1 of the same documents, such as 'd2'"):
        run_embed(first)
    assert [d["doc_id"] for d in rows_of("documents")] == ["d2", "d3", "d4"]
    assert run_embed(first).written == 2


def test_corpus_in_memory_store(run_embed: Run, rows_of: Run) -> None:
    url = "memory://corpora/one"
    fsspec.filesystem("memory").pipe_file(
        "/inputs/in.jsonl", "\n".join(map(json.dumps, RECORDS)).encode()
    )
    assert run_embed("memory://inputs/in.jsonl", corpus=url, commit_every=30).written == 40
    assert run_embed("memory://inputs/in.jsonl", corpus=url).unchanged == 40
    assert len(rows_of("sentences", corpus=url)) == 80


def test_other_weights_in_a_worker_are_refused(
    make_elmo: Run, tmp_path: Path, write_jsonl: Run, run_embed: Run, monkeypatch: Any
) -> None:
    loads = iter([make_elmo(seed=1), make_elmo(seed=2)])
    load = inference.load_model

    def load_other(options: Any) -> Any:
        from dataclasses import replace

        return load(replace(options, model=str(next(loads))))

    monkeypatch.setattr(inference, "load_model", load_other)
    monkeypatch.setattr("pipelines.embed.jobs.local.load_model", load_other)
    with pytest.raises(RuntimeError, match="give all workers the same model files"):
        run_embed(write_jsonl(RECORDS[:1]))
    with pytest.raises(CorpusError, match="there is no corpus"):
        Corpus.open(tmp_path / "corpus")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_vectors_that_float16_cannot_hold_are_rejected(
    value: float, write_jsonl: Run, run_embed: Run, rows_of: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = Elmo.embed

    def spoiled(self: Elmo, sentences: Any, **settings: Any) -> Any:
        result = embed(self, sentences, **settings)
        for index, tokens in enumerate(sentences):
            if "17" in tokens:
                result.token_vectors[result.offsets[index], 3] = value
        return result

    monkeypatch.setattr(Elmo, "embed", spoiled)
    assert run_embed(write_jsonl(RECORDS)).rejected_sentences == 2
    assert {row["doc_id"] for row in rows_of("rejects")} == {"d17"}
    assert "not finite in float16" in rows_of("rejects")[0]["detail"]
