"""The output of `sensegrep evaluate`: tables, JSON, and a plot per word."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.evaluation.evaluate import Score, SetReport
from pipelines.evaluation.sets import SAMPLE_SIZES
from pipelines.evaluation.table import Table

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ModelReport:
    """All that was measured of one model.

    Attributes:
      label: short name, unique among the models compared.
      path: what was loaded.
      fingerprint: the model's.
      dim: D.
      n_layers: L.
      layer_weights: [L] coefficients of the mix.
      sets: one report per set.
    """

    label: str
    path: str
    fingerprint: str
    dim: int
    n_layers: int
    layer_weights: tuple[float, ...]
    sets: tuple[SetReport, ...]

    def scores(self) -> Iterable[Score]:
        """All scores of all sets."""
        return (score for report in self.sets for score in report.scores)


@dataclass(frozen=True)
class Column:
    """A column of a table: a set's metric, and the metric that says what is had for nothing."""

    set: str
    metric: str
    group: str
    title: str
    baseline: str = ""


def _sense_columns(name: str, group: str) -> list[Column]:
    return [
        Column(name, "accuracy", group, "acc", "majority_accuracy"),
        Column(name, "macro_f1", group, "F1", "majority_macro_f1"),
        Column(name, "precision_at_10", group, "P@10", "chance_precision_at_10"),
        Column(name, "precision_at_10_micro", group, "P@10u", "chance_precision_at_10_micro"),
        Column(name, "map", group, "MAP", "chance_map"),
    ]


def _retrieval_columns(name: str, group: str) -> list[Column]:
    return [
        Column(name, "map", group, "MAP"),
        Column(name, "ndcg_at_10", group, "nDCG"),
        Column(name, "recall_at_100", group, "R@100"),
    ]


def _yes_no_columns(name: str, group: str) -> list[Column]:
    return [
        Column(name, "spearman", group, "rho"),
        Column(name, "auc", group, "AUC"),
        Column(name, "accuracy", group, "acc"),
    ]


TOKEN_COLUMNS = (
    *_sense_columns("coarsewsd20", "CoarseWSD-20"),
    *_sense_columns("senseval", "Senseval"),
    Column("wic", "accuracy", "WiC", "acc", "majority_accuracy"),
    Column("mcl_wic", "accuracy", "MCL-WiC", "acc", "majority_accuracy"),
    Column("mcl_wic_zh", "accuracy", "MCL-zh", "acc", "majority_accuracy"),
    Column("scws", "spearman", "SCWS", "rho"),
)
SENTENCE_COLUMNS = (
    Column("stsb", "spearman", "STS-B", "rho"),
    Column("sick", "spearman", "SICK", "rho"),
    *_retrieval_columns("cranfield", "Cranfield"),
    *_retrieval_columns("cisi", "CISI"),
    Column("stsb_zh", "spearman", "STS-B-zh", "rho"),
    *_yes_no_columns("lcqmc_zh", "LCQMC"),
    *_yes_no_columns("afqmc_zh", "AFQMC"),
)
INDUCTION_COLUMNS = (
    Column("semcor_wsi", "bcubed_f", "SemCor-WSI", "B3 F"),
    Column("semcor_wsi", "one_cluster", "SemCor-WSI", "one cluster"),
    Column("semcor_wsi", "random", "SemCor-WSI", "random"),
    Column("semcor_wsi", "over_one_cluster", "SemCor-WSI", "over one"),
    Column("semcor_wsi", "over_one_cluster_low", "SemCor-WSI", "from"),
    Column("semcor_wsi", "over_one_cluster_high", "SemCor-WSI", "to"),
    Column("semcor_wsi", "over_shuffled", "SemCor-WSI", "over shuffled"),
    Column("semcor_wsi", "over_shuffled_low", "SemCor-WSI", "from"),
    Column("semcor_wsi", "over_shuffled_high", "SemCor-WSI", "to"),
    Column("semeval2013_wsi", "avg", "SemEval-2013", "AVG"),
    Column("semeval2013_wsi", "fuzzy_nmi", "SemEval-2013", "NMI"),
    Column("semeval2013_wsi", "fuzzy_bcubed", "SemEval-2013", "B3"),
    Column("semeval2013_wsi", "random_avg", "SemEval-2013", "random AVG"),
    Column("semeval2013_wsi", "shuffled_avg", "SemEval-2013", "shuffled AVG"),
)
INDUCTION_LEGEND = (
    "B3 F: B-cubed F, mean over lemmas; random: one of two senses at random; over one, over\n"
    "shuffled: above one cluster a lemma, and above the same sizes shuffled, with the 95 %\n"
    "interval of a bootstrap over lemmas. AVG: geometric mean of fuzzy NMI and fuzzy B-cubed."
)
SAMPLED_COLUMNS = tuple(
    Column(name, f"{metric}_at_{size}", group, f"{size}")
    for name, metric, group in (
        ("single_sense", "split", "One sense: split"),
        ("small_samples", "split", "Several: split"),
        ("small_samples", "ari", "ARI"),
        ("small_samples", "shuffled", "ARI shuffled"),
    )
    for size in SAMPLE_SIZES
)
LABEL_COLUMNS = tuple(
    Column("sense_labels", metric, "Labels", title)
    for metric, title in (
        ("right", "right"),
        ("chance", "chance"),
        ("random_words", "random words"),
        ("all_words", "all words"),
        ("stands", "stands"),
        ("stands_right", "stands, right"),
    )
)
SAMPLED_LEGEND = (
    "Samples of 24, 50, 100 and 150 occurrences. One sense: share of such words that are split\n"
    "(one cluster: 0). ARI: adjusted Rand index of words of several senses (one cluster: 0), and\n"
    "of the same sizes shuffled. 95 % intervals of a bootstrap over words: --json."
)
LABEL_LEGEND = (
    "right: lines whose sense is told by six label words made of other lines; random, all words:\n"
    "by six words at random and by all words of those lines. stands: lines with a label word;\n"
    "stands, right: of these, those of its sense."
)
SENSE_TABLES = (
    ("Induced senses", INDUCTION_COLUMNS, INDUCTION_LEGEND),
    ("Senses of few occurrences", SAMPLED_COLUMNS, SAMPLED_LEGEND),
    ("Label words", LABEL_COLUMNS, LABEL_LEGEND),
)
LEGEND = (
    "All numbers x 100. acc, F1: nearest sense centroid, mean over words. P@10, MAP: occurrences "
    "of the same sense among the nearest of the same word, mean over senses, then words; P@10u: "
    "mean over occurrences. rho: Spearman's rank correlation. nDCG at 10."
)


