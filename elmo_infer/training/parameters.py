"""The parameters of a biLM, under their official names."""

import torch
from torch import Tensor

from elmo_infer.config import BiLmConfig

Parameters = dict[str, Tensor]


def initial_parameters(config: BiLmConfig, seed: int) -> Parameters:
    """Draw the parameters of a new biLM, under the names and shapes of the official HDF5."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float) -> Tensor:
        return torch.randn(shape, generator=generator) * scale

    width, cell, n_filters = config.projection_dim, config.cell_dim, config.n_filters
    parameters = {"char_embed": normal(261, config.character_dim, scale=0.5)}
    for index, (span, count) in enumerate(config.filters):
        fan_in = span * config.character_dim
        scale = (2.0 / fan_in) ** 0.5
        parameters[f"CNN/W_cnn_{index}"] = normal(1, span, config.character_dim, count, scale=scale)
        parameters[f"CNN/b_cnn_{index}"] = torch.zeros(count)
    for index in range(config.n_highway):
        name = f"CNN_high_{index}"
        parameters[f"{name}/W_carry"] = normal(n_filters, n_filters, scale=n_filters**-0.5)
        # Starts as mostly carrying its input through (Srivastava et al. 2015, section 2.2).
        parameters[f"{name}/b_carry"] = torch.full((n_filters,), -2.0)
        parameters[f"{name}/W_transform"] = normal(n_filters, n_filters, scale=n_filters**-0.5)
        parameters[f"{name}/b_transform"] = torch.zeros(n_filters)
    parameters["CNN_proj/W_proj"] = normal(n_filters, width, scale=n_filters**-0.5)
    parameters["CNN_proj/b_proj"] = torch.zeros(width)
    for direction in range(2):
        for layer in range(config.n_lstm_layers):
            name = cell_name(direction, layer)
            parameters[f"{name}/W_0"] = normal(2 * width, 4 * cell, scale=(2 * width) ** -0.5)
            parameters[f"{name}/B"] = torch.zeros(4 * cell)
            parameters[f"{name}/W_P_0"] = normal(cell, width, scale=2 * cell**-0.5)
    return parameters


def cell_name(direction: int, layer: int) -> str:
    """Return the HDF5 group of one LSTM cell."""
    return f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
