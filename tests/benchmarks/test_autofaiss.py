"""The index beside autofaiss's, over the same vectors: build, memory, recall@10, latency.

    AUTOFAISS_PYTHON=.../bin/python pytest -m benchmark -s tests/benchmarks/test_autofaiss.py

autofaiss wants an environment of its own: `python -m venv DIR`, then `DIR/bin/pip install autofaiss
'pyarrow<20'` (it holds numpy below 2, which later releases refuse). Both get 1 GB for the index,
run in processes of their own and search the same centred vectors of length 1, one query at a time;
imports are not counted. Our build also reads Parquet, orders the vectors by word form, indexes the
sentences and copies the lines, all of which its bytes hold.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.api import Corpus
from pipelines.index.reader import OpenIndex
from pipelines.index.sizing import PROCESS_BYTES

pytestmark = pytest.mark.benchmark

TOKENS = 100_000
QUERIES = 200
K = 10
# Not getrusage: its peak survives exec, so that a child starts with that of its parent.
PEAK = """
def peak_bytes():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
"""
OURS = f"""{PEAK}
import contextlib, io, json, sys, time
import pipelines.index.build
from pipelines.__main__ import main
output = io.StringIO()
before = time.process_time()
with contextlib.redirect_stdout(output):
    status = main(["index", "--json", "--rebuild", *sys.argv[1:]])
assert status == 0, status
cpu = time.process_time() - before
print(json.dumps({{**json.loads(output.getvalue()), "cpu": cpu, "peak_bytes": peak_bytes()}}))
"""
THEIRS = f"""{PEAK}
import json, logging, os, sys, time
import numpy as np
from autofaiss import build_index
folder, cores, k = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
index_path = folder + "/knn.index"
started, before = time.perf_counter(), time.process_time()
index, infos = build_index(
    folder + "/vectors", index_path=index_path, index_infos_path=folder + "/infos.json",
    metric_type="ip", max_index_memory_usage="1G", current_memory_available="2G",
    nb_cores=cores, verbose=logging.ERROR)
seconds, cpu = time.perf_counter() - started, time.process_time() - before
peak = peak_bytes()
queries = np.load(folder + "/queries.npy")
for query in queries[:20]:
    index.search(query[None], k)
found, times = [], []
for query in queries:
    started = time.perf_counter()
    found.append(index.search(query[None], k)[1][0].tolist())
    times.append(1000 * (time.perf_counter() - started))
print(json.dumps({{
    "factory": infos["index_key"] + " " + infos["index_param"], "seconds": seconds,
    "cpu": cpu, "peak_bytes": peak, "bytes": os.path.getsize(index_path), "found": found,
    "times": times}}))
"""


def run_apart(python: str, program: str, *words: str) -> dict[str, Any]:
    """Run a program in a process of its own; its last line is JSON."""
    done = subprocess.run(
        [python, "-c", program, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def recall_at_k(found: np.ndarray, truth: np.ndarray) -> float:
    """The mean share of each query's true neighbours that were found; ids [Q, K], -1 is none."""
    pairs = zip(found, truth, strict=True)
    return float(np.mean([len(np.intersect1d(mine, true)) / len(true) for mine, true in pairs]))


def row(
    name: str, built: dict[str, Any], found: list[list[int]], times: list[float], truth: np.ndarray
) -> dict[str, Any]:
    return {
        "index": name,
        "factory": built["factory"],
        "build_seconds": round(built["seconds"], 1),
        "build_cpu_seconds": round(built["cpu"], 1),
        "peak_megabytes": round(built["peak_bytes"] / 1e6),
        "index_megabytes": round(built["bytes"] / 1e6),
        "recall_at_10": round(recall_at_k(np.array(found), truth), 4),
        "p50_ms": round(float(np.percentile(times, 50)), 2),
        "p99_ms": round(float(np.percentile(times, 99)), 2),
    }


def search_ours(root: str, queries: np.ndarray) -> tuple[list[list[int]], list[float]]:
    index = OpenIndex.open(Corpus.open(root))
    for query in queries[:20]:
        index.nearest("tokens", query, K)
    found, times = [], []
    for query in queries:
        started = time.perf_counter()
        matches = index.nearest("tokens", query, K)
        times.append(1000 * (time.perf_counter() - started))
        found.append([match.position for match in matches])
    return found, times


def exact(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """[Q, K] the true neighbours, by numpy alone."""
    return np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :K]


def table(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([str(row[name]) for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def test_beside_autofaiss(
    tmp_path: Path,
    random_tokens: Any,
    write_random_segment: Callable[..., Corpus],
    record_benchmark: Callable[[str, Any], None],
) -> None:
    if "AUTOFAISS_PYTHON" not in os.environ:
        pytest.skip("needs AUTOFAISS_PYTHON, the python of an environment with autofaiss")
    cores = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    corpus = Corpus.open_or_create(tmp_path / "corpus")
    corpus = write_random_segment(corpus, random_tokens, TOKENS)
    flags = ["--corpus", corpus.root, "--max-memory", f"{1024 + (PROCESS_BYTES >> 20)}M"]
    chosen = run_apart(sys.executable, OURS, *flags)
    index = OpenIndex.open(Corpus.open(corpus.root))
    [shard] = index.shards.values()
    vectors = shard.tokens.vectors(slice(None))
    drawn = random_tokens.vectors(random_tokens.forms(QUERIES)).astype(np.float32)
    queries = index.centering["tokens"].apply(drawn)
    truth = exact(vectors, queries)
    rows = [row("sensegrep", chosen, *search_ours(corpus.root, queries), truth)]
    (tmp_path / "vectors").mkdir()
    np.save(tmp_path / "vectors" / "vectors.npy", vectors)
    np.save(tmp_path / "queries.npy", queries)
    python = os.environ["AUTOFAISS_PYTHON"]
    theirs = run_apart(python, THEIRS, str(tmp_path), str(cores), str(K))
    rows.append(row("autofaiss", theirs, theirs["found"], theirs["times"], truth))
    for factory in ("HNSW32,SQfp16", "IVF1024,SQfp16"):
        built = run_apart(sys.executable, OURS, *flags, "--factory", factory)
        rows.append(row("sensegrep --factory", built, *search_ours(corpus.root, queries), truth))

    print("\n" + table(rows))
    record_benchmark(
        f"beside autofaiss, {TOKENS} vectors",
        {"dim": random_tokens.dim, "cores": cores, "queries": QUERIES, "rows": rows},
    )
    assert rows[0]["recall_at_10"] >= rows[1]["recall_at_10"]
