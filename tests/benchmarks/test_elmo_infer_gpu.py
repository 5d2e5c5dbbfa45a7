"""elmo_infer and the biLM's training on a GPU: the same numbers as on a CPU, and how fast.

    pytest -m benchmark -s tests/benchmarks/test_elmo_infer_gpu.py

Needs a CUDA device and nothing else: weights and sentences are random (words by Zipf's law), of the
published sizes. Done in 4 minutes on an H200. Every table is printed as one line of
JSON; the first holds the device and its measured ceilings. Rates are medians of repeated calls of
`embed`, which end when all vectors are on the host; "cold" starts with an empty word cache.

With ALLENNLP_ROOT and SENSEGREP_PEERS (the folder of ref_allennlp.py, see
test_elmo_infer_speed.py), AllenNLP's modules are timed on the same device and weights.
"""

import importlib.util
import json
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elmo_infer import Elmo, load
from elmo_infer.training.checkpoint import PretrainOptions, new_state
from elmo_infer.training.export import write_official_layout
from elmo_infer.training.parameters import initial_parameters
from elmo_infer.training.presets import preset
from elmo_infer.training.pretrain import update
from elmo_infer.training.token_store import TokenStore, build_token_store

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device was found"),
]
SIZES = ("small", "original")
DTYPES = ("float32", "float16", "bfloat16")
# Cosine of a token's layer to float32's on the CPU, at the least.
COSINE_FLOOR = {"float16": 0.9999, "bfloat16": 0.999}
Sentences = list[list[str]]


def draw_sentences(count: int, seed: int = 0) -> Sentences:
    """Sentences of 1 to 100 tokens, 20 on average; forms of 1 to 14 letters by Zipf's law."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfw"))
    forms = ["".join(rng.choice(letters, rng.integers(1, 15))) for _ in range(30_000)]
    shares = 1 / np.arange(10, len(forms) + 10)
    lengths = np.clip(rng.gamma(3.0, 20 / 3.0, count).astype(int), 1, 100)
    drawn = rng.choice(len(forms), int(lengths.sum()), p=shares / shares.sum())
    return [[forms[one] for one in row] for row in np.split(drawn, np.cumsum(lengths)[:-1])]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A directory with random weights for every size."""
    found = {}
    for size in ("tiny", *SIZES):
        found[size] = tmp_path_factory.mktemp(size)
        write_official_layout(found[size], preset(size), initial_parameters(preset(size), seed=1))
    return found


@pytest.fixture(scope="session", autouse=True)
def _ceilings() -> None:
    """Print the device, its matrix-product rates and its memory bandwidth, as measured."""
    if not torch.cuda.is_available():
        return
    rates = {
        str(dtype).removeprefix("torch."): 2 * 8192**3 / median_seconds(product(dtype), 10) / 1e12
        for dtype in (torch.float32, torch.float16, torch.bfloat16)
    }
    source = torch.empty(2**30, dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)
    copied = 2 * 2**30 / median_seconds(lambda: target.copy_(source), 10) / 1e9
    show(
        "device",
        card=torch.cuda.get_device_name(),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        tf32_allowed=torch.backends.cuda.matmul.allow_tf32,
        tflops=rates,
        copy_gb_per_second=copied,
    )


def product(dtype: torch.dtype) -> Callable[[], Any]:
    left, right = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
    return lambda: left @ right


def show(name: str, **values: Any) -> None:
    print("\n" + json.dumps({"benchmark": name, **values}))


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def median_seconds(work: Callable[[], Any], rounds: int, before: Callable[[], Any] | None = None):
    """Median time of `work`, after one call that does not count."""
    spent = []
    for _ in range(rounds + 1):
        if before is not None:
            before()
        synchronize()
        started = time.perf_counter()
        work()
        synchronize()
        spent.append(time.perf_counter() - started)
    return statistics.median(spent[1:])


def without_graphs(elmo: Elmo) -> Elmo:
    """Let a model launch every kernel by itself."""
    (stacks,) = elmo.bilm.stacks
    stacks.new_capture = lambda: lambda work: work  # type: ignore[attr-defined]
    stacks.forget_graphs()  # type: ignore[attr-defined]
    return elmo


