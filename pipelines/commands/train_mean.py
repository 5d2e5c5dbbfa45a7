"""`sensegrep train mean`: the weighted mean of models."""

import argparse
from pathlib import Path

from pipelines.commands.wording import counted
from pipelines.errors import UsageError

MEAN_SUMMARY = "a model that is the weighted mean of trained models of one shape"


def add_mean_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add(
        "models",
        nargs="+",
        metavar="MODEL[=WEIGHT]",
        help="bundled names or directories in the official layout, each with its weight "
        "(default 1); the pooling query is taken from the model with the largest weight",
    )
    add("--out", required=True, metavar="DIR", help="directory of the mean; new or empty")
    add(
        "--weights-dtype",
        choices=("float32", "float16"),
        default="float32",
        help="precision of the stored matrices; float16 takes half the space",
    )


def train_mean(args: argparse.Namespace) -> int:
    """Run the command."""
    from elmo_infer.reading import model_location
    from elmo_infer.training.model_mean import mean_of_models

    out = Path(args.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} is not empty; give a new directory")
    names, weights = zip(*map(_weighed, args.models), strict=True)
    try:
        directories = [Path(model_location(name)) for name in names]
        said = mean_of_models(directories, weights, out, args.weights_dtype)
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error
    total = sum(weights)
    rows = [f"{weight / total:.3f} of {name}" for name, weight in zip(names, weights, strict=True)]
    card = ["# Model card", "", "The weighted mean, tensor by tensor, of:", ""]
    card += [f"- {row}" for row in rows]
    card += ["", *(f"{name}: {words}" for name, words in said.items()), ""]
    (out / "MODEL_CARD.md").write_text("\n".join(card), encoding="utf-8")
    print(f"the mean of {counted(len(names), 'model')} is in {out}: {', '.join(rows)}")
    for name, words in said.items():
        print(f"{name}: {words}")
    print(f"next: sensegrep evaluate {out} --data DIR")
    return 0


def _weighed(text: str) -> tuple[str, float]:
    name, equals, number = text.rpartition("=")
    if not equals:
        return text, 1.0
    try:
        return name, float(number)
    except ValueError:
        raise UsageError(
            f"{text!r} has no weight; expected MODEL=WEIGHT, such as en-small=0.25"
        ) from None
