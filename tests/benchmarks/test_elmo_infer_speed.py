"""elmo_infer against AllenNLP's own modules: the same weights, the same sentences, in turn.

    ALLENNLP_ROOT=.../allennlp python tests/benchmarks/test_elmo_infer_speed.py small

AllenNLP 2.10.1 is not installed: unzip its wheel (`pip download --no-deps allennlp==2.10.1`), and
let ALLENNLP_ROOT name the `allennlp` folder in it; shared/peers holds what imports it and what
writes random weights of the published sizes. Every round times each contestant once, so that a busy
machine slows all alike (with --threads 1, most nearly so); medians over the rounds count. "Cold"
starts with an empty word cache, "warm" with all words known. Prints a table and a line of JSON.
"""

import argparse
import gzip
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from elmo_infer import Elmo, load
from elmo_infer.batching import Packing, plan_batches
from elmo_infer.quantized_linear import make_linear

sys.path.insert(0, str(Path(__file__).parent))
from recording import record

SHARED = Path(__file__).resolve().parents[3] / "shared"
SENTENCES = {"small": 400, "medium": 256, "original": 256}
# AllenNLP reads batches of this many sentences, in the order given.
PEER_BATCH = 64
TOLERANCE = 5e-5
Sentences = list[list[str]]


def read_sentences(count: int) -> Sentences:
    """The first `count` sentences of the English demonstration corpus, crudely tokenised."""
    sentences: Sentences = []
    with gzip.open(SHARED / "data/demo/simplewiki_en_demo.jsonl.gz", "rt") as lines:
        for line in lines:
            for text in re.split(r"(?<=[.!?])\s+", json.loads(line)["text"]):
                tokens = re.findall(r"\w+|[^\w\s]", text)
                if len(tokens) > 2:
                    sentences.append(tokens)
            if len(sentences) >= count:
                return sentences[:count]
    raise ValueError(f"the demonstration corpus has only {len(sentences)} sentences")


def write_weights(size: str, directory: Path) -> Path:
    """Random weights of a published size; see shared/peers/README.md."""
    script = SHARED / "peers/make_random_elmo.py"
    subprocess.run([sys.executable, script, size, directory], check=True, stdout=subprocess.DEVNULL)
    return directory


def load_peer(directory: Path) -> Callable[[Sentences], list[np.ndarray]]:
    """AllenNLP's biLM as a function from sentences to layers [3, T, D], state reset each batch."""
    spec = importlib.util.spec_from_file_location("peer", SHARED / "peers/ref_allennlp.py")
    assert spec is not None
    assert spec.loader is not None
    peer: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    bilm = peer.load_bilm(str(directory / "options.json"), str(directory / "weights.hdf5"))

    def layers(sentences: Sentences) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        for first in range(0, len(sentences), PEER_BATCH):
            found += peer.embed(bilm, sentences[first : first + PEER_BATCH])
        return found

    return layers


class Spent(NamedTuple):
    """Seconds by the clock, and of processor time over all threads."""

    clock: float
    processor: float


def spend(work: Callable[[], Any]) -> Spent:
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - clock, time.process_time() - processor)


def matrix_peak() -> float:
    """The best rate of a large float32 product here, in FLOP per second of a processor.

    That of the faster of torch's two libraries: MKL uses no AVX-512 on processors of AMD.
    """
    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    packed = make_linear(right.t().contiguous(), None, torch.float32, torch.device("cpu"))
    spent = [
        spend(product).processor
        for _ in range(5)
        for product in (lambda: left @ right, lambda: packed(left))
    ]
    return 2 * 2048**3 / min(spent)


def lstm_rate(elmo: Elmo, sentences: Sentences) -> float:
    """FLOP per second of a processor inside the biLSTM: its products' operations over its time."""
    config, bilm = elmo.bilm.config, elmo.bilm
    lengths = np.array([len(sentence) for sentence in sentences])
    batches = plan_batches(lengths, elmo.settings.max_tokens_per_batch)
    vectors = bilm.encode_types(["bank"])
    spent = 0.0
    for batch in batches:
        packing = Packing(lengths[batch], bilm.n_lanes)
        ids = np.zeros(int(packing.starts[-1]), dtype=np.int64)
        state = bilm.zero_state(int(packing.rows[0]))
        read = partial(bilm.forward, vectors, ids, packing, state, elmo.n_layers)
        spent += spend(read).processor
    per_token = 2 * 9 * config.projection_dim * config.cell_dim  # 8 P C for gates, P C projected
    return 2 * config.n_lstm_layers * per_token * float(lengths.sum()) / spent


