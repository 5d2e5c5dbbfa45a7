"""The options of an index, checked before any work starts."""

from dataclasses import dataclass

from pipelines.errors import UsageError

MIN_MEMORY_BYTES = 512 << 20


# What an index gets where neither the options nor an earlier index say. On SemCor's lemmas no other
# value of the two weights is better by more than 0.001 of same-sense precision@10
# (tests/benchmarks/test_chosen_numbers.py); what each part adds is measured by
# tests/benchmarks/test_search_sense.py.
DEFAULT_SETTINGS = {
    "center": True,
    "remove_components": 0,
    "word_center": True,
    "sentence_weight": 0.5,
    "context_weight": 0.6,
    "factory": None,
}


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """Read a size such as `4G` or `512M` into bytes.

    Raises:
      UsageError: if the text is not a positive number with an optional K, M, G or T.
    """
    word = text.strip().upper().removesuffix("IB").removesuffix("B")
    number, unit = (word[:-1], word[-1]) if word and word[-1] in "KMGT" else (word, "")
    try:
        size = int(float(number) * _UNITS[unit])
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise UsageError(f"{text!r} is not a size; expected one such as 4G, 512M or 1048576")
    return size


@dataclass(frozen=True, kw_only=True)
class IndexOptions:
    """How `build_index` builds.

    Where None is allowed it means: as the index in place has it, or else the default.

    Attributes:
      max_memory_bytes: the build's peak memory, the process itself included.
      target_recall: recall@10 against exact search that an approximate index must reach.
      allow_low_recall: commit an index below `target_recall` instead of failing.
      factory: a FAISS factory string for search over all words and sentences; without one the
        plan chooses (exact, HNSW, IVF, or OPQ + IVF + PQ).
      center: subtract the corpus mean before normalising.
      remove_components: how many top principal components to remove after centering.
      word_center: compare occurrences of a word around the mean of that word.
      sentence_weight: share of the sentence vectors' cosine in the vectors' part of the score of a
        word's occurrence, 0 to 1.
      context_weight: share of the words around in that score, 0 to 1 (see `search.context`); the
        rest is the vectors'. Search over all words compares tokens' vectors alone.
      shard_rows: most token vectors in a shard; None lets the memory limit decide.
      rebuild: build everything anew instead of adding shards to the index in place.
      seed: of every sample and of every training.
      beam_args: flags for Beam, passed through untouched.
    """

    max_memory_bytes: int = 2 << 30
    target_recall: float = 0.9
    allow_low_recall: bool = False
    factory: str | None = None
    center: bool | None = None
    remove_components: int | None = None
    word_center: bool | None = None
    sentence_weight: float | None = None
    context_weight: float | None = None
    shard_rows: int | None = None
    rebuild: bool = False
    seed: int = 0
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_memory_bytes < MIN_MEMORY_BYTES:
            raise UsageError(
                f"--max-memory is {self.max_memory_bytes} bytes; an index build needs at least"
                f" {MIN_MEMORY_BYTES} (512M)"
            )
        if not 0 < self.target_recall <= 1:
            raise UsageError(f"--target-recall is {self.target_recall}; give one above 0, up to 1")
        for name in ("sentence_weight", "context_weight"):
            weight = getattr(self, name)
            if not 0 <= (weight or 0) <= 1:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} is {weight}; give one from 0 to 1")
        if not 0 <= (self.remove_components or 0) <= 64:
            raise UsageError(
                f"--remove-components is {self.remove_components}; give one from 0 to 64"
            )
        if self.remove_components and self.center is False:
            raise UsageError(
                "--remove-components needs centering: the components are those around the mean"
            )
        if self.shard_rows is not None and self.shard_rows < 1:
            raise UsageError(f"--shard-rows is {self.shard_rows}; give at least 1")
