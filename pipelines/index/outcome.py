"""The result of an index build, as a file from the workers to the command: Arrow and JSON.

It is data only: whatever stands at its path, reading it runs nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.errors import CorpusError
from pipelines.index.centering import Centering
from pipelines.index.fit import Fitted
from pipelines.index.format import IndexFile
from pipelines.index.parts import ShardFiles, ShardLayout

_FORMS = pa.schema([pa.field("form", pa.string()), pa.field("count", pa.int64())])


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardForms:
    """The forms of a shard.

    Attributes:
      forms: in order.
      counts: [forms] int64, vectors of each.
      rows: of documents, sentences and tokens.
    """

    forms: pa.Array
    counts: NDArray[np.int64]
    rows: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What the pipeline made; all None or empty where there was nothing to build."""

    shards: Mapping[str, ShardForms] = field(default_factory=dict)
    fitted: Mapping[str, Fitted] | None = None
    files: tuple[ShardFiles, ...] = ()


def write_outcome(
    file: IO[bytes],
    layout: Mapping[str, ShardLayout],
    fitted: Mapping[str, Fitted],
    files: Sequence[ShardFiles],
) -> None:
    """Write an outcome as an Arrow file: a batch of forms a shard, the rest as JSON beside it."""
    names = sorted(layout)
    about = {
        "shards": {name: dict(layout[name].rows) for name in names},
        "fitted": {
            table: {
                "centering": known.centering.to_json(),
                "trained": None if known.trained is None else asdict(known.trained),
                "rows": known.rows,
            }
            for table, known in fitted.items()
        },
        "files": [asdict(made) for made in files],
    }
    schema = _FORMS.with_metadata({"outcome": json.dumps(about)})
    with pa.ipc.new_stream(file, schema) as writer:
        for name in names:
            arrays = [layout[name].forms, pa.array(layout[name].counts, pa.int64())]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def read_outcome(file: IO[bytes], path: str) -> Outcome:
    """Read what `write_outcome` wrote.

    Raises:
      CorpusError: if it is anything else; the message names `path`.
    """
    try:
        with pa.ipc.open_stream(file) as reader:
            about = json.loads(reader.schema.metadata[b"outcome"])
            batches = list(reader)
        shards = {
            name: ShardForms(
                forms=batch.column("form"), counts=batch.column("count").to_numpy(), rows=rows
            )
            for (name, rows), batch in zip(sorted(about["shards"].items()), batches, strict=True)
        }
        fitted = {table: _fitted(known) for table, known in about["fitted"].items()}
        files = tuple(
            ShardFiles(
                shard=made["shard"],
                files={name: IndexFile(**file) for name, file in made["files"].items()},
            )
            for made in about["files"]
        )
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorpusError(
            f"{path} is not what this build wrote ({error}); run the command again"
        ) from error
    return Outcome(shards=shards, fitted=fitted, files=files)


def _fitted(known: Mapping[str, Any]) -> Fitted:
    return Fitted(
        centering=Centering.from_json(known["centering"]),
        trained=IndexFile(**known["trained"]) if known["trained"] else None,
        rows=known["rows"],
    )
