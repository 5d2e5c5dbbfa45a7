"""Each transform by itself, as another pipeline would use it."""

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from pipelines.corpus.manifests import read_segment
from pipelines.corpus.store import Store
from pipelines.embed.batch import SentenceBatch
from pipelines.embed.dofns import SegmentTarget
from pipelines.embed.inference import ElmoModelHandler, load_model
from pipelines.embed.options import EmbedOptions, ModelOptions
from pipelines.embed.recipe import Recipe, make_recipe
from pipelines.embed.transforms import (
    BatchByTokens,
    EmbedSentences,
    ReadDocuments,
    TokenizeDocuments,
    WriteSegment,
)
from pipelines.reading.documents import Document
from pipelines.reading.input_files import find_inputs
from pipelines.reading.options import InputOptions
from pipelines.reading.splits import range_tasks
from pipelines.text.tokenizer import PretokenizedText, Tokenizer

RECORDS = [{"id": f"d{n}", "text": f"Text {n} is here. It ends."} for n in range(30)]


def pipeline() -> beam.Pipeline:
    return beam.Pipeline(runner="FnApiRunner")


def ids(documents: Any) -> Any:
    return documents | beam.Map(lambda document: document.doc_id)


@pytest.fixture
def handler(tiny_elmo_dir: Path) -> ElmoModelHandler:
    """A handler of the tiny model."""
    model = ModelOptions(model=str(tiny_elmo_dir))
    recipe = make_recipe(load_model(model), model, EmbedOptions(), Tokenizer("en"))
    return ElmoModelHandler(model, recipe)


def test_ranges_read_every_record_once_and_tell_rejects(write_jsonl: Any) -> None:
    source = write_jsonl([*RECORDS[:20], "{broken", *RECORDS[20:]])
    tasks = range_tasks(find_inputs([str(source)]), InputOptions(), 100)
    assert len(tasks) > 10
    with pipeline() as p:
        read = p | beam.Create(tasks) | ReadDocuments()
        assert_that(ids(read.documents), equal_to([r["id"] for r in RECORDS]), "documents")
        assert_that(
            read.rejects | beam.Map(lambda r: r.reason), equal_to(["invalid-json"]), "rejects"
        )
    counters = {m.key.metric.name: m.committed for m in p.result.metrics().query()["counters"]}
    assert (counters["documents_read"], counters["rejects_invalid-json"]) == (30, 1)


def test_stages_write_a_segment(tmp_path: Path, handler: ElmoModelHandler) -> None:
    store = Store(tmp_path / "corpus")
    documents = [Document(str(r["id"]), str(r["text"]), part=n % 2) for n, r in enumerate(RECORDS)]
    documents.sort(key=lambda document: document.part)
    target = SegmentTarget(store, "00000001", 1, handler.recipe, len(documents))
    tokenizer = Tokenizer("en")
    with pipeline() as p:
        segment = (
            p
            | beam.Create(documents, reshuffle=False)
            | TokenizeDocuments(tokenizer)
            | BatchByTokens(40)
            | EmbedSentences(handler)
            | WriteSegment(target, tokenizer)
        )
        assert_that(segment | beam.Map(lambda s: s.counts["documents"]), equal_to([30]))
    written = read_segment(store, "00000001")
    assert written.counts["sentences"] == 60
    assert sum(part.rows for part in written.parts["sentences"]) == 60


def test_metrics_count_what_passed(tmp_path: Path, handler: ElmoModelHandler) -> None:
    model = load_model(handler.options)
    model.forget_words()
    model.take_word_counts()
    p = pipeline()
    documents = [Document(str(r["id"]), str(r["text"])) for r in RECORDS]
    target = SegmentTarget(Store(tmp_path), "00000001", 1, handler.recipe, 30)
    _ = (
        p
        | beam.Create(documents, reshuffle=False)
        | TokenizeDocuments(Tokenizer("en"))
        | BatchByTokens(100)
        | EmbedSentences(handler)
        | WriteSegment(target, Tokenizer("en"))
    )
    result = p.run()
    result.wait_until_finish()
    metrics = result.metrics().query()
    counters = {m.key.metric.name: m.committed for m in metrics["counters"]}
    assert counters["sentences"] == 60
    assert counters["tokens"] == 30 * 8
    files = list(tmp_path.rglob("*.parquet"))
    assert counters["bytes_written"] == sum(f.stat().st_size for f in files)
    assert (counters["documents_written"], counters.get("documents_read")) == (30, None)
    spread = {m.key.metric.name: m.committed for m in metrics["distributions"]}
    # Twelve documents of two sentences, 5 and 3 tokens, fill a batch: 96 of 100 tokens.
    expected = {
        "batch_tokens": [96, 96, 48],
        "batch_sentences": [24, 24, 12],
        "batch_types": [6 + 12, 6 + 12, 6 + 6],  # six words that all share, and the numbers
        "batch_fill_percent": [96, 96, 48],
        "batch_padding_avoided_percent": [20, 20, 20],  # (5 - 4) / 5
    }
    for name, values in expected.items():
        found = (spread[name].count, spread[name].sum, spread[name].min, spread[name].max)
        assert found == (3, sum(values), min(values), max(values)), name
    assert (counters["word_cache_hits"], counters["word_cache_misses"]) == (6 + 6, 6 + 30)
    assert spread["write_batch_latency_us"].count == 3
    assert spread["tokenize_document_latency_us"].count == 30
    assert spread["inference_batch_latency_micro_secs"].count == 3


def test_metrics_of_an_over_full_batch_and_of_one_without_sentences() -> None:
    p = pipeline()
    documents = [Document("long", "a b c d e f"), Document("blank", "")]
    _ = (
        p
        | beam.Create(documents, reshuffle=False)
        | TokenizeDocuments(PretokenizedText(), 4)
        | BatchByTokens(4)
    )
    result = p.run()
    result.wait_until_finish()
    spread = {m.key.metric.name: m.committed for m in result.metrics().query()["distributions"]}
    assert (spread["batch_fill_percent"].min, spread["batch_fill_percent"].max) == (0, 150)
    padding = spread["batch_padding_avoided_percent"]
    assert (padding.count, padding.sum) == (1, 0)


def test_part_torn_over_bundles_is_an_error(tmp_path: Path, handler: ElmoModelHandler) -> None:
    target = SegmentTarget(Store(tmp_path), "00000001", 1, handler.recipe, 1)
    p = pipeline()
    _ = (
        p
        | beam.Create([SentenceBatch(part=0, sequence=1)])
        | EmbedSentences(handler)
        | WriteSegment(target, Tokenizer("en"))
    )
    with pytest.raises(RuntimeError, match="the runner split a part over bundles"):
        p.run()


def test_recipe_depends_on_what_decides_rows_alone() -> None:
    def recipe(**options: Any) -> Recipe:
        chosen = {
            "layer_weights": [1.0],
            "pooling": "mean",
            "initial_state": "zero",
            "tokenizer": {"name": "spacy"},
            "vector_dtype": "float16",
            "tokens": "all",
            **options,
        }
        return Recipe(model={"name": "m", "fingerprint": "f"}, options=chosen, dim=4)

    base = recipe()
    assert recipe().digest == base.digest
    for stored in ({"vector_dtype": "float32"}, {"tokens": "none"}):
        assert recipe(**stored).fingerprint == base.fingerprint
        assert recipe(**stored).digest != base.digest
    for decisive in ({"pooling": "max"}, {"layer_weights": [0.5]}, {"initial_state": "warm"}):
        assert recipe(**decisive).fingerprint != base.fingerprint
    assert json.dumps(base.options)
