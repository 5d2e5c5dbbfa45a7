"""A map of a word's occurrences in two dimensions, coloured by sense: PNG, or HTML to hover."""

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UsageError
from pipelines.search.hits import Hit
from pipelines.search.kwic import one_line
from pipelines.search.line_reader import LineReader, LocatedHit
from pipelines.senses.lines import DescribedSenses

POINTS = 1000
# Told apart by most colour-blind readers (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def draw_map(described: DescribedSenses, path: str) -> None:
    """Draw occurrences as points and write them to `path`, which ends in .png or .html.

    Raises:
      UsageError: for another ending, or where matplotlib is missing.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".html"):
        raise UsageError(f"--plot is {path!r}; give a file that ends in .png or .html")
    found, vectors = _draw(described, POINTS)
    places = project(vectors)
    if suffix == ".png":
        _draw_png(described, found, places, path)
    else:
        Path(path).write_text(_page(described, found, places), encoding="utf-8")


def map_points(
    described: DescribedSenses, limit: int, context: tuple[int, int] = (8, 8)
) -> tuple[list[Hit], NDArray[np.float32]]:
    """Draw up to `limit` occurrences evenly over the corpus and place them in two dimensions.

    Args:
      described: the word's senses.
      limit: most points.
      context: tokens to show left and right of each occurrence.

    Returns:
      their lines, and their places [n, 2] on the two principal components.
    """
    found, vectors = _draw(described, limit)
    return LineReader(described.index).hits(found, "tokens", context), project(vectors)


def _draw(described: DescribedSenses, limit: int) -> tuple[list[LocatedHit], NDArray[np.float32]]:
    """Draw up to `limit` occurrences evenly; returns them and their vectors [n, D]."""
    index, senses = described.index, described.senses
    step = max(1, -(-described.forms.indexed // limit))
    found: list[LocatedHit] = []
    vectors = [np.zeros((0, index.manifest.dim), np.float32)]
    for stretch in described.forms.ranges:
        shard = index.shards[stretch.shard]
        positions = np.arange(stretch.first, stretch.first + stretch.rows, step)
        ids = shard.keys["vector_id"][positions]
        numbers = senses.of(ids)
        live = numbers > 0  # tombstoned occurrences have no sense
        vectors.append(shard.tokens.vectors(positions[live]))
        found += [
            LocatedHit(0.0, int(i), stretch.shard, int(position), {}, "", int(number))
            for i, position, number in zip(ids[live], positions[live], numbers[live], strict=True)
        ]
    return found, np.concatenate(vectors)


def project(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Project vectors [n, D] on their two principal components, [n, 2]."""
    if len(vectors) < 3:
        return np.zeros((len(vectors), 2), np.float32)
    centered = vectors - vectors.mean(axis=0)
    left, singular, _ = np.linalg.svd(centered, full_matrices=False)
    places = left[:, :2] * singular[:2]
    # A direction and its opposite are the same component: fix the sign, so that maps are equal.
    signs = np.sign(places[np.abs(places).argmax(axis=0), [0, 1]])
    return (places * np.where(signs == 0, 1, signs)).astype(np.float32)


def _draw_png(
    described: DescribedSenses, found: list[LocatedHit], places: NDArray[np.float32], path: str
) -> None:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "--plot FILE.png needs matplotlib: pip install 'sensegrep[plot]'; FILE.html does not"
        ) from error
    figure = Figure(figsize=(8, 6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    numbers = np.array([one.sense or 0 for one in found])
    for sense in described.senses.senses:
        mine = places[numbers == sense.number]
        label = f"{sense.number}: {', '.join(sense.labels[:3]) or 'no typical words'}"
        axes.scatter(
            mine[:, 0],
            mine[:, 1],
            s=14,
            alpha=0.7,
            color=_colour(sense.number),
            label=f"{label} ({sense.size})",
        )
    axes.set_title(f"{described.senses.word}: {len(found)} occurrences")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(loc="best", fontsize=8)
    figure.savefig(path, metadata={"Software": None})


def _colour(number: int) -> str:
    return COLOURS[(number - 1) % len(COLOURS)]


def _page(described: DescribedSenses, found: list[LocatedHit], places: NDArray[np.float32]) -> str:
    """An HTML page on its own: an SVG whose points say their line when pointed at."""
    hits = LineReader(described.index).hits(found, "tokens", (8, 8))
    low, high = (places.min(axis=0), places.max(axis=0)) if len(places) else (0.0, 1.0)
    scaled = (places - low) / np.maximum(np.asarray(high) - low, 1e-9) * [760, 560] + 20
    points = [_point(hit, place) for hit, place in zip(hits, scaled, strict=True)]
    legend = [
        f'<li style="color:{_colour(s.number)}">{s.number}: '
        f"{html.escape(', '.join(s.labels) or 'no typical words')} ({s.size})</li>"
        for s in described.senses.senses
    ]
    word = html.escape(described.senses.word)
    return (
        f'<!DOCTYPE html><meta charset="utf-8"><title>{word}</title>'
        f"<h1>{word}</h1><ul>{''.join(legend)}</ul>"
        f'<svg viewBox="0 0 800 600" width="800" height="600">{"".join(points)}</svg>\n'
    )


def _point(hit: Any, place: NDArray[np.float64]) -> str:
    said = html.escape(one_line(f"{hit.left}{hit.node}{hit.right} — {hit.doc_id}"))
    return (
        f'<circle cx="{place[0]:.1f}" cy="{600 - place[1]:.1f}" r="4" fill-opacity=".7"'
        f' fill="{_colour(hit.sense)}" data-id={json.dumps(str(hit.vector_id))}>'
        f"<title>{said}</title></circle>"
    )
