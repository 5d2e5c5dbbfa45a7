"""Senses beside their index: read back as they were, or refused as damaged, never misread."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.api import Corpus
from pipelines.errors import CorpusError
from pipelines.index.build import build_index
from pipelines.index.options import IndexOptions
from pipelines.maintenance.vacuum import vacuum
from pipelines.maintenance.verify import verify
from pipelines.search.hits import Sense
from pipelines.senses.features import Features
from pipelines.senses.induction import Induction
from pipelines.senses.lines import describe_senses
from pipelines.senses.store import WordSenses, from_bytes, to_bytes


@pytest.fixture
def found(rng: np.random.Generator) -> WordSenses:
    return WordSenses(
        word="bank",
        forms={"bank": 40},
        senses=(
            Sense(
                number=1,
                size=40,
                share=1.0,
                quality=0.0,
                labels=("r\u00edver",),
                prototypes=(1 << 40,),
            ),
        ),
        gain=0.25,
        notes=("said",),
        rule=Induction(
            features=Features(
                token_mean=rng.standard_normal(4).astype(np.float32),
                sentence_mean=rng.standard_normal(4).astype(np.float32),
                mean=rng.standard_normal(8).astype(np.float32),
                directions=None,
            ),
            weights=rng.standard_normal((1, 8)).astype(np.float32),
            bias=np.zeros(1, np.float32),
            silhouettes=np.zeros(1, np.float32),
            surety=0.75,
        ),
        means=rng.standard_normal((1, 4)).astype(np.float32),
        vector_ids=(1 << 40) + np.arange(40),
        numbers=np.ones(40, np.int32),
    )


def test_senses_are_read_as_they_were_written(found: WordSenses) -> None:
    again = from_bytes(to_bytes(found), "bank", "x", None)
    assert (again.senses, again.forms, again.gain) == (found.senses, found.forms, found.gain)
    np.testing.assert_array_equal(again.rule.weights, found.rule.weights)
    assert (again.rule.surety, again.notes) == (0.75, ("said",))
    for name in ("token_mean", "sentence_mean", "mean"):
        mine, theirs = (getattr(x.rule.features, name) for x in (again, found))
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(again.vector_ids, found.vector_ids)
    np.testing.assert_array_equal(again.means, found.means)


def test_a_damaged_byte_is_refused_or_changes_nothing(found: WordSenses) -> None:
    data = to_bytes(found)
    read = []
    for place in range(0, len(data), 11):
        damaged = data[:place] + bytes([data[place] ^ 0x20]) + data[place + 1 :]
        with contextlib.suppress(CorpusError):
            read.append(to_bytes(from_bytes(damaged, "bank", "x", None)))
    assert all(again == data for again in read)
    assert len(read) < len(data) // 11 - 50


def test_a_damaged_file_says_what_to_do(found: WordSenses) -> None:
    with pytest.raises(CorpusError, match=r"senses/x\.parquet is damaged .* remove it"):
        from_bytes(to_bytes(found)[:-9], "bank", "senses/x.parquet", None)


@pytest.fixture
def told_apart(
    make_corpus: Callable[..., Corpus], hand_document: type, rng: np.random.Generator
) -> Corpus:
    """An indexed corpus, as yet without senses."""
    words = ["bank", "river", "money", "water"]
    documents: list[Any] = [
        hand_document(doc_id=f"{i}", sentences=rng.choice(words, (4, 6)).tolist())
        for i in range(20)
    ]
    corpus = make_corpus(documents)
    build_index(corpus.root, IndexOptions())
    return Corpus.open(corpus.root)


def test_vacuum_leaves_the_senses_of_the_index_in_use(told_apart: Corpus) -> None:
    describe_senses(told_apart, "bank")
    [path] = Path(told_apart.root).glob("indexes/*/senses/*.parquet")
    stray = path.parent.parent.parent / "0" / "senses" / path.name
    stray.parent.mkdir(parents=True)
    stray.write_bytes(path.read_bytes())
    vacuum(told_apart, older_than_seconds=0)
    assert path.is_file()
    assert not stray.exists()


def test_verify_names_damaged_senses(told_apart: Corpus) -> None:
    corpus = told_apart
    before = verify(Corpus.open(corpus.root))
    describe_senses(Corpus.open(corpus.root), "bank")
    whole = verify(Corpus.open(corpus.root))
    assert (whole.faults, whole.files) == ([], before.files + 1)
    [path] = Path(corpus.root).glob("indexes/*/senses/*.parquet")
    data = path.read_bytes()
    path.write_bytes(data[:-9])
    [fault] = verify(Corpus.open(corpus.root)).faults
    assert path.name in fault
    assert "remove it; the senses are then induced again" in fault


def test_the_text_stands_in_the_file_once(found: WordSenses) -> None:
    metadata = pq.ParquetFile(io.BytesIO(to_bytes(found))).metadata.metadata
    assert sorted(metadata) == [b"senses", b"sha256"]
