"""The options of `sensegrep train elmo`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.commands.devices import add_device
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from elmo_infer.config import BiLmConfig
    from elmo_infer.training.checkpoint import PretrainOptions
    from elmo_infer.training.teaching import TeachingOptions

# What keeps each busy: a GPU takes as long over a small batch as over a large one.
TOKENS_PER_BATCH = {"cpu": 4096, "cuda": 16_384}


def add_bilm_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    add = parser.add_argument
    _add_sizes(parser)
    add(
        "--minutes",
        type=float,
        metavar="X",
        help="how long to train (or give --epochs, or --steps)",
    )
    add("--epochs", type=float, metavar="X", help="passes over the text")
    add("--steps", type=int, metavar="N", help="batches to train")
    add("--valid", nargs="+", metavar="FILE", help="text to measure perplexity on")
    add(
        "--tokens-per-batch",
        type=int,
        metavar="N",
        help="size of a batch; 4096 if not given, on a GPU 16384",
    )
    add_device(parser, "cpu, cuda or cuda:N; auto takes CUDA if there is one")
    add("--learning-rate", type=float, default=2e-3, metavar="X", help="highest learning rate")
    add("--vocabulary", type=int, default=60_000, metavar="N", help="words in the softmax")
    add("--samples", type=int, default=4096, metavar="N", help="softmax samples per batch")
    add_precision(parser)
    add(
        "--weights-dtype",
        choices=("float32", "float16"),
        default="float32",
        help="precision of the stored matrices; float16 takes half the space",
    )
    add(
        "--checkpoint-minutes",
        type=float,
        default=5.0,
        metavar="X",
        help="minutes between checkpoints",
    )
    add("--resume", action="store_true", help="continue the run in --out")
    add(
        "--from",
        dest="start_from",
        metavar="MODEL",
        help="fine-tune this model (a bundled name, or a directory in the official layout), in"
        " its own size; with more cells, filters or highways or a wider projection it is enlarged"
        " first",
    )
    add(
        "--processes",
        type=int,
        default=0,
        metavar="N",
        help="processes that prepare batches; the batches are the same for every N (default 0: a"
        " thread prepares them, which was fast enough for one GPU)",
    )
    add(
        "--lowercase-each-pass",
        action="store_true",
        help="choose the documents to lower-case (--lowercase-share) anew in each pass over the"
        " text; the teacher, if any, must be uncased",
    )
    add(
        "--layer-weights",
        type=float,
        nargs="+",
        metavar="W",
        help="default layer weights of the model, the token layer first (default: those of --from,"
        " or equal weights)",
    )
    add(
        "--word-epochs",
        type=float,
        metavar="X",
        help="first train the token layer alone: X passes over the teacher's vectors of the 150,000"
        " most frequent words",
    )
    add(
        "--review-words",
        type=int,
        default=0,
        metavar="N",
        help="after every second batch of sentences, train N of these words again, so that the"
        " token layer does not forget rare words",
    )
    add(
        "--freeze-token-layer",
        action="store_true",
        help="train only the LSTMs and the softmax; words keep the context-free vectors of"
        " --from or of --word-epochs",
    )

    add(
        "--fading-cells",
        type=int,
        default=0,
        metavar="N",
        help="in the first LSTM layer of each direction, N cells start as sums of the rarer words"
        " read so far, and the sums fade with distance; each of these cells has its own output;"
        " with --from they are among the new cells",
    )
    _add_teacher(parser)


def _add_teacher(parser: argparse.ArgumentParser) -> None:
    about = "the teacher's vectors of the text are computed once and kept in OUT/teacher"
    add = parser.add_argument_group("teacher", about).add_argument
    add(
        "--teacher",
        metavar="NAME|DIR",
        help="sentence-transformers model (BERT or MPNet): its directory, or mpnet or minilm if "
        "it was downloaded to this machine",
    )
    add(
        "--teacher-layers",
        type=int,
        nargs="+",
        metavar="N",
        help="layers of the teacher, counted from 1, whose mean is its vector of a word (default:"
        " the two in the middle)",
    )
    add(
        "--teacher-sentence",
        type=float,
        default=0.8,
        metavar="X",
        help="share of the sentence vector that is added to the teacher's vector of a word"
        " (default 0.8)",
    )
    add(
        "--teacher-share",
        type=float,
        default=1.0,
        metavar="X",
        help="share of the text's sentences that the teacher reads (default 1); the others train"
        " only the language model",
    )
    add(
        "--teacher-weight",
        type=float,
        default=1.0,
        metavar="X",
        help="weight of all losses of the teacher",
    )
    add(
        "--teacher-loss",
        nargs="+",
        default=[],
        metavar="NAME=WEIGHT",
        help=_losses_help(),
    )
    add(
        "--fold-case",
        action="store_true",
        help="treat words that differ only in case as one word",
    )


def _losses_help() -> str:
    return (
        "weight of a loss; 0 turns it off; defaults are in brackets. Words: words (1; each layer "
        "predicts the teacher's vector), relations (16; cosines of pairs), occurrences (4; the "
        "order of a word's occurrences), across (1.5; one threshold for all words), nearest (1; "
        "a word's nearest occurrences), single-words (0.5; words alone, in the token layer). "
        "Sentences: sentences (1), sentence-relations (4), near-sentences (2; which are "
        "nearest). Attention, also without a teacher: punctuation (2), stop-words (0.75)"
    )


def _add_sizes(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("size", "a preset, or a preset with other numbers").add_argument
    add("--preset", help="tiny, compact, small, medium or original; compact if not given")
    add("--cells", type=int, metavar="N", help="LSTM cells per direction")
    add("--projection", type=int, metavar="N", help="width of a direction's vector")
    add("--layers", type=int, metavar="N", help="biLSTM layers")
    add(
        "--filters",
        type=_filter,
        nargs="+",
        metavar="WxN",
        help="character filters: for each width W their number N, such as 1x32 2x32 3x64",
    )
    add("--highways", type=int, metavar="N", help="highway layers after the filters")


def _filter(text: str) -> tuple[int, int]:
    width, _, count = text.partition("x")
    if not (width.isdecimal() and count.isdecimal()):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a filter; expected WIDTHxCOUNT, such as 3x64"
        )
    return int(width), int(count)


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Declare --precision."""
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        help="precision of matrix products; auto takes bfloat16 where the processor has it",
    )


