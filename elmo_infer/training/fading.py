"""LSTM cells that start as sums of the words read so far, which fade with distance.

What tells the senses of a word apart often stands ten or twenty words away, and an LSTM comes to
remember so far only after long training. But a cell whose gates hardly move is a leaky integrator:

    c_t = f c_{t-1} + i(x_t) tanh(s u.(x_t - m))        h_t = r tanh(c_t)

with f = exp(-1 / reach) for every word, u a principal component of the token vectors, and i(x)
near 0.3 a / (a + p(x)), which is small for frequent words (Arora et al. 2017, "A simple but
tough-to-beat baseline for sentence embeddings", section 3). So from the first step on such cells
keep a summary of the sentence, each in an output of its own, and training goes on from there.
"""

import math

import numpy as np
import torch
from torch import Tensor

from elmo_infer.config import BiLmConfig
from elmo_infer.training.forms import RARE
from elmo_infer.training.lstm import FORGET_BIAS
from elmo_infer.training.parameters import Parameters, cell_name
from elmo_infer.training.word_distillation import best_reading

FADING_WORDS = 50_000  # most frequent types, whose vectors say what is summed
_REACH = 12.0  # words until a word counts 1/e: 6 told senses apart worse, 15 no better
_GATE = 0.3  # i of the rarest words: a dozen of them stay where tanh(c) is nearly linear
# One word's share of the text counts at most so much, or a few words would decide everything.
_SHARE_OF_GATE, _SHARE_OF_COMPONENTS = 1e-3, 1e-4
# s: tanh bends little, and yet the weights are no smaller than those of trained cells. At 0.15,
# with an open gate, a step of Adam changed them by a tenth, and training wore the sums away.
_STEP = 0.5
_OPEN = 3.0  # logit of the output gate
_SIZE = 1.5  # root mean square of an output, like those of trained cells, and half their clip


def check_fading_cells(n_cells: int, config: BiLmConfig, grown_from: BiLmConfig | None) -> None:
    """Make sure that there is room for so many, where nothing is that has been learned.

    Args:
      n_cells: how many are asked for.
      config: of the model to train.
      grown_from: of the model that it starts from, or None.

    Raises:
      ValueError: if there is not.
    """
    cells, outputs = config.cell_dim, config.projection_dim
    if grown_from is not None:
        cells, outputs = cells - grown_from.cell_dim, outputs - grown_from.projection_dim
    if not 0 < n_cells <= min(cells, outputs):
        new = "" if grown_from is None else "new "
        raise ValueError(
            f"{n_cells} fading cells were asked for, but there are {cells} {new}cells and "
            f"{outputs} {new}outputs of a direction; expected from 1 to the smaller number: give "
            "fewer, or more cells and a wider projection"
        )


def plant_fading_cells(
    parameters: Parameters,
    config: BiLmConfig,
    vectors: Tensor,
    counts: np.ndarray,
    n_cells: int,
) -> None:
    """Make the last cells of both first layers fading sums, and give them the last outputs.

    Args:
      parameters: under official names; the LSTMs' are changed in place. Other cells no longer write
        to these outputs, nor do layers above that pass them on; who reads them is left as it is.
      config: of the model.
      vectors: [N, P] the token layer's vectors of the most frequent words.
      counts: [N] how often each word stands in the text.
      n_cells: how many.

    Raises:
      ValueError: if the model has fewer cells, or outputs.
    """
    check_fading_cells(n_cells, config, None)
    x = vectors.cpu()  # where least squares need no full rank
    shares = torch.from_numpy(counts / counts.sum())
    wanted = torch.logit(_GATE * RARE / (RARE + shares))
    most = shares.clamp(max=_SHARE_OF_GATE).numpy()
    reading = best_reading(x, wanted[:, None], most)[:, 0]  # [P + 1], the bias last
    x, reading = x.double(), reading.double()
    gate = torch.sigmoid(x @ reading[:-1] + reading[-1])
    mean, components = _components(x, gate * shares.clamp(max=_SHARE_OF_COMPONENTS), n_cells)
    keep = math.exp(-1 / _REACH)
    written = gate[:, None] * torch.tanh(_STEP * (x - mean) @ components)
    # Of a sum of independent words, each kept with f as many times as it is words old.
    variance = (shares[:, None] * written.square()).sum(0).mean() / (1 - keep**2)
    spread = math.sqrt(float(variance)) / (1 + math.exp(-_OPEN))
    scale = _SIZE / max(spread, 1e-3)  # words that are all alike have none

    width, cell = config.projection_dim, config.cell_dim
    new = torch.arange(cell - n_cells, cell)
    i, j, f, o = (new + gate_index * cell for gate_index in range(4))
    for direction in range(2):
        name = cell_name(direction, 0)
        kernel, bias = parameters[f"{name}/W_0"], parameters[f"{name}/B"]
        for columns in (i, j, f, o):
            kernel[:, columns] = 0.0  # the recurrence is in the cell; nothing else is read back
        kernel[:width, i] = reading[:-1, None].expand(-1, n_cells).to(kernel)
        kernel[:width, j] = (_STEP * components).to(kernel)
        bias[i] = float(reading[-1])
        bias[j] = (-_STEP * (mean @ components)).to(bias)
        bias[f] = math.log(keep / (1 - keep)) - FORGET_BIAS
        bias[o] = _OPEN
        projection = parameters[f"{name}/W_P_0"]
        projection[:, width - n_cells :] = 0.0
        projection[new] = 0.0
        projection[new, torch.arange(width - n_cells, width)] = scale
        for layer in range(1, config.n_lstm_layers if config.use_skip_connections else 1):
            parameters[f"{cell_name(direction, layer)}/W_P_0"][:, width - n_cells :] = 0.0


def _components(vectors: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the weighted mean [P] of vectors, and their first principal components [P, count]."""
    weights = (weights / weights.sum())[:, None]
    mean = (vectors * weights).sum(0)
    centred = vectors - mean
    _, directions = torch.linalg.eigh(centred.t() @ (centred * weights))
    return mean, directions[:, -count:].flip(1)
