"""Pretraining of a biLM: the loop and its curve."""

import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from elmo_infer.training.batch_maker import BatchMaker, batches_of_a_run
from elmo_infer.training.batches import plan_equal_length_batches
from elmo_infer.training.checkpoint import PretrainOptions, TrainingState, write_checkpoint
from elmo_infer.training.network import Network, StepResult
from elmo_infer.training.optimizer import (
    Moments,
    adam_update,
    adam_update_rows,
    clip_gradients,
)
from elmo_infer.training.spelled_batch import Batch
from elmo_infer.training.token_store import TokenStore
from elmo_infer.training.validation import validation_perplexity
from elmo_infer.training.word_distillation import WordReview

CURVE = "curve.csv"
PARTS = "teacher_losses.csv"
CURVE_FIELDS = (
    "step", "tokens", "seconds", "learning_rate", "loss_forward", "loss_backward",
    "auxiliary", "valid_perplexity_forward", "valid_perplexity_backward",
)  # fmt: skip

REPORT_SECONDS = 10.0


class Auxiliary(Protocol):
    """A further loss on all layers.

    Attributes:
      parameters: what it learns itself; leaves whose .grad the backward pass fills.
      buffers: what else it has to remember to go on after a checkpoint; changed in place.
      parts: by name, what the loss of the last batch was made of.
    """

    @property
    def parameters(self) -> dict[str, Tensor]: ...

    @property
    def buffers(self) -> dict[str, Tensor]: ...

    @property
    def parts(self) -> dict[str, Tensor]: ...

    def __call__(self, batch: Batch, layers: list[Tensor], vectors: Tensor) -> Tensor:
        """Return the scalar loss of a batch; see network.Auxiliary."""


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
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
      parts: by name, the means of what the auxiliary loss was made of since then.
      held_out: the same on held-out text, where it was just measured.
    """

    step: int
    tokens: int
    fraction: float
    seconds: float
    tokens_per_second: float
    loss: float
    auxiliary: float | None = None
    valid_perplexity: tuple[float, float] | None = None
    parts: dict[str, float] = field(default_factory=dict)
    held_out: dict[str, float] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """Return the expected rest, in seconds."""
        return self.seconds * (1 - self.fraction) / max(self.fraction, 1e-9)


def pretrain(
    maker: BatchMaker,
    state: TrainingState,
    options: PretrainOptions,
    out: Path,
    *,
    valid: TokenStore | None = None,
    auxiliary: Auxiliary | None = None,
    held_out: Callable[[Network], dict[str, float]] | None = None,
    review: WordReview | None = None,
    report: Callable[[TrainingProgress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> TrainingState:
    """Train until the time given is over; checkpoint, validate and export on the way.

    Args:
      maker: makes the batches of the training text.
      state: a new one, or one read from a checkpoint, which goes on where it stopped.
      options: how to train.
      out: directory of checkpoint, curve and exported model.
      valid: text for validation perplexity, encoded with its own types.
      auxiliary: a further loss on all layers, or None; what it learns and remembers takes up the
        values of a checkpoint.
      held_out: measures the auxiliary loss on text that is not trained on, or None.
      review: of single words, between the batches, or None; it too goes on as a checkpoint says.
      report: told of progress every few seconds and at each checkpoint.
      clock: of seconds.

    Returns:
      The state at the end.
    """
    store = maker.store
    total_steps = _total_steps(store, options)
    if auxiliary is not None:
        adopt_auxiliary(state, auxiliary)
    if review is not None:
        for name, value in state.review_buffers.items():
            review.buffers[name].copy_(value)
        state.review_buffers = review.buffers
    started = clock() - state.seconds
    window = _Window(began=clock(), tokens_before=state.tokens)
    last_checkpoint, checkpointed = clock(), state.step
    rate = 0.0

    def account(checkpoint: bool) -> None:
        """Write down what happened since the last account, and tell the caller."""
        losses = window.mean_losses()
        now = clock()
        state.seconds = now - started
        if checkpoint:
            write_checkpoint(state, store, options, out)
            if valid is not None:
                state.perplexity = validation_perplexity(state.network, store.types, valid)
            if held_out is not None:
                state.held_out = held_out(state.network)
        progress = TrainingProgress(
            step=state.step,
            tokens=state.tokens,
            # The last batch ends a little after the time given.
            fraction=min(1.0, _fraction(state, options, total_steps)),
            seconds=state.seconds,
            tokens_per_second=(state.tokens - window.tokens_before) / max(now - window.began, 1e-9),
            loss=sum(losses) / 2,
            auxiliary=float(torch.stack(window.auxiliary).mean()) if window.auxiliary else None,
            valid_perplexity=state.perplexity if checkpoint else None,
            parts=window.mean_parts(),
            held_out=state.held_out if checkpoint else {},
        )
        _append_curve(out, progress, rate, losses)
        _append_parts(out, progress)
        if report is not None:
            report(progress)

    device = state.network.device
    prepared = batches_of_a_run(
        maker, state.step, processes=options.processes, pin=device.type == "cuda"
    )
    for on_host in prepared:
        batch = on_host.to(device)
        state.seconds = clock() - started
        fraction = _fraction(state, options, total_steps)
        if fraction >= 1.0:
            break
        if window.told:
            window = _Window(began=clock(), tokens_before=state.tokens)
        rate = learning_rate(state.step, fraction, options)
        result = state.network.step(batch, auxiliary, options.auxiliary_weight)
        update(state, batch, result, rate, options.max_gradient_norm)
        if review is not None:
            review.after(state.step, rate, options.max_gradient_norm)
        state.step += 1
        state.tokens += batch.n_tokens
        window.losses.append(result.loss)
        if result.auxiliary is not None:
            window.auxiliary.append(result.auxiliary)
        if auxiliary is not None:
            window.parts.append(auxiliary.parts)
        checkpoint_due = clock() - last_checkpoint >= options.checkpoint_minutes * 60
        if checkpoint_due or clock() - window.began >= REPORT_SECONDS:
            account(checkpoint_due)
            window.told = True
            if checkpoint_due:
                last_checkpoint, checkpointed = clock(), state.step
    if state.step > checkpointed:
        account(checkpoint=True)
    return state


def update(
    state: TrainingState,
    batch: Batch,
    result: StepResult,
    rate: float,
    max_gradient_norm: float,
) -> None:
    """Apply one step's gradients."""
    clip_gradients([*result.gradients.values(), result.table_gradient], max_gradient_norm)
    own = {name: one for name, one in state.auxiliary.items() if one.grad is not None}
    adam_update(
        [*(state.network.parameters[name] for name in result.gradients), *own.values()],
        [*result.gradients.values(), *(one.grad for one in own.values() if one.grad is not None)],
        [
            *(state.moments[name] for name in result.gradients),
            *(state.moments[f"auxiliary/{name}"] for name in own),
        ],
        rate,
    )
    rows, table = batch.candidates.rows, state.network.table
    adam_update_rows(table, rows, result.table_gradient, state.table_moments, rate)
    for one in own.values():
        one.grad = None


