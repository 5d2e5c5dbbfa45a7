"""`sensegrep train`: pretrain a biLM, or train one of the static baselines."""

import argparse
import shlex
import sys
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipelines.commands.bilm_options import (
    add_bilm_arguments,
    add_precision,
    bilm_options,
    choose_precision,
    model_to_start_from,
    teacher_directory,
    teaching_options,
)
from pipelines.commands.help_examples import epilog_of
from pipelines.commands.help_format import CommandParser, HelpFormatter
from pipelines.commands.progress import ProgressDisplay, duration
from pipelines.commands.train_mean import MEAN_SUMMARY, add_mean_arguments, train_mean
from pipelines.commands.train_senses import SUMMARY, add_senses_arguments, train_senses
from pipelines.commands.wording import counted
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from elmo_infer.config import BiLmConfig
    from elmo_infer.training.checkpoint import PretrainOptions
    from elmo_infer.training.epoch_progress import EpochProgress
    from elmo_infer.training.pretrain import TrainingProgress
    from elmo_infer.training.token_store import TokenStore
    from elmo_infer.training.word_distillation import LessonProgress

KINDS = {
    "elmo": "a bidirectional language model (ELMo), alone or from a teacher",
    "cbow": "word2vec vectors by continuous bag of words",
    "skip-gram": "word2vec vectors by skip-gram",
    "nnlm": "the neural language model of Bengio et al. 2003",
    "mean": MEAN_SUMMARY,
    "senses": SUMMARY,
}


