"""The softmax of a language model, kept beside its weights.

The official layout has no place for it, and embedding needs none. With it a model's perplexity can
be measured, and training goes on from what it had learned of words' neighbours:

    softmax.safetensors   `table` [R, P + 1] float16, the last column the bias; its metadata has the
                          words of rows 3 on, as JSON; rows 0 to 2 are the ends of a sentence and
                          every other word
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from elmo_infer.training.spelled_batch import N_SPECIAL

SOFTMAX = "softmax.safetensors"


def write_softmax(directory: Path, table: Tensor, types: Sequence[str]) -> None:
    """Write a softmax beside its name and rename it.

    Args:
      directory: of the model.
      table: [R, P + 1], of the first R - 3 types.
      types: words, in the order of the table.
    """
    part = directory / f"{SOFTMAX}.tmp"
    words = json.dumps(list(types[: len(table) - N_SPECIAL]))
    save_file({"table": table.detach().half().cpu().contiguous()}, str(part), {"words": words})
    # Readable by whoever may read the weights; the writer makes it private.
    part.chmod((directory / "weights.hdf5").stat().st_mode)
    os.replace(part, directory / SOFTMAX)


def read_softmax(directory: Path) -> tuple[Tensor, list[str]] | None:
    """Return a model's softmax [R, P + 1] float32 and its words, or None if it has none.

    Raises:
      ValueError: if the file is not one of a softmax.
    """
    path = directory / SOFTMAX
    if not path.is_file():
        return None
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata() or {}
        if "table" not in file.keys() or "words" not in metadata:  # noqa: SIM118 - no mapping
            raise ValueError(f"{path} is not a saved softmax: expected `table` and its words")
        table = file.get_tensor("table").float()
    words: list[str] = json.loads(metadata["words"])
    if len(words) + N_SPECIAL != len(table):
        raise ValueError(
            f"{path} has {len(table)} rows for {len(words)} words; expected {N_SPECIAL} more than "
            "words"
        )
    return table, words


def take_over(table: Tensor, types: Sequence[str], saved: tuple[Tensor, list[str]]) -> int:
    """Put saved rows into a new table, in place; the rest stays as it was drawn.

    Args:
      table: [R, P + 1] of the first R - 3 types.
      types: words, in the order of the table.
      saved: what `read_softmax` found.

    Returns:
      How many words were found; 0 where the widths differ.
    """
    rows, words = saved
    if rows.shape[1] != table.shape[1]:
        return 0
    place = {word: index + N_SPECIAL for index, word in enumerate(words)}
    known = [
        (index + N_SPECIAL, place[word])
        for index, word in enumerate(types[: len(table) - N_SPECIAL])
        if word in place
    ]
    table[:N_SPECIAL] = rows[:N_SPECIAL].to(table)
    if known:
        to, source = (torch.tensor(list(one)) for one in zip(*known, strict=True))
        table[to.to(table.device)] = rows[source].to(table)
    return len(known)
