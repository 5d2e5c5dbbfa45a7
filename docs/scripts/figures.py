"""Write the tables and plots of README and docs/ from the JSON of the benchmarks: `make figures`.

Every file tests/benchmarks/results/NAME.json is one table, with when, where and how it was measured
(see `recording.py` there). A page shows it between two comments:

    <!-- figures: NAME -->
    <!-- end of figures -->

`readme`, `deploy-costs` and `dataflow-estimate` are computed from the numbers of several files.
Plots go to docs/pictures. Usage: python docs/scripts/figures.py [--check]; with --check nothing is
written, and the exit status is 1 if a page does not agree with the JSON.
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
    """Write a cell: integers with thousands apart, null as an empty cell, a pair as `a / b`."""
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
    if name in COMPUTED:
        return COMPUTED[name]()
    result = read_result(name)
    return f"{markdown_table(result['columns'], result['rows'])}\n{conditions(result['measured'])}"


def cell(name: str, row: str, column: int) -> Any:
    """Return one number of a file, by the words that its row begins with."""
    found = [line for line in read_result(name)["rows"] if " ".join(map(str, line)).startswith(row)]
    if len(found) != 1:
        raise SystemExit(f"figures: {name}.json has {len(found)} rows that begin with {row!r}")
    return found[0][column]


def readme_table() -> str:
    """Return README's table."""
    return markdown_table(["what", "figure"], [list(row) for row in readme_rows()])


