"""The first step of an index build: count each part, and sample its vectors."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipelines.corpus.checksums import check_part
from pipelines.corpus.scan import vectors_of
from pipelines.index.exact import Floats
from pipelines.index.files import writing
from pipelines.index.parts import Build, Measure, PartRef, part_name, read_part, sampled
from pipelines.index.word_forms import forms_of, rules_of


def measure_part(part: PartRef, build: Build) -> Measure:
    """Count a part's live rows and forms, and write a sample of its vectors.

    Raises:
      CorpusError: if the part is not as it was written: an index of it would get sums of its own.
    """
    segments = {segment.segment_id: segment for segment in build.corpus.segments}
    for written in segments[part.segment_id].parts[part.table]:
        if written.path == part.path:
            check_part(build.corpus.store, part.segment_id, written)
    rate = build.sample_rates.get(part.table, 0.0)
    columns = {"documents": [], "sentences": ["vector_id"], "tokens": ["vector_id", "token"]}
    wanted = [*columns[part.table], *(["vector"] if rate else [])]
    rows, rules = 0, rules_of(build.corpus)
    forms: pa.Table | None = None
    samples: list[NDArray[Any]] = []
    for batch in read_part(build.corpus, part, wanted):
        rows += batch.num_rows
        if part.table == "tokens":
            counted = count_forms(forms_of(batch.column("token"), rules))
            forms = merge_forms([*([forms] if forms else []), counted])
        if rate:
            ids = batch.column("vector_id").to_numpy()
            chosen = sampled(ids, rate, build.seed) & ~build.held_out[part.table].among(ids)
            samples.append(vectors_of(batch, build.dim)[chosen].astype(np.float32))
    path = None
    if samples:
        path = (
            f"{build.directory}/scratch/sample-{part.segment_id}-{part.table}-{part_name(part)}.npy"
        )
        with writing(build, path) as file:
            np.save(file, np.concatenate(samples), allow_pickle=False)
    return Measure(part=part, rows=rows, forms=forms, sample=path)


def count_forms(tokens: pa.Array) -> pa.Table:
    """Count each form of a column of tokens: a table of form and count."""
    counted = tokens.value_counts()
    return pa.table({"form": counted.field("values"), "count": counted.field("counts")})


def merge_forms(tables: Sequence[pa.Table]) -> pa.Table:
    """Add up tables of form and count."""
    if len(tables) == 1:
        return tables[0]
    summed = pa.concat_tables(tables).group_by("form").aggregate([("count", "sum")])
    return summed.rename_columns({"count_sum": "count"})


def load_sample(measures: Iterable[Measure], table: str, build: Build) -> Floats:
    """Read the sampled vectors of a table, in the order of its parts."""
    paths = {m.part: m.sample for m in measures if m.part.table == table and m.sample}
    found = [paths[part] for part in build.parts if part in paths]
    # Their lengths first, so that never the whole and its pieces are in memory.
    lengths = []
    for path in found:
        with build.corpus.store.open(path) as file:
            npy.read_magic(file)
            lengths.append(npy.read_array_header_1_0(file)[0][0])
    sample = np.empty((sum(lengths), build.dim), np.float32)
    place = 0
    for path, length in zip(found, lengths, strict=True):
        with build.corpus.store.open(path) as file:
            sample[place : place + length] = np.load(file, allow_pickle=False)
        place += length
    return sample
