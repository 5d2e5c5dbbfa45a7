"""Build the index of a corpus: the Beam pipeline, and the commit.

    parts -> measure -> lay out, fit -> scatter -> sort buckets -> assemble tokens -> add
                                     -> documents, lines, sentence vectors         -> add

The steps are plain functions of `parts`, `tokens`, `sentences` and `fit`.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.corpus.commits import commit_index
from pipelines.corpus.manifests import written_by
from pipelines.corpus.store import write_then_commit
from pipelines.corpus.view import CorpusView
from pipelines.corpus.writers import Writer, running_writer
from pipelines.embed.jobs.beam_flags import with_runner
from pipelines.embed.jobs.engines import Engine, absolute, choose_engine
from pipelines.embed.jobs.errors import engine_error
from pipelines.errors import CorpusError
from pipelines.index.files import FinalFile, merge_files, writing
from pipelines.index.fit import Fitted, add_approximate, fit_table
from pipelines.index.format import FORMS, IndexFile, IndexManifest, Shard, manifest_path
from pipelines.index.layout import lay_out
from pipelines.index.measure import TableMeasure, measure_table
from pipelines.index.measure_parts import measure_part
from pipelines.index.memory import PeakMemory, release_memory
from pipelines.index.options import IndexOptions
from pipelines.index.outcome import Outcome, ShardForms, read_outcome, write_outcome
from pipelines.index.parts import Build, Measure, ShardFiles, ShardLayout
from pipelines.index.plan import TABLES, BuildPlan, plan_build
from pipelines.index.reader import OpenIndex
from pipelines.index.sentences import write_documents, write_sentences
from pipelines.index.tokens import Piece, assemble_tokens, scatter_tokens, sort_bucket
from pipelines.text.normal_forms import folded_form

FORM_GROUP_ROWS = 8192
RERANK = 20  # candidates for each hit where codes are coarse


def build_index(root: str, options: IndexOptions) -> dict[str, Any]:
    """Build or extend the index of a corpus and commit it.

    An index that already covers all segments with these settings is left as it is.

    Returns:
      index_id, vectors, factory, recall_at_10, latency_ms (p50, p99), seconds, bytes, tables (the
      same for sentences and tokens apart), peak_memory_bytes, peak_memory_since (`build`, or
      `process` where the system cannot say less), built (False if it was there), reason (what was
      built and why, in words).

    Raises:
      UsageError: if the options or the memory limit are impossible.
      CorpusError: if the corpus is empty or damaged, or recall is below the target.
    """
    started = time.perf_counter()
    memory = PeakMemory()
    engine = choose_engine(options.beam_args)
    if engine is not None:
        engine.check_there(root)
        root = absolute(root)
    corpus = CorpusView.open(root)
    with running_writer(corpus.store, "index") as writer:
        return _build(corpus.refresh(), options, memory, started, writer)


def _build(
    corpus: CorpusView, options: IndexOptions, memory: PeakMemory, started: float, writer: Writer
) -> dict[str, Any]:
    decision = plan_build(corpus, options)
    if decision.current is not None:
        return report(decision.current, built=False, reason="the index covers every segment")
    build = decision.build
    try:
        outcome = run_build(build, decision, options) if build.parts else Outcome()
        # Taken before recall is measured, which maps files: pages that the kernel takes back.
        peak = memory.bytes()
        manifest = _manifest(build, decision, outcome)
    finally:
        corpus.store.remove_tree(f"{build.directory}/scratch")
    manifest = _measured(manifest, corpus, decision, options)
    measured = {
        **manifest.measured,
        "seconds": _since(started),
        "peak_memory_bytes": peak,
        "peak_memory_since": memory.since,
    }
    manifest = replace(manifest, measured=measured)
    _check_recall(manifest, options)
    write_then_commit(corpus.store, manifest_path(build.index_id), manifest.to_json().encode())
    commit_index(corpus, build.index_id, writer.writer_id)
    return report(manifest, built=True, reason=decision.reason)


def run_build(build: Build, decision: BuildPlan, options: IndexOptions) -> Outcome:
    """Run the Beam pipeline over the parts of the new shards; returns what it made."""
    path = f"{build.directory}/scratch/outcome"
    engine = choose_engine(options.beam_args) or Engine(
        "FnApiRunner", tuple(with_runner(options.beam_args))
    )
    with engine.start() as flags:
        pipeline = beam.Pipeline(options=PipelineOptions(flags))
        _ = pipeline | "BuildShards" >> BuildShards(build, decision, path)
        try:
            pipeline.run().wait_until_finish()
        except Exception as error:
            raise engine_error(error, engine.name) from error
    with build.corpus.store.open(path) as file:
        return read_outcome(file, path)


class BuildShards(beam.PTransform):
    """Builds all new shards and writes an Outcome to a scratch file."""

    def __init__(self, build: Build, decision: BuildPlan, outcome_path: str) -> None:
        super().__init__()
        self._build, self._decision, self._path = build, decision, outcome_path

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        build, decision = self._build, self._decision
        settings = decision.settings
        parts = pipeline | "Parts" >> beam.Create(build.parts)
        measures = (
            parts
            | "SpreadParts" >> beam.Reshuffle()
            | "MeasureParts" >> beam.Map(_measure, build)
            | "GatherMeasures" >> beam.combiners.ToList()
        )
        layout = beam.pvalue.AsSingleton(measures | "LayOut" >> beam.Map(lay_out, build))
        fits = measures | "Fit" >> beam.Map(
            fit_tables, build, decision.fitted, settings["center"], settings["remove_components"]
        )
        fitted = beam.pvalue.AsSingleton(fits)
        shards = pipeline | "Shards" >> beam.Create(sorted(decision.shards))
        pieces = (
            parts
            | "TokenParts" >> beam.Filter(lambda part: part.table == "tokens")
            | "SpreadTokenParts" >> beam.Reshuffle()
            | "ScatterTokens" >> beam.FlatMap(_scatter, build, layout, fitted)
            | "GroupBuckets" >> beam.GroupByKey()
            | "SortBuckets" >> beam.Map(_sort, build, layout)
        )
        exact = [
            shards
            | "AssembleTokens" >> beam.Map(_assemble, beam.pvalue.AsList(pieces), build, layout),
            shards | "WriteDocuments" >> beam.Map(write_documents, build, layout),
            shards | "WriteSentences" >> beam.Map(_write_sentences, build, layout, fitted),
        ]
        files = exact | "AllExact" >> beam.Flatten()
        added = files | "AddApproximate" >> beam.FlatMap(_add, build, layout, fitted)
        return (
            (files, added)
            | "AllFiles" >> beam.Flatten()
            | "GatherFiles" >> beam.combiners.ToList()
            | "WriteOutcome" >> beam.Map(_write_outcome, build, layout, fitted, self._path)
        )


def fit_tables(
    measures: list[Measure],
    build: Build,
    known: dict[str, Fitted] | None,
    center: bool,
    remove_components: int,
) -> dict[str, Fitted]:
    """Learn both tables' centering and train their indexes, unless that is known already."""
    if known is not None:
        return known
    fitted = {}
    for table in TABLES:
        release_memory()
        fitted[table] = fit_table(
            measures, table, build, center=center, remove_components=remove_components
        )
    return fitted


