"""How much each of the teacher's losses counts."""

from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """A weight of each loss, beside 1 for `words`; a loss of weight 0 is not computed.

    Attributes:
      words: what is taught of a word in its sentence can be read off each layer linearly.
      relations: cosines of pairs of words are the teacher's.
      occurrences: cosines of occurrences of one word rise and fall with the teacher's.
      across: the same over the occurrences of all words, so that one threshold suits all.
      nearest: which occurrences of one word are nearest.
      sentences: the teacher's sentence vector can be read off the pooled one.
      sentence_relations: cosines of pairs of sentences are the teacher's.
      near_sentences: which sentences are nearest, among many.
      punctuation: attention's mass on punctuation.
      stop_words: attention's mass on stop words.
      single_words: what is taught of a word alone can be read off the token layer.
    """

    words: float = 1.0
    relations: float = 16.0
    occurrences: float = 4.0
    across: float = 1.5
    nearest: float = 1.0
    sentences: float = 1.0
    sentence_relations: float = 4.0
    near_sentences: float = 2.0
    punctuation: float = 2.0
    stop_words: float = 0.75
    single_words: float = 0.5

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 <= value < float("inf"):
                raise ValueError(
                    f"the loss {_spelled(each.name)} has weight {value}; expected 0 or more"
                )
        if not any(getattr(self, each.name) for each in fields(self)):
            raise ValueError("every loss of the teacher has weight 0; train without a teacher")

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "LossWeights":
        """Read NAME=WEIGHT of the losses to change.

        Raises:
          ValueError: if there is no such loss, or no number.
        """
        names = {_spelled(each.name): each.name for each in fields(cls)}
        given: dict[str, float] = {}
        for text in texts:
            name, _, number = text.partition("=")
            try:
                given[names[name]] = float(number)
            except KeyError:
                raise ValueError(
                    f"unknown loss {name!r}; expected NAME=WEIGHT with one of {', '.join(names)}"
                ) from None
            except ValueError:
                raise ValueError(f"{text!r} has no weight; expected NAME=WEIGHT") from None
        return cls(**given)


def _spelled(name: str) -> str:
    return name.replace("_", "-")
