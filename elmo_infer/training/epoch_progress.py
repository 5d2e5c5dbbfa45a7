"""Progress of the baselines' trainers, and the check of what they read."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EpochProgress:
    """Where a training stands.

    Attributes:
      epoch: the current pass over the text, from 1.
      epochs: passes there will be.
      tokens: tokens read so far, all passes together.
      total_tokens: tokens there will be.
      tokens_per_second: since the start.
      loss: mean negative log likelihood of the last stretch in nats, or None if it is not known.
    """

    epoch: int
    epochs: int
    tokens: int
    total_tokens: int
    tokens_per_second: float
    loss: float | None = None


Report = Callable[[EpochProgress], None]
Sentences = Iterable[Sequence[str]]


def check_rereadable(sentences: Any) -> None:
    """Refuse an iterator: the trainers read the text several times.

    Raises:
      TypeError: if a second pass would find nothing.
    """
    if isinstance(sentences, Iterator):
        raise TypeError(
            f"sentences is {type(sentences).__name__}, an iterator, which can be read only once; "
            "pass a list, or an object whose __iter__ starts from the beginning each time"
        )


def check_at_least(minimum: float, **values: float) -> None:
    """Raise ValueError, naming the option, for a value below the minimum."""
    for name, value in values.items():
        if not value >= minimum:
            raise ValueError(f"{name} is {value}; expected at least {minimum}")
