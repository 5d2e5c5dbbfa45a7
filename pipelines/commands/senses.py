"""sensegrep senses: the induced senses of a word, with what is typical of each."""

import argparse
import sys
from typing import Any

from pipelines.commands.output import harmless, print_json, say, shows_colour, terminal_columns
from pipelines.commands.wording import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sensegrep senses`."""
    parser.add_argument("word", metavar="WORD", help="a word of the corpus, without brackets")
    parser.add_argument("--corpus", required=True, metavar="DIR", help="path or URL of the corpus")
    parser.add_argument(
        "--fold-case", action="store_true", help="for bank, also find Bank and BANK"
    )
    parser.add_argument(
        "--inflections", action="store_true", help="for bank, also find banks and banking"
    )
    parser.add_argument(
        "--min-share",
        type=float,
        default=0.04,
        metavar="X",
        help="smallest share of the occurrences that is a sense, 0 to 0.5",
    )
    parser.add_argument(
        "--at-most", type=int, default=6, metavar="K", help="largest number of senses"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="split the word even if it has few occurrences or looks like one sense",
    )
    parser.add_argument("--json", action="store_true", help="print the senses as JSON")
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw a map of the occurrences, coloured by sense: FILE.png, or FILE.html to hover",
    )
    parser.add_argument(
        "--cache-dir", metavar="DIR", help="directory that keeps index files of a remote corpus"
    )


def prepare_process() -> None:
    """Start sooner: queries are encoded without PyTorch, so spaCy needs none either."""
    from pipelines.text.spacy_import import import_thinc_without_torch

    import_thinc_without_torch()


def execute(args: argparse.Namespace) -> int:
    """Induce the senses and print them."""
    from pipelines.corpus.view import CorpusView
    from pipelines.senses.lines import describe_senses
    from pipelines.senses.options import SenseOptions

    options = SenseOptions(min_share=args.min_share, at_most=args.at_most, force=args.force)
    described = describe_senses(
        CorpusView.open(args.corpus),
        args.word,
        fold_case=args.fold_case,
        inflections=args.inflections,
        options=options,
        cache_dir=args.cache_dir,
    )
    if args.plot is not None:
        from pipelines.senses.map import draw_map

        draw_map(described, args.plot)
    if args.json:
        print_json(described.to_json(), indent=1)
    else:
        print_senses(described)
    return 0


def _sure(found: Any) -> str:
    """Say how sure it is that the word has one sense, or several."""
    from pipelines.senses.induction import SAMPLE
    from pipelines.senses.options import needed_surety

    if found.rule.surety is None:
        return ""
    share = f"{found.rule.surety:.0%} of words with one sense and as many occurrences"
    needed = ""
    if len(found.senses) == 1:
        sample = min(sum(sense.size for sense in found.senses), SAMPLE)  # identical lines once
        needed = f" (split from {needed_surety(sample):.0%} on)"
    return f"; more clearly separated than {share}{needed}"


def print_senses(described: Any) -> None:
    """Print each sense with its size, label words and prototype lines."""
    from pipelines.search.kwic import Style, format_lines

    style = Style(columns=terminal_columns(), colour=shows_colour(sys.stdout))
    found = described.senses
    forms = ", ".join(f"{form} {count}" for form, count in found.forms.items())
    count = len(found.senses)
    say(f"{found.word}: {count} sense{'' if count == 1 else 's'} ({forms}){_sure(found)}")
    for sense in found.senses:
        quality = f", quality {sense.quality:.2f}" if count > 1 else ""
        head = f"[{sense.number}] {counted(sense.size, 'occurrence')} ({sense.share:.0%}{quality})"
        label = ", ".join(sense.labels) or "no typical words"
        print(style.sense(harmless(f"{head}: {label}"), sense.number))
        for line in format_lines(described.lines[sense.number], style):
            print("  " + line)
    for note in found.notes:
        say(f"note: {note}", sys.stderr)
