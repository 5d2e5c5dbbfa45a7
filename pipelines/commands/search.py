"""sensegrep search: occurrences of a word in the same sense first."""

import argparse
import csv
import json
import sys
from typing import Any, TextIO

from pipelines.commands.devices import add_device
from pipelines.commands.output import harmless, print_json, say, shows_colour, terminal_columns
from pipelines.commands.wording import counted

FOLD_LABELS = 4
# What spreadsheet programs take for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

RARE_OPTIONS = frozenset(
    (
        "--html",
        "--csv-safe",
        "--seed",
        "--sample",
        "--unfold",
        "--plain-ranking",
        "--cache-dir",
        "--unlike",
        "--min-score",
    )
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sensegrep search`."""
    parser.add_argument(
        "query",
        nargs="?",
        metavar="QUERY",
        help="a sentence with one word in [brackets] finds the word in the same sense; a sentence"
        " without brackets finds similar sentences",
    )
    parser.add_argument("--corpus", required=True, metavar="DIR", help="path or URL of the corpus")
    parser.add_argument("--k", type=int, default=10, help="lines to show")
    scope = parser.add_argument_group("what is searched")
    scope.add_argument("--fold-case", action="store_true", help="for bank, also find Bank and BANK")
    scope.add_argument(
        "--inflections", action="store_true", help="for bank, also find banks and banking"
    )
    scope.add_argument(
        "--any-word", action="store_true", help="search all words, by their vectors alone"
    )
    scope.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only documents with this metadata; may be repeated",
    )
    scope.add_argument("--sense", type=int, metavar="N", help="show only this sense of the word")
    scope.add_argument(
        "--min-score", type=float, metavar="S", help="leave out lines with a lower score"
    )
    scope.add_argument(
        "--like",
        action="append",
        type=int,
        default=[],
        metavar="VECTOR_ID",
        help="instead of a query: lines similar to this one; may be repeated",
    )
    scope.add_argument(
        "--unlike",
        action="append",
        type=int,
        default=[],
        metavar="VECTOR_ID",
        help="with --like: lines that are not similar to this one",
    )
    scope.add_argument(
        "--sample", type=int, metavar="N", help="show N random lines of the K nearest"
    )
    scope.add_argument("--seed", type=int, default=0, help="seed of --sample")
    scope.add_argument(
        "--plain-ranking",
        action="store_true",
        help="score each occurrence alone, not together with the occurrences similar to it",
    )
    shown = parser.add_argument_group("what is shown")
    shown.add_argument(
        "--context",
        default="s",
        metavar="L:R",
        help="tokens left and right of the word, such as 5:10; s is the whole sentence",
    )
    shown.add_argument(
        "--sort",
        default="score",
        metavar="KEY",
        help="order of lines: score, document, or words to the left (1L to 3L) or right (1R to 3R)",
    )
    shown.add_argument("--no-senses", action="store_true", help="do not show senses")
    shown.add_argument(
        "--unfold",
        action="store_true",
        help="show identical sentences one by one; by default they are one line with their count",
    )
    shown.add_argument(
        "--explain",
        action="store_true",
        help="show sentences, words shaded by their weight in the vector",
    )
    shown.add_argument(
        "--html", metavar="FILE", help="with --explain: write the shaded sentences as an HTML page"
    )
    output = shown.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print the hits as JSON")
    output.add_argument("--csv", action="store_true", help="print the hits as CSV")
    shown.add_argument(
        "--csv-safe",
        action="store_true",
        help="with --csv: write an apostrophe before text that begins with = + - @, so that"
        " spreadsheets do not read it as a formula",
    )
    where = parser.add_argument_group("model and files")
    where.add_argument(
        "--model", metavar="PATH", help="path of the corpus's model, if it has moved"
    )
    add_device(where, "encodes the query: auto (the CPU, without PyTorch), cpu, cuda or cuda:N")
    where.add_argument(
        "--cache-dir", metavar="DIR", help="directory that keeps index files of a remote corpus"
    )


def prepare_process() -> None:
    """Start sooner: queries are encoded without PyTorch, so spaCy needs none either."""
    from pipelines.text.spacy_import import import_thinc_without_torch

    import_thinc_without_torch()


def execute(args: argparse.Namespace) -> int:
    """Search and print."""
    from pipelines.api import Corpus, open_searcher
    from pipelines.errors import UsageError
    from pipelines.search.options import SearchOptions, parse_context, parse_filters

    if args.csv_safe and not args.csv:
        raise UsageError("--csv-safe changes what --csv writes; give --csv too")

    if (args.query is None) == (not args.like):
        raise UsageError(
            "give either a query, such as 'They sat on the [bank]', or --like VECTOR_ID"
        )
    if args.html is not None and not args.explain:
        raise UsageError("--html writes what --explain shows; give --explain too")
    if args.unlike and not args.like:
        raise UsageError("--unlike needs --like VECTOR_ID too")
    left, right = parse_context(args.context)
    options = SearchOptions(
        k=args.k,
        any_word=args.any_word,
        fold_case=args.fold_case,
        inflections=args.inflections,
        filters=parse_filters(args.filter),
        min_score=args.min_score,
        sense=args.sense,
        senses=not args.no_senses,
        left=left,
        right=right,
        sort=args.sort,
        sample=args.sample,
        seed=args.seed,
        plain_ranking=args.plain_ranking,
        unfold=args.unfold,
    )
    searcher = open_searcher(
        Corpus.open(args.corpus), model=args.model, device=args.device, cache_dir=args.cache_dir
    )
    if args.like:
        hits = searcher.like(args.like, options, unlike=args.unlike)
    else:
        hits = searcher.search(args.query, options)
    if args.html is not None:
        from pathlib import Path

        from pipelines.search.explain import explain_page

        Path(args.html).write_text(explain_page(hits.query, hits), encoding="utf-8")
    if args.json:
        print_json(hits.to_json(), indent=1)
    elif args.csv:
        write_csv(hits, sys.stdout, safe=args.csv_safe)
    else:
        print_hits(hits, explain=args.explain)
    return 0


def write_csv(hits: Any, file: TextIO, *, safe: bool = False) -> None:
    """Write a row a hit, with a head; metadata as JSON. Notes go to standard error.

    Args:
      hits: of a search.
      file: to write to; on a terminal nothing of a text commands it.
      safe: spreadsheets must read no text as a formula.
    """
    columns = ["score", "vector_id", "doc_id", "sentence_index", "token_index", "left", "node"]
    columns += ["right", "sense", "metadata"]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for hit in hits:
        fields = {**hit.to_json(), "metadata": json.dumps(dict(hit.metadata), ensure_ascii=False)}
        writer.writerow([_cell(fields[name], safe, file.isatty()) for name in columns])
    _print_notes(hits)


def _cell(value: Any, safe: bool, terminal: bool) -> Any:
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = harmless(value) if terminal else value
    return f"'{text}" if safe and text.startswith(_FORMULA_STARTS) else text


def print_hits(hits: Any, *, explain: bool = False) -> None:
    """Print concordance lines, or sentences shaded, and below them the word's senses."""
    from pipelines.search.explain import explain_lines
    from pipelines.search.kwic import Style, format_lines, format_sentences

    style = Style(columns=terminal_columns(), colour=shows_colour(sys.stdout))
    by_word = any(hit.token_index is not None for hit in hits)
    if explain:
        lines = explain_lines(hits, style)
    else:
        lines = format_lines(hits, style) if by_word else format_sentences(hits, style)
    for line in lines:
        print(line)
    for line in fold(hits, style):
        print(line)
    _print_notes(hits)


def fold(hits: Any, style: Any) -> list[str]:
    """Say below the lines what they were chosen from: forms, senses, counts."""
    lines: list[str] = []
    if hits.word is None or not hits:
        return lines
    forms = ", ".join(f"{form} {count}" for form, count in list(hits.forms.items())[:6])
    lines.append(f"-- {len(hits)} of {hits.compared} compared" + (f" ({forms})" if forms else ""))
    senses = () if hits.senses is None else hits.senses.senses
    if len(senses) < 2:
        return lines
    for sense in senses:
        shown = sum(hit.sense == sense.number for hit in hits)
        label = ", ".join(sense.labels[:FOLD_LABELS]) or "no typical words"
        text = (
            f"   [{sense.number}] {counted(sense.size, 'occurrence')} ({sense.share:.0%}): {label}"
        )
        lines.append(style.sense(text, sense.number) + (f"  <- {shown} above" if shown else ""))
    return lines


def _print_notes(hits: Any) -> None:
    for note in hits.notes:
        say(f"note: {note}", sys.stderr)
