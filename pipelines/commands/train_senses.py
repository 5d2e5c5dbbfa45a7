"""`sensegrep train senses`: learn, without labels, how to tell senses apart with a model."""

import argparse
from functools import partial
from pathlib import Path

from pipelines.commands.devices import add_device
from pipelines.commands.progress import ProgressDisplay
from pipelines.commands.wording import counted
from pipelines.errors import UsageError

SUMMARY = "the settings that split words into senses, for a model; needs no labels"


def add_senses_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--model", required=True, metavar="MODEL", help="bundled name, or path of an ELMo model")
    add(
        "--input",
        nargs="+",
        required=True,
        metavar="FILE",
        help="text: one paragraph per line, an empty line between documents; .gz, .bz2, .xz and"
        " .zst"
        " are read too",
    )
    add(
        "--out",
        metavar="FILE",
        help="file to write (default: senses.safetensors in the model's directory)",
    )
    add("--max-tokens", type=int, default=10_000_000, metavar="N", help="tokens of text to read")
    add(
        "--single-sense",
        metavar="FILE",
        help="words that have one sense, separated by spaces (default for English: a bundled"
        " list; for"
        " other languages: words of the text at random, most of which have one)",
    )
    add(
        "--no-directions",
        action="store_true",
        help="do not learn directions: use the vectors unchanged",
    )
    add("--language", default="en", help="language of the text (ISO 639-1 code)")
    add_device(parser)
    add("--seed", type=int, default=1, metavar="N", help="seed of all random choices")


def train_senses(args: argparse.Namespace) -> int:
    """Run the command."""
    from elmo_infer import load
    from pipelines.reading.training_text import check_training_files, read_training_documents
    from pipelines.senses.constants import CONSTANTS_FILE, to_bytes
    from pipelines.senses.learning import (
        choose_single,
        choose_words,
        embed_places,
        learn_constants,
        random_words,
        read_text,
    )
    from pipelines.text.tokenizer import Tokenizer

    if args.max_tokens < 1:
        raise UsageError(f"--max-tokens is {args.max_tokens}; expected at least 1")
    check_training_files(args.input)
    out = _output(args, CONSTANTS_FILE)
    single = _single_words(args)
    tokenizer = Tokenizer(args.language)
    elmo = load(args.model, device=args.device)
    with ProgressDisplay() as display:
        text = read_text(
            read_training_documents(args.input, tokenizer),
            tokenizer.is_content,
            max_tokens=args.max_tokens,
            report=lambda d, t: display.show(f"reading text: {d:,} documents, {t:,} tokens"),
        )
        if single is None:
            single = random_words(text, args.seed)
        show = partial(_show, display, "embedding sentences")
        try:
            directed = None
            if not args.no_directions:
                words = choose_words(text, single, args.seed)
                directed = embed_places(elmo, text, words, tokenizer.is_content, show)
            chosen = choose_single(text, single, args.seed)
            of_single = embed_places(elmo, text, chosen, tokenizer.is_content, show)
            found = learn_constants(
                directed, of_single, seed=args.seed, report=partial(_show, display, "measuring")
            )
        except ValueError as error:
            read = f"{counted(text.documents, 'document')}, {text.tokens:,} tokens"
            without = "" if args.no_directions else "; --no-directions learns without documents"
            raise UsageError(f"{error} (read: {read}){without}") from error
    made_for = {
        "fingerprint": elmo.fingerprint,
        "layer_weights": [round(float(w), 6) for w in elmo.default_layer_weights],
        "pooling": "attention",
        "text": [Path(path).name for path in args.input],
        "max_tokens": args.max_tokens,
        "language": args.language,
        "seed": args.seed,
    }
    out.write_bytes(to_bytes(found, made_for))
    sizes = ", ".join(f"{size:.0f}" for size in found.table.sizes)
    print(
        f"read {text.tokens:,} tokens; {len(chosen)} words of one sense measured at {sizes}"
        f" occurrences; wrote {out}"
    )
    print("next: sensegrep senses WORD --corpus DIR, with a corpus of this model")
    return 0


def _output(args: argparse.Namespace, name: str) -> Path:
    from elmo_infer.reading import model_location

    if args.out is not None:
        out = Path(args.out)
        if not out.absolute().parent.is_dir():
            raise UsageError(
                f"--out {out}: there is no folder {out.absolute().parent}; create it, or give"
                " another path"
            )
        return out
    directory = Path(model_location(args.model))
    if not directory.is_dir():
        raise UsageError(
            f"--model {args.model} is not a local directory, so {name} cannot be written into"
            " it; give --out FILE"
        )
    return directory / name


def _single_words(args: argparse.Namespace) -> list[str] | None:
    from pipelines.senses.learning import bundled_single_words, parse_words

    if args.single_sense is not None:
        path = Path(args.single_sense)
        if not path.is_file():
            raise UsageError(f"--single-sense {path}: there is no such file")
        return parse_words(path.read_text(encoding="utf-8"))
    return bundled_single_words(args.language)


def _show(display: ProgressDisplay, doing: str, done: int, total: int) -> None:
    display.show(f"{doing}: {done:,} of {total:,}", done / max(1, total))