def measure_memory(directory: Path, sentences: int) -> dict[str, float]:
    """Peak memory of a fresh process that loads a model and embeds, beyond its bare imports."""
    command = [sys.executable, __file__, "--memory", str(directory), "--sentences", str(sentences)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    measured: dict[str, float] = json.loads(output)
    return measured


def report_memory(directory: Path, count: int) -> None:
    """The child process of measure_memory."""

    def peak_bytes() -> int:
        # Of this process alone; getrusage's figure starts from the parent's.
        status = Path("/proc/self/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024

    sentences = read_sentences(count)
    torch.randn(64, 64) @ torch.randn(64, 64)
    bare = peak_bytes()
    elmo = load(directory, device="cpu")
    loaded = peak_bytes()
    elmo.embed(sentences)
    weights = (directory / "weights.hdf5").stat().st_size
    print(
        json.dumps(
            {
                "weights_mib": weights / 2**20,
                "load_mib": (loaded - bare) / 2**20,
                "run_mib": (peak_bytes() - bare) / 2**20,
                "run_to_weights": (peak_bytes() - bare) / weights,
            }
        )
    )


def compare(size: str, count: int, rounds: int, dtypes: list[str], directory: Path) -> dict:
    """Time all contestants in turn; returns what the table and the JSON show."""
    sentences = read_sentences(count)
    tokens = sum(map(len, sentences))
    peer = load_peer(directory)
    ours = {dtype: load(directory, device="cpu", dtype=dtype) for dtype in dtypes}
    for elmo in ours.values():
        elmo.embed(sentences[:64])  # lets libraries set themselves up; the peer ran its check
    difference = largest_difference(peer, ours["float32"], sentences[:64])
    spent: dict[str, list[Spent]] = {}
    peaks, rates = [], []
    for _ in range(rounds):
        peaks.append(matrix_peak())
        spent.setdefault("allennlp", []).append(spend(lambda: peer(sentences)))
        for dtype, elmo in ours.items():
            elmo.forget_words()
            for state in ("cold", "warm"):
                work = partial(elmo.embed, sentences)
                spent.setdefault(f"{dtype} {state}", []).append(spend(work))
        rates.append(lstm_rate(ours["float32"], sentences))
    return {
        "size": size,
        "sentences": count,
        "tokens": tokens,
        "word_types": len({token for sentence in sentences for token in sentence}),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "largest_difference": difference,
        "tokens_per_second": {
            name: tokens / statistics.median(each.clock for each in rows)
            for name, rows in spent.items()
        },
        "tokens_per_processor_second": {
            name: tokens / statistics.median(each.processor for each in rows)
            for name, rows in spent.items()
        },
        "ratio_by_clock": ratios(spent, "clock"),
        "ratio_by_processor": ratios(spent, "processor"),
        "seconds": spent,
        "matrix_peak_gflops_per_core": statistics.median(peaks) / 1e9,
        "lstm_gflops_per_core": statistics.median(rates) / 1e9,
        "lstm_share_of_peak": statistics.median(rates) / max(peaks),
        "memory": measure_memory(directory, count),
    }


def ratios(spent: dict[str, list[Spent]], kind: str) -> dict[str, float]:
    """AllenNLP's time over each contestant's in the same round; medians over the rounds."""
    return {
        name: statistics.median(
            getattr(theirs, kind) / getattr(own, kind)
            for theirs, own in zip(spent["allennlp"], rows, strict=True)
        )
        for name, rows in spent.items()
    }


def largest_difference(
    peer: Callable[[Sentences], list[np.ndarray]], elmo: Elmo, sentences: Sentences
) -> float:
    """The largest absolute difference of any number of any layer."""
    pairs = zip(peer(sentences), elmo.layers(sentences), strict=True)
    return max(float(np.abs(theirs - ours).max()) for theirs, ours in pairs)


def table(result: dict) -> str:
    """The result as Markdown."""
    lines = [
        "| model | contestant | tokens/s | of one core | times AllenNLP | in processor time |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, rate in result["tokens_per_second"].items():
        clock, processor = (result[f"ratio_by_{kind}"][name] for kind in ("clock", "processor"))
        core = result["tokens_per_processor_second"][name]
        lines.append(
            f"| {result['size']} | {name} | {rate:,.0f} | {core:,.0f} | {clock:.1f} "
            f"| {processor:.1f} |"
        )
    memory = result["memory"]
    lines.append(
        f"\n{result['sentences']} sentences, {result['tokens']} tokens, {result['word_types']} "
        f"word types, {result['threads']} threads, medians of {result['rounds']} rounds in turn. "
        f"Inside the biLSTM {result['lstm_gflops_per_core']:.0f} GFLOP/s a core, "
        f"{result['lstm_share_of_peak']:.0%} of the matrix-product peak "
        f"({result['matrix_peak_gflops_per_core']:.0f}). Peak memory {memory['run_mib']:.0f} MiB, "
        f"{memory['run_to_weights']:.1f} times the weights ({memory['weights_mib']:.0f} MiB). "
        f"Largest difference from AllenNLP {result['largest_difference']:.1e}."
    )
    return "\n".join(lines)


def keep(result: dict) -> None:
    """Print the result, and record its table."""
    print(table(result))
    rates, ratios = result["tokens_per_second"], result["ratio_by_clock"]
    rows = [["AllenNLP", *[round(rates["allennlp"])] * 2, 1.0, 1.0]]
    for dtype in dict.fromkeys(name.split()[0] for name in rates if name != "allennlp"):
        cold, warm = (f"{dtype} {state}" for state in ("cold", "warm"))
        speeds = [round(rates[name]) for name in (cold, warm)]
        rows.append([dtype, *speeds, *(round(ratios[name], 1) for name in (cold, warm))])
    memory = result["memory"]
    avx2 = torch.backends.cpu.get_cpu_capability() == "AVX2"
    record(
        f"speed-cpu-{result['size']}{'-avx2' if avx2 else ''}",
        result,
        title=f"Speed on a processor, against AllenNLP 2.10.1: {result['size']}",
        columns=[
            "computed by",
            "cold tokens/s",
            "warm tokens/s",
            "cold × AllenNLP",
            "warm × AllenNLP",
        ],
        rows=rows,
        notes=[
            "cold: the cache of words is empty at the start; warm: it knows all words",
            f"the same random weights and {result['sentences']} real sentences, "
            f"{result['tokens']:,} tokens of {result['word_types']:,} types, in turn in one "
            f"process; medians of {result['rounds']} rounds; AllenNLP in batches of {PEER_BATCH}",
            f"inside the biLSTM {result['lstm_share_of_peak']:.0%} of the measured matrix-product "
            "peak, float32",
            f"peak memory beyond the imports {memory['run_mib']:.0f} MiB, "
            f"{memory['run_to_weights']:.1f} times the weights; while it loads "
            f"{memory['load_mib'] / memory['weights_mib']:.1f} times",
            f"largest difference to AllenNLP {result['largest_difference']:.1e}, float32",
        ],
    )


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("size", "rounds", "warm", "cold"), [("small", 5, 20.0, 8.0), ("original", 3, 3.0, 2.0)]
)
def test_faster_than_allennlp_with_the_same_numbers(
    tmp_path: Path, shared: Path, size: str, rounds: int, warm: float, cold: float
) -> None:
    if "ALLENNLP_ROOT" not in os.environ:
        pytest.skip(f"needs ALLENNLP_ROOT; see {shared}/peers/README.md")
    directory = write_weights(size, tmp_path)

    result = compare(size, SENTENCES[size], rounds, ["float32", "bfloat16", "int8"], directory)

    keep(result)
    assert result["largest_difference"] < TOLERANCE
    assert result["ratio_by_clock"]["float32 warm"] >= warm
    assert result["ratio_by_clock"]["float32 cold"] >= cold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=SENTENCES, nargs="?", default="small")
    parser.add_argument("--sentences", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtypes", default="float32,bfloat16,int8")
    parser.add_argument("--memory", type=Path, help="measure the memory of this model only")
    options = parser.parse_args()
    count = options.sentences or SENTENCES[options.size]
    torch.set_num_threads(options.threads)
    if options.memory:
        report_memory(options.memory, count)
        return
    if "ALLENNLP_ROOT" not in os.environ:
        parser.error("ALLENNLP_ROOT is not set; see --help")
    with tempfile.TemporaryDirectory() as folder:
        directory = write_weights(options.size, Path(folder))
        dtypes = options.dtypes.split(",")
        result = compare(options.size, count, options.rounds, dtypes, directory)
    keep(result)


if __name__ == "__main__":
    main()
