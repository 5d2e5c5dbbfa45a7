"""Plan an index build: which segments are new, what is kept, how much memory it needs.

An index keeps the shards of the one before it and adds one for what is new. It is built anew when
settings change, when it has outgrown what it was trained on, or when many of its documents are
deleted. A shard of which a tenth is in no live segment is built again. When there are many small
shards, the smallest are merged with what is new: a large shard is not built again for them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.corpus.view import CorpusView
from pipelines.errors import CorpusError, UsageError
from pipelines.index.centering import Centering
from pipelines.index.factory import parse_factory
from pipelines.index.fit import Fitted
from pipelines.index.format import IndexFile, IndexManifest, Shard, open_manifest
from pipelines.index.options import DEFAULT_SETTINGS, IndexOptions
from pipelines.index.parts import Build, HeldOut, shard_parts
from pipelines.index.shard_merging import staying_shards
from pipelines.index.sizing import PROCESS_BYTES, IndexPlan, plan_index
from schemas import Segment

TABLES = {"sentences": "sentences", "tokens": "token_vectors"}  # and the count of each
MAX_DELETED_SHARE = 0.3
# Of the sentences of one shard: a search reads the others too, before it leaves them out.
MAX_SHARD_DELETED_SHARE = 0.1
OUTGROWN = 3  # times the vectors it was fitted to
CENTERING_ROWS = 100_000
# Vectors that an approximate index is not trained on, but measured with; few of a small table.
HELD_OUT_ROWS = 2000
HELD_OUT_SHARE = 0.05
CHUNK_BYTES = (8 << 20, 256 << 20)


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What a build does.

    Attributes:
      current: the index in place, if there is nothing to do.
      build: of the new shards.
      reused: shards of the index in place that stay.
      shards: new shards, with the ids of their segments.
      plans: for sentences and tokens.
      fitted: what the index in place has learned, if the new shards follow it.
      settings: of the index.
      base_forms: file of forms of the index in place.
      reason: why everything is built anew, or what is added; in words.
    """

    current: IndexManifest | None
    build: Build
    reused: tuple[Shard, ...]
    shards: Mapping[str, tuple[str, ...]]
    plans: Mapping[str, IndexPlan]
    fitted: Mapping[str, Fitted] | None
    settings: Mapping[str, Any]
    base_forms: IndexFile | None
    reason: str


def plan_build(corpus: CorpusView, options: IndexOptions) -> BuildPlan:
    """Decide what to build.

    Raises:
      UsageError: if the memory limit or the factory is impossible.
      CorpusError: if the corpus is empty, or the index in place is damaged.
    """
    fingerprint = corpus.fingerprint
    segments = tuple(segment for segment in corpus.segments if segment.counts["sentences"])
    if not segments:
        raise CorpusError(
            f"the corpus at {corpus.root} has no sentences, so there is nothing to index;"
            " embed documents into it first"
        )
    base = None
    if corpus.snapshot.index is not None and not options.rebuild:
        base = open_manifest(corpus, corpus.snapshot.index)
    settings = _settings(options, base)
    dtype = str(segments[0].options["vector_dtype"])
    plans = _plans(segments, options, settings, dtype)
    anew = "it is the first"
    if options.rebuild:
        anew = "--rebuild was given"
    if base is not None:
        anew = _why_anew(base, fingerprint, dtype, settings, plans, segments)
    reused: tuple[Shard, ...] = ()
    if base is not None and not anew:
        reused = _unmerged(_kept_shards(base, segments), base, segments, plans["tokens"].shard_rows)
    kept = {segment_id for shard in reused for segment_id in shard.segments}
    fresh = [segment for segment in segments if segment.segment_id not in kept]
    first = 0 if not reused else 1 + max(int(shard.shard) for shard in reused)
    shards = _group(fresh, first, plans["tokens"].shard_rows)
    fitted = _fitted(base) if reused and base is not None else None
    index_id = _index_id(corpus, fingerprint, reused, shards, settings, plans, options.seed)
    current = base if reused and not fresh and base and base.settings == settings else None
    if current is not None and len(reused) < len(current.shards):
        current = None
    parts = [p for name, ids in shards.items() for p in shard_parts(name, corpus, ids)]
    return BuildPlan(
        current=current,
        build=Build(
            corpus=corpus,
            index_id=index_id,
            dim=segments[0].dim,
            dtype=dtype,
            parts=tuple(parts),
            sample_rates={} if fitted else _sample_rates(fresh, plans, options),
            held_out=_held_out(base) if fitted and base else _new_held_out(plans, fresh, options),
            chunk_bytes=_chunk_bytes(options),
            factories={
                table: None if plan.factory.exact else plan.factory for table, plan in plans.items()
            },
            seed=options.seed,
        ),
        reused=reused,
        shards=shards,
        plans=plans,
        fitted=fitted,
        settings=settings,
        base_forms=base.forms if reused and base is not None else None,
        reason=f"complete build: {anew}" if anew else _addition(base, reused, segments),
    )