# Of `train elmo`: what only --help-all shows.
RARE_ELMO_OPTIONS = frozenset(
    ("--shares", "--max-tokens", "--lowercase-share", "--steps", "--tokens-per-batch", "--samples",
     "--learning-rate", "--vocabulary", "--precision", "--weights-dtype", "--checkpoint-minutes",
     "--processes", "--lowercase-each-pass", "--layer-weights", "--word-epochs", "--review-words",
     "--freeze-token-layer", "--fading-cells", "--filters", "--highways", "--teacher-layers",
     "--teacher-sentence", "--teacher-share", "--teacher-weight", "--teacher-loss", "--fold-case",
     "--seed", "--projection", "--layers")
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare a subcommand for each kind of model."""
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for kind, summary in KINDS.items():
        subparser = kinds.add_parser(
            kind,
            help=summary,
            description=f"Train {summary}.",
            epilog=epilog_of(f"train {kind}"),
            formatter_class=HelpFormatter,
        )
        if kind == "senses":
            add_senses_arguments(subparser)
            continue
        if kind == "mean":
            add_mean_arguments(subparser)
            continue
        _add_text_arguments(subparser, input_required=kind != "elmo")
        if kind == "elmo":
            add_bilm_arguments(subparser)
            if isinstance(subparser, CommandParser):
                subparser.show_rare_only_on_demand(RARE_ELMO_OPTIONS)
        else:
            _add_static_arguments(subparser)
        if kind == "nnlm":
            add_precision(subparser)


def _add_text_arguments(parser: argparse.ArgumentParser, *, input_required: bool) -> None:
    add = parser.add_argument
    add(
        "--input",
        nargs="+",
        metavar="FILE",
        required=input_required,
        help="training text: one paragraph per line, an empty line between documents; .gz, .bz2, "
        ".xz and .zst are read too",
    )
    add("--out", required=True, metavar="DIR", help="directory of the model; created if missing")
    add(
        "--shares",
        type=float,
        nargs="+",
        metavar="X",
        help="documents to take from each input in turn; equal if not given",
    )
    add("--max-tokens", type=int, metavar="N", help="tokens of text to read (default: all)")
    add(
        "--lowercase-share",
        type=float,
        default=0.15,
        metavar="X",
        help="share of documents to lower-case",
    )
    add("--language", default="en", help="language of the text (ISO 639-1 code)")
    add("--seed", type=int, default=1, metavar="N", help="seed of all random choices")


def _add_static_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--dim", type=int, default=256, metavar="N", help="width of a word vector")
    add("--epochs", type=int, default=3, metavar="N", help="passes over the text")
    add("--min-count", type=int, default=5, metavar="N", help="rarer words are left out")


def execute(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.kind == "senses":
        return train_senses(args)
    if args.kind == "mean":
        return train_mean(args)
    out = Path(args.out)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; expected a directory, new or empty")
    if args.kind != "elmo":
        return _train_static(args, out)
    return _train_bilm(args, out)


def _train_bilm(args: argparse.Namespace, out: Path) -> int:
    import torch

    from elmo_infer.training.bilm import check_output_directory, checkpoint_bytes

    config, options = bilm_options(args)
    _check_inputs(args, out)
    text_bytes = 8 * (args.max_tokens or sum(_size(path) for path in args.input or ()))
    check_output_directory(
        out,
        resume=args.resume,
        bytes_needed=2 * checkpoint_bytes(config, options.vocabulary) + text_bytes,
    )
    # Two directions run side by side, each on its share of the cores.
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    with ProgressDisplay() as display:
        tokens, steps = _train(args, out, config, options, display)
    _draw_curve(out)
    print(f"trained on {tokens:,} tokens in {counted(steps, 'step')}; the model is in {out}")
    print(f"next: sensegrep run INPUT --model {out} --corpus DIR")
    return 0


def _train(
    args: argparse.Namespace,
    out: Path,
    config: "BiLmConfig",
    options: "PretrainOptions",
    display: ProgressDisplay,
) -> tuple[int, int]:
    """Read the text and train on it; returns the tokens and steps it took."""
    from elmo_infer.training.bilm import train_bilm
    from elmo_infer.training.checkpoint import CHECKPOINT
    from elmo_infer.training.teacher_cache import CacheReports
    from elmo_infer.training.word_distillation import WordLessons
    from pipelines.text.tokenizer import Tokenizer

    store = _token_store(args, out / "text", args.input, display, training=True)
    valid = None
    if args.valid:
        valid = _token_store(args, out / "valid", args.valid, display, training=False)
    begun = args.resume and (out / CHECKPOINT).is_file()
    if begun:
        given = {"--word-epochs": args.word_epochs, "--fading-cells": args.fading_cells}
        for name in (name for name, value in given.items() if value):
            print(
                f"the run resumes in its sentences: {name} has an effect only at the start of"
                " a run",
                file=sys.stderr,
            )
    state = train_bilm(
        store,
        out,
        config,
        options,
        valid=valid,
        resume=begun,
        start_from=model_to_start_from(args),
        teacher=teacher_directory(args),
        teaching=teaching_options(args),
        is_content=Tokenizer(args.language).is_content,
        lessons=(
            None
            if args.word_epochs is None
            else WordLessons(
                epochs=args.word_epochs, learning_rate=args.learning_rate, seed=args.seed
            )
        ),
        review_words=args.review_words,
        fading_cells=args.fading_cells,
        layer_weights=args.layer_weights,
        recipe=shlex.join(["sensegrep", *sys.argv[1:]]),
        report=partial(_show_training, display),
        report_lessons=partial(_show_lessons, display),
        cache_reports=CacheReports(
            documents=partial(_show_reading, display, "documents"),
            words=partial(_show_lessons, display),
            text=partial(_show_reading, display, "the text"),
        ),
    )
    return state.tokens, state.step


def _check_inputs(args: argparse.Namespace, out: Path) -> None:
    from pipelines.reading.training_text import check_training_files

    if args.max_tokens is not None and args.max_tokens < 1:
        raise UsageError(f"--max-tokens is {args.max_tokens}; expected at least 1")
    if not 0 <= args.lowercase_share <= 1:
        raise UsageError(f"--lowercase-share is {args.lowercase_share}; expected from 0 to 1")
    if args.shares is not None and min(args.shares) <= 0:
        raise UsageError(f"--shares has {min(args.shares)}; expected numbers above 0")
    if args.input:
        check_training_files(args.input)
    elif not (args.resume and (out / "text" / "store.json").is_file()):
        raise UsageError(
            "--input is missing: give the training text; only --resume does not need it"
        )
    if args.kind == "elmo" and args.valid:
        check_training_files(args.valid)
    if args.shares is not None and len(args.shares) != len(args.input or ()):
        raise UsageError(
            f"--shares has {len(args.shares)} numbers for {len(args.input or ())} input files;"
            " give one number per file"
        )


def _token_store(
    args: argparse.Namespace,
    directory: Path,
    paths: list[str] | None,
    display: ProgressDisplay,
    *,
    training: bool,
) -> "TokenStore":
    from elmo_infer.training.token_store import build_token_store, open_token_store
    from pipelines.reading.training_text import read_training_documents
    from pipelines.text.tokenizer import Tokenizer

    if args.kind == "elmo" and args.resume and (directory / "store.json").is_file():
        return open_token_store(directory)
    started = time.monotonic()

    def progress(documents: int, tokens: int) -> None:
        rate = tokens / (time.monotonic() - started)
        display.show(
            f"reading text: {documents:,} documents, {tokens:,} tokens, {rate:,.0f} tokens/s"
        )

    documents: Iterator[Iterator[list[str]]] = read_training_documents(
        paths or [], Tokenizer(args.language), args.shares if training else None
    )
    return build_token_store(
        documents,
        directory,
        lowercase_share=args.lowercase_share if training else 0.0,
        lowercase_each_pass=training and args.kind == "elmo" and args.lowercase_each_pass,
        max_tokens=args.max_tokens if training else 200_000,
        seed=args.seed,
        progress=progress,
    )


def _train_static(args: argparse.Namespace, out: Path) -> int:
    from elmo_infer.training.bilm import check_output_directory

    _check_static_options(args)
    _check_inputs(args, out)
    if out.is_dir() and any(out.iterdir()):
        found = sorted(path.name for path in out.iterdir())[:3]
        raise FileExistsError(
            f"{out} is not empty (found {', '.join(found)}); give a new directory"
        )
    text_bytes = 8 * (args.max_tokens or sum(_size(path) for path in args.input or ()))
    check_output_directory(out, resume=False, bytes_needed=text_bytes)
    # The prepared text is of no use afterwards: these runs are short, and are not resumed.
    with TemporaryDirectory(dir=out, prefix="text.") as text, ProgressDisplay() as display:
        store = _token_store(args, Path(text), args.input, display, training=True)
        model = _train_static_model(args, store, out, display)
        tokens = len(store.tokens)
    print(f"trained on {tokens:,} tokens; the model is {model}")
    print(f"next: sensegrep evaluate {model} --data DIR")
    return 0


def _check_static_options(args: argparse.Namespace) -> None:
    """Find out before the text is read what would fail after it."""
    from elmo_infer.training.epoch_progress import check_at_least

    try:
        check_at_least(1, dim=args.dim, epochs=args.epochs, min_count=args.min_count)
        check_at_least(0, seed=args.seed)
    except ValueError as error:
        raise UsageError(f"--{str(error).replace('_', '-')}") from error
    if args.kind != "nnlm" and find_spec("gensim") is None:
        raise UsageError(f"train {args.kind} needs gensim: pip install 'sensegrep[train]'")


def _train_static_model(
    args: argparse.Namespace, store: "TokenStore", out: Path, display: ProgressDisplay
) -> Path:
    if args.kind == "nnlm":
        from elmo_infer.training.nnlm import train_nnlm

        model = out / "model"
        train_nnlm(store, model, dim=args.dim, epochs=args.epochs,
                   min_count=args.min_count, seed=args.seed,
                   precision=choose_precision(args.precision),
                   progress=partial(_show_epoch, display))  # fmt: skip
        return model
    from elmo_infer.training.word2vec import train_word2vec

    return train_word2vec(store, out / "vectors.bin", architecture=args.kind, dim=args.dim,
                          epochs=args.epochs, min_count=args.min_count,
                          seed=args.seed, progress=partial(_show_epoch, display))  # fmt: skip


def _size(path: str) -> int:
    local = Path(path)
    # Compressed text grows about fourfold; the store holds four bytes a token of about six.
    return local.stat().st_size if local.is_file() else 0


def _show_lessons(display: ProgressDisplay, progress: "LessonProgress") -> None:
    fraction = progress.words / progress.total_words
    left = (progress.total_words - progress.words) / max(progress.words_per_second, 1e-9)
    doing = "the teacher reads single words" if progress.loss is None else "single words are taught"
    loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
    display.show(
        f"{doing}: {fraction:.1%}, {progress.words:,} words,"
        f" {progress.words_per_second:,.0f} words/s{loss}, about {duration(left)} left",
        fraction,
    )


def _show_reading(display: ProgressDisplay, what: str, sentences: int, total: int) -> None:
    share = sentences / max(total, 1)
    display.show(f"the teacher reads {what}: {share:.1%}, {sentences:,} sentences", share)


def _show_training(display: ProgressDisplay, progress: "TrainingProgress") -> None:
    teacher = "" if progress.auxiliary is None else f", teacher {progress.auxiliary:.3f}"
    display.show(
        f"{progress.fraction:.1%}, step {progress.step:,}, {progress.tokens:,} tokens,"
        f" {progress.tokens_per_second:,.0f} tokens/s, loss {progress.loss:.3f}{teacher},"
        f" about {duration(progress.seconds_left)} left",
        progress.fraction,
    )
    if progress.valid_perplexity is not None:
        forward, backward = progress.valid_perplexity
        display.keep(
            f"checkpoint; validation perplexity {forward:.1f} forward, {backward:.1f} backward"
        )
    if progress.held_out:
        found = ", ".join(f"{name} {value:.3f}" for name, value in progress.held_out.items())
        display.keep(f"the teacher's losses on held-out text: {found}")


def _show_epoch(display: ProgressDisplay, progress: "EpochProgress") -> None:
    left = (progress.total_tokens - progress.tokens) / max(progress.tokens_per_second, 1e-9)
    loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
    display.show(
        f"epoch {progress.epoch} of {progress.epochs}, {progress.tokens:,} tokens,"
        f" {progress.tokens_per_second:,.0f} tokens/s{loss}, about {duration(left)} left",
        progress.tokens / progress.total_tokens,
    )


def _draw_curve(out: Path) -> None:
    from elmo_infer.training.curve import draw_curve

    try:
        draw_curve(out)
    except ImportError:
        print("the curve was not drawn, because matplotlib is not installed: pip install"
        " 'sensegrep[train]'",
              file=sys.stderr)  # fmt: skip
