"""compact: merged segments with the same rows and ids."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.__main__ import main
from pipelines.api import Corpus
from pipelines.corpus.commits import commit
from pipelines.errors import CorpusError
from pipelines.maintenance.compact import compact, groups_to_compact
from pipelines.maintenance.verify import verify

Run = Callable[..., Any]


def test_compact_keeps_rows_and_ids(corpus_dir: str, rows_of: Run) -> None:
    main(["delete", "d3", "--corpus", corpus_dir])
    before = {t: rows_of(t) for t in ("documents", "sentences", "tokens", "rejects")}
    assert main(["compact", "--corpus", corpus_dir]) == 0
    corpus = Corpus.open(corpus_dir)
    [segment] = corpus.segments
    assert segment.compacted_from == ("00000001", "00000002", "00000003", "00000004")
    assert {t: rows_of(t) for t in before} == before
    assert segment.counts["documents"] == 5
    assert segment.counts["sentences"] == len(before["sentences"])
    assert verify(corpus).faults == []


def test_compact_leaves_nothing_to_embed(
    corpus_dir: str, three_segments: Path, run_embed: Run
) -> None:
    main(["compact", "--corpus", corpus_dir])
    report = run_embed(three_segments / "in.jsonl")
    assert (report.unchanged, report.rejected, report.segments) == (6, 1, [])


def test_compact_merges_up_to_a_size(corpus_dir: str) -> None:
    corpus = Corpus.open(corpus_dir)
    assert groups_to_compact(corpus, 4) == [["00000001", "00000002"], ["00000003", "00000004"]]
    assert groups_to_compact(corpus, 1) == []


def test_compact_does_not_mix_models(
    make_corpus: Run, add_segment: Run, hand_document: Run
) -> None:
    documents = [hand_document(doc_id=f"d{n}", sentences=[["A", "bank"]]) for n in range(4)]
    corpus = make_corpus(documents[:1], documents[1:2])
    corpus = add_segment(corpus, documents[2:3], fingerprint="e" * 64)
    corpus = add_segment(corpus, documents[3:], fingerprint="e" * 64)
    assert groups_to_compact(corpus, 100) == [["00000001", "00000002"], ["00000003", "00000004"]]
    with pytest.raises(CorpusError, match="different models or settings and cannot be merged"):
        compact(corpus, ["00000002", "00000003"])
    with pytest.raises(CorpusError, match="holds vectors of 2 different models or settings"):
        _ = corpus.fingerprint


def test_compact_keeps_deleted_what_was_deleted_meanwhile(
    corpus_dir: str, rows_of: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after_a_delete(base: Corpus, change: Any) -> Corpus:
        monkeypatch.setattr("pipelines.maintenance.compact.commit", commit)
        main(["delete", "d1", "--corpus", corpus_dir])
        return commit(base, change)

    monkeypatch.setattr("pipelines.maintenance.compact.commit", after_a_delete)
    compact(Corpus.open(corpus_dir), ["00000001", "00000002"])
    assert [row["doc_id"] for row in rows_of("documents")] == ["d0", "d2", "d3", "d4", "d5"]
    assert Corpus.open(corpus_dir).snapshot.segments[0] == "00000005"
    assert verify(Corpus.open(corpus_dir)).faults == []


def test_second_of_two_compactions_of_the_same_segments_changes_nothing(corpus_dir: str) -> None:
    stale = Corpus.open(corpus_dir)
    main(["compact", "--corpus", corpus_dir])
    before = Corpus.open(corpus_dir).snapshot
    assert compact(stale, ["00000001", "00000002"]).snapshot == before
    with pytest.raises(CorpusError, match="segments 00000077 are not live"):
        compact(stale, ["00000077"])


def test_embed_on_top_of_a_compact_meanwhile_supersedes_the_merged_rows(
    corpus_dir: str, write_jsonl: Run, run_embed: Run, rows_of: Run, interleave: Run
) -> None:
    interleave(lambda: main(["compact", "--corpus", corpus_dir]))
    run_embed(write_jsonl([{"id": "d1", "text": "A new version."}]))
    texts = [row["text"] for row in rows_of("sentences") if row["doc_id"] == "d1"]
    assert texts == ["A new version."]
    assert len(rows_of("documents")) == 6


def test_damaged_part_is_not_rewritten_with_a_sum_of_its_own(
    corpus_dir: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(corpus_dir) / "segments/00000002/tokens/part-00000.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    before = Corpus.open(corpus_dir).snapshot
    for command in ("compact", "index"):
        assert main([command, "--corpus", corpus_dir]) == 1
        assert "it was damaged or changed; it was not used" in capsys.readouterr().err
    assert Corpus.open(corpus_dir).snapshot == before