def tables(models: Sequence[ModelReport], width: int | None = None) -> str:
    """Render all models side by side: per centering a table of token sets and of sentence sets.

    A table wider than `width` characters is broken between sets into several.
    """
    centerings = dict.fromkeys(score.centering for model in models for score in model.scores())
    blocks = []
    for centering in centerings:
        if not centering:  # of senses, which no centering of this command has a part in
            for title, columns, legend in SENSE_TABLES:
                table = _table(models, centering, columns, width)
                if table:
                    blocks.append(f"{title}\n\n{table}\n\n{legend}")
            continue
        for title, columns in (("Tokens", TOKEN_COLUMNS), ("Sentences", SENTENCE_COLUMNS)):
            table = _table(models, centering, columns, width)
            if table:
                blocks.append(f"{title}, centering: {centering}\n\n{table}")
    return "\n\n".join([*blocks, textwrap.fill(LEGEND, min(width or 100, 100))])


def _table(
    models: Sequence[ModelReport], centering: str, columns: Sequence[Column], width: int | None
) -> str:
    values: dict[tuple[str, str, str], dict[tuple[str, str], float]] = {}
    wanted = {column.set for column in columns}
    for model in models:
        for score in model.scores():
            if score.centering == centering and score.set in wanted and not score.word:
                row = values.setdefault((model.label, score.layer, score.pooling), {})
                row[score.set, score.metric] = score.value
    if not values:
        return ""
    present = {key for row in values.values() for key in row}
    shown = [column for column in columns if (column.set, column.metric) in present]
    rows = [
        [*names, *(percent(row.get((column.set, column.metric))) for column in shown)]
        for names, row in values.items()
    ]
    if any(column.baseline for column in shown):
        # The same for every model and layer; any row that has it will do.
        nothing = [
            percent(
                next(
                    (row[key] for row in values.values() if (key := (c.set, c.baseline)) in row),
                    None,
                )
            )
            for c in shown
        ]
        rows.insert(0, ["(chance)", "", "", *nothing])
    table = Table(
        names=3,
        groups=["", "", "", *(column.group for column in shown)],
        titles=["model", "layer", "pooling", *(column.title for column in shown)],
        rows=rows,
    )
    return table.text(width)


def percent(value: float | None) -> str:
    """A score x 100 with one decimal; nothing if it was not measured."""
    return "" if value is None else f"{100 * value:.1f}"


def to_json(models: Sequence[ModelReport], settings: dict[str, Any]) -> dict[str, Any]:
    """Everything that was measured, for a file."""
    return {
        "schema_version": SCHEMA_VERSION,
        "settings": settings,
        "models": [_fields(model) for model in models],
    }


def _fields(model: ModelReport) -> dict[str, Any]:
    found = asdict(model)
    for each in found["sets"]:
        del each["key"]  # what was assigned is written by --keys
    return found


