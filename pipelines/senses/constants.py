"""What belongs to a model to find senses: directions, and measures of words of one sense.

It lies beside the model's weights as senses.safetensors, made by `sensegrep train senses`:

  directions [2D, R] float16   what tells documents apart in a word's vector and its sentence's
  sizes [N], means, deviations [N, K, 3], spreads [N, K], quantiles [N, Q], cohesions [N, 2]
                               see `split_test`; cohesions may be missing

and in its metadata the model's fingerprint, layer mix and pooling, which the vectors must share.
Vectors of any other model or mix are compared as they are, with a table that was measured on such
vectors of the bundled English model: `fallback.safetensors` beside this file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import CorpusError
from pipelines.index.exact import Floats
from pipelines.senses.split_test import SingleSenseTable

CONSTANTS_FILE = "senses.safetensors"
_NEEDED = [field.name for field in fields(SingleSenseTable) if field.name != "cohesions"]
FALLBACK = Path(__file__).with_name("fallback.safetensors")


@dataclass(frozen=True, kw_only=True, eq=False)
class SenseConstants:
    """What senses are told apart by.

    Attributes:
      directions: [2D, R] float32, of a token's centred vector beside its sentence's; None compares
        these as they are.
      table: of words of one sense.
      source: where it was read, for notes.
      note: why these are not the model's own; empty if they are.
      digest: of the file.
    """

    directions: Floats | None
    table: SingleSenseTable
    source: str = ""
    note: str = ""
    digest: str = ""


def to_bytes(constants: SenseConstants, made_for: Mapping[str, Any]) -> bytes:
    """Return the file of constants.

    Args:
      constants: what was learned.
      made_for: JSON values of the vectors: fingerprint, layer_weights, pooling; and how it was
        made, for readers.
    """
    from safetensors.numpy import save

    tensors = {
        field.name: np.ascontiguousarray(values, np.float32)
        for field in fields(SingleSenseTable)
        if (values := getattr(constants.table, field.name)) is not None
    }
    if constants.directions is not None:
        tensors["directions"] = np.ascontiguousarray(constants.directions, np.float16)
    return save(tensors, {"made_for": json.dumps(dict(made_for), sort_keys=True)})


def from_bytes(data: bytes, source: str) -> tuple[SenseConstants, dict[str, Any]]:
    """Read what `to_bytes` gave.

    Raises:
      CorpusError: if it is damaged, or holds something else; the message names `source`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        length = int.from_bytes(data[:8], "little")
        made_for = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["made_for"])
        tensors = {name: array.astype(np.float32) for name, array in load(data).items()}
        table = SingleSenseTable(
            cohesions=tensors.pop("cohesions", None),
            **{name: tensors.pop(name) for name in _NEEDED},
        )
        directions = tensors.pop("directions", None)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CorpusError(
            f"{source} cannot be read ({error}); make it again with: sensegrep train senses"
        ) from error
    digest = hashlib.sha256(data).hexdigest()[:16]
    found = SenseConstants(directions=directions, table=table, source=source, digest=digest)
    return found, made_for


@lru_cache(maxsize=8)
def constants_for(
    name: str, fingerprint: str, layer_weights: tuple[float, ...], pooling: str, dim: int
) -> SenseConstants:
    """Return the constants of the model that vectors were made with.

    Args:
      name: of the model, as the corpus has it: bundled, or a path or URL.
      fingerprint, layer_weights, pooling, dim: of the vectors.

    Returns:
      the model's own, or those of no model, with a note that says why.
    """
    from elmo_infer.reading import earlier_versions, read_beside

    wanted = {
        "fingerprint": fingerprint,
        "layer_weights": [round(weight, 6) for weight in layer_weights],
        "pooling": pooling,
    }
    why = f"the model {name} has no settings of its own"
    for place in (name, *earlier_versions(name)):
        data = read_beside(place, CONSTANTS_FILE)
        if data is None:
            continue
        found, made_for = from_bytes(data, f"{place}/{CONSTANTS_FILE}")
        differing = [key for key, value in wanted.items() if made_for.get(key) != value]
        if found.directions is not None and len(found.directions) != 2 * dim:
            differing.append("width")
        if not differing:
            return found
        why = f"the settings of {place} are for another {' and '.join(differing)}"
    general, _ = from_bytes(FALLBACK.read_bytes(), FALLBACK.name)
    note = (
        f"senses were found with general settings, because {why}; `sensegrep train senses`"
        " learns settings for a model, which are better"
    )
    return replace(general, directions=None, note=note)
