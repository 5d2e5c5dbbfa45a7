"""sensegrep index: build or extend the FAISS indexes of a corpus."""

import argparse
import json
from typing import Any

from pipelines.commands.embed import beam_args
from pipelines.commands.wording import counted

accepts_beam_flags = True
RARE_OPTIONS = frozenset(
    ("--factory", "--seed", "--center", "--remove-components", "--word-center", "--sentence-weight",
     "--context-weight")
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sensegrep index`."""
    parser.add_argument("--corpus", required=True, metavar="DIR", help="path or URL of the corpus")
    parser.add_argument(
        "--max-memory",
        default="2G",
        metavar="SIZE",
        help="peak memory of the process during the build, such as 4G",
    )
    parser.add_argument(
        "--target-recall",
        type=float,
        default=0.9,
        metavar="R",
        help="recall@10 against exact search that the index must reach",
    )
    parser.add_argument(
        "--allow-low-recall",
        action="store_true",
        help="commit an index whose recall is below the target, instead of failing",
    )
    parser.add_argument(
        "--factory",
        metavar="STRING",
        help="FAISS factory string of the indexes for --any-word and for sentences, such as"
        " HNSW32,SQfp16 (default: chosen by size and memory)",
    )
    parser.add_argument("--rebuild", action="store_true", help="build the whole index again")
    parser.add_argument("--seed", type=int, default=0, help="seed of samples and of training")
    parser.add_argument(
        "--runner",
        metavar="NAME",
        help="engine that builds it: PrismRunner, PortableRunner, FlinkRunner or DataflowRunner;"
        " Beam's own flags may follow, as --flag=value (default: this process)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    vectors = parser.add_argument_group(
        "what is compared", "a setting that is not given stays as in the existing index"
    )
    vectors.add_argument(
        "--center",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="subtract the mean vector before vectors are normalised",
    )
    vectors.add_argument(
        "--remove-components",
        type=int,
        metavar="N",
        help="also remove the top N principal components",
    )
    vectors.add_argument(
        "--word-center",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="subtract the word's own mean before its occurrences are compared",
    )
    vectors.add_argument(
        "--sentence-weight",
        type=float,
        metavar="W",
        help="share of the sentence vector in the similarity of two occurrences, 0 to 1; not"
        " used by search --any-word",
    )
    vectors.add_argument(
        "--context-weight",
        type=float,
        metavar="W",
        help="share of the surrounding words in the score of an occurrence, 0 to 1; the rest is"
        " the similarity of vectors; not used by search --any-word",
    )


def execute(args: argparse.Namespace) -> int:
    """Build the index and print what was built and measured."""
    from pipelines.embed.jobs.beam_flags import quieten

    quieten(args.verbose)  # before Beam is imported, which remarks on packages that are not there
    from pipelines.index.build import build_index
    from pipelines.index.options import IndexOptions, parse_size

    options = IndexOptions(
        max_memory_bytes=parse_size(args.max_memory),
        target_recall=args.target_recall,
        allow_low_recall=args.allow_low_recall,
        factory=args.factory,
        center=args.center,
        remove_components=args.remove_components,
        word_center=args.word_center,
        sentence_weight=args.sentence_weight,
        context_weight=args.context_weight,
        rebuild=args.rebuild,
        seed=args.seed,
        beam_args=tuple(beam_args(args)),
    )
    report = build_index(args.corpus, options)
    print(json.dumps(report, indent=1) if args.json else format_report(report))
    return 0


def format_report(report: dict[str, Any]) -> str:
    """Say in a few lines what an index is and how good it is."""
    since = "" if report["peak_memory_since"] == "build" else " (of the whole process)"
    done = "built" if report["built"] else "up to date"
    lines = [
        f"index {report['index_id']} {done}: {report['reason']}",
        f"  {counted(report['vectors'], 'vector')} in {counted(report['shards'], 'shard')},"
        f" {report['bytes'] / 1e6:.1f} MB, built in {report['seconds']:.1f} s,"
        f" peak memory {report['peak_memory_bytes'] / 1e6:.0f} MB{since}",
    ]
    for table, known in sorted(report["tables"].items(), reverse=True):
        latency = known["latency_ms"]
        measured = ""
        if known["recall_queries"]:
            measured = (
                f" (at least {known['recall_bound']:.3f}, on {known['recall_queries']} vectors not"
                " trained on)"
            )
        lines.append(
            f"  {table}: {counted(known['vectors'], 'vector')}, {known['factory']},"
            f" recall@10 {known['recall_at_10']:.3f}{measured},"
            f" time of a search over all vectors: median {_milliseconds(latency['p50'])},"
            f" 99th percentile {_milliseconds(latency['p99'])}"
        )
    return "\n".join(lines)


def _milliseconds(value: float) -> str:
    return f"{value:.1f} ms" if value >= 0.05 else "under 0.1 ms"
