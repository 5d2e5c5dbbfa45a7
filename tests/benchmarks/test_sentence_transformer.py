"""Words per second of a small sentence transformer, all-MiniLM-L6-v2, and of the bundled model.

    MINILM_DIR=DIR pytest -m benchmark -s tests/benchmarks/test_sentence_transformer.py

DIR has config.json, tokenizer.json and model.safetensors. It needs transformers, onnx and
onnxruntime, which this project does not; without them it is skipped. Both get sentences that are
tokens already; the transformer's are sorted by length and padded within a batch, as
sentence-transformers does it. Rounds take turns, and the bundled model starts each with an empty
cache of words. SENSEGREP_BENCHMARK_AVX2=1 marks a run in which the libraries may use AVX2 only:
ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2.
"""

import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elmo_infer import load

sys.path.insert(0, str(Path(__file__).parent))
from test_elmo_infer_speed import Sentences, read_sentences

pytestmark = pytest.mark.benchmark

SENTENCES = int(os.environ.get("SENSEGREP_BENCHMARK_SENTENCES", "1000"))
ROUNDS = int(os.environ.get("SENSEGREP_BENCHMARK_TURNS", "5"))
BATCH = 32  # sentence-transformers' default
AVX2 = "SENSEGREP_BENCHMARK_AVX2" in os.environ
Contestant = Callable[[], Any]


class Transformer:
    """MiniLM over batches of sentences that are word pieces."""

    def __init__(self, directory: Path, sentences: Sentences) -> None:
        transformers = pytest.importorskip("transformers")
        tokenizers = pytest.importorskip("tokenizers")
        read = transformers.AutoModel.from_pretrained
        self._model = read(str(directory)).eval()
        self._exported = _TokenVectors(read(str(directory), attn_implementation="eager").eval())
        tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
        tokenizer.no_padding()
        pieces = [tokenizer.encode(" ".join(tokens)).ids for tokens in sentences]
        pieces.sort(key=len, reverse=True)
        self.batches = [
            self._padded(pieces[first : first + BATCH]) for first in range(0, len(pieces), BATCH)
        ]

    def _padded(self, pieces: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.zeros(len(pieces), max(map(len, pieces)), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, piece in enumerate(pieces):
            ids[row, : len(piece)] = torch.tensor(piece)
            mask[row, : len(piece)] = 1
        return ids, mask

    def float32(self) -> list[torch.Tensor]:
        """Return the sentence vectors, batch by batch."""
        with torch.inference_mode():
            return [
                pooled(self._model(input_ids=ids, attention_mask=mask)[0], mask)
                for ids, mask in self.batches
            ]

    def bfloat16(self) -> list[torch.Tensor]:
        """Return the same with products in bfloat16."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.float32()

    def onnx_int8(self, directory: Path) -> Contestant:
        """Export to ONNX, round weights to int8, and return what runs it."""
        quantization = pytest.importorskip("onnxruntime.quantization")
        runtime = pytest.importorskip("onnxruntime")
        exact, rounded = str(directory / "model.onnx"), str(directory / "int8.onnx")
        ids, mask = self.batches[0]
        names, dynamic = ["input_ids", "attention_mask"], {0: "sentences", 1: "pieces"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an exporter that is no longer the newest
            torch.onnx.export(
                self._exported, (ids, mask), exact, input_names=names, output_names=["tokens"],
                dynamic_axes=dict.fromkeys([*names, "tokens"], dynamic), dynamo=False,
            )  # fmt: skip
            quantization.quantize_dynamic(exact, rounded)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = runtime.InferenceSession(rounded, options, ["CPUExecutionProvider"])

        def run() -> list[torch.Tensor]:
            return [
                pooled(
                    torch.from_numpy(
                        session.run(None, {names[0]: ids.numpy(), names[1]: mask.numpy()})[0]
                    ),
                    mask,
                )
                for ids, mask in self.batches
            ]

        return run


class _TokenVectors(torch.nn.Module):
    """What is exported: a model with two inputs and one output."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return token vectors [B, T, D]."""
        found: torch.Tensor = self.model(input_ids=ids, attention_mask=mask)[0]
        return found


def pooled(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean token vectors [B, D] of length 1."""
    weights = mask[..., None].to(tokens.dtype)
    return torch.nn.functional.normalize((tokens * weights).sum(1) / weights.sum(1), dim=1)


def ours(sentences: Sentences, dtype: str) -> Contestant:
    """Return what embeds the sentences with the bundled model, words not known before."""
    elmo = load("en-small", device="cpu", dtype=dtype)

    def run() -> Any:
        elmo.forget_words()
        return elmo.embed(sentences)

    return run


@pytest.mark.filterwarnings("ignore")  # of the other libraries
def test_the_bundled_model_is_faster_than_a_small_transformer(
    tmp_path: Path, record_benchmark: Callable[..., None]
) -> None:
    if "MINILM_DIR" not in os.environ:
        pytest.skip("needs MINILM_DIR, a folder with all-MiniLM-L6-v2")
    sentences = read_sentences(SENTENCES)
    words = sum(map(len, sentences))
    peer = Transformer(Path(os.environ["MINILM_DIR"]), sentences)
    contestants: dict[str, Contestant] = {
        "all-MiniLM-L6-v2 float32": peer.float32,
        "all-MiniLM-L6-v2 bfloat16": peer.bfloat16,
        "all-MiniLM-L6-v2 int8 (ONNX)": peer.onnx_int8(tmp_path),
        **{f"en-small {name}": ours(sentences, name) for name in ("float32", "bfloat16", "int8")},
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(ROUNDS + 1):  # the first is to warm up
        for name, run in contestants.items():
            started = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    base = seconds["all-MiniLM-L6-v2 float32"]
    rates = {name: words / statistics.median(spent) for name, spent in seconds.items()}
    ratios = {
        name: float(np.median([its / mine for its, mine in zip(base, spent, strict=True)]))
        for name, spent in seconds.items()
    }
    default = f"en-small {'float32' if AVX2 else load('en-small', dtype='auto').dtype}"
    record_benchmark(
        f"speed-sentence-transformer{'-avx2' if AVX2 else ''}",
        {
            "sentences": SENTENCES,
            "words": words,
            "pieces": int(sum(mask.sum() for _, mask in peer.batches)),
            "threads": torch.get_num_threads(),
            "default": default,
            "words_per_second": {name: round(rate) for name, rate in rates.items()},
            "times_minilm_float32": {name: round(ratio, 2) for name, ratio in ratios.items()},
        },
        title="Words per second, beside a small sentence transformer",
        columns=["model", "words/s", "× MiniLM float32"],
        rows=[[name, round(rates[name]), round(ratios[name], 1)] for name in contestants],
        notes=[
            f"{SENTENCES:,} sentences, {words:,} words, in turn, medians of {ROUNDS} rounds, "
            f"{torch.get_num_threads()} threads; both get sentences that are tokens already",
            f"`--dtype auto` is {default.removeprefix('en-small ')} "
            + ("on a processor with AVX2 only" if AVX2 else "here"),
        ],
    )
    assert ratios[default] >= (3 if AVX2 else 1)
