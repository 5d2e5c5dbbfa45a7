"""The device's way through the biLM, run on the CPU with nothing captured."""

from pathlib import Path

import numpy as np
import pytest
import torch

from elmo_infer import load
from elmo_infer.batching import Packing
from elmo_infer.graphs import STEPS_PER_CHUNK, GraphedStacks, graph_rows, plan_chunks
from elmo_infer.loading import load_official
from elmo_infer.model import BiLm, LstmState, Placement
from elmo_infer.model_files import ModelFiles


def build(directory: Path, dtype: torch.dtype) -> BiLm:
    """A biLM on the CPU that takes the device's way."""
    config, weights, speller, _ = load_official(ModelFiles.find(str(directory)))
    placement = Placement(device=torch.device("cpu"), dtype=dtype)
    stacks = [GraphedStacks(config, weights.lstm, placement, capture=lambda work: work)]
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
def test_graphs_compute_what_the_stacks_compute(make_elmo, rng, settings) -> None:
    directory = make_elmo(**settings)
    usual = load(directory, device="cpu").bilm
    graphed = build(directory, torch.float32)
    case = random_case(usual, rng)
    n_layers = usual.config.n_lstm_layers + 1

    expected, expected_after = usual.forward(*case, n_layers)
    computed, after = graphed.forward(*case, n_layers)

    for want, got in zip(expected, computed, strict=True):
        torch.testing.assert_close(got[0], want[0], atol=2e-6, rtol=0)
        torch.testing.assert_close(got[1], want[1], atol=2e-6, rtol=0)
    torch.testing.assert_close(after.h, expected_after.h, atol=1e-5, rtol=0)
    torch.testing.assert_close(after.c, expected_after.c, atol=1e-5, rtol=0)


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
    config, weights, speller, _ = load_official(ModelFiles.find(str(tiny_elmo_dir)))
    placement = Placement(device=torch.device("cpu"), dtype=torch.float32)
    stacks = GraphedStacks(
        config, weights.lstm, placement, capture=lambda work: captured.append(1) or work
    )
    bilm = BiLm(config, weights, speller, placement, [stacks])
    case = random_case(bilm, rng)

    bilm.forward(*case, 3)
    first = len(captured)
    bilm.forward(*case, 3)

    different = {graph_rows(int(rows)) for rows in case[2].rows[::STEPS_PER_CHUNK]}
    assert first == len(different) * config.n_lstm_layers
    assert len(captured) == first


def test_out_of_memory_frees_the_graphs(tiny_elmo_dir: Path, rng) -> None:
    captured = []

    def capture(work):
        captured.append(work)
        if len(captured) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return work

    config, weights, speller, _ = load_official(ModelFiles.find(str(tiny_elmo_dir)))
    placement = Placement(device=torch.device("cpu"), dtype=torch.float32)
    stacks = GraphedStacks(config, weights.lstm, placement, capture)
    bilm = BiLm(config, weights, speller, placement, [stacks])
    case = random_case(bilm, rng)

    with pytest.raises(torch.OutOfMemoryError):
        bilm.forward(*case, 3)
    bilm.forward(*case, 3)

    different = {graph_rows(int(rows)) for rows in case[2].rows[::STEPS_PER_CHUNK]}
    assert len(captured) == 2 + len(different) * config.n_lstm_layers


def test_chunks_hold_every_slot_once() -> None:
    packing = Packing(np.array([STEPS_PER_CHUNK + 2, 3, 1]))
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


@pytest.mark.parametrize(("count", "rows"), [(1, 8), (8, 8), (9, 16), (64, 64), (65, 128)])
def test_graph_rows(count: int, rows: int) -> None:
    assert graph_rows(count) == rows


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_computes_what_the_cpu_computes(tiny_elmo_dir: Path) -> None:
    sentences = [["The", "bank", "of", "the", "river"], ["Hi"], ["a"] * 70]
    expected = load(tiny_elmo_dir, device="cpu").layers(sentences)

    computed = load(tiny_elmo_dir, device="cuda").layers(sentences)

    for want, got in zip(expected, computed, strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5, rtol=0)