def _settings(options: IndexOptions, base: IndexManifest | None) -> dict[str, Any]:
    settings = {**DEFAULT_SETTINGS, **(base.settings if base is not None else {})}
    for name in settings:
        if getattr(options, name) is not None:
            settings[name] = getattr(options, name)
    return settings


def _plans(
    segments: Sequence[Segment], options: IndexOptions, settings: Mapping[str, Any], dtype: str
) -> dict[str, IndexPlan]:
    rows = {t: sum(segment.counts[c] for segment in segments) for t, c in TABLES.items()}
    factory = settings["factory"]
    least = parse_factory(factory, segments[0].dim).least_rows if factory else 0
    if least:  # of which some are held out: this leaves enough with all but certainty
        least = round(least * (1 + 2 * HELD_OUT_SHARE)) + 16
    if max(rows.values()) < least:
        raise UsageError(
            f"--factory {factory} needs at least {least} vectors for training and measuring, but"
            " the"
            f" corpus has {rows['tokens']} of tokens and {rows['sentences']} of sentences; give"
            " a factory with fewer lists, or leave --factory out"
        )
    # The larger table first: what it needs is what a limit has to be raised to.
    return {
        table: plan_index(
            count,
            segments[0].dim,
            max_memory_bytes=options.max_memory_bytes,
            value_bytes=2 if dtype == "float16" else 4,
            # A table too small for the factory asked for is scanned exactly; the report says so.
            factory=factory if count >= least else None,
            shard_rows=options.shard_rows,
        )
        for table, count in sorted(rows.items(), key=lambda item: -item[1])
    }


def _why_anew(
    base: IndexManifest,
    fingerprint: str,
    dtype: str,
    settings: Mapping[str, Any],
    plans: Mapping[str, IndexPlan],
    segments: Sequence[Segment],
) -> str:
    """Say why the shards in place cannot be kept; an empty string if they can."""
    if base.fingerprint != fingerprint or base.dtype != dtype:
        return "the corpus was embedded anew with other settings"
    if any("lengths" not in shard.files for shard in base.shards):
        return "the existing index has an older format"
    for name in ("center", "remove_components", "factory"):
        if base.settings[name] != settings[name]:
            return f"{name} changes from {base.settings[name]} to {settings[name]}"
    for table, plan in plans.items():
        known = base.tables[table]
        rows = sum(segment.counts[TABLES[table]] for segment in segments)
        if known["factory"] != plan.factory.text and rows > OUTGROWN * known["rows"]:
            return f"{rows} {table} need {plan.factory.text}, not {known['factory']}"
        # A full sample is small only because the corpus was.
        if known["fitted_rows"] < CENTERING_ROWS and rows > OUTGROWN * max(known["rows"], 1):
            return f"{rows} {table} are over {OUTGROWN} times the {known['rows']} it was fitted to"
    total = sum(shard.rows["sentences"] for shard in base.shards)
    alive = sum(_live_sentences(shard, segments) for shard in base.shards)
    if alive < (1 - MAX_DELETED_SHARE) * total:
        return f"only {alive} of its {total} sentences are in live segments"
    kept = _kept_shards(base, segments)
    if not kept:
        return f"each of its shards has over {MAX_SHARD_DELETED_SHARE:.0%} in no live segment"
    return ""


def _live_sentences(shard: Shard, segments: Sequence[Segment]) -> int:
    covered = set(shard.segments)
    return sum(s.counts["sentences"] for s in segments if s.segment_id in covered)


def _kept_shards(base: IndexManifest, segments: Sequence[Segment]) -> tuple[Shard, ...]:
    """Return the shards that stay; the live segments of the others are indexed again."""
    least = 1 - MAX_SHARD_DELETED_SHARE
    return tuple(
        shard
        for shard in base.shards
        if (live := _live_sentences(shard, segments)) and live >= least * shard.rows["sentences"]
    )


