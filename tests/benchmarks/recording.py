"""Records what a benchmark measured: as a line of JSON, and as the table that the docs show.

A benchmark prints one line of JSON. With SENSEGREP_RECORD=1 it also writes
tests/benchmarks/results/NAME.json: the table, all values behind it, and when, where and how they
were measured. `make figures` writes README's and docs' tables from those files.
"""

import json
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
# Variables that change what is measured, and those that name a folder of this machine.
SETTINGS = (
    "ATEN_CPU_CAPABILITY",
    "MKL_ENABLE_INSTRUCTIONS",
    "OMP_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
)
FOLDERS = (
    "ALLENNLP_ROOT",
    "LOAD_CORPUS",
    "MINILM_DIR",
    "TEN_MILLION_BUILD",
    "TEN_MILLION_CORPUS",
    "TXTAI_PYTHON",
)


def record(
    name: str,
    values: dict[str, Any],
    *,
    title: str = "",
    columns: Sequence[str] = (),
    rows: Sequence[Sequence[Any]] = (),
    notes: Sequence[str] = (),
    results: Path | None = None,
) -> None:
    """Print what was measured, and keep it as a table if SENSEGREP_RECORD is set.

    Args:
      name: of the benchmark, and of its file.
      values: everything that was measured.
      title: of the table.
      columns, rows: the table; without them nothing is kept.
      notes: what a reader needs to know beside date and machine.
      results: the folder of the files, if not that of the repository.

    Raises:
      ValueError: if a row has not as many cells as there are columns.
    """
    print("\n" + json.dumps({"benchmark": name, **values}))
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"{name}: a row has {len(row)} cells, expected {len(columns)}: {row}")
    if not rows or not os.environ.get("SENSEGREP_RECORD"):
        return
    kept = {
        "title": title,
        "measured": {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": machine(),
            "command": command(),
            "notes": list(notes),
        },
        "columns": list(columns),
    }
    # A row is a line, so that a change of one figure is a change of one line.
    lines = ",\n".join(f"  {json.dumps(list(row), ensure_ascii=False)}" for row in rows)
    head = json.dumps(kept, ensure_ascii=False, indent=1).removesuffix("\n}")
    tail = json.dumps(values, ensure_ascii=False)
    path = (results or RESULTS) / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'{head},\n "rows": [\n{lines}\n ],\n "values": {tail}\n}}\n', encoding="utf-8")


def machine() -> str:
    """Say what the benchmark runs on: processor, cores, instructions, torch, other work."""
    cores = len(os.sched_getaffinity(0))
    described = _processor()
    load = os.getloadavg()[0]
    return (
        f"{cores} cores of {described}, torch {metadata.version('torch')}, "
        f"load {load:.1f} at the end of the run"
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "an unknown processor"
    fields = dict(
        (part.strip() for part in line.split(":", 1)) for line in text.splitlines() if ":" in line
    )
    flags = fields.get("flags", "").split()
    names = {
        "amx_bf16": "AMX",
        "avx512_bf16": "AVX512-BF16",
        "avx512_vnni": "VNNI",
        "avx512f": "AVX-512",
        "avx2": "AVX2",
    }
    known = [shown for flag, shown in names.items() if flag in flags]
    return f"{fields.get('model name', 'an unknown processor')} ({', '.join(known) or 'no AVX2'})"


def command() -> str:
    """Return the command that runs, with the variables that change what it measures."""
    program, *arguments = sys.argv
    variables = [
        f"{name}={shlex.quote(value)}"
        for name, value in sorted(os.environ.items())
        if name.startswith("SENSEGREP_BENCHMARK_") or name in SETTINGS
    ]
    variables += [f"{name}=DIR" for name in FOLDERS if name in os.environ]
    started = ["pytest"] if "pytest" in program else ["python", os.path.relpath(program)]
    return " ".join([*variables, *started, *map(shlex.quote, arguments)])
