"""What `embed` costs over the model: its seconds / those of `Elmo.embed` on the same tokens.

The model alone gets batches of sentences that are tokens already; `embed` reads, tokenises, embeds,
writes and commits, start-up excluded. They take turns in one run, so that other work slows both.
Both compute in the type that `--dtype auto` chooses, on all cores.
"""

import gzip
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.embed.inference import load_model
from pipelines.embed.options import ModelOptions
from pipelines.text.tokenizer import Tokenizer

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).resolve().parents[2]
TOKENS = int(os.environ.get("SENSEGREP_BENCHMARK_TOKENS", "1300000"))  # all of the articles
SHORT_DOCUMENTS = int(os.environ.get("SENSEGREP_BENCHMARK_DOCUMENTS", "60000"))
TURNS = int(os.environ.get("SENSEGREP_BENCHMARK_TURNS", "2"))
MOST_OVER_THE_MODEL = 1.2
Batches = list[list[list[str]]]


def batches_of(texts: list[str]) -> tuple[Batches, int]:
    """Return the sentences of texts in batches, as `embed` makes them; and the count of tokens."""
    tokenizer, budget = Tokenizer("en"), ModelOptions().max_tokens_per_batch
    batches: Batches = [[]]
    in_batch = total = 0
    for text in texts:
        for sentence in tokenizer.sentences(text):
            if in_batch + len(sentence.tokens) > budget:
                batches.append([])
                in_batch = 0
            batches[-1].append(sentence.tokens)
            in_batch += len(sentence.tokens)
            total += len(sentence.tokens)
    return batches, total


def model_seconds(batches: Batches) -> float:
    """Return the seconds that the model takes, its cache of words empty at the start."""
    elmo = load_model(ModelOptions(dtype="auto"))
    elmo.forget_words()
    started = time.perf_counter()
    for batch in batches:
        elmo.embed(batch)
    return time.perf_counter() - started


def embed_seconds(source: Path, corpus: Path, workers: int) -> dict[str, Any]:
    """Embed in a process of its own; return its report."""
    command = [sys.executable, "-m", "pipelines", "embed", str(source), "--corpus", str(corpus)]
    done = subprocess.run(
        [*command, "--workers", str(workers), "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def articles(shared: Path) -> list[dict[str, str]]:
    """Return articles of Simple Wikipedia, about TOKENS tokens."""
    chosen, characters = [], 0
    with gzip.open(shared / "data/demo/simplewiki_en_demo.jsonl.gz", "rt") as file:
        for line in file:
            chosen.append(json.loads(line))
            characters += len(chosen[-1]["text"])
            if characters > 5.2 * TOKENS:  # characters a token
                break
    return chosen


def short_documents(shared: Path) -> list[dict[str, str]]:
    """Return sentences of Simple Wikipedia, each a document."""
    tokenizer, chosen = Tokenizer("en"), []
    with gzip.open(shared / "data/demo/simplewiki_en_demo.jsonl.gz", "rt") as file:
        for line in file:
            text = json.loads(line)["text"]
            chosen += [text[each.start : each.end] for each in tokenizer.sentences(text)]
            if len(chosen) >= SHORT_DOCUMENTS:
                break
    return [{"id": str(n), "text": text} for n, text in enumerate(chosen[:SHORT_DOCUMENTS])]


@pytest.mark.parametrize(
    ("name", "make", "workers", "turns"),
    [("articles", articles, 2, TURNS), ("short-documents", short_documents, 2, TURNS)],
)
def test_embed_costs_at_most_a_fifth_over_the_model(
    name: str,
    make: Callable[[Path], list[dict[str, str]]],
    workers: int,
    turns: int,
    tmp_path: Path,
    shared: Path,
    record_benchmark: Callable[..., None],
) -> None:
    documents = make(shared)
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(document) + "\n" for document in documents))
    batches, tokens = batches_of([document["text"] for document in documents])
    model_seconds(batches[:1])  # start-up: imports, allocator, the processor's clock
    alone, whole = [], []
    for turn in range(turns):
        alone.append(model_seconds(batches))
        report = embed_seconds(source, tmp_path / f"corpus{turn}", workers)
        assert report["tokens"] == tokens
        whole.append(report["seconds"])
    ratios = sorted(mine / its for mine, its in zip(whole, alone, strict=True))
    dtype = load_model(ModelOptions(dtype="auto")).dtype
    record_benchmark(
        f"embed-overhead-{name}",
        {
            "documents": len(documents),
            "tokens": tokens,
            "workers": workers,
            "dtype": dtype,
            "model_seconds": [round(s, 2) for s in alone],
            "embed_seconds": [round(s, 2) for s in whole],
            "ratios": [round(ratio, 3) for ratio in ratios],
        },
        title=f"`embed` over the model: {len(documents):,} documents, --workers {workers}",
        columns=["what", "figure"],
        rows=[
            ["documents", len(documents)],
            ["tokens", tokens],
            ["the model alone, tokens/s", round(tokens / statistics.median(alone))],
            ["`embed`, tokens/s", round(tokens / statistics.median(whole))],
            ["ratio of seconds, median", round(statistics.median(ratios), 2)],
        ],
        notes=[
            f"the bundled model in {dtype}, --workers {workers}, turns in one run: {turns}",
            "the model alone gets tokens; `embed` also reads, tokenises, writes and commits; "
            "both without start-up",
        ],
    )
    assert statistics.median(ratios) <= MOST_OVER_THE_MODEL
