"""What a device is asked to do, seen without one: see `DeviceWatch`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elmo_infer import embedder, transfers
from elmo_infer.cuda_graphs import GraphedStacks
from elmo_infer.embedder import Elmo
from elmo_infer.formats.model_files import ModelFiles
from elmo_infer.initial_state import describe_start
from elmo_infer.model import BiLm
from elmo_infer.placement import Placement
from elmo_infer.reading import Pooling, read_official_model
from elmo_infer.states import after_marks, start_state

META = torch.device("meta")
SENTENCES = [["The", "bank", "of", "the", "river"], [], ["Hi"], ["a"] * 40, ["bank", "x" * 60]]


class Gone:
    """Results that left for the host: zeros stand for them."""

    def __init__(self, tensors: Any) -> None:
        for tensor in tensors:
            assert tensor.device == META
        self._zeros = tuple(
            np.zeros(one.shape, dtype=str(one.dtype).removeprefix("torch.")) for one in tensors
        )

    def arrays(self) -> tuple[np.ndarray, ...]:
        return self._zeros


@pytest.fixture
def watch(device_watch: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The watch, with results that leave for the host and are never there."""
    monkeypatch.setattr(embedder, "HostCopy", Gone)
    return device_watch


def build(directory: Path, dtype: torch.dtype, query: bool = False) -> Elmo:
    """A model as `load` makes it for a GPU, without capture."""
    config, weights, speller, _ = read_official_model(ModelFiles.find(str(directory)))
    placement = Placement(device=META, dtype=dtype)
    stacks = [GraphedStacks(config, weights.lstm, placement, lambda: lambda work: work)]
    bilm = BiLm(config, weights, speller, placement, stacks)
    pooling = Pooling(query=np.ones(config.dim, np.float32)) if query else Pooling()
    start = after_marks(bilm, start_state(bilm, describe_start(config, "warm")))
    return Elmo(name="m", fingerprint="f", bilm=bilm, start=start, pooling=pooling)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_layers_ask_a_device_for_nothing_it_waits_for(
    tiny_elmo_dir: Path, watch: Any, dtype: torch.dtype
) -> None:
    elmo = build(tiny_elmo_dir, dtype)
    with watch:
        layers = elmo.layers(SENTENCES)

    assert watch.complaints == []
    assert watch.copied > 0
    assert [one.shape for one in layers] == [(3, len(each), 16) for each in SENTENCES]
    assert {one.dtype for one in layers} == {
        np.dtype(np.float64 if dtype == torch.float64 else np.float32)
    }


@pytest.mark.parametrize("query", [False, True], ids=["mean query", "learned query"])
@pytest.mark.parametrize(
    ("pooling", "focus"),
    [("attention", None), ("attention", [1, None, 0, 39, None]), ("mean", None), ("max", None)],
)
def test_pooling_asks_a_device_for_nothing_it_waits_for(
    tiny_elmo_dir: Path, watch: Any, pooling: str, focus: Any, query: bool
) -> None:
    elmo = build(tiny_elmo_dir, torch.bfloat16, query)
    with watch:
        # Twice: the second time all words are known.
        for _ in range(2):
            result = elmo.embed(SENTENCES, pooling=pooling, focus=focus)

    assert watch.complaints == []
    assert result.token_vectors.shape == (48, 16)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_products_hand_out_what_their_precision_needs(
    tiny_elmo_dir: Path, watch: Any, dtype: torch.dtype
) -> None:
    elmo = build(tiny_elmo_dir, dtype)
    with watch:
        elmo.embed(SENTENCES)

    # bfloat16 is too coarse for the LSTMs' sums, float16 is not. The encoder's sums are float32,
    # and its convolutions in float32 throughout.
    sums = torch.float32 if dtype == torch.bfloat16 else torch.float16
    expected = {(dtype, sums), (dtype, torch.float32), (torch.float32, torch.float32)}
    assert set(watch.low_products) == expected


def test_watch_sees_what_it_is_for(watch: Any) -> None:
    here, there = torch.ones(3), torch.ones(3, device=META)
    with watch:
        here.to(META)
        here.to(META, non_blocking=True)
        there.copy_(here)
        there[torch.zeros(2, dtype=torch.int64)]
        transfers.to_device(np.ones(3), META)
    assert len(watch.complaints) == 4
    with pytest.raises(RuntimeError, match="meta"), watch:
        there.sum().item()


def test_results_are_waited_for_while_the_next_batch_computes(
    tiny_elmo_dir: Path, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    class Timed(Gone):
        def __init__(self, tensors: Any) -> None:
            order.append("sent")
            super().__init__(tensors)

        def arrays(self) -> tuple[np.ndarray, ...]:
            order.append("taken")
            return super().arrays()

    monkeypatch.setattr(embedder, "HostCopy", Timed)
    elmo = build(tiny_elmo_dir, torch.float32)
    elmo.settings = embedder.RunSettings(max_tokens_per_batch=40)
    with watch:
        elmo.embed([["a"] * 40, ["b"] * 39, ["c"] * 38])
    assert order == ["sent", "sent", "taken", "sent", "taken", "taken"]


class FakeEvent:
    """An event that writes down where it is recorded."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def record(self, stream: Any) -> None:
        self.log.append(("event", stream))


class FakeStream:
    """A stream that writes down which other one it waits for."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def wait_stream(self, other: str) -> None:
        self.log.append(("waits for", other))


def test_results_are_copied_into_pinned_memory_beside_what_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[Any] = []
    copying, result = FakeStream(log), torch.ones(2, 3, device=META)
    plain_empty = torch.empty

    def empty(shape: Any, **options: Any) -> Tensor:
        log.append(("empty", options))
        return plain_empty(shape, dtype=options["dtype"], device=META)

    @contextmanager
    def on(stream: Any) -> Iterator[None]:
        log.append(("on", stream))
        yield
        log.append(("off", stream))

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(torch.cuda, "Event", lambda: FakeEvent(log))
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: copying)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(
        Tensor, "record_stream", lambda tensor, stream: log.append((tensor is result, stream))
    )
    transfers.copying_stream.cache_clear()

    transfers.HostCopy([result])
    transfers.copying_stream.cache_clear()

    assert log == [
        ("waits for", "stream of meta"),
        ("on", copying),
        ("empty", {"dtype": torch.float32, "pin_memory": True}),
        ("off", copying),
        (True, copying),  # the result's memory is not given to others before it is copied
        ("event", copying),
    ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("CUDA error: out of memory"), False),
    ],
)
def test_out_of_memory_is_known_by_its_words(error: Exception, expected: bool) -> None:
    assert transfers.is_out_of_memory(error) is expected