def bilm_options(args: argparse.Namespace) -> "tuple[BiLmConfig, PretrainOptions]":
    """Return the shape of the model asked for, and how to train it.

    Raises:
      UsageError: if there is no such model, device or schedule.
    """
    from elmo_infer.loading import choose_device
    from elmo_infer.training.checkpoint import PretrainOptions

    try:
        config = _bilm_config(args)
        _check_distillation(args, config)
        device = choose_device(args.device)
        return config, PretrainOptions(
            minutes=args.minutes,
            epochs=args.epochs,
            steps=args.steps,
            tokens_per_batch=(
                TOKENS_PER_BATCH[device.type]
                if args.tokens_per_batch is None
                else args.tokens_per_batch
            ),
            learning_rate=args.learning_rate,
            vocabulary=args.vocabulary,
            draws=args.samples,
            auxiliary_weight=args.teacher_weight,
            checkpoint_minutes=args.checkpoint_minutes,
            seed=args.seed,
            precision=choose_precision(args.precision, device.type),
            device=str(device),
            weights_dtype=args.weights_dtype,
            freeze_token_layer=args.freeze_token_layer,
            lowercase_share=args.lowercase_share if args.lowercase_each_pass else 0.0,
            processes=args.processes,
        )
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error


def teacher_directory(args: argparse.Namespace) -> Path | None:
    """Return the directory of the teacher, or None.

    Raises:
      FileNotFoundError: if a teacher's name is given that is nowhere here.
    """
    from elmo_infer.training.teacher_names import find_teacher

    return None if args.teacher is None else find_teacher(args.teacher)


def teaching_options(args: argparse.Namespace) -> "TeachingOptions":
    """Return what is learned from the teacher.

    Raises:
      ValueError: if a loss or a number is none.
    """
    from elmo_infer.training.loss_weights import LossWeights
    from elmo_infer.training.teacher_cache import Taught
    from elmo_infer.training.teaching import TeachingOptions

    return TeachingOptions(
        taught=Taught(
            layers=tuple(args.teacher_layers or ()),
            sentence_share=args.teacher_sentence,
            share=args.teacher_share,
            seed=args.seed,
        ),
        weights=LossWeights.parse(args.teacher_loss),
        fold=args.fold_case,
    )


