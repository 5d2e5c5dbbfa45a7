"""Write the tables and plots of README and docs/ from the JSON of the benchmarks: `make figures`.

Every file tests/benchmarks/results/NAME.json is one table, with when, where and how it was measured
(see `recording.py` there). A page shows it between two comments:

    <!-- figures: NAME -->
    <!-- end of figures -->

`readme` is the short table of README, which takes its numbers from several files. Plots go to
docs/pictures. Usage: python docs/scripts/figures.py [--check]; with --check nothing is written, and
the exit status is 1 if a page does not agree with the JSON.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "results"
PICTURES = ROOT / "docs" / "pictures"
BLOCK = re.compile(r"(<!-- figures: ([a-z0-9-]+) -->\n)(.*?)(<!-- end of figures -->)", re.DOTALL)


def read_result(name: str) -> dict[str, Any]:
    """Read the JSON of a benchmark."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in RESULTS.glob("*.json")))
        raise SystemExit(f"figures: no file {path.relative_to(ROOT)}; expected one of: {known}")
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def shown(value: Any) -> str:
    """Write a cell: integers with thousands apart, null as a blank, a pair as `a / b`."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " / ".join(shown(one) for one in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def markdown_table(columns: list[str], rows: list[list[Any]]) -> str:
    """Write a table; columns of numbers are set to the right."""
    numeric = [
        all(not isinstance(row[place], str) for row in rows) for place in range(len(columns))
    ]
    rules = ["---:" if right else "---" for right in numeric]
    lines = [columns, rules, *([shown(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def conditions(measured: dict[str, Any]) -> str:
    """Write when, where and how a table was measured."""
    notes = [*measured["notes"], f"{measured['date']}, {measured['machine']}"]
    lines = [f"- {note[0].upper()}{note[1:]}." for note in notes]
    return "\n".join([*lines, f"- Command: `{measured['command']}`", ""])


def block(name: str) -> str:
    """Return what stands between the two comments of a table."""
    if name == "readme":
        return markdown_table(["what", "figure"], [list(row) for row in readme_rows()])
    result = read_result(name)
    return f"{markdown_table(result['columns'], result['rows'])}\n{conditions(result['measured'])}"


def cell(name: str, row: str, column: int) -> Any:
    """Return one number of a file, by the words that its row begins with."""
    found = [line for line in read_result(name)["rows"] if " ".join(map(str, line)).startswith(row)]
    if len(found) != 1:
        raise SystemExit(f"figures: {name}.json has {len(found)} rows that begin with {row!r}")
    return found[0][column]


def readme_rows() -> Iterator[tuple[str, str]]:
    """Yield the rows of README's table."""
    small = "small (1024/128) float32"
    yield (
        "embedding on two cores, a model of 1024 cells, float32, words cached",
        f"{shown(cell('speed-cpu', small, 3))} tokens/s, {cell('speed-cpu', small, 5)} × AllenNLP",
    )
    yield (
        "the whole command on 4,000 Wikipedia articles, two cores, the bundled model",
        f"{shown(cell('run-simplewiki', 'embedding, tokens/s', 1))} tokens/s, "
        f"{shown(cell('run-simplewiki', 'peak memory, MB', 1))} MB of memory",
    )
    yield (
        "embedding on one NVIDIA H200, the same model of 1024 cells, bfloat16",
        f"{shown(cell('speed-gpu', 'small bfloat16', 2))} tokens/s",
    )
    yield (
        "search of a word among 1,000,000 token vectors, median",
        f"{cell('index-million', 'search of a word, median', 1)} ms",
    )
    yield (
        "lines of the same sense among the first ten, 22 words with several senses",
        f"{cell('search-sense', 'that, with the neighbours', 1):.0%} "
        f"(static vectors {cell('search-sense', 'static vectors', 1):.0%}, "
        f"chance {cell('search-sense', 'chance', 1):.0%})",
    )
    yield (
        "commands killed, or with errors of the disk, at a random operation",
        f"{shown(cell('faults', 'together', 1))}, of which "
        f"{shown(cell('faults', 'together', 2))} lost nothing",
    )


def with_figures(text: str) -> str:
    """Return a page with its tables made anew."""
    return BLOCK.sub(lambda found: found[1] + block(found[2]) + found[4], text)


def pages() -> list[Path]:
    """Return the pages that may show figures."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def speed_plot(path: Path) -> None:
    """Draw the speed of each dtype, as a multiple of AllenNLP's."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    # The same bytes each time: no date, ids that do not change, letters as text.
    matplotlib.rcParams.update({"svg.hashsalt": "sensegrep", "svg.fonttype": "none"})
    rows = [row for row in read_result("speed-cpu")["rows"] if row[1] != "AllenNLP"]
    labels = [f"{model.split()[0]}, {dtype}" for model, dtype, *_ in rows]
    figure, axes = pyplot.subplots(figsize=(8, 3.4), layout="constrained")
    places = range(len(rows))
    axes.barh([place + 0.2 for place in places], [row[5] for row in rows], 0.4, label="warm")
    axes.barh([place - 0.2 for place in places], [row[4] for row in rows], 0.4, label="cold")
    axes.set_yticks(list(places), labels)
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as AllenNLP, two cores")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main(arguments: list[str]) -> int:
    """Make all pages and plots anew, or check the pages."""
    stale = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (made := with_figures(text)) != text:
            stale.append(str(page.relative_to(ROOT)))
            if "--check" not in arguments:
                page.write_text(made, encoding="utf-8")
    if "--check" in arguments:
        if stale:
            print(f"figures: not as the JSON says: {', '.join(stale)}; run make figures")
        return int(bool(stale))
    speed_plot(PICTURES / "speed.svg")
    print(f"figures: wrote {', '.join(stale) or 'no page, all agree'}, docs/pictures/speed.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
