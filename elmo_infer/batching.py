"""Batching: which sentences are computed together, and where their tokens are in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def plan_batches(lengths: Sequence[int] | Indices, max_tokens: int) -> list[Indices]:
    """Divide sentences into batches of similar length, longest first.

    A batch holds at most `max_tokens` tokens, unless it is one sentence longer than that.
    The plan depends on the lengths alone; equal lengths keep their order.

    Args:
      lengths: [B] tokens of each sentence.
      max_tokens: the budget of a batch, in tokens.

    Returns:
      Indices of sentences, each batch by falling length; every sentence is in exactly one.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens_per_batch is {max_tokens}; expected at least 1")
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    ends = np.cumsum(sizes[order])
    batches = []
    first, used = 0, 0
    while first < len(order):
        last = int(np.searchsorted(ends, used + max_tokens, side="right"))
        last = max(last, first + 1)
        batches.append(order[first:last])
        first, used = last, int(ends[last - 1])
    return batches


@dataclass(frozen=True, eq=False)
class Packing:
    """Sentences of falling length, laid out time step by time step without padding.

    Slot `starts[t] + b` belongs to sentence b at step t; the sentences still running at step t
    are the first `rows[t]` ones. Lengths 3, 2, 1 give the slots (sentence, step)

        (0,0) (1,0) (2,0) | (0,1) (1,1) | (0,2)

    Attributes:
      lengths: [B] int64, falling, each at least 1.
      rows: [T] sentences still running at each step.
      starts: [T + 1] first slot of each step; the last entry is the number of slots.
      forward: [slots] the token (flat, sentence by sentence) a slot of the forward direction holds.
      backward: [slots] the same for the backward direction, which reads each sentence in reverse.
    """

    lengths: Indices
    rows: Indices = field(init=False)
    starts: Indices = field(init=False)
    forward: Indices = field(init=False)
    backward: Indices = field(init=False)

    def __post_init__(self) -> None:
        lengths = self.lengths
        steps = int(lengths[0])
        rows = len(lengths) - np.searchsorted(lengths[::-1], np.arange(steps), side="right")
        starts = np.concatenate(([0], np.cumsum(rows)))
        step = np.repeat(np.arange(steps), rows)
        sentence = np.arange(int(starts[-1])) - starts[step]
        firsts = np.cumsum(lengths) - lengths
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "starts", starts)
        object.__setattr__(self, "forward", firsts[sentence] + step)
        object.__setattr__(self, "backward", (firsts + lengths - 1)[sentence] - step)

    @property
    def ends(self) -> Indices:
        """[B] the slot of each sentence's last step."""
        return self.starts[self.lengths - 1] + np.arange(len(self.lengths))

    def slots(self) -> tuple[Indices, Indices]:
        """Return the forward and the backward slot of every token, sentence by sentence."""
        sentence = np.repeat(np.arange(len(self.lengths)), self.lengths)
        position = np.arange(len(sentence)) - (np.cumsum(self.lengths) - self.lengths)[sentence]
        mirrored = self.lengths[sentence] - 1 - position
        return self.starts[position] + sentence, self.starts[mirrored] + sentence