@dataclass(kw_only=True)
class _Window:
    """What happened since the last report; told once it has been reported itself."""

    began: float
    tokens_before: int
    losses: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    auxiliary: list[Tensor] = field(default_factory=list)
    parts: list[dict[str, Tensor]] = field(default_factory=list)
    told: bool = False

    def mean_losses(self) -> tuple[float, float]:
        """Return the mean loss of each direction; waits for the last step."""
        forward, backward = zip(*self.losses, strict=True)
        return float(torch.stack(forward).mean()), float(torch.stack(backward).mean())

    def mean_parts(self) -> dict[str, float]:
        """Return the mean of each part of the auxiliary loss over the batches that had it."""
        names = dict.fromkeys(name for one in self.parts for name in one)
        return {
            name: float(torch.stack([one[name] for one in self.parts if name in one]).mean())
            for name in names
        }


def adopt_auxiliary(state: TrainingState, auxiliary: Auxiliary) -> None:
    """Give the auxiliary loss the values of a checkpoint, and make its arrays the state's.

    Raises:
      ValueError: if the checkpoint's loss learned something of another shape.
    """
    with torch.no_grad():
        for name, value in auxiliary.parameters.items():
            if name in state.auxiliary:
                found = tuple(state.auxiliary[name].shape)
                if found != tuple(value.shape):
                    raise ValueError(
                        f"the checkpoint's teacher loss has {name} of shape {found}, expected "
                        f"{tuple(value.shape)}: it was written with another teacher, or by "
                        "another version of this package; start again with --from its directory"
                    )
                value.copy_(state.auxiliary[name])
            state.moments.setdefault(f"auxiliary/{name}", Moments.for_array(value.detach()))
    for name, value in state.auxiliary_buffers.items():
        mine = auxiliary.buffers.get(name)
        if mine is None or mine.shape != value.shape:
            raise ValueError(
                f"the checkpoint's teacher loss remembers {name} of shape {tuple(value.shape)}, "
                f"expected {None if mine is None else tuple(mine.shape)}: it was written by "
                "another version of this package; start again with --from its directory"
            )
        mine.copy_(value)
    state.auxiliary, state.auxiliary_buffers = auxiliary.parameters, auxiliary.buffers


def learning_rate(step: int, fraction: float, options: PretrainOptions) -> float:
    """Return the rate: a linear rise, then half a cosine down to a fiftieth of the peak."""
    rise = min(1.0, (step + 1) / options.warmup_steps)
    fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))
    return options.learning_rate * rise * fall


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


def _append_curve(
    out: Path, progress: TrainingProgress, rate: float, losses: tuple[float, float]
) -> None:
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


def _append_parts(out: Path, progress: TrainingProgress) -> None:
    """Add a line for each part of the auxiliary loss, in training and on held-out text."""
    if not (progress.parts or progress.held_out):
        return
    path = out / PARTS
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(("step", "tokens", "loss", "training", "held_out"))
        for name in dict.fromkeys([*progress.parts, *progress.held_out]):
            values = [one.get(name) for one in (progress.parts, progress.held_out)]
            written = ["" if value is None else f"{value:.5f}" for value in values]
            writer.writerow([progress.step, progress.tokens, name, *written])
