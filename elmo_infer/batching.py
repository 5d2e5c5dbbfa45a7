"""Batching: which sentences are computed together, and where their tokens are in memory."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

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

    A lane holds sentences one after the other; the lanes still running at step t are the first
    `rows[t]` ones. Slot `starts[t] + r` belongs to lane r at step t. Sentences of the lengths 3, 2,
    1 give the slots (sentence, token), in as many lanes as sentences, and in two

        (0,0) (1,0) (2,0) | (0,1) (1,1) | (0,2)
        (0,0) (1,0) | (0,1) (1,1) | (0,2) (2,0)

    Few lanes of about the same length keep every step as wide as the first. With a lane for each
    sentence, the steps that only the longest ones reach have few rows, and a step costs time for
    itself.

    Attributes:
      lengths: [B] int64, falling, each at least 1.
      n_lanes: most lanes; None for one a sentence.
      lane: [B] the lane of each sentence.
      begins: [B] the step at which each sentence begins.
      rows: [T] lanes still running at each step.
      starts: [T + 1] first slot of each step; the last entry is the number of slots.
      forward: [slots] the token (flat, sentence by sentence) a slot of the forward direction holds.
      backward: [slots] the same for the backward direction, which reads each sentence in reverse.
    """

    lengths: Indices
    n_lanes: int | None = None
    lane: Indices = field(init=False)
    begins: Indices = field(init=False)
    rows: Indices = field(init=False)
    starts: Indices = field(init=False)
    forward: Indices = field(init=False)
    backward: Indices = field(init=False)

    def __post_init__(self) -> None:
        lengths = self.lengths
        lane, begins = plan_lanes(lengths, self.n_lanes or len(lengths))
        ends = np.sort(np.bincount(lane, lengths).astype(np.int64))
        steps = int(ends[-1])
        rows = len(ends) - np.searchsorted(ends, np.arange(steps), side="right")
        starts = np.concatenate(([0], np.cumsum(rows)))
        for name, value in (("lane", lane), ("begins", begins), ("rows", rows), ("starts", starts)):
            object.__setattr__(self, name, value)
        for name, slots in zip(("forward", "backward"), self.slots, strict=True):
            tokens = np.empty(len(slots), dtype=np.int64)
            tokens[slots] = np.arange(len(slots))
            object.__setattr__(self, name, tokens)

    @property
    def ends(self) -> Indices:
        """[R] the slot of each lane's last step."""
        lanes = np.arange(self.rows[0])
        last = len(self.rows) - 1 - np.searchsorted(self.rows[::-1], lanes, side="right")
        return self.starts[last] + lanes

    @cached_property
    def restarts(self) -> list[Indices]:
        """For each of the T steps, the lanes in which a sentence follows another."""
        later = np.flatnonzero(self.begins)
        order = later[np.argsort(self.begins[later], kind="stable")]
        bounds = np.searchsorted(self.begins[order], np.arange(1, len(self.rows)))
        return np.split(self.lane[order], bounds)

    @cached_property
    def slots(self) -> tuple[Indices, Indices]:
        """The forward and the backward slot of every token, sentence by sentence."""
        sentence = np.repeat(np.arange(len(self.lengths)), self.lengths)
        position = np.arange(len(sentence)) - (np.cumsum(self.lengths) - self.lengths)[sentence]
        mirrored = self.lengths[sentence] - 1 - position
        lane, begin = self.lane[sentence], self.begins[sentence]
        return self.starts[begin + position] + lane, self.starts[begin + mirrored] + lane


def plan_lanes(lengths: Indices, n_lanes: int) -> tuple[Indices, Indices]:
    """Put sentences into lanes of about the same length.

    Each sentence, the longest first, goes to the lane that ends first.

    Args:
      lengths: [B], falling, each at least 1.
      n_lanes: most lanes.

    Returns:
      The lane and the first step of each sentence, [B] each; lanes by falling end.
    """
    count = len(lengths)
    if count <= n_lanes:
        return np.arange(count), np.zeros(count, dtype=np.int64)
    lane, begins = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    ending = [(0, number) for number in range(n_lanes)]
    for sentence, length in enumerate(lengths.tolist()):
        end, number = ending[0]
        lane[sentence], begins[sentence] = number, end
        heapq.heapreplace(ending, (end + length, number))
    by_end = sorted(ending, key=lambda lane: (-lane[0], lane[1]))
    renamed = np.empty(n_lanes, dtype=np.int64)
    renamed[[number for _, number in by_end]] = np.arange(n_lanes)
    return renamed[lane], begins
