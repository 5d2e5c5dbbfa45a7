"""Documents in memory become the same rows as documents of a file; what fails leaves nothing."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.corpus.commits import Change, commit, reserve_segment
from pipelines.corpus.view import CorpusView
from pipelines.embed import record_segments
from pipelines.embed.inference import load_model
from pipelines.embed.options import EmbedOptions, ModelOptions
from pipelines.embed.recipe import make_recipe
from pipelines.embed.record_segments import Interrupted, RecordEmbedder
from pipelines.reading.documents import Document, Reject

TEXTS = {f"d{n}": f"Document {n} stands on the bank. " * (n + 1) for n in range(12)}
DOCUMENTS = [Document(name, text, {"n": name}) for name, text in TEXTS.items()]


@pytest.fixture
def embedder(tmp_path: Path, tiny_elmo_dir: Path) -> RecordEmbedder:
    options, tokenizer = ModelOptions(model=str(tiny_elmo_dir)), EmbedOptions().make_tokenizer()
    model = load_model(options)
    return RecordEmbedder(
        store=CorpusView.open_or_create(tmp_path / "corpus").store,
        model=model,
        recipe=make_recipe(model, options, EmbedOptions(), tokenizer),
        tokenizer=tokenizer,
        max_tokens_per_batch=64,
    )


def test_rows_are_those_of_embed(
    embedder: RecordEmbedder,
    run_embed: Callable,
    write_jsonl: Callable,
    assert_same_rows: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(record_segments, "MAX_PART_BYTES", 500)
    segment = embedder.write(*reserve_segment(embedder.store), DOCUMENTS, [])
    assert len(segment.parts["documents"]) > 3
    commit(CorpusView.newest(embedder.store), Change(operation="stream", add=(segment,)))
    lines = [json.dumps({"id": d.doc_id, "text": d.text, **d.metadata}) for d in DOCUMENTS]
    run_embed(write_jsonl(lines), corpus=tmp_path / "other")
    assert_same_rows(tmp_path / "corpus", tmp_path / "other")


def test_rejects_alone_make_a_segment(embedder: RecordEmbedder) -> None:
    reject = Reject("kafka:t/0", 5, "read", "invalid-json", "why")
    segment = embedder.write(*reserve_segment(embedder.store), [], [reject])
    assert (segment.counts["documents"], segment.counts["rejects"]) == (0, 1)


def test_giving_up_leaves_no_file(tmp_path: Path, embedder: RecordEmbedder) -> None:
    calls = iter([False, False, True])
    hurried = replace(embedder, give_up=lambda: next(calls))
    with pytest.raises(Interrupted):
        hurried.write(*reserve_segment(embedder.store), DOCUMENTS, [])
    left = [path.name for path in (tmp_path / "corpus").rglob("*") if path.is_file()]
    assert left == ["reserved"]


def test_a_broken_model_leaves_no_file(
    tmp_path: Path, embedder: RecordEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no device")

    monkeypatch.setattr(embedder.model, "embed", broken)
    with pytest.raises(RuntimeError, match="model or the device is broken"):
        embedder.write(*reserve_segment(embedder.store), DOCUMENTS, [])
    left = [path.name for path in (tmp_path / "corpus").rglob("*") if path.is_file()]
    assert left == ["reserved"]
