"""The device's way through the biLM, run on the CPU with nothing captured."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from elmo_infer import cuda_graphs, load
from elmo_infer.batching import Packing
from elmo_infer.cuda_graphs import (
    MAX_GRAPHS,
    MAX_SLOTS,
    MAX_STEPS,
    Capture,
    CudaGraphs,
    GraphedStacks,
    graph_rows,
    graph_steps,
    plan_chunks,
)
from elmo_infer.formats.model_files import ModelFiles
from elmo_infer.model import BiLm, LstmState
from elmo_infer.placement import Placement
from elmo_infer.reading import read_official_model


def build(
    directory: Path,
    dtype: torch.dtype,
    new_capture: Callable[[], Capture] = lambda: lambda work: work,
) -> BiLm:
    """A biLM on the CPU that takes the device's way."""
    config, weights, speller, _ = read_official_model(ModelFiles.find(str(directory)))
    placement = Placement(device=torch.device("cpu"), dtype=dtype)
    stacks = [GraphedStacks(config, weights.lstm, placement, new_capture)]
    return BiLm(config, weights, speller, placement, stacks)


def random_case(
    bilm: BiLm, rng: np.random.Generator
) -> tuple[torch.Tensor, np.ndarray, Packing, LstmState]:
    """Sentences of 1 to 40 tokens from a random state."""
    lengths = np.sort(np.append(rng.integers(1, 40, size=10), 40))[::-1].copy()
    packing = Packing(lengths)
    zero = bilm.zero_state(len(lengths))
    state = LstmState(
        h=torch.from_numpy(rng.standard_normal(zero.h.shape)).to(zero.h),
        c=torch.from_numpy(rng.standard_normal(zero.c.shape)).to(zero.c),
    )
    vectors = bilm.encode_types([f"w{number}" for number in range(30)])
    return vectors, rng.integers(0, 30, size=int(lengths.sum())), packing, state


@pytest.mark.parametrize("settings", [{}, {"skip_connections": False, "layers": 3}])
def test_graphs_compute_what_the_stacks_compute(make_elmo, rng, settings, model_bound) -> None:
    directory = make_elmo(**settings)
    usual = load(directory, device="cpu").bilm
    graphed = build(directory, torch.float32)
    case = random_case(usual, rng)
    n_layers = usual.config.n_lstm_layers + 1

    expected, expected_after = usual.forward(*case, n_layers)
    computed, after = graphed.forward(*case, n_layers)

    # Other row counts, so other kernels: on a processor with AMX 3.3e-6 apart, elsewhere less.
    def bound(numbers: torch.Tensor) -> float:
        return model_bound(usual.config, steps=40, scale=float(numbers.abs().max()))

    for want, got in zip(expected, computed, strict=True):
        torch.testing.assert_close(got[0], want[0], atol=bound(want[0]), rtol=0)
        torch.testing.assert_close(got[1], want[1], atol=bound(want[1]), rtol=0)
    torch.testing.assert_close(after.h, expected_after.h, atol=bound(expected_after.h), rtol=0)
    torch.testing.assert_close(after.c, expected_after.c, atol=bound(expected_after.c), rtol=0)


def test_half_precision_products_stay_near_float32(tiny_elmo_dir: Path, rng) -> None:
    exact = build(tiny_elmo_dir, torch.float32)
    halved = build(tiny_elmo_dir, torch.bfloat16)
    case = random_case(exact, rng)

    expected, _ = exact.forward(*case, 3)
    computed, _ = halved.forward(*case, 3)

    for want, got in zip(expected, computed, strict=True):
        assert got[0].dtype == torch.float32
        cosine = torch.nn.functional.cosine_similarity(got[0], want[0], dim=1)
        assert cosine.min() > 0.999


