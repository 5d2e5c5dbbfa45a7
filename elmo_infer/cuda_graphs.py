"""Both LSTM directions at the same time on a GPU, in CUDA graphs of a few time steps each.

A recurrent step is a dozen small kernels, and launching them costs more than running them. So the
work of up to MAX_STEPS steps is captured once per number of rows, over buffers of fixed place, and
replayed: a chunk of packed sentences is copied in, the graph runs, the outputs are copied out.
Nothing waits for the device within a batch.

Capturing is handed in. With one that captures nothing the same code runs on any device, which is
how its arithmetic is tested without a GPU.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elmo_infer.batching import Indices, Packing
from elmo_infer.config import BiLmConfig
from elmo_infer.model import DirectionRun, LstmState, double_candidates
from elmo_infer.placement import Placement
from elmo_infer.quantized_linear import wide_product
from elmo_infer.recurrent_steps import TorchSteps
from elmo_infer.transfers import is_out_of_memory, to_device
from elmo_infer.weights import ReadLstm

# Time steps of a graph, fewer where they would be more than MAX_SLOTS rows in all: many rows keep
# a device busy anyhow, and surplus steps of many rows cost time and memory.
MAX_STEPS = 16
MAX_SLOTS = 8192
# Graphs kept per layer; the one longest unused goes first.
MAX_GRAPHS = 32

Work = Callable[[], None]
Capture = Callable[[Work], Work]

# PyTorch: only one capture may be underway in a process.
_capturing = threading.Lock()


class CudaGraphs:
    """Captures work on one device; its graphs share the memory of what lives only inside them.

    They may, since no tensor made in one outlives it and they run one after the other.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None  # PyTorch keeps the type of its handles to itself
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, work: Work) -> Work:
        """Record what `work` launches, and return what launches all of it again.

        `work` must read and write tensors of fixed place only. It runs twice before the recording,
        on the stream that is recorded, for libraries to set themselves up there.

        Raises:
          torch.OutOfMemoryError: if the device has no room for it.
          RuntimeError: if the device cannot record it.
        """
        with _capturing, torch.cuda.device(self._device):
            try:
                return self._capture(work)
            except Exception as error:
                # The failed capture may have been the only user of its pool, which ends with it.
                self._pool = None
                if any(is_out_of_memory(one) for one in causes(error)):
                    raise torch.OutOfMemoryError(str(error)) from error
                raise RuntimeError(
                    f"the LSTM could not be captured as a CUDA graph on {self._device}: {error}. "
                    "Something else in this process may be using the device in a way that "
                    "capturing forbids; device='cpu' needs no capture"
                ) from error

    def _capture(self, work: Work) -> Work:
        if self._stream is None:
            self._stream = torch.cuda.Stream()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            work()
            work()
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            work()
        replay: Work = graph.replay
        return replay


