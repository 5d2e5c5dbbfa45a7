"""`sensegrep info --corpus DIR`: what a corpus holds."""

import argparse
from typing import TYPE_CHECKING, Any

from pipelines.commands.output import print_json, say
from pipelines.commands.wording import counted
from pipelines.reading.documents import record_place

if TYPE_CHECKING:
    from pipelines.corpus.view import CorpusView


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--corpus", required=True, metavar="DIR", help="path or URL")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--rejects", action="store_true", help="list what was rejected, with reason and place"
    )


def execute(args: argparse.Namespace) -> int:
    """Print the facts."""
    from pipelines.corpus.view import CorpusView

    corpus = CorpusView.open(args.corpus)
    facts = describe(corpus)
    if args.rejects:
        facts["rejects_listed"] = [
            row for batch in corpus.read("rejects") for row in batch.to_pylist()
        ]
    if args.json:
        print_json(facts)
    else:
        _print(facts)
    return 0


def describe(corpus: "CorpusView") -> dict[str, Any]:
    """Return what a corpus holds: counts of live rows, settings, segments, bytes."""
    reasons: dict[str, int] = {}
    for batch in corpus.read("rejects", ["reason"]):
        for reason in batch.column("reason").to_pylist():
            reasons[reason] = reasons.get(reason, 0) + 1
    parts = [
        part for segment in corpus.segments for files in segment.parts.values() for part in files
    ]
    snapshot = corpus.snapshot
    return {
        "corpus": corpus.root,
        "snapshot": snapshot.number,
        "created": snapshot.created,
        "operation": snapshot.operation,
        "index": snapshot.index,
        "stream": None if snapshot.stream is None else snapshot.stream.to_fields(),
        **corpus.live_counts(),
        "reject_reasons": reasons,
        "tombstones": sum(len(ids) for ids in corpus.tombstones.values()),
        "purge_pending": snapshot.purge is not None,
        "bytes": sum(part.bytes for part in parts),
        "files": len(parts),
        "settings": _settings(corpus),
        "segments": [
            {
                "segment_id": segment.segment_id,
                "fingerprint": segment.fingerprint,
                **segment.counts,
                "compacted_from": list(segment.compacted_from),
            }
            for segment in corpus.segments
        ],
    }


def _settings(corpus: "CorpusView") -> list[dict[str, Any]]:
    """Return the distinct settings that live segments were made with; usually one."""
    found: dict[str, dict[str, Any]] = {}
    for segment in corpus.segments:
        found.setdefault(
            segment.recipe,
            {
                "model": dict(segment.model),
                "dim": segment.dim,
                "fingerprint": segment.fingerprint,
                **segment.options,
            },
        )
    return list(found.values())


def _print(facts: dict[str, Any]) -> None:
    say(f"corpus       {facts['corpus']}")
    say(
        f"snapshot     {facts['snapshot']}, by {facts['operation']}, {facts['created']};"
        f" {counted(len(facts['segments']), 'segment')}"
    )
    say(f"documents    {facts['documents']:,}")
    say(f"sentences    {facts['sentences']:,}")
    say(f"tokens       {facts['tokens']:,}")
    rejects = ", ".join(f"{count:,} {reason}" for reason, count in facts["reject_reasons"].items())
    say(f"rejects      {facts['rejects']:,}{f' ({rejects})' if rejects else ''}")
    if facts["tombstones"]:
        deleted = counted(facts["tombstones"], "document")
        say(
            f"tombstones   {deleted}; to drop their rows: sensegrep compact --corpus"
            f" {facts['corpus']}"
        )
    if facts["purge_pending"]:
        say(
            "purge        not finished: rows of deleted documents may be on the disk; run:"
            f" sensegrep delete --purge --corpus {facts['corpus']}"
        )
    say(
        f"on disk      {_size(facts['bytes'])} in {counted(facts['files'], 'file')}, without"
        " indexes"
    )
    build = f"none; build one with: sensegrep index --corpus {facts['corpus']}"
    say(f"index        {facts['index'] or build}")
    _print_stream(facts["stream"])
    for settings in facts["settings"]:
        weights = ", ".join(f"{weight:.3g}" for weight in settings["layer_weights"])
        tokenizer = settings["tokenizer"]
        say(f"model        {settings['model']['name']}, {settings['dim']} numbers per vector")
        say(f"  layers     {weights}; pooling {settings['pooling']}")
        say(f"  tokens     {settings['tokens']}, stored as {settings['vector_dtype']}")
        say(f"  tokenizer  {tokenizer['name']}, {tokenizer['language']}")
        say(f"  vectors    fingerprint {settings['fingerprint'][:16]}")
    for row in facts.get("rejects_listed", ()):
        sentence = "" if row["sentence_index"] is None else f" sentence {row['sentence_index']}"
        name = "" if row["doc_id"] is None else f" {row['doc_id']}{sentence}"
        place = record_place(row["uri"], row["position"])
        say(f"{place}:{name} {row['reason']}: {row['detail']}")


def _print_stream(stream: dict[str, Any] | None) -> None:
    if stream is None:
        return
    positions = sorted(stream["positions"].items(), key=lambda item: (len(item[0]), item[0]))
    listed = ", ".join(f"{name}: {position:,}" for name, position in positions[:8])
    more = f" and {len(positions) - 8:,} more" if len(positions) > 8 else ""
    say(f"stream       {stream['source_id']}, epoch {stream['epoch']}")
    say(f"  positions  {listed}{more}")
    if stream["lag"]:
        records, seconds = stream["lag"]["records"], stream["lag"]["seconds"]
        say(f"  lag        {counted(records, 'record')}, {seconds:,.1f} s at the last commit")


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
