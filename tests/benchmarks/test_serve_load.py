"""What a server bears: word queries and embeddings from 1, 8 and 64 clients; memory; the end.

The corpus is 4,000 articles with all their tokens, 1.2 million vectors, made with the bundled model
(minutes), or one that LOAD_CORPUS names. The clients are a process of their own, on the same cores.
"""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).resolve().parents[2]
MEMORY_REQUESTS = 100_000
KINDS = {
    ("search", 0): "search, 500 sentences again and again",
    ("search", 1): "search, each sentence new",
    ("embed", 1): "`/embed`, each sentence new",
}


def draw_queries(texts: list[str], count: int) -> list[str]:
    """Draw sentences of 6 to 20 words, each with one word of it in brackets."""
    rng = np.random.default_rng(0)
    queries = []
    for text in texts:
        sentence = re.split(r"(?<=[.])\s+", text)[0]
        words = list(re.finditer(r"\b[a-z]{4,12}\b", sentence))
        if words and 6 <= len(sentence.split()) <= 20 and not set("[]") & set(sentence):
            word = words[int(rng.integers(len(words)))]
            queries.append(f"{sentence[: word.start()]}[{word.group()}]{sentence[word.end() :]}")
    return queries[:count]


@pytest.fixture(scope="module")
def articles(shared: Path) -> list[dict[str, Any]]:
    """The articles of the demo set."""
    path = shared / "data" / "demo" / "simplewiki_en_demo.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def server(
    articles: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address and the process of a server over all articles."""
    directory = tmp_path_factory.mktemp("load")
    source = directory / "in.jsonl"
    source.write_text("".join(json.dumps(article) + "\n" for article in articles))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    corpus = os.environ.get("LOAD_CORPUS") or str(directory / "corpus")
    run = [sys.executable, "-m", "pipelines"]
    if "LOAD_CORPUS" not in os.environ:
        options = ["--corpus", corpus, "--tokens", "all"]
        subprocess.run([*run, "run", str(source), *options], env=environment, check=True)
    process = subprocess.Popen(
        [*run, "serve", "--corpus", corpus, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    yield process.stdout.readline().split(" at ")[1].strip(), process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    process.stdout.close()


@pytest.fixture
def load(server: tuple[str, Any], articles: list[dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A function that asks from many clients; keywords are the load generator's options."""
    queries = json.dumps(draw_queries([article["text"] for article in articles], 500))

    def ask(**options: Any) -> dict[str, Any]:
        flags = [f"--{name}={value}" for name, value in options.items()]
        program = Path(__file__).with_name("load_generator.py")
        arguments = [sys.executable, str(program), server[0], f"--queries={queries}", *flags]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return ask


def resident(address: str) -> float:
    text = httpx.get(f"{address}metrics").text
    return float(re.findall(r"^sensegrep_memory_bytes (\S+)", text, re.MULTILINE)[0])


def test_latency_under_load(
    load: Callable[..., dict[str, Any]], record_benchmark: Callable[[str, Any], None]
) -> None:
    # Senses are induced on the way: what the first search of each word costs those of others.
    cold = load(clients=8, requests=2000, seconds=300)
    record_benchmark("serve, senses not told yet", cold)
    found = [
        load(kind=kind, fresh=fresh, clients=clients, seconds=20)
        for kind, fresh in (("search", 0), ("search", 1), ("embed", 1))
        for clients in (1, 8, 64)
    ]
    record_benchmark(
        "serve-load",
        {"cold": cold, "loads": found},
        title="The server under load: 1.2 million token vectors, 10 lines a search",
        columns=["", "clients", "requests/s", "p50, ms", "p99, ms"],
        rows=[
            [name, row["clients"], round(row["requests_per_s"]), row["p50_ms"], row["p99_ms"]]
            for name, row in [
                ("first search of each word", cold),
                *((KINDS[row["kind"], row["fresh"]], row) for row in found),
            ]
        ],
        notes=[
            "server and clients share the cores; the clients take "
            f"{found[1]['generator_ms']} ms of a core per search",
            "aim at 8 clients: p50 below 30 ms, p99 below 120 ms",
        ],
    )
    assert {status for row in found for status in row["statuses"]} == {"200"}
    beyond = load(clients=96, seconds=10)
    assert set(beyond["statuses"]) == {"200", "429"}


def test_memory_stays_flat_and_the_end_is_clean(
    server: tuple[str, Any],
    load: Callable[..., dict[str, Any]],
    record_benchmark: Callable[[str, Any], None],
) -> None:
    address, process = server
    load(clients=16, requests=5000, seconds=600)
    before = resident(address)
    load(clients=16, fresh=1, requests=3 * MEMORY_REQUESTS // 10, seconds=3600)
    load(clients=16, requests=7 * MEMORY_REQUESTS // 10, seconds=3600)
    after = resident(address)
    record_benchmark(
        "serve-memory",
        {"before": before, "after": after, "requests": MEMORY_REQUESTS},
        title="Memory of the server over requests",
        columns=["requests", "memory of the process, MB"],
        rows=[[5_000, round(before / 1e6)], [5_000 + MEMORY_REQUESTS, round(after / 1e6)]],
        notes=[
            "16 clients search over 1.2 million token vectors; three sentences of ten are new, the"
            " others are 500 again and again"
        ],
    )
    assert after < before * 1.1
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