def from_json(found: Any) -> list[ModelReport]:
    """Read what `to_json` gave.

    Raises:
      ValueError: if it is something else, or of another schema version.
    """
    if not isinstance(found, dict) or found.get("schema_version") != SCHEMA_VERSION:
        raise ValueError("these are not the scores that evaluate --json writes")
    models = []
    for model in found["models"]:
        sets = tuple(
            SetReport(**{**each, "scores": tuple(Score(**score) for score in each["scores"])})
            for each in model["sets"]
        )
        weights = tuple(model["layer_weights"])
        models.append(ModelReport(**{**model, "layer_weights": weights, "sets": sets}))
    return models


# --- plot -----------------------------------------------------------------------------------------

PLOTTED_SET, PLOTTED_METRIC = "coarsewsd20", "precision_at_10"


@dataclass(frozen=True)
class Series:
    """One kind of mark: a value for each word."""

    label: str
    contextual: bool
    values: dict[str, float]


def plotted_series(models: Sequence[ModelReport]) -> tuple[str, list[Series]]:
    """What the plot shows: the centering ("mean" if it was measured), and the series.

    Static: chance, models of one layer, and layer 0 of the others. Contextual: their mix.

    Raises:
      ValueError: if the set that is plotted was not among those evaluated.
    """
    every = [
        (model, score)
        for model in models
        for score in model.scores()
        if score.set == PLOTTED_SET and score.word
    ]
    if not every:
        raise ValueError(f"the plot shows {PLOTTED_SET} word by word; add it to --sets")
    measured = dict.fromkeys(score.centering for _, score in every)
    centering = "mean" if "mean" in measured else next(iter(measured))
    found: dict[str, Series] = {}
    for model, score in every:
        if score.centering != centering:
            continue
        if score.metric == f"chance_{PLOTTED_METRIC}":
            label, contextual = "chance", False
        elif score.metric == PLOTTED_METRIC and score.layer in ("layer 0", "mix"):
            contextual = score.layer == "mix"
            label = model.label if model.n_layers == 1 else f"{model.label}, {score.layer}"
        else:
            continue
        found.setdefault(label, Series(label, contextual, {})).values[score.word] = score.value
    return centering, list(found.values())


def merge_alike(series: Sequence[Series], tolerance: float = 0.005) -> list[Series]:
    """Give static series of the same values one mark: static vectors of one form all score chance.

    Two are alike if they differ by no more than `tolerance` at every word.
    """
    merged: list[Series] = []
    for each in series:
        for number, other in enumerate(merged):
            if not (each.contextual or other.contextual) and _alike(each, other, tolerance):
                merged[number] = Series(f"{other.label} = {each.label}", False, other.values)
                break
        else:
            merged.append(each)
    return merged


def _alike(one: Series, other: Series, tolerance: float) -> bool:
    return one.values.keys() == other.values.keys() and all(
        abs(value - other.values[word]) <= tolerance for word, value in one.values.items()
    )


def plot(models: Sequence[ModelReport], path: Path, note: str = "") -> None:
    """Draw, word by word, what static vectors and what contextual ones reach.

    Raises:
      ValueError: if there is nothing to draw; see plotted_series.
    """
    from matplotlib.figure import Figure

    centering, series = plotted_series(models)
    series = merge_alike(series)
    best = [each for each in series if each.contextual] or series
    words = sorted(best[0].values, key=lambda word: best[0].values[word])
    figure = Figure(figsize=(8, 1.6 + 0.3 * len(words)), layout="constrained")
    axes = figure.add_subplot()
    for number, word in enumerate(words):
        values = [each.values[word] for each in series if word in each.values]
        axes.plot([min(values), max(values)], [number, number], color="0.85", zorder=1)
    static_marks, contextual_marks = iter("sv<>^*xp"), iter("oDPXhH8d")
    for each in series:
        held = [(value, words.index(word)) for word, value in each.values.items()]
        axes.scatter(
            [value for value, _ in held],
            [position for _, position in held],
            marker=next(contextual_marks if each.contextual else static_marks, "o"),
            color=None if each.contextual else "0.45",
            s=45 if each.contextual else 28,
            label=each.label,
            zorder=3 if each.contextual else 2,
        )
    axes.set_yticks(range(len(words)), words)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("occurrences of the same sense among the 10 nearest (mean over senses)")
    axes.set_title(
        "What context adds: static (grey) and contextual vectors\n"
        f"CoarseWSD-20, centering: {centering}{note}"
    )
    figure.legend(loc="outside lower center", fontsize="small")  # hides no word
    figure.savefig(path, dpi=120, metadata={"Software": None})