def model_to_start_from(args: argparse.Namespace) -> Path | None:
    """Return the directory of the model to fine-tune, or None.

    Raises:
      FileNotFoundError: if it is neither a directory nor a bundled model.
    """
    from elmo_infer.reading import model_location

    return None if args.start_from is None else Path(model_location(args.start_from))


def _bilm_config(args: argparse.Namespace) -> "BiLmConfig":
    from elmo_infer.training.bilm import config_of_model
    from elmo_infer.training.fading import check_fading_cells
    from elmo_infer.training.growth import check_growth
    from elmo_infer.training.presets import preset, resized

    start_from = model_to_start_from(args)
    own = None if start_from is None else config_of_model(start_from)
    base = own if own is not None and args.preset is None else preset(args.preset or "compact")
    for name in ("cells", "projection", "layers"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise UsageError(f"--{name} is {value}; expected at least 1")
    config = resized(
        base,
        cells=args.cells,
        projection=args.projection,
        layers=args.layers,
        filters=args.filters,
        highways=args.highways,
    )
    if own is not None:
        check_growth(own, config)
    if args.fading_cells > 0 and not args.resume:
        check_fading_cells(args.fading_cells, config, own)
    return config


def _check_distillation(args: argparse.Namespace, config: "BiLmConfig") -> None:
    """Find out before the text is read what would fail after it."""
    if not 0 < args.teacher_share <= 1:
        raise UsageError(f"--teacher-share is {args.teacher_share}; expected above 0, at most 1")
    if args.teacher_sentence < 0:
        raise UsageError(f"--teacher-sentence is {args.teacher_sentence}; expected 0 or more")
    _check_teacher(args)
    if args.word_epochs is not None and args.teacher is None:
        raise UsageError("--word-epochs needs a teacher; give --teacher DIR")
    if args.word_epochs is not None and args.word_epochs <= 0:
        raise UsageError(f"--word-epochs is {args.word_epochs}; expected more than 0")
    if args.review_words < 0:
        raise UsageError(f"--review-words is {args.review_words}; expected 0 or more")
    if args.review_words and args.teacher is None:
        raise UsageError("--review-words needs a teacher; give --teacher DIR")
    if args.review_words and args.freeze_token_layer:
        raise UsageError(
            "--review-words teaches the token layer, but --freeze-token-layer keeps it"
            " unchanged; give one of the two"
        )
    learned = args.resume or args.start_from is not None or args.word_epochs is not None
    if args.freeze_token_layer and not learned:
        raise UsageError(
            "--freeze-token-layer would freeze a token layer that is not trained; give --from "
            "MODEL or --word-epochs X"
        )
    if args.fading_cells < 0:
        raise UsageError(f"--fading-cells is {args.fading_cells}; expected 0 or more")
    if args.fading_cells and not learned:
        raise UsageError(
            "--fading-cells sum the vectors of words, but these are not trained; give --from "
            "MODEL or --word-epochs X"
        )
    if args.teacher_weight <= 0:
        raise UsageError(f"--teacher-weight is {args.teacher_weight}; expected more than 0")
    n_layers = config.n_lstm_layers + 1
    if args.layer_weights is not None and len(args.layer_weights) != n_layers:
        raise UsageError(
            f"--layer-weights has {len(args.layer_weights)} numbers for {n_layers} layers; give"
            " one number per layer, the token layer first"
        )


def _check_teacher(args: argparse.Namespace) -> None:
    from elmo_infer.training.teacher import is_uncased, read_teacher_config

    teaching = teaching_options(args)
    directory = teacher_directory(args)
    if directory is None:
        given = {"--teacher-layers": args.teacher_layers, "--fold-case": args.fold_case}
        for name in (name for name, value in given.items() if value):
            raise UsageError(f"{name} needs a teacher; give --teacher NAME or DIR")
        return
    n_layers = int(read_teacher_config(directory)["num_hidden_layers"])
    wrong = [one for one in teaching.taught.layers if not 1 <= one <= n_layers]
    if wrong:
        raise UsageError(f"--teacher-layers has {wrong[0]}; expected numbers from 1 to {n_layers}")
    if args.lowercase_each_pass and not is_uncased(directory):
        raise UsageError(
            f"--lowercase-each-pass needs an uncased teacher, but {directory} is cased: its"
            " vectors of a text are not those of the text in lower case; leave the option out"
        )


def choose_precision(name: str, device: str = "cpu") -> str:
    """Return the type of matrix products that a name, or "auto", stands for on a device."""
    import torch

    if name != "auto":
        return name
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"
