"""The whole command on real text: `sensegrep run` on 4,000 articles of Simple Wikipedia."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).resolve().parents[2]
# Runs a command and tells the most memory that it and its children took, each for itself.
PROGRAM = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
peak = usage.ru_maxrss / 1024
spent = usage.ru_utime + usage.ru_stime
print(json.dumps({"out": done.stdout, "peak_mb": peak, "processor_s": spent}))
"""


def measured(*arguments: str) -> dict[str, Any]:
    """Run a subcommand; return its report, its wall seconds and its peak memory."""
    command = [sys.executable, "-c", PROGRAM, sys.executable, "-m", "pipelines", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "wall_s": time.perf_counter() - started, "report": json.loads(found["out"])}


def test_run_on_simple_wikipedia(
    tmp_path: Path, shared: Path, record_benchmark: Callable[..., None]
) -> None:
    source = str(shared / "data/demo/simplewiki_en_demo.jsonl.gz")
    corpus = tmp_path / "corpus"
    found = measured("run", source, "--corpus", str(corpus), "--json")
    embedded, indexed = found["report"], found["report"].pop("index")
    size = sum(path.stat().st_size for path in corpus.rglob("*") if path.is_file())
    again = measured("run", source, "--corpus", str(corpus), "--json")
    segment = json.loads(next(corpus.glob("segments/*/segment.json")).read_text())
    dtype = segment["options"]["dtype"]
    record_benchmark(
        "run-simplewiki",
        {
            "embed": embedded,
            "index": indexed,
            "bytes": size,
            "wall_s": round(found["wall_s"], 1),
            "processor_s": round(found["processor_s"], 1),
            "again_wall_s": round(again["wall_s"], 1),
        },
        title="The whole command on 4,000 articles of Simple Wikipedia",
        columns=["what", "figure"],
        rows=[
            ["sentences", embedded["sentences"]],
            ["tokens", embedded["tokens"]],
            ["embedding, seconds", round(embedded["seconds"])],
            ["embedding, tokens/s", round(embedded["tokens"] / embedded["seconds"])],
            [
                f"indexing {indexed['tables']['tokens']['vectors']:,} content words and all "
                "sentences, seconds",
                round(indexed["seconds"]),
            ],
            ["the command from start to end, seconds", round(found["wall_s"])],
            ["the command again, with nothing new, seconds", round(again["wall_s"])],
            ["size on disk, MB", round(size / 1e6)],
            ["peak memory, MB", round(found["peak_mb"])],
        ],
        notes=[f"bundled model, {dtype} (`--dtype auto`)"],
    )
    assert embedded["written"] == again["report"]["unchanged"] == 4000
