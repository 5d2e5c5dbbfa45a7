"""One job on each engine beside the same job in this process, in turn, on the same cores.

SENSEGREP_PRISM names the program prism (make test-engines builds .engines/prism);
SENSEGREP_BENCHMARK_INPUT and SENSEGREP_BENCHMARK_MODEL take other input and another model,
SENSEGREP_BENCHMARK_ENGINES names some engines, with commas, of `tests/engines/running_engines.py`.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from recording import record

from pipelines.api import Corpus
from pipelines.corpus.atomic_files import is_temporary
from tests.engines.running_engines import ENGINES
from tests.engines.running_engines import ENVIRONMENT as ENGINE_ENVIRONMENT

pytestmark = pytest.mark.benchmark
ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
MODULES = {
    "worker_pool_main": "worker pool",
    "local_job_service_main": "job service",
    "sdk_worker_main": "worker",
    "SdkHarness": "worker",
    "resource_tracker": "resource tracker",
    "pipelines": "command",
    "/prism": "Prism",
}


@dataclass
class Watched:
    """What was seen while a command ran.

    Attributes:
      peaks: MB of memory of each process, by what it is and its id.
      parts_at_once: most parts that were being written at one moment.
    """

    peaks: dict[str, int] = field(default_factory=dict)
    parts_at_once: int = 0


def family_of(pid: int) -> set[int]:
    """Return the processes below one, itself left out."""
    listed = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    family = {pid}
    for child, above in sorted(pairs):
        if above in family:
            family.add(child)
    return family - {pid}


def look_at_processes(watched: Watched) -> None:
    """Note the peak memory so far of all processes below this one."""
    for pid in family_of(os.getpid()):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_text()
            status = Path(f"/proc/{pid}/status").read_text()
            [line] = [x for x in status.splitlines() if x.startswith("VmHWM")]
        except (OSError, ValueError):  # it ended meanwhile
            continue
        role = next((role for part, role in MODULES.items() if part in words), None)
        megabytes = int(line.split()[1]) // 1024
        if role is not None and megabytes > 10:  # no shell that started one
            watched.peaks[f"{role} {pid}"] = max(watched.peaks.get(f"{role} {pid}", 0), megabytes)


def look_at_parts(corpus: Path, watched: Watched) -> None:
    """Note how many parts are being written: under a temporary name, and not yet complete."""
    open_parts = 0
    for path in corpus.glob("segments/*/sentences/*"):
        if is_temporary(str(path)):
            with path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 4))
                open_parts += file.read(4) != b"PAR1" or file.tell() <= 4
    watched.parts_at_once = max(watched.parts_at_once, open_parts)


@contextlib.contextmanager
def watching(corpus: Path) -> Iterator[Watched]:
    """Look every 0.2 s until the `with` ends."""
    watched, done = Watched(), threading.Event()

    def look() -> None:
        while not done.wait(0.2):
            look_at_processes(watched)
            with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
                look_at_parts(corpus, watched)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watched
    finally:
        done.set()
        thread.join()


def run(name: str, source: Path, corpus: Path, model: str, flags: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "pipelines", "embed", str(source), "--corpus", str(corpus)]
    started = time.monotonic()
    with watching(corpus) as watched:
        done = subprocess.run(
            [*command, "--model", model, "--json", *flags],
            capture_output=True,
            env=ENVIRONMENT,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    wall = time.monotonic() - started
    report = json.loads(done.stdout.splitlines()[-1])
    segments = Corpus.open(corpus).segments
    result = {
        "engine": name,
        "documents": report["written"],
        "tokens": report["tokens"],
        "job_seconds": round(report["seconds"], 1),
        "command_seconds": round(wall, 1),
        "parts": sum(len(segment.parts["documents"]) for segment in segments),
        "parts_at_once": watched.parts_at_once,
        "segments": len(segments),
        "peak_megabytes": watched.peaks,
    }
    print(json.dumps(result), flush=True)
    return result


def short_documents(path: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for n in range(count):
            words = " ".join(f"w{min(rank, 30_000)}" for rank in rng.zipf(1.3, size=10))
            file.write(json.dumps({"id": n, "text": f"{words.capitalize()}."}) + "\n")
    return path


def test_engines_beside_this_process(
    tmp_path: Path, tiny_elmo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(ENGINE_ENVIRONMENT, "OMP_NUM_THREADS")  # pools have all cores, too
    given = os.environ.get("SENSEGREP_BENCHMARK_INPUT")
    count = int(os.environ.get("SENSEGREP_BENCHMARK_DOCUMENTS", "60000"))
    source = Path(given) if given else short_documents(tmp_path / "in.jsonl", count)
    model = os.environ.get("SENSEGREP_BENCHMARK_MODEL", str(tiny_elmo_dir))
    flags = os.environ.get("SENSEGREP_BENCHMARK_FLAGS", "").split()
    names = os.environ.get("SENSEGREP_BENCHMARK_ENGINES", ",".join(ENGINES)).split(",")
    turns = int(os.environ.get("SENSEGREP_BENCHMARK_TURNS", "2"))
    seen: dict[str, list[dict[str, Any]]] = {"this process": []}
    for turn in range(turns):
        local = run("this process", source, tmp_path / f"local-{turn}", model, [])
        seen["this process"].append({**local, "ratio": 1.0})
        for name in names:
            directory = tmp_path / f"{name}-{turn}"
            directory.mkdir()
            with ENGINES[name](directory) as engine:
                there = run(name, source, directory / "corpus", model, [*engine.flags, *flags])
            assert there["documents"] == local["documents"]
            ratio = round(there["job_seconds"] / local["job_seconds"], 2)
            seen.setdefault(name, []).append({**there, "ratio": ratio})
    tokens = seen["this process"][0]["tokens"]
    kind = "real" if given else "short"
    record(
        f"engines-{kind}",
        {"runs": seen},
        title=f"{seen['this process'][0]['documents']:,} documents of "
        f"{Path(given).name if given else 'eleven tokens'}, one job on each engine",
        columns=COLUMNS,
        rows=[row_of(SHOWN.get(name, name), runs) for name, runs in seen.items()],
        notes=[
            f"{tokens:,} tokens, {'the model ' + model if given else TINY}",
            f"{turns} {'turn' if turns == 1 else 'turns'}: seconds are of the first; peak memory is"
            " that of each process",
        ],
    )


TINY = "the tests' tiny model, so that this measures everything but the model"
SHOWN = {
    "several-processes": "two processes",
    "prism-loopback": "Prism, LOOPBACK",
    "prism-pool": "Prism, a pool",
    "job-service-pool": "job service, a pool",
}
COLUMNS = ["engine", "job, seconds", "job × this process, each turn", "command, seconds", "parts",
           "at once", "segments", "peak memory, MB"]  # fmt: skip


def row_of(name: str, runs: list[dict[str, Any]]) -> list[Any]:
    """Return the row of one engine: its first turn, and the ratio of each."""
    first = runs[0]
    # "worker 4711" -> "worker"; small helpers are left out.
    peaks = [
        f"{role.rpartition(' ')[0]} {megabytes:,}"
        for role, megabytes in sorted(first["peak_megabytes"].items())
        if not role.startswith("resource tracker")
    ]
    return [
        name,
        first["job_seconds"],
        [each["ratio"] for each in runs],
        first["command_seconds"],
        first["parts"],
        first["parts_at_once"],
        first["segments"],
        ", ".join(peaks),
    ]


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
    found = {"one small file": one, "10,000 files": files, "one file of 5 GB (sparse)": huge}
    record(
        "engines-submission",
        found,
        title="What the command does before it submits the job",
        columns=["input", "seconds", "peak memory, MB", "bytes of the job graph", "pieces"],
        rows=[
            [name, *(each[key] for key in ("seconds", "peak_megabytes", "graph_bytes", "pieces"))]
            for name, each in found.items()
        ],
        notes=[f"of the peak, {one['peak_megabytes'] - one['added_megabytes']} MB are imports"],
    )
    assert huge["peak_megabytes"] < one["peak_megabytes"] + 20
    assert files["peak_megabytes"] < one["peak_megabytes"] + 60