def _measure(part: Any, build: Build) -> Measure:
    release_memory()
    return measure_part(part, build)


def _scatter(
    part: Any, build: Build, layout: dict[str, ShardLayout], fitted: dict[str, Fitted]
) -> Iterator[Any]:
    release_memory()
    for run in scatter_tokens(part, build, layout, fitted["tokens"].centering):
        yield from run.slices()


def _sort(grouped: Any, build: Build, layout: dict[str, ShardLayout]) -> Piece:
    release_memory()
    place, slices = grouped
    return sort_bucket(place, slices, build, layout)


def _assemble(
    shard: str, pieces: list[Any], build: Build, layout: dict[str, ShardLayout]
) -> ShardFiles:
    release_memory()
    mine = [piece for piece in pieces if piece.shard == shard]
    return assemble_tokens(shard, mine, build, layout)


def _write_sentences(
    shard: str, build: Build, layout: dict[str, ShardLayout], fitted: dict[str, Fitted]
) -> ShardFiles:
    release_memory()
    return write_sentences(shard, build, layout, fitted["sentences"].centering)


def _add(
    written: ShardFiles,
    build: Build,
    layout: dict[str, ShardLayout],
    fitted: dict[str, Fitted],
) -> Iterator[ShardFiles]:
    for table in TABLES:
        trained = fitted[table].trained
        if table in written.files and trained is not None:
            release_memory()
            exact = written.files[table]
            yield add_approximate(written.shard, table, exact, build, layout, trained)


def _write_outcome(
    files: list[ShardFiles],
    build: Build,
    layout: dict[str, ShardLayout],
    fitted: dict[str, Fitted],
    path: str,
) -> str:
    with writing(build, path) as file:
        write_outcome(file, layout, fitted, files)
    return path


# --- the manifest ------------------------------------------------------------------------------


def _manifest(build: Build, decision: BuildPlan, outcome: Outcome) -> IndexManifest:
    layout = outcome.shards
    fitted = outcome.fitted or decision.fitted
    assert fitted is not None
    files = merge_files(outcome.files)
    fresh = tuple(
        Shard(
            shard=name,
            segments=tuple(decision.shards[name]),
            rows=layout[name].rows,
            files=files[name],
        )
        for name in sorted(layout)
    )
    shards = (*decision.reused, *fresh)
    return IndexManifest(
        index_id=build.index_id,
        fingerprint=build.corpus.fingerprint,
        dim=build.dim,
        dtype=build.dtype,
        centering={table: known.centering.to_json() for table, known in fitted.items()},
        settings=dict(decision.settings),
        tables={
            table: {
                "factory": plan.factory.text,
                "rerank": RERANK if plan.factory.rerank else 1,
                "rows": sum(shard.rows[table] for shard in shards),
                "fitted_rows": fitted[table].rows,
                "trained": asdict(trained) if (trained := fitted[table].trained) else None,
                "held_out": asdict(build.held_out[table]),
                "effort": 0,
            }
            for table, plan in decision.plans.items()
        },
        shards=shards,
        forms=_write_forms(build, decision, layout),
        written_by=written_by(),
    )


