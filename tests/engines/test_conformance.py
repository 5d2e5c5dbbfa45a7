"""One embedding job on each engine: the rows and vectors of a run on this machine, order apart."""

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.api import Corpus
from tests.engines.running_engines import ENVIRONMENT, prism_pool

pytestmark = [
    pytest.mark.engine,
    # Threads of Beam's own that lose their connection when an engine ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]
Run = Callable[..., Any]
KEYS = {
    "documents": ("doc_id", "sha256", "uri", "position", "sentences", "tokens"),
    "sentences": ("doc_id", "sentence_index", "start", "end", "text", "tokens"),
    "tokens": ("doc_id", "sentence_index", "token_index", "start", "end", "token"),
    "rejects": ("uri", "position", "stage", "reason", "detail", "doc_id", "raw"),
}


def write_input(directory: Path, *, changed: bool = False, large: int = 2_000) -> list[Path]:
    """Write files with all that an input may have; `changed` is how it looks a day later."""
    directory.mkdir(exist_ok=True)
    records: list[Any] = [
        {"id": f"d{n}", "text": f"Document {n} stands on the bank. It has {n} words.", "n": n}
        for n in range(300)
    ]
    records[20] = {"id": "d3", "text": "A duplicate in its own file."}
    records[40] = "{broken"
    records[60] = {"id": "empty", "text": " "}
    records[80] = {"text": "Without an id. It gets its place."}
    records[100] = {"id": "large", "text": "The bank by the river was green. " * large}
    if changed:
        records[5] = {"id": "d5", "text": "Document 5 is another one now."}
        records[6] = {"id": "d6", "text": "And so is the sixth."}
        # No line is broken now: nothing is pruned where a broken one may be what is missing.
        records = [r for r in records if isinstance(r, dict) and r.get("id") != "d9"]
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    plain, packed = directory / "a.jsonl", directory / "b.jsonl.gz"
    plain.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    more = [{"id": f"d{n}", "text": f"Packed {n} was lent by a bank."} for n in range(290, 350)]
    packed.write_bytes(gzip.compress("\n".join(map(json.dumps, more)).encode(), mtime=0))
    table, rows = directory / "c.parquet", range(340, 400)
    pq.write_table(
        pa.table(
            {"id": [f"d{n}" for n in rows], "text": [f"Row {n} of a table. So." for n in rows]}
        ),
        table,
        row_group_size=7,
    )
    return [plain, packed, table]


def rows_of(corpus: Path) -> dict[str, list[dict[str, Any]]]:
    """Return all live rows of a corpus, in the order of their keys."""
    opened = Corpus.open(str(corpus))
    found = {}
    for table, keys in KEYS.items():
        rows = [row for batch in opened.read(table) for row in batch.to_pylist()]
        found[table] = sorted(rows, key=lambda row: repr([row[key] for key in keys]))
    return found


def assert_same_corpus(one: Path, other: Path) -> None:
    found, expected = rows_of(one), rows_of(other)
    for table, keys in KEYS.items():
        assert [[row[key] for key in keys] for row in found[table]] == [
            [row[key] for key in keys] for row in expected[table]
        ], table
    for table in ("sentences", "tokens"):
        vectors = [np.array([row["vector"] for row in rows[table]]) for rows in (found, expected)]
        np.testing.assert_allclose(*vectors, atol=1e-3)
        ids = [row["vector_id"] for row in found[table]]
        assert len(set(ids)) == len(ids)


def report_of(result: Any) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(result.out.splitlines()[-1])
    assert report["read"] == report["written"] + report["rejected"] + report["unchanged"]
    names = (
        "read",
        "written",
        "changed",
        "unchanged",
        "rejected",
        "pruned",
        "kept",
        "reasons",
        "tokens",
    )
    return {name: report[name] for name in names}


@pytest.fixture(scope="session")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose input changes from the first day to the next."""
    directory = tmp_path_factory.mktemp("days")
    (directory / "in").mkdir()
    return directory


def test_job_gives_what_a_run_on_this_machine_gives(
    engine: Any, days: Path, tmp_path: Path, tiny_elmo_dir: Path, sensegrep: Run
) -> None:
    flags = ["--model", tiny_elmo_dir, "--json"]
    on_engine = [*engine.flags, "--part-bytes", "8K", "--parts-per-segment", "3"]
    for day in (1, 2):
        inputs = write_input(days / "in", changed=day == 2)
        more = [*flags, *(["--prune"] if day == 2 else [])]
        local = days / f"local-{day}"
        if not local.exists():  # once for all engines
            if day == 2:
                shutil.copytree(days / "local-1", local)
            done = sensegrep("embed", *inputs, "--corpus", local, *more)
            assert done.status == 3
            (days / f"report-{day}.json").write_text(json.dumps(report_of(done)))
        there = sensegrep("embed", *inputs, "--corpus", tmp_path / "there", *more, *on_engine)
        assert there.status == 3, there.err
        assert report_of(there)["pruned"] == (2 if day == 2 else 0)  # one by its place
        assert report_of(there) == json.loads((days / f"report-{day}.json").read_text())
        assert_same_corpus(tmp_path / "there", local)
    assert len(Corpus.open(tmp_path / "there").segments) > 2
    assert not (tmp_path / "there" / "jobs").exists()

    snapshot = Corpus.open(tmp_path / "there").snapshot
    again = sensegrep("embed", *inputs, "--corpus", tmp_path / "there", *flags, *on_engine)
    assert report_of(again)["written"] == 0
    assert Corpus.open(tmp_path / "there").snapshot == snapshot
    assert sensegrep("verify", "--corpus", tmp_path / "there").status == 0


def test_dry_run_says_what_a_run_does_and_changes_nothing(
    start_engine: Run, tmp_path: Path, tiny_elmo_dir: Path, sensegrep: Run
) -> None:
    flags = [*start_engine("prism-loopback").flags, "--model", tiny_elmo_dir, "--json"]
    inputs = write_input(tmp_path / "in")
    corpus = ["--corpus", tmp_path / "corpus"]
    planned = sensegrep("embed", *inputs, *corpus, "--dry-run", *flags)
    assert not (tmp_path / "corpus").exists()
    assert report_of(planned) == {
        **report_of(sensegrep("embed", *inputs, *corpus, *flags)),
        "tokens": 0,
    }


def test_too_many_rejects_fail_the_job_before_anything_is_written(
    start_engine: Run, tmp_path: Path, tiny_elmo_dir: Path, sensegrep: Run
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "a", "text": "One."}\n{broken\n[]\n')
    flags = [*start_engine("prism-loopback").flags, "--model", tiny_elmo_dir]
    failed = sensegrep("embed", source, "--corpus", tmp_path / "corpus", *flags)
    assert failed.status == 1
    assert "2 of 3 records read were rejected, more than --max-reject-fraction 0.5" in failed.err
    assert "1 invalid-json" in failed.err
    assert not list(tmp_path.glob("corpus/s*/*"))


def test_run_embeds_and_indexes_on_the_engine_and_a_search_finds(
    start_engine: Run, tmp_path: Path, tiny_elmo_dir: Path, sensegrep: Run
) -> None:
    flags = [*start_engine("prism-loopback").flags, "--model", tiny_elmo_dir]
    inputs, corpus = write_input(tmp_path / "in"), ["--corpus", tmp_path / "corpus"]
    done = sensegrep("run", *inputs, *corpus, *flags, "--part-bytes", "8K")
    assert done.status == 3, done.err
    assert Corpus.open(tmp_path / "corpus").snapshot.index is not None
    found = sensegrep("search", *corpus, "--k", "2", "Document stands on the [bank]")
    assert found.out.count("bank") >= 2


def test_document_of_20_mb_is_one_part(
    start_engine: Run, tmp_path: Path, tiny_elmo_dir: Path, sensegrep: Run
) -> None:
    flags = [*start_engine("prism-loopback").flags, "--model", tiny_elmo_dir, "--tokens", "none"]
    inputs = write_input(tmp_path / "in", large=20_000_000 // 33)
    done = sensegrep("embed", *inputs, "--corpus", tmp_path / "corpus", "--json", *flags)
    assert report_of(done)["written"] == 397, done.err
    [row] = [r for r in rows_of(tmp_path / "corpus")["documents"] if r["doc_id"] == "large"]
    assert row["sentences"] == 20_000_000 // 33


def test_worker_with_another_model_fails_the_job(
    start_engine: Run, tmp_path: Path, make_elmo: Run, start_sensegrep: Run
) -> None:
    """The model is exchanged after the launcher has read its description."""
    inputs, model = write_input(tmp_path / "in"), make_elmo(seed=1)
    flags = [*start_engine("prism-pool").flags, "--model", model]
    process = start_sensegrep("embed", *inputs, "--corpus", tmp_path / "corpus", *flags)
    for line in process.stderr:
        if "pieces of input" in line:
            other = make_elmo(seed=2)
            (model / "weights.hdf5").write_bytes((other / "weights.hdf5").read_bytes())
            break
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "give all workers the same model files" in err


def test_worker_with_another_version_fails_the_job(
    tmp_path: Path, tiny_elmo_dir: Path, sensegrep: Run
) -> None:
    """The pool finds the description of another version before the real one."""
    other = tmp_path / "other" / "sensegrep-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: sensegrep\nVersion: 9.9\n")
    paths = f"{other.parent}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"
    corpus = tmp_path / "corpus"
    with prism_pool(tmp_path, environment={**ENVIRONMENT, "PYTHONPATH": paths}) as engine:
        flags = [*engine.flags, "--model", tiny_elmo_dir]
        failed = sensegrep("embed", *write_input(tmp_path / "in"), "--corpus", corpus, *flags)
    assert failed.status == 1
    assert "has sensegrep 9.9, but the job was planned with sensegrep " in failed.err
    assert "give workers the same version, in their image or by --setup_file" in failed.err
    assert not list(corpus.glob("s*/*"))


def test_corpus_that_workers_cannot_write_fails_the_job(
    tmp_path: Path, tiny_elmo_dir: Path, sensegrep: Run
) -> None:
    """For the pool the corpus is mounted read-only; for the command it is not."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    mount = f"mount --bind {corpus} {corpus} && mount -o remount,bind,ro {corpus}"
    alone = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a folder read-only (root and unshare)")
    with prism_pool(tmp_path, prefix=alone) as engine:
        flags = [*engine.flags, "--model", tiny_elmo_dir]
        failed = sensegrep("embed", *write_input(tmp_path / "in"), "--corpus", corpus, *flags)
    assert failed.status == 1
    assert f"cannot write to the corpus at {corpus} ([Errno 30] Read-only" in failed.err
    assert "give workers the right to create files there" in failed.err
    assert not list(corpus.glob("s*/*"))


def test_workers_that_see_another_corpus_fail_the_job(
    tmp_path: Path, tiny_elmo_dir: Path, sensegrep: Run
) -> None:
    """For the pool another folder is mounted over the corpus."""
    corpus, other = tmp_path / "corpus", tmp_path / "other"
    corpus.mkdir()
    other.mkdir()
    alone = ["unshare", "--mount", "sh", "-c", f'mount --bind {other} {corpus} && exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a folder (root and unshare)")
    with prism_pool(tmp_path, prefix=alone) as engine:
        flags = [*engine.flags, "--model", tiny_elmo_dir]
        failed = sensegrep("embed", *write_input(tmp_path / "in"), "--corpus", corpus, *flags)
    assert failed.status == 1
    assert f"sees another {corpus}; give the corpus by a URL that all of them see" in failed.err
    assert not list(other.iterdir())
