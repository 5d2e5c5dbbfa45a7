"""Peak memory of embed does not grow with the corpus; one large document does not break it.

Bound: within 10 % for 2,000 and for 40,000 documents, with a tiny model, of the process tree.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark
WORDS = [f"word{n}" for n in range(5000)]


def peak_megabytes(source: Path, corpus: Path, model: Path) -> float:
    """Embed in a process of its own (the job has no others) and return its peak."""
    words = ["embed", str(source), "--corpus", str(corpus), "--model", str(model)]
    return peak_of("from pipelines.__main__ import main; main(sys.argv[1:])", *words)


def peak_of(program: str, *words: str) -> float:
    """Return the peak memory of a program, in MiB."""
    told = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    program = f"import resource, sys; {program}; {told}"
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return int(done.stdout.split()[-1]) / 1024


def write(path: Path, documents: int, words: int) -> Path:
    with path.open("w") as file:
        for n in range(documents):
            text = " ".join(WORDS[(n * 31 + i * 7) % 5000] for i in range(words))
            file.write(json.dumps({"id": n, "text": text.replace("word11", "end. Then")}) + "\n")
    return path


def test_peak_memory_is_the_same_for_twenty_times_the_documents(
    tmp_path: Path, tiny_elmo_dir: Path, record_benchmark: Callable[..., None]
) -> None:
    peaks = {
        count: peak_megabytes(
            write(tmp_path / f"{count}.jsonl", count, 60), tmp_path / f"c{count}", tiny_elmo_dir
        )
        for count in (2_000, 40_000)
    }
    record_benchmark(
        "embed-memory",
        {"peak_megabytes": peaks},
        title="Peak memory of `embed` with a tiny model",
        columns=["documents of 60 words", "peak memory, MB"],
        rows=[[count, round(peak)] for count, peak in peaks.items()],
        notes=[f"`import torch` alone takes {peak_of('import torch'):,.0f} MB"],
    )
    assert peaks[40_000] <= 1.1 * peaks[2_000]


def test_one_document_of_50_megabytes(
    tmp_path: Path, tiny_elmo_dir: Path, record_benchmark: Callable[..., None]
) -> None:
    source = tmp_path / "large.txt"
    line = " ".join(f"{word}{'x' * 16}" for word in WORDS[:100]) + ".\n"
    source.write_text(line * (50_000_000 // len(line)))
    peak = peak_megabytes(source, tmp_path / "large", tiny_elmo_dir)
    record_benchmark(
        "embed-memory-large",
        {"peak_megabytes": peak},
        title="Peak memory of `embed` for one document of 50 MB, with a tiny model",
        columns=["input", "peak memory, MB"],
        rows=[["one document of 50 MB", round(peak)]],
    )
    assert peak < 1500