def _write_forms(build: Build, decision: BuildPlan, layout: Mapping[str, ShardForms]) -> IndexFile:
    tables = [_kept_forms(build, decision)] if decision.base_forms else []
    for name, shard in layout.items():
        forms = shard.forms.to_pylist()
        columns = {
            "folded": [folded_form(form) for form in forms],
            "form": forms,
            "shard": [name] * len(forms),
            "first": (shard.counts.cumsum() - shard.counts).tolist(),
            "count": shard.counts.tolist(),
        }
        tables.append(pa.table(columns, schema=FORMS))
    merged = pa.concat_tables(tables).sort_by(
        [("folded", "ascending"), ("form", "ascending"), ("shard", "ascending")]
    )
    target = FinalFile(build, "forms.parquet")
    pq.write_table(
        merged,
        pa.PythonFile(target.writer, "w"),
        row_group_size=FORM_GROUP_ROWS,
        compression="zstd",
    )
    return target.finish()


def _kept_forms(build: Build, decision: BuildPlan) -> pa.Table:
    assert decision.base_forms is not None
    with build.corpus.store.open(decision.base_forms.path) as file:
        forms = pq.read_table(file)
    kept = pa.array([shard.shard for shard in decision.reused], pa.string())
    return forms.filter(pc.is_in(forms["shard"], kept)).cast(FORMS)


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 3)


def _measured(
    manifest: IndexManifest, corpus: CorpusView, decision: BuildPlan, options: IndexOptions
) -> IndexManifest:
    """Add what is measured of both tables: effort, recall, latencies."""
    opened = OpenIndex(corpus, manifest)
    measures: dict[str, TableMeasure] = {
        table: measure_table(
            opened,
            table,
            plan.factory,
            target_recall=options.target_recall,
            held_out=decision.build.held_out[table],
            seed=options.seed,
        )
        for table, plan in decision.plans.items()
    }
    tables = {
        table: {
            **manifest.tables[table],
            "effort": measure.effort,
            "recall_at_10": measure.recall_at_10,
            "recall_bound": measure.recall_bound,
            "recall_queries": measure.queries,
        }
        for table, measure in measures.items()
    }
    latency = {table: dict(measure.latency_ms) for table, measure in measures.items()}
    return replace(manifest, tables=tables, measured={"latency_ms": latency})


def _check_recall(manifest: IndexManifest, options: IndexOptions) -> None:
    for table, known in manifest.tables.items():
        if known["recall_bound"] < options.target_recall and not options.allow_low_recall:
            raise CorpusError(
                f"recall@10 over {table} is {known['recall_at_10']:.3f} with {known['factory']}"
                f" (at least {known['recall_bound']:.3f} with 95 % confidence, on"
                f" {known['recall_queries']} queries that were not trained on), below"
                f" --target-recall {options.target_recall}; nothing was committed: give more"
                " --max-memory, a --factory with more lists or larger codes, a lower target, or"
                " --allow-low-recall"
            )


def report(manifest: IndexManifest, *, built: bool, reason: str) -> dict[str, Any]:
    """Sum up an index for a person or a program; see `build_index`."""
    kind = "tokens" if manifest.tables["tokens"]["rows"] else "sentences"
    tables = {
        table: {
            "vectors": known["rows"],
            "factory": known["factory"],
            "recall_at_10": known["recall_at_10"],
            "recall_bound": known["recall_bound"],
            "recall_queries": known["recall_queries"],
            "latency_ms": manifest.measured["latency_ms"][table],
        }
        for table, known in manifest.tables.items()
    }
    return {
        "index_id": manifest.index_id,
        "built": built,
        "reason": reason,
        "vectors": sum(known["rows"] for known in manifest.tables.values()),
        "factory": tables[kind]["factory"],
        "recall_at_10": tables[kind]["recall_at_10"],
        "latency_ms": tables[kind]["latency_ms"],
        "seconds": manifest.measured["seconds"],
        "bytes": sum(file.bytes for file in _distinct(manifest.files())),
        "shards": len(manifest.shards),
        "peak_memory_bytes": manifest.measured["peak_memory_bytes"],
        "peak_memory_since": manifest.measured["peak_memory_since"],
        "settings": dict(manifest.settings),
        "tables": tables,
    }


def _distinct(files: Iterable[IndexFile]) -> list[IndexFile]:
    return list({file.path: file for file in files}.values())
