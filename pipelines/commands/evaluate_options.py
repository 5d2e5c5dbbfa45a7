"""Options of `sensegrep evaluate`."""

import argparse
from pathlib import Path

from pipelines.commands.devices import add_device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="bundled name, directory, archive or word2vec file; NAME=MODEL shows it as NAME; "
        "several models are shown side by side",
    )
    from pipelines.evaluation.readers import SOURCES, TEXT_SET

    parser.add_argument(
        "--data",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder that holds the sets, each in its own folder, as its authors publish it: "
        + ", ".join(dict.fromkeys(f"{source.folder}/" for source in SOURCES.values())),
    )
    parser.add_argument(
        "--sets",
        type=_names,
        metavar="A,B",
        help=f"sets to score: {', '.join((*SOURCES, TEXT_SET))} (default: those in DIR of the"
        f" language, and with --text {TEXT_SET})",
    )
    parser.add_argument(
        "--text",
        nargs="+",
        metavar="FILE",
        help="text for the set single_sense: one paragraph per line, an empty line between"
        " documents; plain or .gz, .bz2, .xz, .zst",
    )
    parser.add_argument(
        "--single-sense",
        type=Path,
        metavar="FILE",
        help="words that have one sense, separated by spaces (default for English: a bundled list)",
    )
    parser.add_argument(
        "--language", default="en", help="language of the sets and of the tokenizer"
    )
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="score at most N occurrences per word, pairs per set, documents per collection",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument(
        "--layer-weights",
        type=_numbers,
        action="append",
        metavar="W,W,W",
        help="also score this layer mix, beside the model's own; may be given several times",
    )
    parser.add_argument(
        "--centerings",
        type=_names,
        default="raw,mean,mean-1,word",
        metavar="A,B",
        help="centerings to score: raw, mean, mean-R (also without the top R principal"
        " components), word",
    )
    parser.add_argument(
        "--poolings",
        type=_names,
        default="attention,mean,max",
        metavar="A,B",
        help="poolings to score on sentence sets: attention, mean, max",
    )
    add_device(parser)
    parser.add_argument(
        "--lowercase-fallback",
        action="store_true",
        help="static models: try a word's lower-cased form before calling it unknown",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file")
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="FILE",
        help="show the models of an earlier --json too, without scoring them again",
    )
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="OUT",
        help="folder to write the induced senses to, for other scorers: OUT/semcor_wsi.key with "
        "'row<TAB>sense' (rows from 0), OUT/semeval2013_wsi.key with 'lemma instance sense'",
    )
    parser.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="write a short table of all models to this file",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw static against contextual, per word"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of numbers such as 0.2,0.5,0.3"
        ) from None