def lowest_cosine(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """The least cosine of any token's vector in any layer."""
    lowest = 1.0
    for left, right in zip(one, other, strict=True):
        lengths = np.linalg.norm(left, axis=2) * np.linalg.norm(right, axis=2)
        lowest = min(lowest, float(((left * right).sum(axis=2) / lengths).min()))
    return lowest


@pytest.mark.parametrize("size", ["tiny", *SIZES])
def test_float32_is_that_of_the_cpu(models: dict[str, Path], size: str) -> None:
    sentences = [[], *draw_sentences(60), [""]]
    here, there = load(models[size], device="cpu"), load(models[size], device="cuda")

    def largest_difference(of: Sentences) -> float:
        pairs = zip(here.layers(of), there.layers(of), strict=True)
        return max(float(np.abs(left - right).max(initial=0.0)) for left, right in pairs)

    # Rounding adds up over 500 steps with random weights: of the original size the CPU's own
    # float32 is 6.4e-5 from its float64 there, and 4.8e-6 on the other sentences.
    worst, long = largest_difference(sentences), largest_difference([["a"] * 500])
    show("float32 against the CPU", size=size, largest_difference=worst, of_500_words=long)
    assert worst < 5e-5
    assert long < 2e-4
    for pooling in ("attention", "mean", "max"):
        left, right = (elmo.embed(sentences, pooling=pooling) for elmo in (here, there))
        np.testing.assert_allclose(left.sentence_vectors, right.sentence_vectors, atol=5e-5)
        if pooling != "max":  # a token may win a dimension by less than the rounding
            np.testing.assert_allclose(left.attention, right.attention, atol=5e-5)


@pytest.mark.parametrize("graphs", [True, False], ids=["graphs", "eager"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_near_float32(models: dict[str, Path], dtype: str, graphs: bool) -> None:
    sentences = draw_sentences(60)
    expected = load(models["small"], device="cpu").layers(sentences)
    elmo = load(models["small"], device="cuda", dtype=dtype)
    cosine = lowest_cosine(expected, (elmo if graphs else without_graphs(elmo)).layers(sentences))
    show("half precision against the CPU", dtype=dtype, graphs=graphs, lowest_cosine=cosine)
    assert cosine > COSINE_FLOOR[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_are_the_same_every_time(models: dict[str, Path], dtype: str) -> None:
    sentences = draw_sentences(400)
    first = load(models["small"], device="cuda", dtype=dtype)
    results = [first.embed(sentences), first.embed(sentences)]
    results.append(load(models["small"], device="cuda", dtype=dtype).embed(sentences))
    same = all(
        np.array_equal(results[0].token_vectors, other.token_vectors)
        and np.array_equal(results[0].sentence_vectors, other.sentence_vectors)
        for other in results[1:]
    )
    # Other neighbours, another order, other graphs.
    cut = load(models["small"], device="cuda", dtype=dtype, max_tokens_per_batch=256)
    other = cut.embed(sentences[::-1]).sentence_vectors[::-1]
    moved = float(np.abs(results[0].sentence_vectors - other).max())
    show("determinism", dtype=dtype, same_bytes=same, moved_by_other_batches=moved)
    assert same
    assert moved < (2e-5 if dtype == "float32" else 2e-2)


def test_streams_and_threads_do_not_mix_batches(models: dict[str, Path]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    sentences = draw_sentences(200)
    elmo = load(models["small"], device="cuda")
    expected = elmo.embed(sentences).token_vectors

    def embed_on_own_stream(_: int) -> np.ndarray:
        with torch.cuda.stream(torch.cuda.Stream()):
            return elmo.embed(sentences).token_vectors

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(embed_on_own_stream, range(8)):
            np.testing.assert_array_equal(found, expected)


@pytest.fixture
def little_memory() -> Iterator[Callable[[int], None]]:
    """A function that leaves so many bytes of the device to this process."""

    def leave(size: int) -> None:
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(
            (torch.cuda.memory_reserved() + size) / total, device=0
        )

    yield leave
    torch.cuda.set_per_process_memory_fraction(1.0, device=0)
    torch.cuda.empty_cache()


def test_batch_that_does_not_fit_is_split(
    models: dict[str, Path], little_memory: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    sentences = draw_sentences(10_000)
    expected = load(models["small"], device="cuda").embed(sentences)
    elmo = load(models["small"], device="cuda", max_tokens_per_batch=1_000_000)
    little_memory(600 * 2**20)
    with caplog.at_level(logging.WARNING):
        found = elmo.embed(sentences)
    splits = sum("trying half" in record.message for record in caplog.records)
    show("out of memory", splits=splits, tokens=len(found.token_vectors))
    assert splits > 0
    np.testing.assert_allclose(found.token_vectors, expected.token_vectors, atol=2e-5)


def test_sentence_that_does_not_fit_is_named(
    models: dict[str, Path], little_memory: Callable[[int], None]
) -> None:
    elmo = load(models["small"], device="cuda")
    elmo.embed([["warm", "up"]])
    little_memory(64 * 2**20)
    with pytest.raises(RuntimeError, match=r"sentence 1 does not fit into the memory of cuda:0"):
        elmo.embed([["a"], ["b"] * 1_000_000])


def rates_of(elmo: Elmo, sentences: Sentences, rounds: int) -> dict[str, float]:
    """Tokens a second of `embed`, with all words known and with none."""
    tokens = sum(map(len, sentences))
    return {
        "warm": tokens / median_seconds(lambda: elmo.embed(sentences), rounds),
        "cold": tokens
        / median_seconds(lambda: elmo.embed(sentences), rounds, before=elmo.forget_words),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_tokens_per_second(models: dict[str, Path], size: str, dtype: str) -> None:
    sentences = draw_sentences(16_000)
    for graphs, budget in ((True, 8192), (True, 32_768), (False, 8192)):
        elmo = load(models[size], device="cuda", dtype=dtype, max_tokens_per_batch=budget)
        torch.cuda.reset_peak_memory_stats()
        rates = rates_of(elmo if graphs else without_graphs(elmo), sentences, rounds=3)
        show(
            "tokens per second",
            size=size,
            dtype=dtype,
            graphs=graphs,
            max_tokens_per_batch=budget,
            tokens=sum(map(len, sentences)),
            peak_mib=torch.cuda.max_memory_allocated() / 2**20,
            **rates,
        )
        del elmo
        torch.cuda.empty_cache()


@pytest.mark.parametrize("size", SIZES)
def test_faster_than_allennlp(models: dict[str, Path], size: str) -> None:
    if not {"ALLENNLP_ROOT", "SENSEGREP_PEERS"} <= os.environ.keys():
        pytest.skip("needs ALLENNLP_ROOT and SENSEGREP_PEERS")
    script = Path(os.environ["SENSEGREP_PEERS"]) / "ref_allennlp.py"
    spec = importlib.util.spec_from_file_location("peer", script)
    assert spec is not None
    assert spec.loader is not None
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    files = (str(models[size] / name) for name in ("options.json", "weights.hdf5"))
    bilm = peer.load_bilm(*files).cuda()
    sentences = draw_sentences(1024)

    def theirs() -> None:
        for first in range(0, len(sentences), 64):
            bilm._elmo_lstm.reset_states()
            with torch.inference_mode():
                found = bilm(peer.batch_to_ids(sentences[first : first + 64]).cuda())
            [layer.cpu() for layer in found["activations"]]

    tokens = sum(map(len, sentences))
    rate = tokens / median_seconds(theirs, 3)
    ours = rates_of(load(models[size], device="cuda"), sentences, 3)
    show("against AllenNLP", size=size, allennlp=rate, **ours, times=ours["warm"] / rate)
    assert ours["warm"] > rate


def training_text(directory: Path) -> TokenStore:
    sentences = draw_sentences(20_000)
    return build_token_store([sentences[low : low + 10] for low in range(0, 20_000, 10)], directory)


def train_steps(
    store: TokenStore, options: PretrainOptions, size: str, graphs: bool = True
) -> Iterator[float]:
    """Take steps without end; yield the mean loss of both directions after each."""
    state = new_state(store, preset(size), options)
    if not graphs:
        state.network = replace(state.network, new_workspace=None)
    lengths, budget = store.lengths, options.tokens_per_batch
    common = int(np.bincount(lengths[lengths > 9]).argmax())
    rows = np.flatnonzero(lengths == common)
    sentences = np.resize(rows, max(1, budget // common))
    types = store.tokens[store.sentences[sentences][:, None] + np.arange(common)].astype(np.int64)
    step = 0
    while True:
        batch = state.network.prepare(types, sentences, np.random.default_rng(step))
        result = state.network.step(batch)
        update(state, batch, result, rate=1e-3, max_gradient_norm=1.0)
        step += 1
        yield float(torch.stack(result.loss).mean())


def test_training_follows_the_cpu(tmp_path: Path) -> None:
    store = training_text(tmp_path / "text")
    losses = {}
    for name, device, graphs in (
        ("cpu", "cpu", False),
        ("eager", "cuda", False),
        ("graphs", "cuda", True),
    ):
        options = PretrainOptions(steps=5, tokens_per_batch=512, vocabulary=5000, device=device)
        steps = train_steps(store, options, "compact", graphs)
        losses[name] = [next(steps) for _ in range(5)]
    show("training against the CPU", **losses)
    np.testing.assert_allclose(losses["eager"], losses["cpu"], rtol=1e-3)
    np.testing.assert_allclose(losses["graphs"], losses["cpu"], rtol=1e-3)
    assert losses["graphs"][-1] < losses["graphs"][0]


@pytest.mark.parametrize("tokens_per_batch", [16_384, 65_536])
@pytest.mark.parametrize("size", ["compact", "small"])
def test_training_tokens_per_second(tmp_path: Path, size: str, tokens_per_batch: int) -> None:
    store = training_text(tmp_path / "text")
    for precision, graphs in (("float32", True), ("bfloat16", True), ("bfloat16", False)):
        options = PretrainOptions(
            steps=5, tokens_per_batch=tokens_per_batch, precision=precision, device="cuda"
        )
        steps = train_steps(store, options, size, graphs)
        next(steps)  # what comes a second time is captured
        torch.cuda.reset_peak_memory_stats()
        seconds = median_seconds(lambda steps=steps: next(steps), 4)
        show(
            "training tokens per second",
            size=size,
            precision=precision,
            graphs=graphs,
            tokens_per_batch=tokens_per_batch,
            tokens_per_second=tokens_per_batch / seconds,
            peak_mib=torch.cuda.max_memory_allocated() / 2**20,
        )
