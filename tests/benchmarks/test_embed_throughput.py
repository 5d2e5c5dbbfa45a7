"""Many short documents through a tiny model: documents/s of everything but the model.

SENSEGREP_BENCHMARK_DOCUMENTS sets how many; 1,000,000 is the size to publish.
"""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from pipelines.embed import EmbedJob, embed
from pipelines.inference import load_model
from pipelines.options import JobOptions, ModelOptions

pytestmark = pytest.mark.benchmark


def test_short_documents(tmp_path: Path, tiny_elmo_dir: Path) -> None:
    count = int(os.environ.get("SENSEGREP_BENCHMARK_DOCUMENTS", "50000"))
    rng = np.random.default_rng(0)
    ranks = np.minimum(rng.zipf(1.3, size=(count, 10)), 30_000)
    source = tmp_path / "in.jsonl"
    with source.open("w") as file:
        for n, row in enumerate(ranks):
            text = " ".join(f"w{rank}" for rank in row)
            file.write(json.dumps({"id": n, "text": f"{text.capitalize()}."}) + "\n")
    options = ModelOptions(model=str(tiny_elmo_dir))
    model = load_model(options)
    in_model = 0.0
    original = model.embed

    def timed(*arguments: object, **settings: object) -> object:
        nonlocal in_model
        started = time.perf_counter()
        try:
            return original(*arguments, **settings)
        finally:
            in_model += time.perf_counter() - started

    model.embed = timed
    job = EmbedJob(
        inputs=[str(source)],
        corpus=str(tmp_path / "corpus"),
        model=options,
        running=JobOptions(commit_every=20_000),
    )
    first = embed(job)
    again = embed(job)
    result = {
        "benchmark": "embed_short_documents",
        "documents": count,
        "seconds": round(first.seconds, 1),
        "model_seconds": round(in_model, 1),
        "documents_per_second_without_model": round(count / (first.seconds - in_model)),
        "unchanged_documents_per_second": round(count / again.seconds),
    }
    print(json.dumps(result))
    assert first.written == again.unchanged == count
    assert count / (first.seconds - in_model) > 500
