"""The state of a pretraining run, its options, and its checkpoints."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from elmo_infer.config import BiLmConfig
from elmo_infer.cuda_graphs import CudaGraphs
from elmo_infer.loading import choose_device
from elmo_infer.training.export import write_official_layout
from elmo_infer.training.lstm import Workspace
from elmo_infer.training.network import Network
from elmo_infer.training.optimizer import Moments
from elmo_infer.training.parameters import initial_parameters
from elmo_infer.training.saved_softmax import take_over, write_softmax
from elmo_infer.training.spelled_batch import N_SPECIAL, Spellings
from elmo_infer.training.token_store import TokenStore

_LOG = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """How to train.

    Exactly one of minutes, epochs and steps says how long; the learning rate rises over the
    first warmup steps and falls along a cosine over just that time.

    Attributes:
      minutes: of training, checkpoints and validation included, over all resumed parts.
      epochs: passes over the training text.
      steps: batches.
      tokens_per_batch: bound of sentences x length in a batch.
      learning_rate: at its peak.
      warmup_steps: batches until the peak.
      vocabulary: most frequent types that the softmax tells apart.
      draws: softmax samples a batch.
      max_gradient_norm: gradients are scaled down to it.
      auxiliary_weight: of the auxiliary loss, where there is one.
      checkpoint_minutes: time between checkpoints.
      seed: of the parameters, the batches and the samples.
      precision: of the matrix products, "float32" or "bfloat16".
      device: where to train, "cpu", "cuda" or "cuda:N". A checkpoint can be resumed on another.
      weights_dtype: of the matrices in weights.hdf5, "float32" or "float16".
      freeze_token_layer: train the LSTMs and the softmax alone.
      lowercase_share: of documents, other ones in each pass.
      processes: that prepare batches; with 0 a thread does.
    """

    minutes: float | None = None
    epochs: float | None = None
    steps: int | None = None
    tokens_per_batch: int = 4096
    learning_rate: float = 2e-3
    warmup_steps: int = 300
    vocabulary: int = 60_000
    draws: int = 4096
    max_gradient_norm: float = 1.0
    auxiliary_weight: float = 1.0
    checkpoint_minutes: float = 5.0
    seed: int = 1
    precision: str = "float32"
    device: str = "cpu"
    weights_dtype: str = "float32"
    freeze_token_layer: bool = False
    lowercase_share: float = 0.0
    processes: int = 0

    def __post_init__(self) -> None:
        given = [name for name in ("minutes", "epochs", "steps") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "give exactly one of minutes, epochs and steps, to say how long to train; found"
                f" {' and '.join(given) or 'none'}"
            )
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"unknown precision {self.precision!r}; expected float32 or bfloat16")
        if self.weights_dtype not in ("float32", "float16"):
            raise ValueError(
                f"unknown weights_dtype {self.weights_dtype!r}; expected float32 or float16"
            )
        for name in (*given, "tokens_per_batch", "vocabulary", "draws", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0")
        if self.processes < 0:
            raise ValueError(f"processes is {self.processes}; expected 0 or more")
        if not 0 <= self.lowercase_share <= 1:
            raise ValueError(f"lowercase_share is {self.lowercase_share}; expected from 0 to 1")


@dataclass(kw_only=True)
class TrainingState:
    """Everything a checkpoint holds beside the options.

    Attributes:
      network: parameters and softmax.
      moments: Adam's, per parameter, those of the auxiliary loss as "auxiliary/NAME".
      table_moments: Adam's, of the softmax rows.
      auxiliary: what the auxiliary loss has learned.
      auxiliary_buffers: what else it remembers.
      review_buffers: what the review of single words remembers.
      step: batches done.
      tokens: tokens seen, repeats included.
      seconds: trained so far.
      perplexity: (forward, backward) on the validation text when last measured, or None.
      held_out: the teacher's losses there by name, when last measured.
    """

    network: Network
    moments: dict[str, Moments]
    table_moments: Moments
    auxiliary: dict[str, Tensor] = field(default_factory=dict)
    auxiliary_buffers: dict[str, Tensor] = field(default_factory=dict)
    review_buffers: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    perplexity: tuple[float, float] | None = None
    held_out: dict[str, float] = field(default_factory=dict)


def new_state(
    store: TokenStore,
    config: BiLmConfig,
    options: PretrainOptions,
    parameters: dict[str, Tensor] | None = None,
    softmax: tuple[Tensor, list[str]] | None = None,
) -> TrainingState:
    """Start a run: from fresh parameters, or from given ones to fine-tune them.

    Args:
      store: training text.
      config: shape of the model.
      options: how to train.
      parameters: to fine-tune, or None.
      softmax: to go on with, what `read_softmax` found, or None.

    Raises:
      ValueError: if the device is not there.
    """
    device = choose_device(options.device)
    # Drawn on the CPU: the same on every device.
    parameters = parameters or initial_parameters(config, options.seed)
    parameters = {name: value.to(device) for name, value in parameters.items()}
    rows = min(options.vocabulary, len(store.types)) + N_SPECIAL
    generator = torch.Generator().manual_seed(options.seed + 1)
    table = torch.randn(rows, config.projection_dim + 1, generator=generator) * 0.05
    table[:, -1] = torch.from_numpy(_log_shares(store, rows))
    if softmax is not None:
        known = take_over(table, store.types, softmax)
        _LOG.info("the softmax of %d words goes on from the saved one", known)
    table = table.to(device)
    network = Network(
        config=config,
        parameters=parameters,
        table=table,
        spellings=Spellings.of(store.types, config.max_characters),
        dtype=getattr(torch, options.precision),
        draws=options.draws,
        freeze_token_layer=options.freeze_token_layer,
        new_workspace=_workspaces_on(device) if device.type == "cuda" else None,
    )
    return TrainingState(
        network=network,
        moments={name: Moments.for_array(value) for name, value in parameters.items()},
        table_moments=Moments.for_array(table, by_row=True),
    )


def _workspaces_on(device: torch.device) -> Callable[[], Workspace]:
    """Return what makes the workspaces of a GPU: fused steps, captured as graphs.

    Raises:
      ImportError: if Triton is not installed.
    """
    try:
        from elmo_infer.training.lstm_kernels import TritonSteps
    except ImportError as error:
        raise ImportError(
            f"training on {device} needs Triton, which comes with PyTorch for CUDA on Linux;"
            f" found: {error}. Install triton in the version that your torch asks for, or train "
            "with --device cpu"
        ) from error
    capture, steps = CudaGraphs(device), TritonSteps()
    return lambda: Workspace(capture, steps)


def _log_shares(store: TokenStore, rows: int) -> np.ndarray:
    """Return [rows] float32: the log share of each softmax word, where the bias starts."""
    known = store.counts[: rows - N_SPECIAL]
    beyond = int(store.counts[rows - N_SPECIAL :].sum())
    ends = len(store) / 2  # each direction predicts one of the two marks
    counts = np.concatenate([[ends, ends, max(beyond, 1)], known]).astype(np.float64)
    return np.log(counts / counts.sum()).astype(np.float32)


def write_checkpoint(
    state: TrainingState, store: TokenStore, options: PretrainOptions, out: Path
) -> None:
    """Write the checkpoint beside its name and rename it, then export the model as it stands."""
    part = out / f"{CHECKPOINT}.tmp"
    torch.save(
        {
            "parameters": state.network.parameters,
            "table": state.network.table,
            "moments": {name: vars(value) for name, value in state.moments.items()},
            "table_moments": vars(state.table_moments),
            "auxiliary": {name: value.detach() for name, value in state.auxiliary.items()},
            "auxiliary_buffers": state.auxiliary_buffers,
            "review_buffers": state.review_buffers,
            "step": state.step,
            "tokens": state.tokens,
            "seconds": state.seconds,
            "config": json.dumps(asdict(state.network.config)),
            "options": json.dumps(asdict(options)),
            "store": store.digest,
        },
        part,
    )
    os.replace(part, out / CHECKPOINT)
    network = state.network
    write_official_layout(out, network.config, network.parameters, options.weights_dtype)
    write_softmax(out, network.table, store.types)


def read_checkpoint(
    out: Path, store: TokenStore, config: BiLmConfig, options: PretrainOptions
) -> TrainingState:
    """Go on from a checkpoint.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it is of another text, another shape or another seed.
    """
    path = out / CHECKPOINT
    if not path.is_file():
        raise FileNotFoundError(
            f"no checkpoint to resume in {out}: {CHECKPOINT} is missing; train without --resume"
        )
    saved = torch.load(path, map_location="cpu", weights_only=True)
    theirs = json.loads(saved["config"])
    ours = json.loads(json.dumps(asdict(config)))
    for name in ours:
        if theirs.get(name) != ours[name]:
            raise ValueError(
                f"{path} has another configuration: its {name} is {theirs.get(name)}, but"
                f" {ours[name]} was asked for; use the same options or another directory"
            )
    if saved["store"] != store.digest:
        raise ValueError(
            f"{path} was trained on another text: its digest is {saved['store'][:12]}, but the"
            f" digest of this text is {store.digest[:12]}; give the same input, or start again"
            " with --from"
        )
    fixed = ("seed", "tokens_per_batch", "vocabulary", "draws", "lowercase_share")
    before = {"lowercase_share": 0.0} | json.loads(saved["options"])
    for name in fixed:
        if before[name] != getattr(options, name):
            raise ValueError(
                f"{path} was trained with {name}={before[name]}, not {getattr(options, name)}; "
                "resuming needs the same"
            )
    state = new_state(store, config, options, saved["parameters"])
    device = state.network.device
    state.network.table = saved["table"].to(device)
    state.moments = {name: _dense(value).to(device) for name, value in saved["moments"].items()}
    state.table_moments = Moments(**saved["table_moments"]).to(device)
    state.auxiliary = saved["auxiliary"]
    state.auxiliary_buffers = saved.get("auxiliary_buffers", {})
    state.review_buffers = saved.get("review_buffers", {})
    state.step, state.tokens, state.seconds = saved["step"], saved["tokens"], saved["seconds"]
    return state


def _dense(saved: dict[str, Tensor]) -> Moments:
    """Read the moments of one array; before version 0.2 its updates were a table of one number."""
    return Moments(**saved | {"updates": saved["updates"].float().reshape(())})
