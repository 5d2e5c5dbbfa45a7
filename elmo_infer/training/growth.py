"""Make a biLM larger so that it computes the same vectors, to continue training from there.

More filters, cells and outputs are drawn as in a new model, but nothing that was there reads them:
their rows in the projections, in the kernels and in the highways, towards what was there, start at
zero. A new highway's transform starts as the identity, which rectified features pass through
unchanged, whatever the gate. So the function is kept (Chen et al. 2016, Net2Net, sections 2.2 and
2.3, with new units in place of copies), and training finds out what to use them for. Where a
direction's outputs become more, those that were there come first.
"""

import torch
from torch import Tensor

from elmo_infer.config import BiLmConfig
from elmo_infer.training.parameters import Parameters, cell_name, initial_parameters

_SAME = (
    "activation", "character_dim", "max_characters", "word_dim",
    "n_lstm_layers", "cell_clip", "projection_clip", "use_skip_connections",
)  # fmt: skip


def check_growth(small: BiLmConfig, large: BiLmConfig) -> None:
    """Make sure that a model can grow so.

    Raises:
      ValueError: if anything but the counts of filters, highways, cells and outputs differs, or
        one of them falls; or if highways are to be added to features that are not rectified.
    """
    for name in _SAME:
        ours, wanted = getattr(small, name), getattr(large, name)
        if ours != wanted:
            raise ValueError(
                f"the model to start from has {name}={ours}, but {wanted} was asked for; only"
                " cells, filters, highways and the projection can grow, so give the same"
            )
    before, after = small.n_highway, large.n_highway
    if after < before or (after > before and small.activation != "relu"):
        raise ValueError(
            f"the model to start from has {before} highway layers and activation "
            f"{small.activation}, but {after} highway layers were asked for; expected as many,"
            " or more if the activation is relu"
        )
    if [span for span, _ in small.filters] != [span for span, _ in large.filters]:
        raise ValueError(
            f"the model to start from has filters {_spelled(small)}, but {_spelled(large)} were"
            " asked for; expected the same widths in the same order"
        )
    fewer = any(a > b for (_, a), (_, b) in zip(small.filters, large.filters, strict=True))
    narrower = small.projection_dim > large.projection_dim
    if fewer or narrower or small.cell_dim > large.cell_dim:
        raise ValueError(
            f"the model to start from has {small.cell_dim} cells, projection "
            f"{small.projection_dim} and filters {_spelled(small)}, but {large.cell_dim},"
            f" {large.projection_dim} and {_spelled(large)} were asked for; expected at least as"
            " many"
        )


def grow(parameters: Parameters, small: BiLmConfig, large: BiLmConfig, seed: int) -> Parameters:
    """Return the parameters of a larger biLM with the same outputs, and perhaps more of them.

    Args:
      parameters: of the small one, under official names.
      small: its shape.
      large: the shape wanted.
      seed: of what is new.

    Raises:
      ValueError: if a model cannot grow so; see check_growth.
    """
    check_growth(small, large)
    places = _filter_places(small, large)
    columns = torch.cat([torch.arange(small.cell_dim) + gate * large.cell_dim for gate in range(4)])
    width = small.projection_dim
    inputs = torch.arange(width)
    rows = torch.cat([inputs, inputs + large.projection_dim])  # what is read: inputs, own outputs
    grown = initial_parameters(large, seed)
    grown["char_embed"] = parameters["char_embed"]
    grown["CNN_proj/b_proj"][:width] = parameters["CNN_proj/b_proj"]
    grown["CNN_proj/W_proj"][:, :width] = 0.0
    grown["CNN_proj/W_proj"][places, :width] = parameters["CNN_proj/W_proj"]
    for index, (_, count) in enumerate(small.filters):
        for name in (f"CNN/W_cnn_{index}", f"CNN/b_cnn_{index}"):
            grown[name][..., :count] = parameters[name]
    for index in range(small.n_highway):
        for part in ("carry", "transform"):
            weight, bias = (f"CNN_high_{index}/{kind}_{part}" for kind in ("W", "b"))
            grown[weight][:, places] = 0.0  # what was there does not read what is new
            grown[weight][places[:, None], places] = parameters[weight]
            grown[bias][places] = parameters[bias]
    for index in range(small.n_highway, large.n_highway):
        transform = grown[f"CNN_high_{index}/W_transform"]
        transform[:, places] = 0.0
        transform[places, places] = 1.0
    for direction in range(2):
        for layer in range(small.n_lstm_layers):
            name = cell_name(direction, layer)
            grown[f"{name}/W_0"][:, columns] = 0.0
            grown[f"{name}/W_0"][rows[:, None], columns] = parameters[f"{name}/W_0"]
            grown[f"{name}/B"][columns] = parameters[f"{name}/B"]
            grown[f"{name}/W_P_0"][:, :width] = 0.0
            grown[f"{name}/W_P_0"][: small.cell_dim, :width] = parameters[f"{name}/W_P_0"]
    return grown


def _filter_places(small: BiLmConfig, large: BiLmConfig) -> Tensor:
    """Return [F] int64: where the small model's filters stand among the large one's."""
    places, start = [], 0
    for (_, count), (_, larger) in zip(small.filters, large.filters, strict=True):
        places.append(torch.arange(start, start + count))
        start += larger
    return torch.cat(places)


def _spelled(config: BiLmConfig) -> str:
    return " ".join(f"{span}x{count}" for span, count in config.filters)
