"""Both directions side by side on a device, in CUDA graphs of a few time steps each.

A recurrent step is a dozen small kernels, and launching them costs more than running them. So the
work of STEPS_PER_CHUNK steps is captured once per number of rows, over buffers of fixed place, and
replayed: a chunk of packed sentences is copied in, the graph runs, the outputs are copied out.
Nothing waits for the device within a batch.

Capturing is a function that is handed in. With one that captures nothing the same code runs on any
device, which is how its arithmetic is tested without a GPU.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from elmo_infer.batching import Indices, Packing
from elmo_infer.config import BiLmConfig
from elmo_infer.model import DirectionRun, LstmState, Placement, advance_cells, double_candidates
from elmo_infer.weights import LstmWeights

STEPS_PER_CHUNK = 16
# Graphs kept per layer, each with buffers of its own; the one captured first goes first.
MAX_GRAPHS = 24

Work = Callable[[], None]
Capture = Callable[[Work], Work]


def capture_cuda_graph(work: Work) -> Work:
    """Record what `work` launches, and return what launches all of it again.

    `work` must read and write tensors of fixed place only. It runs twice before the recording, for
    libraries to set themselves up, as PyTorch's notes on CUDA graphs ask for.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
        work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    replay: Work = graph.replay
    return replay


def graph_rows(count: int) -> int:
    """Return the number of rows of the graph that serves `count` sentences."""
    if count <= 64:
        return max(8, 1 << (count - 1).bit_length())
    return -(-count // 64) * 64


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
    """Cut packed sentences into chunks of STEPS_PER_CHUNK time steps; the last is filled up."""
    chunks = []
    for begin in range(0, len(packing.rows), STEPS_PER_CHUNK):
        running = np.zeros(STEPS_PER_CHUNK, dtype=np.int64)  # [S]
        steps = packing.rows[begin : begin + STEPS_PER_CHUNK]
        running[: len(steps)] = steps
        starts = np.zeros(STEPS_PER_CHUNK, dtype=np.int64)
        starts[: len(steps)] = packing.starts[begin : begin + len(steps)]
        rows = graph_rows(int(steps[0]))
        row = np.arange(rows)
        active = row < running[:, None]  # [S, R]
        chunks.append(
            Chunk(
                rows=rows,
                sentences=int(steps[0]),
                first=int(packing.starts[begin]),
                last=int(packing.starts[begin + len(steps)]),
                sources=placement.indices(np.where(active, starts[:, None] + row, 0).ravel()),
                active=torch.from_numpy(active[:, :, None]).to(placement.device),
                places=placement.indices(np.flatnonzero(active)),
            )
        )
    return chunks


class _Buffers:
    """What a graph reads and writes: [2, ...] for both directions.

    Attributes:
      inputs: [2, S, R, P].
      active: [S, R, 1] bool.
      h, c: [2, R, H] and [2, R, cell_dim], state before and after; cells doubled.
      outputs: [2, S, R, H].
    """

    def __init__(self, rows: int, config: BiLmConfig, placement: Placement) -> None:
        def make(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=placement.state_dtype, device=placement.device)

        steps, width = STEPS_PER_CHUNK, config.projection_dim
        self.inputs = make(2, steps, rows, width)
        self.active = make(steps, rows, 1).bool()
        self.h, self.c = make(2, rows, width), make(2, rows, config.cell_dim)
        self.outputs = make(2, steps, rows, width)


class GraphedLayer:
    """One layer of both directions; the arithmetic is that of elmo_infer.model.ProjectedLstm."""

    def __init__(
        self,
        config: BiLmConfig,
        directions: Sequence[LstmWeights],
        placement: Placement,
        capture: Capture,
    ) -> None:
        def stack(arrays: list[np.ndarray]) -> Tensor:
            return torch.tensor(np.stack(arrays), dtype=placement.dtype, device=placement.device)

        doubled = double_candidates(config)
        self.config = config
        self.placement = placement
        self.input = stack([each.input * doubled for each in directions])  # [2, P, 4 cell]
        self.recurrent = stack([each.recurrent * doubled for each in directions])
        self.bias = placement.tensor(np.stack([each.bias * doubled for each in directions]))
        projections = [each.projection for each in directions if each.projection is not None]
        self.projection = stack([2.0 * each for each in projections]) if projections else None
        self._capture = capture
        self._graphs: dict[int, tuple[_Buffers, Work]] = {}

    def run(self, inputs: Tensor, chunks: Sequence[Chunk], h: Tensor, c: Tensor) -> Tensor:
        """Read packed sentences.

        Args:
          inputs: [2, slots, P], each direction in its own slots.
          chunks: the plan of these sentences.
          h, c: [2, B, H] and [2, B, cell_dim], overwritten with the state after the last token.

        Returns:
          [2, slots, H]: h after each step, before any residual.
        """
        outputs = torch.empty_like(inputs)
        for chunk in chunks:
            buffers, replay = self._graph(chunk.rows)
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
        self._graphs.clear()

    def _graph(self, rows: int) -> tuple[_Buffers, Work]:
        if rows not in self._graphs:
            if len(self._graphs) == MAX_GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            buffers = _Buffers(rows, self.config, self.placement)
            self._graphs[rows] = buffers, self._capture(lambda: self._steps(buffers))
        return self._graphs[rows]

    def _steps(self, buffers: _Buffers) -> None:
        """Advance by STEPS_PER_CHUNK steps; rows that are not active keep their state."""
        dtype, wide = self.placement.dtype, self.placement.state_dtype
        _, steps, rows, width = buffers.inputs.shape
        from_inputs = buffers.inputs.view(2, steps * rows, width).to(dtype) @ self.input
        from_inputs = from_inputs.view(2, steps, rows, -1)
        for step in range(steps):
            gates = (buffers.h.to(dtype) @ self.recurrent).to(wide)
            gates += from_inputs[:, step]
            gates += self.bias[:, None]
            c = buffers.c.clone()
            exposed = torch.empty_like(c)
            advance_cells(gates, c, exposed, self.config.cell_clip)
            if self.projection is None:
                h = exposed.mul_(2.0)
            else:
                h = (exposed.to(dtype) @ self.projection).to(wide)
                clip = self.config.projection_clip
                h = h if clip is None else h.clamp_(-clip, clip)
            active = buffers.active[step]
            torch.where(active, c, buffers.c, out=buffers.c)
            torch.where(active, h, buffers.h, out=buffers.h)
            buffers.outputs[:, step] = h


class GraphedStacks:
    """The layers of both directions; takes the place of two elmo_infer.model.Stack."""

    def __init__(
        self,
        config: BiLmConfig,
        weights: tuple[Sequence[LstmWeights], Sequence[LstmWeights]],
        placement: Placement,
        capture: Capture = capture_cuda_graph,
    ) -> None:
        self.config = config
        self.placement = placement
        self.layers = [
            GraphedLayer(config, directions, placement, capture)
            for directions in zip(*weights, strict=True)
        ]

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
        except torch.OutOfMemoryError:
            for layer in self.layers:
                layer.forget_graphs()
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
            hidden = lstm.run(inputs, chunks, h[layer], c[layer])
            if layer > 0 and self.config.use_skip_connections:
                hidden.add_(inputs)
            inputs = hidden
            outputs.append(hidden)
        return [
            DirectionRun([each[direction] for each in outputs], h[:, direction], c[:, direction])
            for direction in range(2)
        ]