def test_a_graph_is_captured_once_per_number_of_rows(tiny_elmo_dir: Path, rng) -> None:
    captured = []
    config, weights, speller, _ = read_official_model(ModelFiles.find(str(tiny_elmo_dir)))
    placement = Placement(device=torch.device("cpu"), dtype=torch.float32)
    stacks = GraphedStacks(
        config, weights.lstm, placement, lambda: lambda work: captured.append(1) or work
    )
    bilm = BiLm(config, weights, speller, placement, [stacks])
    case = random_case(bilm, rng)

    bilm.forward(*case, 3)
    first = len(captured)
    bilm.forward(*case, 3)

    different = {graph_rows(int(rows)) for rows in case[2].rows[::MAX_STEPS]}
    assert first == len(different) * config.n_lstm_layers
    assert len(captured) == first


def test_out_of_memory_frees_the_graphs(tiny_elmo_dir: Path, rng) -> None:
    captured = []

    def capture(work):
        captured.append(work)
        if len(captured) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return work

    config, weights, speller, _ = read_official_model(ModelFiles.find(str(tiny_elmo_dir)))
    placement = Placement(device=torch.device("cpu"), dtype=torch.float32)
    stacks = GraphedStacks(config, weights.lstm, placement, lambda: capture)
    bilm = BiLm(config, weights, speller, placement, [stacks])
    case = random_case(bilm, rng)

    with pytest.raises(torch.OutOfMemoryError):
        bilm.forward(*case, 3)
    bilm.forward(*case, 3)

    different = {graph_rows(int(rows)) for rows in case[2].rows[::MAX_STEPS]}
    assert len(captured) == 2 + len(different) * config.n_lstm_layers


def test_chunks_hold_every_slot_once() -> None:
    packing = Packing(np.array([MAX_STEPS + 2, 3, 1]))
    placement = Placement(device=torch.device("cpu"), dtype=torch.float32)

    first, second = plan_chunks(packing, placement)

    assert (first.first, first.last, second.first, second.last) == (0, 20, 20, 22)
    assert first.sources[first.places].tolist() == list(range(20))
    assert second.sources[second.places].tolist() == [20, 21]
    assert first.active[:4, :4, 0].int().tolist() == [
        [1, 1, 1, 0],
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [1, 0, 0, 0],
    ]


@pytest.mark.parametrize(
    ("count", "rows", "steps"),
    [(1, 8, 16), (8, 8, 16), (9, 16, 16), (64, 64, 16), (65, 80, 16), (80, 80, 16),
     (500, 512, 16), (513, 640, 12), (8192, 8192, 1), (20_000, 20_480, 1)],
)  # fmt: skip
def test_rows_and_steps_of_a_graph(count: int, rows: int, steps: int) -> None:
    assert (graph_rows(count), graph_steps(rows)) == (rows, steps)


def test_graphs_are_few_and_their_surplus_small() -> None:
    sizes = [graph_rows(count) for count in range(1, 8193)]

    assert len(set(sizes)) <= MAX_GRAPHS
    assert all(size >= count for count, size in enumerate(sizes, start=1))
    assert all(size <= 1.25 * count for count, size in enumerate(sizes, start=1) if count > 64)
    assert all(size * graph_steps(size) <= MAX_SLOTS for size in sizes)


def test_the_graph_longest_unused_goes_first(tiny_elmo_dir: Path, monkeypatch) -> None:
    monkeypatch.setattr(cuda_graphs, "MAX_GRAPHS", 2)
    captured = []
    bilm = build(tiny_elmo_dir, torch.float32, lambda: lambda work: captured.append(1) or work)
    vectors = bilm.encode_types(["a"])

    def read(sentences: int) -> int:
        """Read one-token sentences; return how many graphs that made in each layer."""
        captured.clear()
        packing = Packing(np.ones(sentences, dtype=np.int64))
        ids = np.zeros(sentences, dtype=np.int64)
        bilm.forward(vectors, ids, packing, bilm.zero_state(sentences), 3)
        return len(captured) // 2

    assert [read(count) for count in (8, 16, 8, 32, 8, 16)] == [1, 1, 0, 1, 0, 1]