def readme_rows() -> Iterator[tuple[str, str]]:
    """Yield the rows of README's table."""
    yield (
        "embedding on two cores, a model of 1024 cells, float32, words cached",
        f"{shown(cell('speed-cpu-small', 'float32', 2))} tokens/s, "
        f"{cell('speed-cpu-small', 'float32', 4)} × AllenNLP",
    )
    fast = "en-small " + read_result("speed-sentence-transformer")["values"]["default"].split()[1]
    yield (
        "embedding with the defaults, two cores with AVX512-BF16 (no AMX)",
        f"{shown(cell('speed-sentence-transformer', fast, 1))} words/s, "
        f"{cell('speed-sentence-transformer', fast, 2)} × all-MiniLM-L6-v2 in float32",
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
        "`serve`, 8 clients on the same two cores, 1.2 million token vectors: a word in its sense",
        f"{cell('serve-txtai', 'sensegrep, a word in its sense 8', 2)} searches/s (txtai's server, "
        f"nearest of the same vectors: {cell('serve-txtai', 'txtai, all token vectors 8', 2)})",
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


BILLION = 10**9
L4_TOKENS_PER_SECOND = 100_000  # assumed: no L4 was at hand


def tokens_per_core_second() -> float:
    """Return what one core does of the whole command, with the bundled model."""
    return float(cell("run-simplewiki", "embedding, tokens/s", 1)) / 2


def core_seconds_per_million() -> tuple[float, float]:
    """Return the core-seconds of a million short documents: without the model, and to choose."""
    parts = {row[0]: row[1] for row in read_result("embed-throughput")["rows"]}
    return parts["all"] - parts["model"], parts["planning"] + parts["reading"]


def duration(seconds: float) -> str:
    """Write a time as a reader would say it."""
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{shown(round(seconds / 3600, 1))} h"


def deploy_costs() -> str:
    """Return what a billion tokens cost on each target, by the measured speed of a core."""
    speed = tokens_per_core_second()
    rows = []
    for target, machines, cores in (
        ("1 machine of 2 cores", 1, 2),
        ("50 Dataflow workers of 8 vCPUs (`n2-standard-8`)", 50, 8),
        ("Kubernetes CronJob, 2 CPUs", 1, 2),
        ("Flink, 2 task managers of 4 workers with a CPU each", 2, 4),
    ):
        seconds = BILLION / (speed * machines * cores)
        rows.append([target, f"{machines * seconds / 3600:.1f}", duration(seconds)])
    without_model = 11e6 / core_seconds_per_million()[0]
    on_disk = cell("run-simplewiki", "size on disk", 1) * 1e6 / cell("run-simplewiki", "tokens", 1)
    gpu = shown(cell("speed-gpu", "small bfloat16", 2))
    one, four = (duration(BILLION / without_model / workers) for workers in (1, 4))
    notes = f"""
- Measured: {speed * 2:,.0f} tokens/s from reading to commit with the bundled model, on
  {read_result("run-simplewiki")["measured"]["machine"]}. The table multiplies that by cores.
  Starting takes some minutes more.
- With a GPU, reading and writing are the limit: a model of 1024 cells takes {gpu} tokens/s on
  an H200 in bfloat16, but one core reads, tokenizes and writes about
  {round(without_model, -3):,.0f} tokens/s. One process needs {one} for a billion tokens,
  4 workers {four}. A larger model changes that.
- On disk, a billion tokens of text like Wikipedia's take about {on_disk:,.0f} GB, with
  `--tokens content` and indexes.
"""
    return markdown_table(["for 1 billion tokens", "machine-hours", "wall time"], rows) + notes


def dataflow_estimate() -> str:
    """Return what a billion tokens in a hundred million documents cost on Dataflow."""
    without_model, choosing = (100 * each for each in core_seconds_per_million())
    start = 600
    cells: list[list[str]] = []
    for cores, tokens_per_second in ((100, 100 * tokens_per_core_second()),
                                     (32, 4 * L4_TOKENS_PER_SECOND)):  # fmt: skip
        steps = [choosing / cores, BILLION / tokens_per_second, without_model / cores]
        minutes = round((sum(steps) + start) / 60, -1)
        cells.append([*(f"{step:,.0f} s" for step in steps), f"about {minutes:.0f} minutes"])
    cells[0].append(f"{float(cells[0][3].split()[1]) / 60 * 100:.0f} vCPU-hours")
    hours = float(cells[1][3].split()[1]) / 60
    cells[1].append(f"{hours * 4:.0f} GPU-hours and {hours * 32:.0f} vCPU-hours")
    steps_of = ["choosing", "embedding", "everything but the model"]
    steps_of += ["with start and the last parts", "cost drivers"]
    rows = [list(row) for row in zip(steps_of, *cells, strict=True)]
    columns = ["step", "50 workers of 2 vCPUs", "4 workers with 8 vCPUs and an L4 each"]
    return (
        markdown_table(columns, rows)
        + f"""
- Measured: {tokens_per_core_second() * 2:,.0f} tokens/s on two cores with the bundled model.
- Measured, for a million short documents: {without_model / 100:.0f} core-seconds of everything but
  the model, {choosing / 100:.0f} to read and choose them.
- Assumed, because no L4 was at hand: {L4_TOKENS_PER_SECOND:,} tokens/s on an L4.
"""
    )


COMPUTED = {
    "readme": readme_table,
    "deploy-costs": deploy_costs,
    "dataflow-estimate": dataflow_estimate,
}


def with_figures(text: str) -> str:
    """Return a page with its tables made anew."""
    return BLOCK.sub(lambda found: found[1] + block(found[2]) + found[4], text)


def pages() -> list[Path]:
    """Return the pages that may show figures."""
    return [
        ROOT / "README.md",
        ROOT / "deploy" / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ]


def speed_plot(path: Path) -> None:
    """Draw the speed of each dtype, as a multiple of AllenNLP's."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    # The same bytes each time: no date, ids that do not change, letters as text.
    matplotlib.rcParams.update({"svg.hashsalt": "sensegrep", "svg.fonttype": "none"})
    sizes = ("small", "original")
    rows = [[size, *row] for size in sizes for row in read_result(f"speed-cpu-{size}")["rows"][1:]]
    labels = [f"{size}, {dtype}" for size, dtype, *_ in rows]
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