def causes(error: BaseException) -> list[BaseException]:
    """Return an exception and what led to it, the last one first."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        following = following.__cause__ or following.__context__
    return chain


def graph_rows(count: int) -> int:
    """Return the number of rows of the graph that serves `count` sentences.

    Four sizes from one power of two to the next: few graphs serve all, a fifth of the rows at most
    is surplus.
    """
    if count <= 64:
        return max(8, 1 << (count - 1).bit_length())
    step = 1 << ((count - 1).bit_length() - 3)
    return -(-count // step) * step


def graph_steps(rows: int) -> int:
    """Return the number of time steps S of the graph with R rows."""
    return max(1, min(MAX_STEPS, MAX_SLOTS // rows))


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """A few time steps of packed sentences, and where their slots stand in a graph's buffers.

    Attributes:
      rows: rows R of the graph; sentence b is row b.
      sentences: how many of the rows are in use.
      first, last: the chunk's slots are first to last.
      sources: [S * R] int64, the slot that goes to each place, any where there is none.
      active: [S, R, 1] bool, whether a row still runs at a step.
      places: [last - first] int64, the place of each slot.
    """

    rows: int
    sentences: int
    first: int
    last: int
    sources: Tensor
    active: Tensor
    places: Tensor


def plan_chunks(packing: Packing, placement: Placement) -> list[Chunk]:
    """Cut packed sentences into chunks of a graph's time steps each; the last is filled up.

    All indices go to the device at once.
    """
    ranges: list[tuple[int, int, int]] = []
    sources, actives, places = [], [], []
    begin = 0
    while begin < len(packing.rows):
        rows = graph_rows(int(packing.rows[begin]))
        n_steps = graph_steps(rows)
        steps = packing.rows[begin : begin + n_steps]
        running = np.zeros((n_steps, 1), dtype=np.int64)  # [S, 1]
        running[: len(steps), 0] = steps
        starts = np.zeros((n_steps, 1), dtype=np.int64)
        starts[: len(steps), 0] = packing.starts[begin : begin + len(steps)]
        row = np.arange(rows)
        active = row < running  # [S, R]
        sources.append(np.where(active, starts + row, 0).ravel())
        actives.append(active.ravel())
        places.append(np.flatnonzero(active))
        ranges.append((rows, begin, begin + len(steps)))
        begin += len(steps)

    def upload(arrays: list[np.ndarray]) -> Sequence[Tensor]:
        whole = to_device(np.concatenate(arrays), placement.device)
        return whole.split([len(array) for array in arrays])

    return [
        Chunk(
            rows=rows,
            sentences=int(packing.rows[begin]),
            first=int(packing.starts[begin]),
            last=int(packing.starts[end]),
            sources=source,
            active=active.view(-1, rows, 1),
            places=place,
        )
        for (rows, begin, end), source, active, place in zip(
            ranges, upload(sources), upload(actives), upload(places), strict=True
        )
    ]


class _Memory:
    """Device memory that the buffers of all graphs are cut from: only one runs at a time.

    It grows by doubling. Buffers cut earlier stay where they are and keep their memory alive.
    """

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._block: Tensor | None = None

    def cut(self, *shapes: tuple[int, ...]) -> list[Tensor]:
        """Return tensors of the shapes given, side by side; they hold anything."""
        sizes = [math.prod(shape) for shape in shapes]
        total = sum(sizes)
        if self._block is None or len(self._block) < total:
            size = total if self._block is None else max(total, 2 * len(self._block))
            placement = self._placement
            self._block = torch.zeros(size, dtype=placement.state_dtype, device=placement.device)
        pieces = self._block[:total].split(sizes)
        return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]


class _Buffers:
    """What a graph reads and writes: [2, ...] for both directions.

    Attributes:
      inputs: [2, S, R, P].
      active: [S, R, 1] bool.
      h, c: [2, R, H] and [2, R, cell_dim], state before and after; cells doubled.
      outputs: [2, S, R, H].
    """

    def __init__(self, rows: int, config: BiLmConfig, memory: _Memory) -> None:
        steps, width = graph_steps(rows), config.projection_dim
        self.inputs, self.h, self.c, self.outputs = memory.cut(
            (2, steps, rows, width),
            (2, rows, width),
            (2, rows, config.cell_dim),
            (2, steps, rows, width),
        )
        # Not cut: the others are numbers, and it is small.
        self.active = torch.zeros(steps, rows, 1, dtype=torch.bool, device=self.h.device)


def fused_steps(device: torch.device) -> TorchSteps:
    """Return steps that are fused, where the device is one that Triton compiles for."""
    if device.type == "cuda" and find_spec("triton") is not None:
        from elmo_infer.fused_steps import TritonSteps

        return TritonSteps()
    return TorchSteps()


def product(rows: Tensor, weight: Tensor) -> Tensor:
    """Return [2, n, in] @ [2, in, out], both of one dtype.

    In float16 the sums are rounded to float16, whose 11 bits cost a vector less than the products'
    own inputs do; bfloat16's 8 bits would, so that its sums stay float32.
    """
    if rows.dtype == torch.bfloat16:
        return wide_product(rows, weight)
    return torch.bmm(rows, weight)


class GraphedLayer:
    """One layer of both directions; the arithmetic is that of elmo_infer.model.ProjectedLstm.

    Attributes:
      graphs: by their number of rows; the one used last is the last.
    """

    def __init__(
        self, config: BiLmConfig, readers: Sequence[ReadLstm], placement: Placement
    ) -> None:
        self.steps = fused_steps(placement.device)

        def stack(arrays: list[np.ndarray]) -> Tensor:
            return torch.tensor(np.stack(arrays), dtype=placement.dtype, device=placement.device)

        directions = [read() for read in readers]
        doubled = double_candidates(config)
        self.config = config
        self.input = stack([each.input * doubled for each in directions])  # [2, P, 4 cell]
        self.recurrent = stack([each.recurrent * doubled for each in directions])
        self.bias = placement.tensor(np.stack([each.bias * doubled for each in directions]))
        projections = [each.projection for each in directions if each.projection is not None]
        self.projection = stack([2.0 * each for each in projections]) if projections else None
        self.graphs: dict[int, tuple[_Buffers, Work]] = {}

    def run(
        self,
        inputs: Tensor,
        chunks: Sequence[Chunk],
        h: Tensor,
        c: Tensor,
        memory: _Memory,
        capture: Capture,
    ) -> Tensor:
        """Read packed sentences.

        Args:
          inputs: [2, slots, P], each direction in its own slots.
          chunks: the plan of these sentences.
          h, c: [2, B, H] and [2, B, cell_dim], overwritten with the state after the last token.
          memory: where the buffers of new graphs lie.
          capture: makes a new graph.

        Returns:
          [2, slots, H]: h after each step, before any residual.
        """
        outputs = torch.empty_like(inputs)
        for chunk in chunks:
            buffers, replay = self._graph(chunk.rows, memory, capture)
            used = chunk.sentences
            buffers.inputs.view(2, -1, inputs.shape[2]).copy_(inputs.index_select(1, chunk.sources))
            buffers.active.copy_(chunk.active)
            buffers.h[:, :used].copy_(h[:, :used])
            torch.mul(c[:, :used], 2.0, out=buffers.c[:, :used])
            replay()
            h[:, :used].copy_(buffers.h[:, :used])
            torch.mul(buffers.c[:, :used], 0.5, out=c[:, :used])
            computed = buffers.outputs.view(2, -1, outputs.shape[2])
            outputs[:, chunk.first : chunk.last] = computed.index_select(1, chunk.places)
        return outputs

    def forget_graphs(self) -> None:
        """Free the graphs and their buffers."""
        self.graphs.clear()

    def _graph(self, rows: int, memory: _Memory, capture: Capture) -> tuple[_Buffers, Work]:
        found = self.graphs.pop(rows, None)
        if found is None:
            if len(self.graphs) == MAX_GRAPHS:
                del self.graphs[next(iter(self.graphs))]
            buffers = _Buffers(rows, self.config, memory)
            found = buffers, capture(lambda: self._steps(buffers))
        self.graphs[rows] = found  # the last one is the one used last
        return found

    def _steps(self, buffers: _Buffers) -> None:
        """Advance by a graph's steps; rows that are not active keep their state."""
        _, steps, rows, width = buffers.inputs.shape
        cell_clip = math.inf if self.config.cell_clip is None else self.config.cell_clip
        clip = self.config.projection_clip
        output_clip = math.inf if clip is None or self.projection is None else clip
        read = buffers.inputs.view(2, steps * rows, width).to(self.input.dtype)
        from_inputs = product(read, self.input).view(2, steps, rows, -1)
        low = buffers.h.to(self.recurrent.dtype)
        exposed = low.new_empty(buffers.c.shape)
        for step in range(steps):
            gates = product(low, self.recurrent)
            self.steps.advance(
                gates, from_inputs, self.bias, buffers.active, buffers.c, exposed, step, cell_clip
            )
            projected = exposed if self.projection is None else product(exposed, self.projection)
            scale = 2.0 if self.projection is None else 1.0
            self.steps.emit(
                projected,
                buffers.active,
                buffers.h,
                low,
                buffers.outputs,
                step,
                scale,
                output_clip,
            )