def test_graphs_of_all_sizes_share_their_memory(tiny_elmo_dir: Path, rng) -> None:
    bilm = build(tiny_elmo_dir, torch.float32)
    case = random_case(bilm, rng)
    expected, _ = bilm.forward(*case, 3)
    bilm.forward(case[0], np.zeros(300, np.int64), Packing(np.ones(300, np.int64)),
                 bilm.zero_state(300), 3)  # fmt: skip

    again, _ = bilm.forward(*case, 3)

    (stacks,) = bilm.stacks
    blocks = {
        buffers.inputs.untyped_storage().data_ptr()
        for layer in stacks.layers
        for buffers, _ in layer.graphs.values()
    }
    # A first block, and one for the 300 rows that did not fit it.
    assert len(blocks) == 2
    for want, got in zip(expected, again, strict=True):
        assert torch.equal(got[0], want[0])
        assert torch.equal(got[1], want[1])


class FakeCuda:
    """What of torch.cuda a capture uses, written down in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.stream_names = iter(("side", "other"))
        self.pools = iter((1, 2, 3))
        self.current = "main"
        self.fail: Exception | None = None
        for name in ("Stream", "stream", "current_stream", "graph", "CUDAGraph", "device"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: next(self.pools))

    class _Named:
        def __init__(self, cuda: "FakeCuda", name: str) -> None:
            self.cuda, self.name = cuda, name

        def wait_stream(self, other: "FakeCuda._Named") -> None:
            self.cuda.log.append(f"{self.name} waits for {other.name}")

    def Stream(self) -> "FakeCuda._Named":
        return self._Named(self, next(self.stream_names))

    def current_stream(self) -> "FakeCuda._Named":
        return self._Named(self, self.current)

    @contextmanager
    def stream(self, stream: "FakeCuda._Named") -> Iterator[None]:
        self.current = stream.name
        yield
        self.current = "main"

    @contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        self.log.append(f"on {device}")
        yield

    @contextmanager
    def graph(self, graph, pool, stream, capture_error_mode) -> Iterator[None]:
        assert isinstance(graph, self.CUDAGraph)
        self.log.append(f"capture on {stream.name}, pool {pool}, {capture_error_mode}")
        with self.stream(stream):
            yield
        if self.fail is not None:
            raise self.fail

    class CUDAGraph:
        def replay(self) -> None:
            """Nothing to do."""

    def work(self) -> None:
        self.log.append(f"work on {self.current}")


def test_work_is_warmed_up_and_captured_on_one_stream(monkeypatch) -> None:
    cuda = FakeCuda(monkeypatch)
    capture = CudaGraphs(torch.device("cuda", 1))

    capture(cuda.work)
    first = list(cuda.log)
    cuda.log.clear()
    capture(cuda.work)

    assert first == [
        "on cuda:1",
        "side waits for main",
        "work on side",
        "work on side",
        "main waits for side",
        "capture on side, pool 1, thread_local",
        "work on side",
    ]
    assert cuda.log == first  # the same stream, the same pool


def test_failed_capture_says_so_and_leaves_its_pool(monkeypatch) -> None:
    cuda = FakeCuda(monkeypatch)
    capture = CudaGraphs(torch.device("cuda", 0))
    cuda.fail = RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="could not be captured as a CUDA graph on cuda:0: oper"):
        capture(cuda.work)
    cuda.fail = None
    capture(cuda.work)

    assert "capture on side, pool 2, thread_local" in cuda.log


def test_out_of_memory_in_a_capture_is_out_of_memory(monkeypatch) -> None:
    cuda = FakeCuda(monkeypatch)
    failure = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    failure.__context__ = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    cuda.fail = failure

    with pytest.raises(torch.OutOfMemoryError):
        CudaGraphs(torch.device("cuda", 0))(cuda.work)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_computes_what_the_cpu_computes(tiny_elmo_dir: Path) -> None:
    sentences = [["The", "bank", "of", "the", "river"], ["Hi"], ["a"] * 70]
    expected = load(tiny_elmo_dir, device="cpu").layers(sentences)

    computed = load(tiny_elmo_dir, device="cuda").layers(sentences)

    for want, got in zip(expected, computed, strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5, rtol=0)
