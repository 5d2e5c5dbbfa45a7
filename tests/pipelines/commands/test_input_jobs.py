"""What the command does with input as it comes: updated, pruned, refused, planned."""

import io
import json
import re
import sys
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.reading import parquet_rows


@pytest.fixture
def embed(tmp_path: Path, tiny_elmo_dir: Path) -> Any:
    def run(*words: str) -> int:
        corpus = ["--corpus", str(tmp_path / "corpus"), "--model", str(tiny_elmo_dir)]
        return main(["embed", *words, *corpus])

    return run


def live(tmp_path: Path) -> dict[str, dict[str, str]]:
    corpus = Corpus.open(str(tmp_path / "corpus"))
    return {
        row["doc_id"]: dict(row["metadata"])
        for batch in corpus.read("documents", ["doc_id", "metadata"])
        for row in batch.to_pylist()
    }


def test_a_change_of_metadata_is_a_change(
    tmp_path: Path, embed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    for label in ("draft", "final"):
        source.write_text(json.dumps({"id": "a", "text": "One bank.", "label": label}) + "\n")
        assert embed(str(source)) == 0
    assert live(tmp_path) == {"a": {"label": "final"}}
    printed = capsys.readouterr().out
    assert "metadata updated: 1 document, vectors kept" in printed
    assert "nothing new to embed in 1 document read" in printed
    source.write_text(json.dumps({"id": "a", "text": "One bank.", "label": "third"}) + "\n")
    assert embed(str(source), "--dry-run") == 0
    assert "metadata would be updated: 1 document" in capsys.readouterr().out
    assert live(tmp_path) == {"a": {"label": "final"}}
    assert embed(str(source)) == 0
    assert "nothing new to embed" in capsys.readouterr().out


def test_a_table_with_an_open_quote_prunes_nothing(
    tmp_path: Path, embed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.csv"
    rows = [f"{i},a bank {i}" for i in range(20)]
    source.write_text("id,text\n" + "\n".join(rows) + "\n")
    assert embed(str(source)) == 0
    rows[10] = '10,"no end'
    source.write_text("id,text\n" + "\n".join(rows) + "\n")
    for flags in (["--dry-run"], []):
        assert embed(str(source), "--prune", *flags) == 1
        assert "nothing was pruned" in capsys.readouterr().err
    assert len(live(tmp_path)) == 20


def test_prune_keeps_documents_while_a_record_without_a_readable_id_may_be_one_of_them(
    tmp_path: Path, embed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source, lines = tmp_path / "in.jsonl", [f'{{"id": "{n}", "text": "Bank {n}."}}' for n in "abcd"]
    source.write_text("\n".join(lines))
    assert embed(str(source)) == 0
    source.write_text("\n".join([lines[0], lines[1].replace("}", ""), lines[3]]))  # b broke, c went
    for flags, done in ((["--dry-run"], "would prune"), ([], "pruned"), ([], "pruned")):
        capsys.readouterr()
        assert embed(str(source), "--prune", *flags) == 3
        assert (
            f"\n{done}: 0; 2 documents of the corpus would be pruned, but 1 rejected record had no"
            " id that could be read, and may be one of them; correct the records and run the"
        ) in capsys.readouterr().out
        assert set(live(tmp_path)) == set("abcd")
    source.write_text("\n".join([lines[0], lines[1], lines[3]]))
    assert embed(str(source), "--prune") == 0
    assert "\npruned: 1\n" in capsys.readouterr().out
    assert set(live(tmp_path)) == set("abd")


def test_standard_input_without_ids_is_refused(
    embed: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'{"text": "a bank"}\n')))
    assert embed("-") == 1
    assert (
        "the record has no id, and records from standard input need one" in capsys.readouterr().err
    )


def test_the_error_has_the_first_examples_and_a_dry_run_says_the_same(
    tmp_path: Path, embed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('[{"text": "a"},\n{"text": "b"}]\n')
    said = []
    for flags in (["--dry-run"], []):
        assert embed(str(source), *flags) == 1
        said.append(capsys.readouterr().err.partition("error:")[2])
    assert said[0] == said[1]
    assert f"{source}, byte 0: invalid-json:" in said[0]
    assert "looks like a JSON array" in said[0]


def test_the_first_rejects_are_shown_beside_what_was_embedded(
    tmp_path: Path, embed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    rows = [json.dumps({"id": f"d{i}", "text": "A bank."}) for i in range(9)]
    rows += ["{broken", '{"id": "t"}', '{"id": "e", "text": "\x1b[2J"}', "[]", "[]"]
    source.write_text("\n".join(rows) + "\n")
    for flags in (["--dry-run"], []):
        assert embed(str(source), *flags) == 3
        printed = capsys.readouterr().out
        assert "\x1b" not in printed
        shown = [line for line in printed.splitlines() if line.startswith(f"  {source}, byte ")]
        assert [re.search(r": ([\w-]+): ", line)[1] for line in shown] == [
            "invalid-json", "missing-text", "invalid-json",
        ]  # fmt: skip
    assert embed(str(source), "--json") == 3
    assert json.loads(capsys.readouterr().out)["examples"] == []  # known, and counted


@pytest.mark.parametrize("name", ["in.csv", "in.tsv", "in.jsonl", "in.txt"])
def test_an_empty_input_prunes_nothing(
    tmp_path: Path, embed: Any, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    first, empty = tmp_path / "first.jsonl", tmp_path / name
    first.write_text(json.dumps({"id": "a", "text": "A bank."}) + "\n")
    empty.write_text("")
    lines = ["--lines"] if name == "in.txt" else []
    assert embed(str(empty), "--prune", *lines) == 0  # there is nothing to lose yet
    assert embed(str(first)) == 0
    for flags in (["--dry-run"], []):
        assert embed(str(empty), "--prune", *flags, *lines) == 1
        assert "the input has no records" in capsys.readouterr().err
    assert embed(str(empty), *lines) == 0
    assert list(live(tmp_path)) == ["a"]


def test_a_large_row_group_is_decoded_once(
    tmp_path: Path, embed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in.parquet"
    table = pa.table({"id": [str(i) for i in range(30)], "text": ["A bank."] * 30})
    pq.write_table(table, source, row_group_size=30)
    decoded = []
    rows = parquet_rows.rows_of
    monkeypatch.setattr(parquet_rows, "rows_of", lambda b: decoded.append(b.num_rows) or rows(b))
    assert embed(str(source), "--commit-every", "10") == 0
    assert sum(decoded) == 30
    assert len(live(tmp_path)) == 30


def test_no_error_of_a_store_is_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type("NoCredentialsError", (Exception,), {"__module__": "botocore.exceptions"})

    def fails(_: Any) -> int:
        raise kind("Unable to locate \x1b[2Jcredentials")

    monkeypatch.setattr("pipelines.commands.info.execute", fails)
    assert main(["info", "--corpus", "s3://bucket/x"]) == 1
    error = capsys.readouterr().err
    assert "the store answered NoCredentialsError: Unable to locate" in error
    assert "check the URL, the credentials and the network" in error
    assert "\x1b" not in error


@pytest.mark.parametrize(
    "words",
    [["info"], ["search", "a [bank]"], ["verify"], ["senses", "bank"], ["delete", "a"], ["index"],
     ["embed", "in.jsonl"]],
)  # fmt: skip
@pytest.mark.parametrize("url", ["s3://bucket/x", "http://127.0.0.1:9/x", "dbfs://x/y", "foo://x"])
def test_a_store_that_cannot_be_had_is_told_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    words: list[str], url: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": "a", "text": "One bank."}) + "\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert main([*words, "--corpus", url]) == 1
    error = capsys.readouterr().err
    assert "sensegrep: error: " in error
    assert "Traceback" not in error
    assert "unexpected" not in error


@pytest.mark.parametrize("url", ["s3://bucket/x.jsonl", "http://127.0.0.1:9/x.jsonl", "foo://x.csv",
                                 "dbfs://x/y.jsonl", "s3://bucket/*.jsonl"])  # fmt: skip
def test_an_input_that_cannot_be_had_is_told_in_words(
    embed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, url: str,
) -> None:  # fmt: skip
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert embed(url) in (1, 2)
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "unexpected" not in error


NAMES = ["dir [x]/b.jsonl", "a::b.jsonl", "a b%.jsonl"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_may_be_called_anything(tmp_path: Path, embed: Any, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"text": "One bank."}) + "\n")
    assert embed(str(path)) == 0
    assert embed(f"file://{path}") == 0
    assert embed(f"file://{quote(str(path))}") == 0
    assert list(live(tmp_path)) == [f"{path.resolve()}#0"]


@pytest.mark.parametrize(
    ("name", "data", "status", "words"),
    [
        ("a.jsonl", '{"text": "a"}\n'.encode("utf-16-le"), 1, "UTF-16 without a byte-order mark"),
        ("a.txt", "a bank".encode("utf-16-be"), 1, "-f UTF-16BE (or UTF-16LE)"),
        ("b.jsonl", '{"text": "a"}\n'.encode("utf-32-le"), 1, "-f UTF-32LE"),
        ("c.jsonl", bytes(99), 1, "only zero bytes: was the file written completely"),
        ("d.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1..", 2, "an old Excel or Word document"),
        ("e.jsonl", b"ARROW1\0\0", 1, "this is an Arrow file"),
        ("f.txt", b"7z\xbc\xaf'\x1c\0", 1, "this is a 7z archive"),
        ("a.csv", b"id,text\r1,a\r", 2, "carriage returns only"),
        ("a.csv", b"\x1f\x8b\x08rest", 2, "this is gzip"),
        ("a.jsonl", b'{"text": \x1b[2J}\n', 1, "invalid-json"),
        ("a.csv", b"id,te\x1b[2Jxt\n1,a\n", 2, "has no column 'text'"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(
    tmp_path: Path, embed: Any, capsys: pytest.CaptureFixture[str], name: str, data: bytes,
    status: int, words: str,
) -> None:  # fmt: skip
    (tmp_path / name).write_bytes(data)
    assert embed(str(tmp_path / name)) == status
    error = capsys.readouterr().err
    assert words in error
    assert "\x1b" not in error
    assert "Traceback" not in error


def test_ids_from_a_file_with_a_byte_order_mark(
    tmp_path: Path, embed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source, ids = tmp_path / "in.jsonl", tmp_path / "ids.txt"
    source.write_text("".join(json.dumps({"id": i, "text": "A bank."}) + "\n" for i in "abc"))
    assert embed(str(source)) == 0
    delete = ["delete", "--corpus", str(tmp_path / "corpus"), "--ids-from", str(ids)]
    for data, status in (
        (b"\xef\xbb\xbfa\r\n\r\n", 0),
        ("b\n".encode("utf-16"), 0),
        (b"\xe9\n", 2),
        (b"", 2),
    ):
        ids.write_bytes(data)
        assert main(delete) == status
    error = capsys.readouterr().err
    assert "is not UTF-8" in error
    assert "no document is given" in error
    assert list(live(tmp_path)) == ["c"]


def test_a_filter_means_the_same_composed_and_decomposed(
    tmp_path: Path, tiny_elmo_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    rows = [{"id": form, "text": "A bank.", "città": unicodedata.normalize(form, "Orléans")}
            for form in ("NFC", "NFD")]  # fmt: skip
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = ["--corpus", str(tmp_path / "corpus")]
    assert main(["run", str(source), *corpus, "--model", str(tiny_elmo_dir)]) == 0
    capsys.readouterr()
    for form in ("NFC", "NFD"):
        asked = unicodedata.normalize(form, "città=Orléans")
        assert main(["search", "a [bank]", *corpus, "--json", "--filter", asked]) == 0
        hits = json.loads(capsys.readouterr().out)["hits"]
        assert sum(hit["copies"] for hit in hits) == 2, form
