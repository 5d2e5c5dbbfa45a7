"""The embedding job from end to end: what goes in comes out, and nothing is lost."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elmo_infer import load
from pipelines.api import Corpus
from pipelines.errors import CorpusError, UsageError
from pipelines.text.tokenizer import Tokenizer

Run = Callable[..., Any]
DOCUMENTS = [
    {"id": "a", "text": "They sat on the bank of the river. It was warm!", "genre": "prose"},
    {"id": 7, "text": "The bank raised its rates.\nA second line here.", "year": 1999},
    {"id": "c", "text": "\ufeffOne word"},
]


def test_rows_equal_what_tokenizer_and_model_give(
    write_jsonl: Run, run_embed: Run, rows_of: Run, tiny_elmo_dir: Path
) -> None:
    report = run_embed(write_jsonl(DOCUMENTS), vector_dtype="float32", tokens="all")

    elmo, tokenizer = load(str(tiny_elmo_dir)), Tokenizer("en")
    sentences, tokens = rows_of("sentences"), iter(rows_of("tokens"))
    expected = [
        (str(d["id"]), index, sentence, text)
        for d in DOCUMENTS
        for text in [str(d["text"]).removeprefix("\ufeff")]
        for index, sentence in enumerate(tokenizer.tokenize(text))
    ]
    assert len(sentences) == len(expected) == report.sentences == 5
    for row, (doc_id, index, sentence, text) in zip(sentences, expected, strict=True):
        alone = elmo.embed([sentence.tokens])
        assert (row["doc_id"], row["sentence_index"]) == (doc_id, index)
        assert row["text"] == text[row["start"] : row["end"]]
        assert row["tokens"] == sentence.tokens
        np.testing.assert_allclose(row["vector"], alone.sentence_vectors[0], atol=2e-5)
        np.testing.assert_allclose(row["attention"], alone.attention, atol=2e-5)
        for token_index, vector in enumerate(alone.token_vectors):
            token = next(tokens)
            assert (token["doc_id"], token["sentence_index"]) == (doc_id, index)
            assert token["token_index"] == token_index
            assert token["token"] == text[token["start"] : token["end"]]
            np.testing.assert_allclose(token["vector"], vector, atol=2e-5)
    assert next(tokens, None) is None
    documents = rows_of("documents")
    assert [d["doc_id"] for d in documents] == ["a", "7", "c"]
    assert documents[0]["metadata"] == [("genre", "prose")]
    assert documents[1]["metadata"] == [("year", "1999")]
    assert [d["sentences"] for d in documents] == [2, 2, 1]
    assert sum(d["tokens"] for d in documents) == report.tokens


def test_vector_ids_are_unique_over_tables_and_segments(
    write_jsonl: Run, run_embed: Run, rows_of: Run
) -> None:
    run_embed(write_jsonl(DOCUMENTS), commit_every=1, tokens="all")
    ids = [row["vector_id"] for t in ("sentences", "tokens") for row in rows_of(t)]
    assert len(set(ids)) == len(ids) > 20


def test_content_keeps_words_that_carry_meaning(
    write_jsonl: Run, run_embed: Run, rows_of: Run
) -> None:
    run_embed(write_jsonl(DOCUMENTS[:1]))
    assert [row["token"] for row in rows_of("tokens")] == ["sat", "bank", "river", "warm"]
    assert len(rows_of("sentences")[0]["tokens"]) == 9


def test_none_stores_no_token_vectors(write_jsonl: Run, run_embed: Run, rows_of: Run) -> None:
    run_embed(write_jsonl(DOCUMENTS), tokens="none")
    assert rows_of("tokens") == []
    assert len(rows_of("sentences")) == 5


def test_same_input_gives_the_same_bytes(write_jsonl: Run, run_embed: Run, tmp_path: Path) -> None:
    source = write_jsonl(DOCUMENTS)
    for name in ("one", "two"):
        run_embed(source, corpus=tmp_path / name, commit_every=2)
    one, two = (
        {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in sorted((tmp_path / name / "segments").rglob("*"))
            if path.is_file()
        }
        for name in ("one", "two")
    )
    assert one == two
    assert len(one) == 10  # 2 segments: 3 tables, segment.json, reservation


def test_second_run_changes_nothing(write_jsonl: Run, run_embed: Run, tmp_path: Path) -> None:
    source = write_jsonl([*DOCUMENTS, "{broken", {"id": "a", "text": "again"}])
    first = run_embed(source)
    # A running writer says so in a file of writers/, and takes it away.
    corpus = tmp_path / "corpus"
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*") if path.name != "writers"}
    second = run_embed(source)
    after = {path: path.stat().st_mtime_ns for path in corpus.rglob("*") if path.name != "writers"}
    assert before == after
    assert (first.written, first.rejected) == (3, 2)
    assert (second.written, second.unchanged, second.rejected) == (0, 3, 2)
    assert second.segments == []


def test_changed_document_supersedes_its_old_version(
    write_jsonl: Run, run_embed: Run, rows_of: Run
) -> None:
    run_embed(write_jsonl(DOCUMENTS))
    changed = [{"id": "a", "text": "Something else."}, *DOCUMENTS[1:]]
    report = run_embed(write_jsonl(changed))
    assert (report.written, report.changed, report.unchanged) == (1, 1, 2)
    texts = {row["doc_id"]: row["text"] for row in rows_of("sentences")}
    assert texts["a"] == "Something else."
    assert sorted(row["doc_id"] for row in rows_of("documents")) == ["7", "a", "c"]


def test_other_settings_embed_anew(write_jsonl: Run, run_embed: Run, rows_of: Run) -> None:
    source = write_jsonl(DOCUMENTS)
    run_embed(source)
    report = run_embed(source, tokens="all")
    assert (report.written, report.unchanged) == (3, 0)
    assert len(rows_of("documents")) == 3


def test_absence_deletes_nothing_but_prune_does(
    write_jsonl: Run, run_embed: Run, rows_of: Run
) -> None:
    run_embed(write_jsonl(DOCUMENTS))
    run_embed(write_jsonl(DOCUMENTS[:1]))
    assert len(rows_of("documents")) == 3
    report = run_embed(write_jsonl([DOCUMENTS[0], {"id": "c", "text": " "}]), prune=True)
    assert report.pruned == 1
    assert [row["doc_id"] for row in rows_of("documents")] == ["a", "c"]


def test_prune_is_refused_when_part_of_the_input_is_unreadable(
    run_embed: Run, write_jsonl: Run, rows_of: Run, tmp_path: Path
) -> None:
    run_embed(write_jsonl(DOCUMENTS))
    data = gzip.compress("\n".join(map(json.dumps, DOCUMENTS)).encode())
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(data[:-20])
    with pytest.raises(CorpusError, match=r"nothing was pruned: .*could not be read to its end"):
        run_embed(broken, prune=True)
    assert len(rows_of("documents")) == 3


def test_first_duplicate_wins_across_slices_and_restarts(
    write_jsonl: Run, run_embed: Run, rows_of: Run
) -> None:
    records = [{"id": str(n % 3), "text": f"Version {n}."} for n in range(7)]
    source = write_jsonl(records)
    first = run_embed(source, commit_every=1)
    second = run_embed(source, commit_every=1)
    assert (first.read, first.written, first.rejected) == (7, 3, 4)
    assert (second.read, second.unchanged, second.rejected) == (7, 3, 4)
    assert [row["text"] for row in rows_of("sentences")] == [
        "Version 0.",
        "Version 1.",
        "Version 2.",
    ]
    assert {row["reason"] for row in rows_of("rejects")} == {"duplicate-id"}


AWKWARD = {
    "nul": "A NUL\x00 inside.",
    "rtl": "שלום עולם. مرحبا!",
    "combining": "e\u0301tude na\u0308ive.",
    "emoji": "👩‍👩‍👧 smiles. 🇩🇪",
    "crlf": "one\r\ntwo",
    "long": "a" * 300_000,
}


def test_awkward_texts_are_embedded_with_exact_offsets(
    write_jsonl: Run, run_embed: Run, rows_of: Run
) -> None:
    report = run_embed(write_jsonl({"id": k, "text": v} for k, v in AWKWARD.items()), tokens="all")
    assert (report.written, report.rejected) == (len(AWKWARD), 0)
    for row in rows_of("sentences"):
        assert AWKWARD[row["doc_id"]][row["start"] : row["end"]] == row["text"]
    for row in rows_of("tokens"):
        assert AWKWARD[row["doc_id"]][row["start"] : row["end"]] == row["token"]


def test_bad_records_are_rejected_with_reason_and_place(
    tmp_path: Path, run_embed: Run, rows_of: Run
) -> None:
    lines = [
        b'{"id": "ok", "text": "Good one."}',
        b"{broken",
        b'{"id": "no-text"}',
        b'{"id": "empty", "text": ""}',
        b'{"id": "blank", "text": " \\n\\t "}',
        b'{"id": "number", "text": 5}',
        b'{"id": [1], "text": "x"}',
        b"[1, 2]",
        b'{"id": "bytes", "text": "\xff\xfe"}',
        b'{"id": "half", "text": "\\ud800"}',
        b"",
        b'{"id": "ok", "text": "Again."}',
        b'{"text": "No id, so its place is its id."}',
    ]
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n".join(lines))
    report = run_embed(path)
    offsets = [sum(len(line) + 1 for line in lines[:n]) for n in range(len(lines))]
    found = [(r["position"], r["reason"], r["doc_id"]) for r in rows_of("rejects")]
    assert found == [
        (offsets[1], "invalid-json", None),
        (offsets[2], "missing-text", "no-text"),
        (offsets[3], "empty-document", "empty"),
        (offsets[4], "empty-document", "blank"),
        (offsets[5], "wrong-type", "number"),
        (offsets[6], "wrong-type", None),
        (offsets[7], "not-an-object", None),
        (offsets[8], "invalid-utf8", None),
        (offsets[9], "lone-surrogate", "half"),
        (offsets[11], "duplicate-id", "ok"),
    ]
    assert [r["doc_id"] for r in rows_of("documents")] == ["ok", f"{path}#{offsets[12]}"]
    assert (report.read, report.written, report.rejected) == (12, 2, 10)
    assert rows_of("rejects")[0]["raw"] == "{broken"


def test_too_many_rejects_fail_the_job_and_commit_nothing(
    write_jsonl: Run, run_embed: Run, tmp_path: Path
) -> None:
    source = write_jsonl([DOCUMENTS[0], "{", "["])
    with pytest.raises(CorpusError, match=r"2 of 3 records .*2 invalid-json"):
        run_embed(source, max_reject_fraction=0.5)
    with pytest.raises(CorpusError, match="there is no corpus"):
        Corpus.open(tmp_path / "corpus")


def test_rejects_of_earlier_runs_are_named_when_they_are_too_many(
    write_jsonl: Run, run_embed: Run
) -> None:
    source = write_jsonl([DOCUMENTS[0], "{", "["])
    run_embed(source, max_reject_fraction=1.0)
    with pytest.raises(CorpusError, match=r"2 in earlier runs: sensegrep info --rejects --corpus"):
        run_embed(source, max_reject_fraction=0.5)


def test_explicit_id_field_must_be_there(write_jsonl: Run, run_embed: Run, rows_of: Run) -> None:
    run_embed(write_jsonl([{"key": "k", "text": "x"}, {"text": "y"}]), id_field="key")
    assert [r["doc_id"] for r in rows_of("documents")] == ["k"]
    assert [r["reason"] for r in rows_of("rejects")] == ["missing-id"]


def test_truncated_gzip_gives_what_was_whole_and_a_reject(
    tmp_path: Path, run_embed: Run, rows_of: Run
) -> None:
    lines = [
        json.dumps({"id": n, "text": f"{os.urandom(40).hex()} number {n}."}) for n in range(99)
    ]
    data = gzip.compress("\n".join(lines).encode())
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(data[: len(data) // 2])
    report = run_embed(path)
    assert 20 < report.written < 80
    assert report.rejected == 1
    [reject] = rows_of("rejects")
    assert reject["reason"] == "damaged-file"
    assert [r["doc_id"] for r in rows_of("documents")] == [str(n) for n in range(report.written)]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"inputs": ["gone.jsonl"]}, FileNotFoundError, "gone.jsonl does not exist"),
        ({"inputs": ["*.jsonl"]}, FileNotFoundError, "no file matches"),
        ({"inputs": ["a.pdf"]}, UsageError, "without a known suffix; expected one of"),
        ({"inputs": ["d"]}, UsageError, "is a directory; name its files"),
        ({"inputs": []}, UsageError, "no input was given"),
        ({"inputs": ["t.csv"]}, UsageError, "no column 'text'; it has 'id', 'body'"),
        ({"model": "no-such-model"}, FileNotFoundError, "no model 'no-such-model'"),
        ({"layer_weights": (1.0, 2.0)}, UsageError, "has 2 numbers, but the model .* has 3"),
        ({"layer_weights": 3}, UsageError, "picks layer 3, .* layers 0 to 2"),
        ({"pooling": "sum"}, UsageError, "--pooling is 'sum', expected one of"),
        ({"commit_every": 0}, UsageError, "--commit-every is 0"),
        ({"language": "qq"}, UsageError, "no tokenizer for --language qq"),
    ],
)
def test_bad_usage_is_refused_before_any_work(
    settings: dict[str, Any],
    error: type[Exception],
    words: str,
    run_embed: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "a.pdf").write_text("x")
    (tmp_path / "t.csv").write_text("id,body\n1,x\n")
    (tmp_path / "good.txt").write_text("A text.")
    inputs = settings.pop("inputs", ["good.txt"])
    with pytest.raises(error, match=words):
        run_embed(*inputs, **settings)
    assert not (tmp_path / "corpus").exists()