class GraphedStacks:
    """The layers of both directions; takes the place of two elmo_infer.model.Stack.

    Args:
      new_capture: makes what captures graphs; called anew when all graphs have been given up. By
        default CudaGraphs on the placement's device.
    """

    def __init__(
        self,
        config: BiLmConfig,
        weights: tuple[Sequence[ReadLstm], Sequence[ReadLstm]],
        placement: Placement,
        new_capture: Callable[[], Capture] | None = None,
    ) -> None:
        self.config = config
        self.placement = placement
        self.layers = [
            GraphedLayer(config, readers, placement) for readers in zip(*weights, strict=True)
        ]
        self.new_capture = new_capture or (lambda: CudaGraphs(placement.device))
        self._capture = self.new_capture()
        self._memory = _Memory(placement)

    def forget_graphs(self) -> None:
        """Free all graphs and their memory."""
        for layer in self.layers:
            layer.forget_graphs()
        self._capture = self.new_capture()
        self._memory = _Memory(self.placement)

    def run(
        self,
        type_vectors: Tensor,
        type_ids: Indices,
        packing: Packing,
        state: LstmState,
        n_layers: int,
    ) -> list[DirectionRun]:
        """Read packed sentences; arguments as those of BiLm.forward. Returns both runs.

        Out of memory, it gives up its graphs, so that a smaller batch finds room.
        """
        try:
            return self._read(type_vectors, type_ids, packing, state, n_layers)
        except Exception as error:
            if is_out_of_memory(error):
                self.forget_graphs()
            raise

    def _read(
        self,
        type_vectors: Tensor,
        type_ids: Indices,
        packing: Packing,
        state: LstmState,
        n_layers: int,
    ) -> list[DirectionRun]:
        orders = np.stack([type_ids[packing.forward], type_ids[packing.backward]])
        inputs = type_vectors[self.placement.indices(orders)]  # [2, slots, P]
        chunks = plan_chunks(packing, self.placement)
        h, c = state.h.clone(), state.c.clone()
        outputs = [inputs]
        for layer, lstm in enumerate(self.layers[: n_layers - 1]):
            hidden = lstm.run(inputs, chunks, h[layer], c[layer], self._memory, self._capture)
            if layer > 0 and self.config.use_skip_connections:
                hidden.add_(inputs)
            inputs = hidden
            outputs.append(hidden)
        return [
            DirectionRun([each[direction] for each in outputs], h[:, direction], c[:, direction])
            for direction in range(2)
        ]
