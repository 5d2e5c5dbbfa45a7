"""Options of `embed` that `stream` has too, or that only experts need, and what they mean."""

import argparse
from typing import TYPE_CHECKING

from pipelines.commands.devices import add_device
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pipelines.embed.options import EmbedOptions, ModelOptions

# Those of elmo_infer.loading, which imports PyTorch.
DTYPES = ("auto", "float32", "float64", "bfloat16", "float16", "int8")
RARE_OPTIONS = frozenset(
    ("--pretokenized", "--max-sentence-tokens", "--max-reject-fraction", "--initial-state",
     "--layer-weights", "--pooling", "--vector-dtype", "--max-tokens-per-batch", "--commit-every",
     "--single-writer", "--line-breaks", "--parts-per-segment", "--part-bytes", "--no-wait",
     "--fail-on-rejects")
)  # fmt: skip


def add_reading_arguments(reading: argparse._ArgumentGroup) -> None:
    """Declare how records become documents; `stream` has the same."""
    reading.add_argument(
        "--id-field",
        metavar="NAME",
        help="field with the id, required in every record (default: id where there is one, else"
        " the file and the place in it)",
    )
    reading.add_argument("--text-field", default="text", metavar="NAME", help="field with the text")
    reading.add_argument(
        "--lines", action="store_true", help="each line of a .txt file is a document"
    )
    reading.add_argument(
        "--pretokenized",
        action="store_true",
        help="texts are already tokens, separated by spaces, one sentence per line",
    )
    reading.add_argument(
        "--language",
        default="en",
        metavar="CODE",
        help="language of the texts (ISO 639-1 code)",
    )
    reading.add_argument(
        "--line-breaks",
        choices=("auto", "wrapped", "lines"),
        default="auto",
        help="line breaks of a text: hard-wrapped (wrapped), ends of sentences (lines), or decided"
        " for each document (auto)",
    )
    reading.add_argument(
        "--max-sentence-tokens",
        type=int,
        default=256,
        metavar="N",
        help="tokens per sentence; longer sentences are cut and marked",
    )
    reading.add_argument(
        "--max-reject-fraction",
        type=float,
        default=0.5,
        metavar="F",
        help="largest share of rejected records, 0 to 1; with more the job fails. A record of more"
        " than 256 MiB (a row of CSV 64 MiB) or 33,554,432 tokens is rejected",
    )


def add_model_arguments(group: argparse._ArgumentGroup) -> None:
    """Declare the model and what rows are made of; `stream` has the same."""
    group.add_argument("--model", default="en-small", help="bundled name, path or URL")
    add_device(group)
    group.add_argument(
        "--dtype",
        choices=DTYPES,
        default="auto",
        metavar="DTYPE",
        help="auto (fast here), float32, float64, bfloat16, int8 (CPU) or float16 (CUDA)",
    )
    group.add_argument(
        "--initial-state",
        choices=["zero", "warm"],
        default="zero",
        help="initial LSTM state of each sentence",
    )
    group.add_argument(
        "--layer-weights",
        metavar="W,W,...",
        help="weights of the layers, or the number of one layer (default: the model's own)",
    )
    group.add_argument(
        "--pooling",
        choices=["attention", "mean", "max"],
        default="attention",
        help="how token vectors become a sentence vector",
    )
    group.add_argument(
        "--tokens",
        choices=["all", "content", "none"],
        default="content",
        metavar="WHICH",
        help="tokens whose vectors are stored: all, content (no stop words, no punctuation) or"
        " none",
    )
    group.add_argument(
        "--vector-dtype",
        choices=["float16", "float32"],
        default="float16",
        help="precision of the stored vectors",
    )
    group.add_argument(
        "--max-tokens-per-batch",
        type=int,
        default=8192,
        metavar="N",
        help="tokens per batch; lower values use less memory",
    )


def add_running_arguments(group: argparse._ArgumentGroup) -> None:
    """Declare how a job runs."""
    group.add_argument(
        "--commit-every",
        type=int,
        metavar="N",
        help="documents per segment; a stopped job, run again, continues after the last one"
        " (default: 2000, or up to 20000 if they are short)",
    )
    group.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes; each loads the model",
    )
    group.add_argument(
        "--prune", action="store_true", help="delete documents of the corpus that are not in INPUT"
    )
    group.add_argument(
        "--dry-run", action="store_true", help="print what would be done; change nothing"
    )
    group.add_argument(
        "--single-writer",
        action="store_true",
        help="no other job writes to this corpus (for stores without atomic creation)",
    )
    group.add_argument(
        "--runner",
        metavar="NAME",
        help="Beam runner, such as PrismRunner; Beam's own flags may follow, as --flag=value"
        " (default: this process)",
    )
    group.add_argument(
        "--parts-per-segment",
        type=int,
        metavar="N",
        help="with --runner: parts per segment; a segment is committed as soon as its parts are"
        " written, and a job that failed, run again, keeps it (default: 16)",
    )
    group.add_argument(
        "--part-bytes",
        metavar="SIZE",
        help="with --runner: bytes of input per part, such as 4M; the parts are what workers share"
        " (default: 1M to 16M, by the size of the input)",
    )
    group.add_argument(
        "--no-wait",
        action="store_true",
        help="with --runner: submit the job and return; its report is CORPUS/jobs/ID/report.json",
    )
    group.add_argument(
        "--fail-on-rejects",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="exit status 3 if records were rejected (the default), or 0",
    )
    group.add_argument("--json", action="store_true", help="print the report as JSON")


def model_options(args: argparse.Namespace) -> "ModelOptions":
    """Return which model is asked for, and where it runs."""
    from pipelines.embed.options import ModelOptions

    return ModelOptions(
        model=args.model,
        device=args.device,
        dtype=args.dtype,
        initial_state=args.initial_state,
        max_tokens_per_batch=args.max_tokens_per_batch,
    )


def embed_options(args: argparse.Namespace) -> "EmbedOptions":
    """Return what rows are to be made of."""
    from pipelines.embed.options import EmbedOptions

    return EmbedOptions(
        layer_weights=parse_layer_weights(args.layer_weights),
        pooling=args.pooling,
        language=args.language,
        pretokenized=args.pretokenized,
        max_sentence_tokens=args.max_sentence_tokens,
        line_breaks=args.line_breaks,
        tokens=args.tokens,
        vector_dtype=args.vector_dtype,
    )


def parse_layer_weights(text: str | None) -> tuple[float, ...] | int | None:
    """Read coefficients separated by commas, or the number of one layer.

    Raises:
      UsageError: if it is neither.
    """
    if text is None:
        return None
    try:
        if "," not in text:
            return int(text)
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise UsageError(
            f"--layer-weights is {text!r}; expected one number per layer, such as 0,0.5,0.5, or"
            " the number of one layer, such as 2"
        ) from None
