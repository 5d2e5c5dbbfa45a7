"""Draw the figures of docs/how-it-works.md as SVG: `make drawings`.

The files are text that depends on this script alone; tests/test_docs.py checks that they agree.
"""

import sys
from html import escape
from pathlib import Path

DRAWINGS = Path(__file__).resolve().parent.parent / "drawings"

INK, QUIET, LINE = "#1f2933", "#5b6770", "#8a949c"
BLUE, GREEN, ORANGE, GREY = "#dbe9f6", "#dff0e0", "#fbe6cf", "#eef0f2"
FONT = "system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif"
STYLE = (
    f"text{{font-family:{FONT};font-size:14px;fill:{INK};text-anchor:middle}}"
    f".s{{font-size:12px;fill:{QUIET}}}.l{{text-anchor:start}}.b{{font-weight:600}}"
    f"rect{{stroke:{LINE}}}path{{stroke:{LINE};stroke-width:1.5;fill:none}}"
)


class Drawing:
    """Collects shapes in pixels from the top left, and prints them as an SVG document.

    Args:
      width, height: of the picture.
      title: what a screen reader says.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size, self._title = (width, height), title
        self._shapes: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "") -> None:
        """Write words around x on the baseline y; kind: s small, l from x on, b bold."""
        chosen = f' class="{kind}"' if kind else ""
        self._shapes.append(f'<text x="{x:g}" y="{y:g}"{chosen}>{escape(words)}</text>')

    def box(self, x: float, y: float, width: float, height: float, fill: str, *lines: str) -> None:
        """Draw a box with a bold first line and small lines below it."""
        self._shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
            f'rx="6" fill="{fill}"/>'
        )
        first = y + height / 2 + 5 - 8 * (len(lines) - 1)
        for number, line in enumerate(lines):
            self.text(x + width / 2, first + 16 * number, line, "s" if number else "b")

    def arrow(self, *points: tuple[float, float]) -> None:
        """Draw a line through the points, with a head at the last."""
        way = " ".join(f"{'L' if i else 'M'}{x:g},{y:g}" for i, (x, y) in enumerate(points))
        self._shapes.append(f'<path d="{way}" marker-end="url(#head)"/>')

    def bar(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """Draw a rectangle without words, whose lower edge is y."""
        self._shapes.append(
            f'<rect x="{x:g}" y="{y - height:g}" width="{width:g}" height="{height:g}" '
            f'fill="{fill}"/>'
        )

    def svg(self) -> str:
        """Return the document."""
        width, height = self._size
        head = (
            '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" '
            f'style="fill:{LINE};stroke:none"/>'
            "</marker>"
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                f'width="{width}" height="{height}" role="img">',
                f"<title>{escape(self._title)}</title>",
                f"<style>{STYLE}</style>",
                f"<defs>{head}</defs>",
                f'<rect width="{width}" height="{height}" fill="#ffffff" style="stroke:none"/>',
                *self._shapes,
                "</svg>",
                "",
            ]
        )


def pipeline() -> str:
    """Draw the way of a document from a file to a search result."""
    drawing = Drawing(860, 330, "From documents to search results")
    steps = [
        ("Read", "files, Kafka, Pub/Sub", "to documents"),
        ("Tokenize", "sentences, tokens,", "their places"),
        ("Embed", "batches of tokens", "through ELMo"),
        ("Write", "Parquet parts,", "then one commit"),
    ]
    for number, (name, *notes) in enumerate(steps):
        x = 20 + 210 * number
        drawing.box(x, 40, 170, 76, BLUE, name, *notes)
        if number:
            drawing.arrow((x - 40, 78), (x, 78))
    drawing.text(20, 26, "Apache Beam: in one process, on an engine, or as a stream", "s l")
    drawing.box(20, 170, 170, 56, ORANGE, "Rejects", "counted, with the reason")
    drawing.arrow((105, 116), (105, 170))
    drawing.box(650, 170, 170, 76, GREY, "Corpus", "segments, snapshots", "(Parquet, JSON)")
    drawing.arrow((735, 116), (735, 170))
    drawing.box(440, 170, 170, 76, GREEN, "Index", "vectors sorted by word,", "FAISS")
    drawing.arrow((650, 208), (610, 208))
    drawing.box(230, 170, 170, 76, GREEN, "Search", "scan the word's range,", "rank by sense")
    drawing.arrow((440, 208), (400, 208))
    drawing.box(230, 276, 170, 34, "#ffffff", "They sat on the [bank]")
    drawing.arrow((315, 276), (315, 246))
    drawing.text(420, 298, "The query is tokenized and embedded in the same way.", "s l")
    return drawing.svg()


def layers() -> str:
    """Draw the layers of the model over a short sentence."""
    drawing = Drawing(860, 400, "The layers of the model")
    words = ["They", "sat", "on", "the", "bank"]
    centres = [190 + 110 * number for number in range(len(words))]
    rows = [
        (250, BLUE, "Layer 0", "spelling"),
        (170, GREEN, "Layer 1", "LSTM, both ways"),
        (90, GREEN, "Layer 2", "LSTM, both ways"),
    ]
    for y, fill, name, note in rows:
        drawing.text(20, y + 18, name, "l b")
        drawing.text(20, y + 35, note, "s l")
        for number, x in enumerate(centres):
            if fill == GREEN:
                drawing.box(x - 40, y, 80, 18, fill)
                drawing.box(x - 40, y + 26, 80, 18, fill)
                if number:
                    drawing.arrow((x - 70, y + 9), (x - 40, y + 9))
                    drawing.arrow((x - 40, y + 35), (x - 70, y + 35))
            else:
                drawing.box(x - 40, y, 80, 44, fill, "CNN")
            drawing.arrow((x, y + 44 + 36), (x, y + 44))
    for x, word in zip(centres, words, strict=True):
        drawing.text(x, 346, word, "b")
    drawing.text(20, 346, "Characters", "l b")
    drawing.text(
        410,
        378,
        "Layer 0 is the same for a word in every sentence. Layers 1 and 2 depend on the sentence.",
        "s",
    )
    sides = [(112, "× 0.6"), (192, "× 0.2"), (272, "× 0.2")]
    for y, weight in sides:
        drawing.arrow((centres[-1] + 40, y), (715, y), (715, 62))
        drawing.text(690, y - 6, weight, "s")
    drawing.box(630, 18, 170, 44, ORANGE, "Vector of “bank”", "weighted sum, D = 384")
    return drawing.svg()


def pooling() -> str:
    """Draw attention pooling over a short sentence; the weights are those of an example."""
    drawing = Drawing(860, 280, "Attention pooling")
    weighted = [
        ("They", 0.02),
        ("sat", 0.19),
        ("on", 0.03),
        ("the", 0.02),
        ("bank", 0.40),
        ("river", 0.34),
    ]
    drawing.text(20, 112, "Weights", "l b")
    drawing.text(20, 129, "softmax(q · k / √D)", "s l")
    drawing.text(20, 178, "Token vectors k", "l b")
    for number, (word, weight) in enumerate(weighted):
        x = 190 + 75 * number
        drawing.bar(x, 140, 44, 200 * weight, ORANGE)
        drawing.box(x, 156, 44, 34, BLUE)
        drawing.text(x + 22, 178, "k", "")
        drawing.text(x + 22, 212, word, "b")
    drawing.box(660, 86, 170, 54, GREEN, "Sentence vector", "weighted sum of k")
    drawing.arrow((622, 113), (660, 113))
    drawing.box(660, 20, 170, 40, GREY, "Query q", "learned once")
    drawing.text(
        410,
        254,
        "The weights are stored. They show which words matter most. (The weights are an example.)",
        "s",
    )
    return drawing.svg()


def drawings() -> dict[str, str]:
    """Return the text of every file of docs/drawings, by its name."""
    return {"pipeline.svg": pipeline(), "layers.svg": layers(), "pooling.svg": pooling()}


def main() -> int:
    """Write the files."""
    DRAWINGS.mkdir(exist_ok=True)
    for name, text in drawings().items():
        (DRAWINGS / name).write_text(text, encoding="utf-8")
        print(DRAWINGS / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
