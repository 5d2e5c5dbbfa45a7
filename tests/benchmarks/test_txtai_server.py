"""Our server beside txtai's, over the same vectors: requests per second from 1, 8 and 64 clients.

    LOAD_CORPUS=DIR TXTAI_PYTHON=.../bin/python pytest -m benchmark -s \
        tests/benchmarks/test_txtai_server.py

txtai wants an environment of its own: `python -m venv DIR`, then `DIR/bin/pip install 'txtai[api]'`
with this project beside it (its model encodes txtai's queries). LOAD_CORPUS is a corpus that
`sensegrep run` made. TXTAI_INDEXES, if given, is a folder that keeps txtai's indexes. Both servers
run with their defaults, one after the other, on the same cores as the clients. What one request
asks for is not the same: txtai encodes a sentence and searches one index (IVF, approximate) for
near vectors; ours does that exactly for sentences, and for a marked word compares all its
occurrences and tells their senses.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.api import Corpus

sys.path.insert(0, str(Path(__file__).parent))
from test_serve_load import draw_queries

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
CLIENTS = (1, 8, 64)
SECONDS = int(os.environ.get("SENSEGREP_BENCHMARK_SECONDS", "12"))
QUERIES = 500
PORT = 8971
SEARCH = "/v1/search?k=10&q={}"
CONFIG = """
path: {folder}
embeddings:
  path: external
"""


@contextmanager
def running(command: list[str], ready: str, environment: dict[str, str]) -> Iterator[int]:
    """Run a server until it is not needed; it is there once `ready` answers. Yields its id."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 180
        while True:
            assert process.poll() is None, command
            assert time.monotonic() < deadline, command
            try:
                if httpx.get(ready, timeout=30).is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def memory_megabytes(process: int) -> int:
    """Return the memory of a process and its children that is not a mapped file's."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    texts = [Path(f"/proc/{number}/status").read_text() for number in [process, *children]]
    lines = [line for text in texts for line in text.splitlines() if line.startswith("RssAnon:")]
    return round(sum(1024 * int(line.split()[1]) for line in lines) / 1e6)


def ask(path: str, queries: list[str], clients: int, seconds: int, number: int) -> dict[str, Any]:
    """Ask from many clients; returns what the load generator measured."""
    program = [sys.executable, str(HERE / "load_generator.py"), f"http://127.0.0.1:{PORT}/"]
    flags = [f"--path={path}", f"--clients={clients}", f"--seconds={seconds}"]
    flags += ["--fresh=1", f"--requests={number}", f"--queries={json.dumps(queries)}"]
    done = subprocess.run([*program, *flags], capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["statuses"] == {"200": answer["requests"]}
    return answer


def measure(process: int, path: str, queries: list[str]) -> list[dict[str, Any]]:
    """Measure each number of clients, after a round over the queries that warms up."""
    ask(path, queries, 8, 60, 2 * len(queries))
    found = [ask(path, queries, clients, SECONDS, 1_000_000) for clients in CLIENTS]
    return [{**row, "memory_mb": memory_megabytes(process)} for row in found]


def measure_ours(corpus: str, queries: list[str], plain: list[str]) -> dict[str, Any]:
    """Measure our server: a word in its sense, and sentences."""
    command = [sys.executable, "-m", "pipelines", "serve", "--corpus", corpus, "--port", str(PORT)]
    ready = f"http://127.0.0.1:{PORT}/readyz"
    with running(command, ready, {"PYTHONPATH": str(ROOT)}) as process:
        return {
            "sensegrep, a word in its sense": measure(process, SEARCH, queries),
            "sensegrep, sentences": measure(process, SEARCH, plain),
        }


def measure_theirs(
    python: str, corpus: str, table: str, plain: list[str], folder: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Build txtai's index of one table's vectors, and measure its server."""
    environment = {
        "PYTHONPATH": f"{ROOT}:{HERE}",
        "SENSEGREP_BENCHMARK_CORPUS": corpus,
        "SENSEGREP_BENCHMARK_TABLE": table,
        "ALLOW_RESOLVE_TRANSFORM": "True",
        "CONFIG": str(folder / f"{table}.yml"),
    }
    built = {}
    made = Path(os.environ.get("TXTAI_INDEXES", folder)) / f"{table}"
    if not made.exists():
        program = [python, str(HERE / "txtai_vectors.py"), str(made)]
        done = subprocess.run(
            program, env={**os.environ, **environment}, capture_output=True, text=True, check=True
        )
        built = json.loads(done.stdout.splitlines()[-1])
    (folder / f"{table}.yml").write_text(CONFIG.format(folder=made))
    command = [python, "-m", "uvicorn", "txtai.api:app", "--port", str(PORT), "--no-access-log"]
    with running(command, f"http://127.0.0.1:{PORT}/count", environment) as process:
        found = httpx.get(f"http://127.0.0.1:{PORT}/search?limit=10&query={plain[0]}").json()
        assert len(found) == 10
        assert found[0]["text"]
        return built, measure(process, "/search?limit=10&query={}", plain)


def test_beside_txtai_s_server(tmp_path: Path, record_benchmark: Callable[..., Any]) -> None:
    if not {"TXTAI_PYTHON", "LOAD_CORPUS"} <= set(os.environ):
        pytest.skip(
            "needs TXTAI_PYTHON, the python of an environment with txtai, and LOAD_CORPUS, a corpus"
        )
    python, corpus = os.environ["TXTAI_PYTHON"], os.environ["LOAD_CORPUS"]
    opened = Corpus.open(corpus)
    texts = [
        row["text"] for batch in opened.read("sentences", ["text"]) for row in batch.to_pylist()
    ]
    queries = draw_queries(texts, QUERIES)
    plain = [query.replace("[", "").replace("]", "") for query in queries]
    measured = measure_ours(corpus, queries, plain)
    built = {}
    for table, words in (("sentences", "sentences"), ("tokens", "all token vectors")):
        built[table], found = measure_theirs(python, corpus, table, plain, tmp_path)
        measured[f"txtai, {words}"] = found
    record_benchmark(
        "serve-txtai",
        {"built": built, "loads": measured},
        title="The server beside txtai's, on the same vectors",
        columns=["", "clients", "requests/s", "p50, ms", "p99, ms", "memory, MB"],
        rows=[
            [
                name,
                row["clients"],
                round(row["requests_per_s"]),
                row["p50_ms"],
                row["p99_ms"],
                row["memory_mb"],
            ]
            for name, rows in measured.items()
            for row in rows
        ],
        notes=[
            "a word in its sense: encode the sentence, compare all occurrences of the word, tell"
            " their senses; sentences: encode, and compare all sentences exactly; txtai: encode"
            " with the same model, and search one IVF index (its default), approximately",
            "memory: of the server's processes, without the pages of files, which the system can"
            " take back",
            "each sentence is a new one; 10 lines with their text each; servers with their"
            " defaults, but txtai's index of the token vectors was trained with a tenth of them;"
            " the clients share the cores",
        ],
    )
