"""A short Markdown table of several models, for a README or a model card."""

from collections.abc import Sequence

from pipelines.evaluation.evaluate import POOLINGS
from pipelines.evaluation.report import Column, ModelReport, percent
from pipelines.evaluation.table import Table

COLUMNS = (
    Column("coarsewsd20", "macro_f1", "CoarseWSD-20", "F1", "majority_macro_f1"),
    Column("coarsewsd20", "precision_at_10", "CoarseWSD-20", "P@10", "chance_precision_at_10"),
    Column("senseval", "precision_at_10", "Senseval", "P@10", "chance_precision_at_10"),
    Column("wic", "accuracy", "WiC", "acc", "majority_accuracy"),
    Column("mcl_wic", "accuracy", "MCL-WiC", "acc", "majority_accuracy"),
    Column("scws", "spearman", "SCWS", "rho"),
)
SENTENCE_COLUMNS = (
    Column("stsb", "spearman", "STS-B", "rho"),
    Column("sick", "spearman", "SICK", "rho"),
)

Values = dict[tuple[str, str, str, str], dict[str, float]]  # layer, pooling, set, metric; centering


def markdown(models: Sequence[ModelReport]) -> str:
    """Two tables, of token vectors and of sentence vectors: a row a model and layer.

    A cell holds the score of the raw vectors and, after a slash, the best that any of the other
    centerings reaches on the same set; a set or pooling that was not measured has no column.
    """
    values = {model.label: _values(model) for model in models}
    keys = {key[1:] for each in values.values() for key in each}
    token_keys = [("", c) for c in COLUMNS if ("", c.set, c.metric) in keys]
    sentence_keys = [
        (pooling, c)
        for c in SENTENCE_COLUMNS
        for pooling in POOLINGS
        if (pooling, c.set, c.metric) in keys
    ]
    parts = [_table(values, columns) for columns in (token_keys, sentence_keys) if columns]
    others = dict.fromkeys(
        centering
        for each in values.values()
        for cell in each.values()
        for centering in cell
        if centering != "raw"
    )
    note = "All numbers x 100"
    if others:
        note += f"; raw / best of the centerings {', '.join(others)}"
    return "\n\n".join([*parts, note + "."]) + "\n"


def _values(model: ModelReport) -> Values:
    found: Values = {}
    for score in model.scores():
        if not score.word:
            key = (score.layer, score.pooling, score.set, score.metric)
            found.setdefault(key, {})[score.centering] = score.value
    return found


def _table(values: dict[str, Values], columns: Sequence[tuple[str, Column]]) -> str:
    rows = []
    nothing = [_chance(values, column) for _, column in columns]
    if any(nothing):
        rows.append(["chance", *nothing])
    for label, each in values.items():
        layers = list(dict.fromkeys(key[0] for key in each))
        for layer in layers:
            cells = [_cell(each.get((layer, p, c.set, c.metric), {})) for p, c in columns]
            if any(cells):
                rows.append([label if len(layers) == 1 else f"{label} {layer}", *cells])
    table = Table(
        names=1,
        groups=["", *(column.group for _, column in columns)],
        titles=["model", *(pooling or column.title for pooling, column in columns)],
        rows=rows,
    )
    return table.markdown()


def _chance(values: dict[str, Values], column: Column) -> str:
    """The same for every model, layer and centering: the first that is found."""
    for each in values.values():
        for (_, _, name, metric), cell in each.items():
            if (name, metric) == (column.set, column.baseline):
                return percent(next(iter(cell.values())))
    return ""


def _cell(by_centering: dict[str, float]) -> str:
    centered = [value for name, value in by_centering.items() if name != "raw"]
    shown = [percent(by_centering["raw"])] if "raw" in by_centering else []
    return " / ".join([*shown, *([percent(max(centered))] if centered else [])])
