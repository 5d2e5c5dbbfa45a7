"""One job on each engine beside the same job in this process, in turn, on the same cores.

SENSEGREP_PRISM names the program prism (make test-engines builds .engines/prism);
SENSEGREP_BENCHMARK_INPUT and SENSEGREP_BENCHMARK_MODEL take other input and another model.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.api import Corpus

pytestmark = pytest.mark.benchmark
ROOT = Path(__file__).resolve().parent.parent.parent
PRISM = Path(os.environ.get("SENSEGREP_PRISM", ROOT / ".engines" / "prism"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def peak_megabytes(process: subprocess.Popen[bytes]) -> dict[str, int]:
    """Return the peak memory of a process and of those below it, until it ends."""
    peaks: dict[str, int] = {}
    while process.poll() is None:
        listed = subprocess.run(
            ["ps", "-e", "-o", "pid=,ppid=,comm="], capture_output=True, text=True, check=True
        )
        rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
        family = {process.pid}
        for pid, above, _ in rows:
            if int(above) in family:
                family.add(int(pid))
        for pid, _, name in rows:
            if int(pid) in family:
                status = Path(f"/proc/{pid}/status")
                try:
                    [line] = [x for x in status.read_text().splitlines() if x.startswith("VmHWM")]
                except (OSError, ValueError):  # it ended meanwhile
                    continue
                key = f"{name} {pid}"
                peaks[key] = max(peaks.get(key, 0), int(line.split()[1]) // 1024)
        time.sleep(0.2)
    return peaks


def run(name: str, source: Path, corpus: Path, model: str, flags: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "pipelines", "embed", str(source), "--corpus", str(corpus)]
    started = time.monotonic()
    with subprocess.Popen(
        [*command, "--model", model, "--json", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        peaks: dict[str, int] = {}
        watch = threading.Thread(target=lambda: peaks.update(peak_megabytes(process)))
        watch.start()
        out, err = process.communicate()
        watch.join()
    assert process.returncode == 0, err.decode()
    wall = time.monotonic() - started
    report = json.loads(out.splitlines()[-1])
    segments = Corpus.open(corpus).segments
    parts = sum(len(segment.parts["documents"]) for segment in segments)
    result = {
        "engine": name,
        "documents": report["written"],
        "tokens": report["tokens"],
        "job_seconds": round(report["seconds"], 1),
        "command_seconds": round(wall, 1),
        "parts": parts,
        "segments": len(segments),
        "peak_megabytes": peaks,
    }
    print(json.dumps(result))
    return result


def short_documents(path: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for n in range(count):
            words = " ".join(f"w{min(rank, 30_000)}" for rank in rng.zipf(1.3, size=10))
            file.write(json.dumps({"id": n, "text": f"{words.capitalize()}."}) + "\n")
    return path


def test_engines_beside_this_process(tmp_path: Path, tiny_elmo_dir: Path) -> None:
    given = os.environ.get("SENSEGREP_BENCHMARK_INPUT")
    count = int(os.environ.get("SENSEGREP_BENCHMARK_DOCUMENTS", "60000"))
    source = Path(given) if given else short_documents(tmp_path / "in.jsonl", count)
    model = os.environ.get("SENSEGREP_BENCHMARK_MODEL", str(tiny_elmo_dir))
    prism = ["--runner=PrismRunner", f"--prism_location={PRISM}"]
    for turn in range(int(os.environ.get("SENSEGREP_BENCHMARK_TURNS", "2"))):
        local = run("this process", source, tmp_path / f"local-{turn}", model, [])
        there = run("Prism, LOOPBACK", source, tmp_path / f"prism-{turn}", model, prism)
        assert there["documents"] == local["documents"]
        print(json.dumps({"ratio": round(there["job_seconds"] / local["job_seconds"], 2)}))


LAUNCH = """
import json, resource, sys, time
import apache_beam as beam
from pipelines.embed.jobs.bounded import build, check_inputs, plan_job
from pipelines.embed.jobs.job import EmbedJob
from pipelines.embed.options import ModelOptions
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.monotonic()
job = EmbedJob(inputs=[sys.argv[1]], corpus=sys.argv[2], model=ModelOptions(model=sys.argv[3]))
plan, _ = plan_job(job, check_inputs(job))
pipeline = beam.Pipeline()
build(pipeline, plan)
graph = len(pipeline.to_runner_api().SerializeToString())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": round(time.monotonic() - started, 2), "graph_bytes": graph,
                  "pieces": sum(f.pieces for f in plan.files), "peak_megabytes": peak // 1024,
                  "added_megabytes": (peak - before) // 1024}))
"""


def launch(source: str, tmp_path: Path, model: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, source, str(tmp_path / "corpus"), str(model)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps({"input": Path(source).name, **found}))
    return found


def test_what_submitting_costs(tmp_path: Path, tiny_elmo_dir: Path) -> None:
    """10,000 files; one file of 5 GB, sparse: nothing of it is read before submission."""
    many = tmp_path / "many"
    many.mkdir()
    for n in range(10_000):
        (many / f"{n:05d}.jsonl").write_text('{"text": "One document in a file."}\n')
    small, large = tmp_path / "small.jsonl", tmp_path / "large.jsonl"
    small.write_text('{"text": "One."}\n')
    with large.open("wb") as file:
        file.truncate(5 << 30)
    one = launch(str(small), tmp_path, tiny_elmo_dir)
    files = launch(f"{many}/*.jsonl", tmp_path, tiny_elmo_dir)
    huge = launch(str(large), tmp_path, tiny_elmo_dir)
    assert huge["peak_megabytes"] < one["peak_megabytes"] + 20
    assert files["peak_megabytes"] < one["peak_megabytes"] + 60
