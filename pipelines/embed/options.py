"""The settings of `embed`, checked before any worker starts."""

from dataclasses import dataclass

from pipelines.errors import UsageError
from pipelines.text.line_layout import AUTO, LINE_BREAK_CHOICES
from pipelines.text.tokenizer import (
    DEFAULT_MAX_SENTENCE_TOKENS,
    PretokenizedText,
    Tokenizer,
    shared_tokenizer,
)

TOKEN_CHOICES = ("all", "content", "none")


VECTOR_DTYPES = ("float16", "float32")


POOLINGS = ("attention", "mean", "max")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model, and where it runs.

    Attributes:
      model: a bundled name, a path or an fsspec URL.
      device: auto, cpu, cuda or cuda:N.
      dtype: what it computes in; auto is what the device is fastest in.
      initial_state: zero or warm.
      max_tokens_per_batch: tokens embedded together; bounds memory, changes no vector.
    """

    model: str = "en-small"
    device: str = "auto"
    dtype: str = "float32"
    initial_state: str = "zero"
    max_tokens_per_batch: int = 8192

    def __post_init__(self) -> None:
        if self.max_tokens_per_batch < 1:
            raise UsageError(
                f"--max-tokens-per-batch is {self.max_tokens_per_batch}, expected at least 1"
            )
        if self.initial_state not in ("zero", "warm"):
            raise UsageError(f"--initial-state is {self.initial_state!r}, expected zero or warm")


@dataclass(frozen=True, kw_only=True)
class EmbedOptions:
    """What a document's rows in a corpus are made from.

    Attributes:
      layer_weights: [L] coefficients of the layers, used as given; a single integer picks that
        layer; None for the model's own.
      pooling: attention, mean or max.
      language: of the tokenizer.
      pretokenized: the texts are tokens already, separated by spaces, one sentence per line.
      max_sentence_tokens: longer sentences are cut there.
      line_breaks: auto, wrapped or lines: what a line break in a text is.
      tokens: whose vectors are stored: all, content (no stop words, no punctuation) or none.
      vector_dtype: precision in which vectors are stored.
    """

    layer_weights: tuple[float, ...] | int | None = None
    pooling: str = "attention"
    language: str = "en"
    pretokenized: bool = False
    max_sentence_tokens: int = DEFAULT_MAX_SENTENCE_TOKENS
    line_breaks: str = AUTO
    tokens: str = "content"
    vector_dtype: str = "float16"

    def __post_init__(self) -> None:
        _check_choice("--pooling", self.pooling, POOLINGS)
        _check_choice("--line-breaks", self.line_breaks, LINE_BREAK_CHOICES)
        _check_choice("--tokens", self.tokens, TOKEN_CHOICES)
        _check_choice("--vector-dtype", self.vector_dtype, VECTOR_DTYPES)
        if self.max_sentence_tokens < 1:
            raise UsageError(
                f"--max-sentence-tokens is {self.max_sentence_tokens}, expected at least 1"
            )

    @property
    def language_of_texts(self) -> str | None:
        """The language whose words are looked for; None where the texts are tokens already."""
        return None if self.pretokenized else self.language

    def make_tokenizer(self) -> Tokenizer | PretokenizedText:
        """Return the tokenizer these options ask for.

        Raises:
          UsageError: if there is none for the language.
        """
        if self.pretokenized:
            return PretokenizedText(self.language, self.max_sentence_tokens)
        return shared_tokenizer(self.language, self.max_sentence_tokens, self.line_breaks)


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How an embedding job runs; none of it changes what a document's rows are.

    Attributes:
      commit_every: documents to a segment, after which the work is safe; None for 2000, or as many
        more as it takes to make a segment worth its commit where documents are short.
      workers: processes; 1 embeds in this one, with all cores.
      prune: documents of the corpus that are not in the input are tombstoned at the end.
      max_reject_fraction: the job fails when more of what it read than this was rejected.
      row_group_bytes: vectors to a Parquet row group.
      parts_per_segment: on an engine, parts to a segment, after which the work is safe.
      part_bytes: on an engine, bytes of input to a part; None chooses by the size of the input.
      wait: on an engine, until the job is done; otherwise it is submitted and left to itself.
    """

    commit_every: int | None = None
    workers: int = 1
    prune: bool = False
    max_reject_fraction: float = 0.5
    row_group_bytes: int = 8 << 20
    parts_per_segment: int = 16
    part_bytes: int | None = None
    wait: bool = True

    def __post_init__(self) -> None:
        for name in (
            "commit_every",
            "workers",
            "row_group_bytes",
            "parts_per_segment",
            "part_bytes",
        ):
            if (value := getattr(self, name)) is not None and value < 1:
                flag = "--" + name.replace("_", "-")
                raise UsageError(f"{flag} is {getattr(self, name)}, expected at least 1")
        if not 0 <= self.max_reject_fraction <= 1:
            raise UsageError(
                f"--max-reject-fraction is {self.max_reject_fraction}, expected 0 to 1"
            )


def _check_choice(flag: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{flag} is {value!r}, expected one of {', '.join(choices)}")