def _unmerged(
    kept: tuple[Shard, ...], base: IndexManifest, segments: Sequence[Segment], shard_rows: int
) -> tuple[Shard, ...]:
    """Return the shards that stay: all if nothing is added, or those that are not merged."""
    if not {segment.segment_id for segment in segments} - set(base.segments):
        return kept
    rows = [max(shard.rows.values()) for shard in kept]
    return tuple(kept[place] for place in staying_shards(rows, shard_rows))


def _addition(
    base: IndexManifest | None, reused: Sequence[Shard], segments: Sequence[Segment]
) -> str:
    """Say in words what is added to an index."""
    assert base is not None
    live, kept = {s.segment_id for s in segments}, {s for shard in reused for s in shard.segments}
    fresh = len(live - set(base.segments))
    again = len(live & set(base.segments) - kept)
    return f"{fresh} new segments" + (
        f", {again} of shards that are merged or have deleted segments" if again else ""
    )


def _fitted(base: IndexManifest) -> dict[str, Fitted]:
    return {
        table: Fitted(
            centering=Centering.from_json(dict(base.centering[table])),
            trained=IndexFile(**known["trained"]) if known["trained"] else None,
            rows=known["fitted_rows"],
        )
        for table, known in base.tables.items()
    }


def _held_out(base: IndexManifest) -> dict[str, HeldOut]:
    return {table: HeldOut(**known["held_out"]) for table, known in base.tables.items()}


def _new_held_out(
    plans: Mapping[str, IndexPlan], segments: Sequence[Segment], options: IndexOptions
) -> dict[str, HeldOut]:
    held_out = {}
    for table, count in TABLES.items():
        rows = sum(segment.counts[count] for segment in segments)
        share = min(HELD_OUT_SHARE, HELD_OUT_ROWS / max(rows, 1))
        share = 0.0 if plans[table].factory.exact else share
        held_out[table] = HeldOut(share=share, seed=options.seed)
    return held_out


def _group(segments: Sequence[Segment], first: int, shard_rows: int) -> dict[str, tuple[str, ...]]:
    """Put consecutive segments into shards of at most `shard_rows` token vectors.

    A segment is never split: one that is larger has a shard of its own.
    """
    groups: list[list[Segment]] = []
    held = 0
    for segment in segments:
        rows = max(segment.counts["token_vectors"], segment.counts["sentences"])
        if not groups or held + rows > shard_rows:
            groups.append([])
            held = 0
        groups[-1].append(segment)
        held += rows
    return {
        f"{first + number:05d}": tuple(segment.segment_id for segment in group)
        for number, group in enumerate(groups)
    }


def _sample_rates(
    segments: Sequence[Segment], plans: Mapping[str, IndexPlan], options: IndexOptions
) -> dict[str, float]:
    free = options.max_memory_bytes - PROCESS_BYTES
    most = max(1000, free // 4 // (4 * segments[0].dim)) if segments else 1
    rates = {}
    for table, count in TABLES.items():
        rows = sum(segment.counts[count] for segment in segments)
        wanted = min(most, max(CENTERING_ROWS, plans[table].train_rows))
        rates[table] = min(1.0, wanted / max(rows, 1))
    return rates


def _chunk_bytes(options: IndexOptions) -> int:
    # The sort holds a chunk, its sorted copy, and its bytes on the way to the file.
    free = options.max_memory_bytes - PROCESS_BYTES
    return min(max(free // 6, CHUNK_BYTES[0]), CHUNK_BYTES[1])


def _index_id(
    corpus: CorpusView,
    fingerprint: str,
    reused: Sequence[Shard],
    shards: Mapping[str, tuple[str, ...]],
    settings: Mapping[str, Any],
    plans: Mapping[str, IndexPlan],
    seed: int,
) -> str:
    """Name an index by what decides its contents."""
    decides = {
        "fingerprint": fingerprint,
        "reused": [sorted(file.sha256 for file in shard.files.values()) for shard in reused],
        "shards": dict(shards),
        "settings": dict(settings),
        "factories": {table: plan.factory.text for table, plan in plans.items()},
        "tombstones": list(corpus.snapshot.tombstones),
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
