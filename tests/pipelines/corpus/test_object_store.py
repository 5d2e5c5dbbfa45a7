"""A corpus on S3's own protocol, spoken with a server on this machine.

Skipped where s3fs or moto's server is not installed: pip install 's3fs' 'moto[s3]' flask flask-cors
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.corpus.atomic_files import is_temporary
from pipelines.corpus.commits import Change, commit
from pipelines.corpus.store import Store
from pipelines.errors import CorpusError
from schemas import Snapshot

Run = Callable[..., Any]
RECORDS = [{"id": f"d{n}", "text": f"Document {n} stands on the bank."} for n in range(6)]


def test_life_of_a_corpus(
    bucket: str,
    tiny_elmo_dir: Path,
    write_jsonl: Run,
    rows_of: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus = f"{bucket}/corpora/one"
    source = write_jsonl([*RECORDS, "{"])
    embed = ["embed", "--corpus", corpus, "--model", str(tiny_elmo_dir), "--commit-every", "4"]
    assert main([*embed, str(source)]) == 3
    assert [row["doc_id"] for row in rows_of("documents", corpus=corpus)] == [
        f"d{n}" for n in range(6)
    ]
    assert main([*embed, str(source)]) == 3
    assert "nothing new to embed in 7 documents read" in capsys.readouterr().out
    assert main(["delete", "d1", "--corpus", corpus, "--purge"]) == 0
    assert main(["compact", "--corpus", corpus]) == 0
    assert main(["vacuum", "--corpus", corpus, "--older-than", "0s"]) == 0
    assert main(["verify", "--corpus", corpus]) == 0
    assert main(["info", "--corpus", corpus]) == 0
    out = capsys.readouterr().out
    assert "all well" in out
    assert "documents    5" in out
    assert len(rows_of("tokens", corpus=corpus)) == 5 * 4
    assert not any(is_temporary(path) for path, _, _ in Store(corpus).files())


def test_second_writer_of_the_same_documents_is_refused(
    bucket: str, write_jsonl: Run, run_embed: Run, rows_of: Run, interleave: Run
) -> None:
    corpus = f"{bucket}/corpus"
    first, second = write_jsonl(RECORDS[:3], "1.jsonl"), write_jsonl(RECORDS[2:5], "2.jsonl")
    interleave(lambda: run_embed(second, corpus=corpus))
    with pytest.raises(CorpusError, match=r"committed 1 of the same documents, such as 'd2'"):
        run_embed(first, corpus=corpus)
    assert [row["doc_id"] for row in rows_of("documents", corpus=corpus)] == ["d2", "d3", "d4"]
    assert run_embed(first, corpus=corpus).written == 2
    assert main(["verify", "--corpus", corpus]) == 0


def test_snapshot_that_another_writer_made_first_is_not_overwritten(bucket: str) -> None:
    store = Store(f"{bucket}/corpus")
    corpus = Corpus.open_or_create(store.url)
    create = Store.create_exclusive
    others: list[bytes] = []

    def create_late(self: Store, path: str, data: bytes) -> None:
        if not others:
            other = replace(Snapshot.from_json(data), operation="other")
            others.append(other.to_json().encode())
            create(store, path, others[0])
        create(self, path, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "create_exclusive", create_late)
        after = commit(corpus, Change(operation="test"))
    assert after.snapshot.number == 2
    assert store.read("snapshots/00000001.json") == others[0]
    assert b'"other"' in others[0]


def test_workers_write_to_the_bucket(bucket: str, write_jsonl: Run, run_embed: Run) -> None:
    corpus = f"{bucket}/corpus"
    assert run_embed(write_jsonl(RECORDS), corpus=corpus, workers=2).written == 6
    assert main(["verify", "--corpus", corpus]) == 0


def test_missing_bucket_is_told(
    bucket: str, write_jsonl: Run, tiny_elmo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, missing = write_jsonl(RECORDS), f"{bucket}-missing/corpus"
    assert main(["embed", str(source), "--corpus", missing, "--model", str(tiny_elmo_dir)]) == 1
    assert "bucket" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["embed", "{bucket}/in.jsonl", "--corpus", "{local}"],
     ["embed", "{bucket}/*.jsonl", "--corpus", "{local}"],
     ["embed", "{local}.jsonl", "--corpus", "{bucket}/corpus"],
     ["info", "--corpus", "{bucket}/corpus"],
     ["stream", "watch:{bucket}/*.jsonl", "--corpus", "{local}", "--until-idle", "1s"]],
)  # fmt: skip
def test_a_store_without_credentials_is_an_error_in_words(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    local = tmp_path / "local"
    (tmp_path / "local.jsonl").write_text('{"id": "a", "text": "A bank."}\n')
    # A stream that cannot begin was given something wrong; other commands tell of a fault.
    status = 2 if words[0] == "stream" else 1
    assert main([word.format(bucket=bucket, local=local) for word in words]) == status
    error = capsys.readouterr().err
    assert re.search("the store answered NoCredentialsError|Unable to locate credentials", error)
    assert "check the URL, the credentials and the network" in error
    assert "Traceback" not in error


@pytest.mark.usefixtures("bucket")
def test_an_error_of_a_store_names_the_corpus(
    tmp_path: Path, tiny_elmo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "a", "text": "A bank."}\n')
    corpus = "s3://no-such-bucket-here/corpus"
    command = ["embed", str(source), "--corpus", corpus, "--model", str(tiny_elmo_dir)]
    assert main(command) == 1
    assert f"bucket does not exist (corpus {corpus})" in capsys.readouterr().err


@pytest.fixture
def denied(bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a bucket to which these credentials have no rights."""
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
    return bucket


@pytest.mark.parametrize(
    "words", [["embed"], ["run"], ["stream", "--until-idle=0.1s"]], ids=lambda words: words[0]
)
def test_a_bucket_without_rights_is_told_with_the_rights_that_are_needed(
    denied: str,
    words: list[str],
    write_jsonl: Run,
    tiny_elmo_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command, *more = words
    source = str(write_jsonl(RECORDS))
    source = f"watch:{Path(source).parent}/*.jsonl" if command == "stream" else source
    model = ("--model", str(tiny_elmo_dir))
    status = 2 if command == "stream" else 1  # a stream that cannot begin
    assert main([command, source, "--corpus", f"{denied}/corpus", *model, *more]) == status
    said = capsys.readouterr().err
    assert f"the corpus at {denied}/corpus cannot be listed" in said
    assert "s3:ListBucket, GetObject, PutObject, DeleteObject" in said
