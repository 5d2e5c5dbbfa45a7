"""Pretraining of a biLM: the loop, its checkpoints, its curve."""

import csv
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from elmo_infer.config import BiLmConfig
from elmo_infer.loading import choose_device
from elmo_infer.training.batches import epochs_of_batches, plan_equal_length_batches
from elmo_infer.training.export import write_official_layout
from elmo_infer.training.network import (
    N_SPECIAL,
    Batch,
    Network,
    Spellings,
    StepResult,
    initial_parameters,
)
from elmo_infer.training.optimizer import (
    Moments,
    adam_update,
    adam_update_rows,
    clip_gradients,
)
from elmo_infer.training.token_store import TokenStore
from elmo_infer.training.validation import validation_perplexity

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.csv"
CURVE_FIELDS = (
    "step", "tokens", "seconds", "learning_rate", "loss_forward", "loss_backward",
    "auxiliary", "valid_perplexity_forward", "valid_perplexity_backward",
)  # fmt: skip

_REPORT_SECONDS = 10.0

NumberedBatch = tuple[int, np.ndarray, np.ndarray]  # epoch, sentence indices [B], type ids [B, T]


class Auxiliary(Protocol):
    """A further loss on all layers.

    Attributes:
      parameters: what it learns itself; leaves whose .grad the backward pass fills.
      buffers: what else it has to remember to go on after a checkpoint; changed in place.
    """

    @property
    def parameters(self) -> dict[str, Tensor]: ...

    @property
    def buffers(self) -> dict[str, Tensor]: ...

    def start(self, sentences: np.ndarray) -> None:
        """Begin work on a batch ahead of its turn."""

    def __call__(self, batch: Batch, layers: list[Tensor]) -> Tensor:
        """Return the scalar loss of a batch; see network.Auxiliary."""


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

    def __post_init__(self) -> None:
        given = [name for name in ("minutes", "epochs", "steps") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                "exactly one of minutes, epochs and steps must say how long to train; "
                f"found {' and '.join(given) or 'none'}"
            )
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"unknown precision {self.precision!r}; expected float32 or bfloat16")
        for name in ("tokens_per_batch", "vocabulary", "draws", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands; handed to the caller now and then.

    Attributes:
      step: batches done.
      tokens: tokens seen, repeats included.
      fraction: share of the run that is done.
      seconds: of training so far, earlier parts included.
      tokens_per_second: since the last report.
      loss: mean of both directions since the last report, in nats under the sample.
      auxiliary: mean auxiliary loss since then, or None.
      valid_perplexity: (forward, backward) where it was just measured, or None.
    """

    step: int
    tokens: int
    fraction: float
    seconds: float
    tokens_per_second: float
    loss: float
    auxiliary: float | None = None
    valid_perplexity: tuple[float, float] | None = None

    @property
    def seconds_left(self) -> float:
        """Return the expected rest, in seconds."""
        return self.seconds * (1 - self.fraction) / max(self.fraction, 1e-9)


@dataclass(kw_only=True)
class TrainingState:
    """Everything a checkpoint holds beside the options.

    Attributes:
      network: parameters and softmax.
      moments: Adam's, per parameter, those of the auxiliary loss as "auxiliary/NAME".
      table_moments: Adam's, of the softmax rows.
      auxiliary: what the auxiliary loss has learned.
      auxiliary_buffers: what else it remembers.
      step: batches done.
      tokens: tokens seen, repeats included.
      seconds: trained so far.
      perplexity: (forward, backward) on the validation text when last measured, or None.
    """

    network: Network
    moments: dict[str, Moments]
    table_moments: Moments
    auxiliary: dict[str, Tensor] = field(default_factory=dict)
    auxiliary_buffers: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    perplexity: tuple[float, float] | None = None


def new_state(
    store: TokenStore,
    config: BiLmConfig,
    options: PretrainOptions,
    parameters: dict[str, Tensor] | None = None,
) -> TrainingState:
    """Start a run: from fresh parameters, or from given ones to fine-tune them.

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
    table = table.to(device)
    network = Network(
        config=config,
        parameters=parameters,
        table=table,
        spellings=Spellings.of(store.types, config.max_characters),
        dtype=getattr(torch, options.precision),
        draws=options.draws,
    )
    return TrainingState(
        network=network,
        moments={name: Moments.for_array(value) for name, value in parameters.items()},
        table_moments=Moments.for_array(table, by_row=True),
    )


def _log_shares(store: TokenStore, rows: int) -> np.ndarray:
    """Return [rows] float32: the log share of each softmax word, where the bias starts."""
    known = store.counts[: rows - N_SPECIAL]
    beyond = int(store.counts[rows - N_SPECIAL :].sum())
    ends = len(store) / 2  # each direction predicts one of the two marks
    counts = np.concatenate([[ends, ends, max(beyond, 1)], known]).astype(np.float64)
    return np.log(counts / counts.sum()).astype(np.float32)


def pretrain(
    store: TokenStore,
    state: TrainingState,
    options: PretrainOptions,
    out: Path,
    *,
    valid: TokenStore | None = None,
    auxiliary: Auxiliary | None = None,
    report: Callable[[Progress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> TrainingState:
    """Train until the time given is over; checkpoint, validate and export on the way.

    Args:
      store: training text.
      state: a new one, or one read from a checkpoint, which goes on where it stopped.
      options: how to train.
      out: directory of checkpoint, curve and exported model.
      valid: text for validation perplexity, encoded with its own types.
      auxiliary: a further loss on all layers, or None; what it learns and remembers takes up the
        values of a checkpoint.
      report: told of progress every few seconds and at each checkpoint.
      clock: of seconds.

    Returns:
      The state at the end.
    """
    total_steps = _total_steps(store, options)
    if auxiliary is not None:
        _adopt_auxiliary(state, auxiliary)
    started = clock() - state.seconds
    window = _Window(began=clock(), tokens_before=state.tokens)
    last_checkpoint = clock()
    rate = 0.0

    def account(checkpoint: bool) -> None:
        """Write down what happened since the last account, and tell the caller."""
        now = clock()
        state.seconds = now - started
        if checkpoint:
            write_checkpoint(state, store, options, out)
            if valid is not None:
                state.perplexity = validation_perplexity(state.network, store.types, valid)
        progress = Progress(
            step=state.step,
            tokens=state.tokens,
            fraction=_fraction(state, options, total_steps),
            seconds=state.seconds,
            tokens_per_second=(state.tokens - window.tokens_before) / max(now - window.began, 1e-9),
            loss=float(np.mean(window.losses)),
            auxiliary=float(np.mean(window.auxiliary)) if window.auxiliary else None,
            valid_perplexity=state.perplexity if checkpoint else None,
        )
        _append_curve(out, progress, rate, np.mean(window.losses, axis=0))
        if report is not None:
            report(progress)

    batches = epochs_of_batches(store, options.tokens_per_batch, options.seed, skip=state.step)
    for _, sentences, types in batches if auxiliary is None else _one_ahead(batches, auxiliary):
        state.seconds = clock() - started
        fraction = _fraction(state, options, total_steps)
        if fraction >= 1.0:
            break
        rate = learning_rate(state.step, fraction, options)
        rng = np.random.default_rng((options.seed, 7, state.step))
        batch = state.network.prepare(types, sentences, rng)
        result = state.network.step(batch, auxiliary, options.auxiliary_weight)
        _update(state, batch, result, rate, options.max_gradient_norm)
        state.step += 1
        state.tokens += types.size
        window.losses.append(result.loss)
        if result.auxiliary is not None:
            window.auxiliary.append(result.auxiliary)
        checkpoint_due = clock() - last_checkpoint >= options.checkpoint_minutes * 60
        if checkpoint_due or clock() - window.began >= _REPORT_SECONDS:
            account(checkpoint_due)
            last_checkpoint = clock() if checkpoint_due else last_checkpoint
            window = _Window(began=clock(), tokens_before=state.tokens)
    if window.losses:
        account(checkpoint=True)
    return state


def _update(
    state: TrainingState,
    batch: Batch,
    result: StepResult,
    rate: float,
    max_gradient_norm: float,
) -> None:
    """Apply one step's gradients."""
    clip_gradients([*result.gradients.values(), result.table_gradient], max_gradient_norm)
    for name, gradient in result.gradients.items():
        adam_update(state.network.parameters[name], gradient, state.moments[name], rate)
    rows, table = batch.candidates.rows, state.network.table
    adam_update_rows(table, rows, result.table_gradient, state.table_moments, rate)
    for name, value in state.auxiliary.items():
        if value.grad is not None:
            with torch.no_grad():
                adam_update(value, value.grad, state.moments[f"auxiliary/{name}"], rate)
            value.grad = None


@dataclass(kw_only=True)
class _Window:
    """What happened since the last report."""

    began: float
    tokens_before: int
    losses: list[tuple[float, float]] = field(default_factory=list)
    auxiliary: list[float] = field(default_factory=list)


def _one_ahead(batches: Iterator[NumberedBatch], auxiliary: Auxiliary) -> Iterator[NumberedBatch]:
    """Yield batches without end, the next of which the auxiliary loss has already started on."""
    current = next(batches)
    auxiliary.start(current[1])
    for following in batches:
        auxiliary.start(following[1])
        yield current
        current = following


def _adopt_auxiliary(state: TrainingState, auxiliary: Auxiliary) -> None:
    """Give the auxiliary loss the values of a checkpoint, and make its arrays the state's."""
    with torch.no_grad():
        for name, value in auxiliary.parameters.items():
            if name in state.auxiliary:
                value.copy_(state.auxiliary[name])
            state.moments.setdefault(f"auxiliary/{name}", Moments.for_array(value.detach()))
    for name, value in state.auxiliary_buffers.items():
        auxiliary.buffers[name].copy_(value)
    state.auxiliary, state.auxiliary_buffers = auxiliary.parameters, auxiliary.buffers


def learning_rate(step: int, fraction: float, options: PretrainOptions) -> float:
    """Return the rate: a linear rise, then half a cosine down to a fiftieth of the peak."""
    rise = min(1.0, (step + 1) / options.warmup_steps)
    fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))
    return options.learning_rate * rise * fall


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
    write_official_layout(out, state.network.config, state.network.parameters)


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
                f"{path} is of another configuration: its {name} is {theirs.get(name)}, "
                f"the one asked for is {ours[name]}; use the same options or another directory"
            )
    if saved["store"] != store.digest:
        raise ValueError(
            f"{path} was trained on another text: its digest is {saved['store'][:12]}, this "
            f"text's is {store.digest[:12]}; give the same input, or start anew with --from"
        )
    fixed = ("seed", "tokens_per_batch", "vocabulary", "draws")
    before = json.loads(saved["options"])
    for name in fixed:
        if before[name] != getattr(options, name):
            raise ValueError(
                f"{path} was trained with {name}={before[name]}, not {getattr(options, name)}; "
                "resuming needs the same"
            )
    state = new_state(store, config, options, saved["parameters"])
    device = state.network.device
    state.network.table = saved["table"].to(device)
    state.moments = {name: Moments(**value).to(device) for name, value in saved["moments"].items()}
    state.table_moments = Moments(**saved["table_moments"]).to(device)
    state.auxiliary = saved["auxiliary"]
    state.auxiliary_buffers = saved.get("auxiliary_buffers", {})
    state.step, state.tokens, state.seconds = saved["step"], saved["tokens"], saved["seconds"]
    return state


def _total_steps(store: TokenStore, options: PretrainOptions) -> int | None:
    if options.steps is not None:
        return options.steps
    if options.epochs is not None:
        rng = np.random.default_rng(0)
        per_epoch = len(plan_equal_length_batches(store.lengths, options.tokens_per_batch, rng))
        return math.ceil(options.epochs * per_epoch)
    return None


def _fraction(state: TrainingState, options: PretrainOptions, total_steps: int | None) -> float:
    if total_steps is not None:
        return state.step / max(1, total_steps)
    assert options.minutes is not None
    return state.seconds / (options.minutes * 60)


def _append_curve(out: Path, progress: Progress, rate: float, losses: np.ndarray) -> None:
    path = out / CURVE
    new = not path.exists()
    perplexity = progress.valid_perplexity or ("", "")
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(CURVE_FIELDS)
        writer.writerow(
            [progress.step, progress.tokens, round(progress.seconds, 1), f"{rate:.6g}",
             f"{losses[0]:.4f}", f"{losses[1]:.4f}",
             "" if progress.auxiliary is None else f"{progress.auxiliary:.4f}", *perplexity]
        )  # fmt: skip
