"""Plot the curve of a training run."""

import csv
from pathlib import Path

from elmo_infer.training.pretrain import CURVE


def draw_curve(out: Path) -> Path:
    """Draw OUT/curve.csv as OUT/curve.png and return the picture's path.

    Raises:
      ImportError: if matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with open(out / CURVE, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, names, label in (
        (left, ("loss_forward", "loss_backward", "auxiliary"), "loss in training (nats)"),
        (right, ("valid_perplexity_forward", "valid_perplexity_backward"), "validation perplexity"),
    ):
        for name in names:
            points = [(float(row["tokens"]) / 1e6, float(row[name])) for row in rows if row[name]]
            if points:
                axis.plot(*zip(*points, strict=True), label=name.replace("_", " "))
        axis.set_xlabel("million tokens seen")
        axis.set_ylabel(label)
        if axis.lines:
            axis.legend()
    path = out / "curve.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
