"""Sizes of a biLM: named ones, and changes to them."""

from collections.abc import Sequence
from dataclasses import replace

from elmo_infer.config import BiLmConfig

_SMALL_FILTERS = ((1, 32), (2, 32), (3, 64), (4, 128), (5, 128), (6, 64), (7, 64))
_OFFICIAL_FILTERS = ((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024))
_PRESETS = {
    "tiny": (64, 16, ((1, 8), (2, 16), (3, 32)), 1),
    "compact": (512, 128, _SMALL_FILTERS, 1),
    "small": (1024, 128, _OFFICIAL_FILTERS, 1),
    "medium": (2048, 256, _OFFICIAL_FILTERS, 1),
    "original": (4096, 512, _OFFICIAL_FILTERS, 2),
}
PRESETS = tuple(_PRESETS)


def preset(name: str) -> BiLmConfig:
    """Return the shape of a named size; "small" and up are the published ones.

    Raises:
      ValueError: if there is no such preset; the message lists them.
    """
    if name not in _PRESETS:
        raise ValueError(f"unknown preset {name!r}; expected one of {', '.join(PRESETS)}")
    cell, projection, filters, highway = _PRESETS[name]
    return BiLmConfig(
        filters=filters,
        activation="relu",
        n_highway=highway,
        character_dim=16,
        max_characters=50,
        cell_dim=cell,
        projection_dim=projection,
        n_lstm_layers=2,
        cell_clip=3.0,
        projection_clip=3.0,
        use_skip_connections=True,
    )


def resized(
    config: BiLmConfig,
    *,
    cells: int | None = None,
    projection: int | None = None,
    layers: int | None = None,
    filters: Sequence[tuple[int, int]] | None = None,
    highways: int | None = None,
) -> BiLmConfig:
    """Return a configuration with what is given in place of its own.

    Args:
      config: the shape to change.
      cells: LSTM cells of a layer and direction.
      projection: width P of one direction's output; D = 2 * P.
      layers: biLSTM layers.
      filters: (width, count) of each character convolution.
      highways: highway layers after the convolutions.

    Raises:
      ValueError: if there can be no such model; the message names the number.
    """
    given = {
        "cell_dim": cells,
        "projection_dim": projection,
        "n_lstm_layers": layers,
        "filters": None if filters is None else tuple(filters),
        "n_highway": highways,
    }
    return replace(config, **{name: one for name, one in given.items() if one is not None})  # type: ignore[arg-type]
