"""The configuration of a biLM: frozen dataclasses that check their values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ACTIVATIONS = ("relu", "tanh")
POOLINGS = ("attention", "mean", "max")
# Far above any model that was trained; a file that says more is damaged, or meant to take memory.
MAX_LAYERS, MAX_WIDTH, MAX_CHARACTERS = 64, 1 << 17, 10_000


@dataclass(frozen=True, kw_only=True)
class BiLmConfig:
    """The shape of a character-input biLM (Peters et al., 2018).

    Attributes:
      filters: (width, count) of each character convolution, in the order of their concatenation.
      activation: nonlinearity of the convolutions, "relu" or "tanh"; highways always use relu.
      n_highway: number of highway layers after the convolutions.
      character_dim: width E of a character embedding.
      max_characters: length C of a spelled token, markers and padding included.
      word_dim: width of the word vector put before the convolutions' output; 0 for none.
      cell_dim: width of an LSTM cell.
      projection_dim: width P of one direction's output; D = 2 * P.
      n_lstm_layers: biLSTM layers; the model offers L = n_lstm_layers + 1 layers.
      cell_clip: cells are clipped to [-cell_clip, cell_clip]; None for no clipping.
      projection_clip: the same for projected outputs.
      use_skip_connections: add a layer's input to its output, from the second layer on.
    """

    filters: tuple[tuple[int, int], ...]
    activation: str
    n_highway: int
    character_dim: int
    max_characters: int
    word_dim: int = 0
    cell_dim: int
    projection_dim: int
    n_lstm_layers: int
    cell_clip: float | None
    projection_clip: float | None
    use_skip_connections: bool

    def __post_init__(self) -> None:
        if not self.filters:
            raise ValueError("options: the character CNN has no filters; at least one is needed")
        for width, count in self.filters:
            if not 1 <= width <= self.max_characters or count < 1:
                raise ValueError(
                    f"options: filter [{width}, {count}] is impossible; expected a width from 1 to "
                    f"max_characters_per_token={self.max_characters} and a count of at least 1"
                )
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"options: unknown activation {self.activation!r}; expected one of {ACTIVATIONS}"
            )
        self._check_minimum(1, "character_dim", "cell_dim", "projection_dim", "n_lstm_layers")
        self._check_minimum(0, "n_highway", "word_dim")
        self._check_minimum(3, "max_characters")
        self._check_maximum(MAX_LAYERS, "n_highway", "n_lstm_layers")
        widths = ("character_dim", "cell_dim", "projection_dim", "word_dim", "n_filters")
        self._check_maximum(MAX_WIDTH, *widths)
        self._check_maximum(MAX_CHARACTERS, "max_characters")
        for name in ("cell_clip", "projection_clip"):
            clip = getattr(self, name)
            if clip is not None and not clip > 0:
                raise ValueError(f"options: {name} is {clip}; expected a positive number or null")

    def _check_minimum(self, minimum: int, *names: str) -> None:
        for name in names:
            if getattr(self, name) < minimum:
                raise ValueError(
                    f"options: {name} is {getattr(self, name)}; expected at least {minimum}"
                )

    def _check_maximum(self, maximum: int, *names: str) -> None:
        for name in names:
            if getattr(self, name) > maximum:
                raise ValueError(
                    f"options: {name} is {getattr(self, name)}; expected at most {maximum}"
                )

    @property
    def n_filters(self) -> int:
        """F: the width of the convolutions' concatenated output."""
        return sum(count for _, count in self.filters)

    @property
    def dim(self) -> int:
        """D: the width of a layer's vector, both directions."""
        return 2 * self.projection_dim

    @classmethod
    def from_options(cls, options: Mapping[str, Any], where: str) -> "BiLmConfig":
        """Read an official options.json; keys that only training used are ignored.

        Args:
          options: the parsed file.
          where: its name, for errors.

        Raises:
          ValueError: if a key is missing or holds what cannot be; the message names it.
        """
        if "char_cnn" not in options:
            raise ValueError(
                f"{where}: no 'char_cnn', so this biLM reads words and not characters; only "
                "character-input biLMs can be loaded; give another model, such as en-small "
                "(found keys: " + ", ".join(options) + ")"
            )
        try:
            lstm, cnn = options["lstm"], options["char_cnn"]
            fields: dict[str, Any] = {
                "filters": tuple((int(width), int(count)) for width, count in cnn["filters"]),
                "activation": str(cnn["activation"]),
                "n_highway": int(cnn.get("n_highway") or 0),
                "character_dim": int(cnn["embedding"]["dim"]),
                "max_characters": int(cnn.get("max_characters_per_token", 50)),
                "cell_dim": int(lstm["dim"]),
                "projection_dim": int(lstm["projection_dim"]),
                "n_lstm_layers": int(lstm.get("n_layers", 1)),
                "cell_clip": _clip(lstm.get("cell_clip")),
                "projection_clip": _clip(lstm.get("proj_clip")),
                "use_skip_connections": bool(lstm.get("use_skip_connections", False)),
            }
        except KeyError as error:
            raise ValueError(f"{where}: the key {error} is missing") from error
        except (TypeError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError(f"{where}: not laid out as a biLM's options: {error}") from error
        return cls(**fields)


def _clip(value: Any) -> float | None:
    return None if value is None else float(value)
