"""Encode a query with the model, layer weights and tokenizer of the corpus."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elmo_infer.arguments import DeviceError
from pipelines.corpus.view import CorpusView
from pipelines.errors import CorpusError, UsageError
from pipelines.search.query import find_node, parse_query
from pipelines.text.scripts import wrong_language
from pipelines.text.tokenizer import make_tokenizer

# A query is encoded as one sentence, whatever its length.
MAX_QUERY_TOKENS = 8192


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedQuery:
    """A query as the model sees it.

    Attributes:
      text: without brackets.
      tokens: of the sentence, in normal form.
      token_index: of the bracketed word; None without brackets.
      token_vector: [D] float32, contextual; None without brackets. Not centred.
      sentence_vector: [D] float32. Not centred.
      several: the query had several sentences and was read as one.
      notes: what a reader should know of the model.
      attention: [T] weights of the tokens in the sentence's vector.
    """

    text: str
    tokens: tuple[str, ...]
    token_index: int | None
    token_vector: NDArray[np.float32] | None
    sentence_vector: NDArray[np.float32]
    several: bool
    notes: tuple[str, ...] = ()
    attention: tuple[float, ...] = ()

    @property
    def word(self) -> str | None:
        """The bracketed word."""
        return None if self.token_index is None else self.tokens[self.token_index]


class QueryEncoder:
    """Encodes queries for one corpus; the model is loaded at the first query.

    Args:
      corpus: whose segments say model, layer mix, pooling and tokenizer.
      model: where the model is now, if it is not where `embed` found it.
      device: auto, cpu, cuda or cuda:N. On auto and cpu a query is encoded without PyTorch.
      batches: load the model for batches of sentences (PyTorch), on whatever device.
      loaded: the corpus's model, loaded already: anything with its `embed`.
      notes: what a reader should know of that model.
    """

    def __init__(
        self,
        corpus: CorpusView,
        *,
        model: str | None = None,
        device: str = "auto",
        batches: bool = False,
        loaded: Any = None,
        notes: Sequence[str] = (),
    ) -> None:
        corpus.fingerprint  # noqa: B018  # several models in one corpus are refused here
        self._segment = corpus.segments[0]
        self._name = model or str(self._segment.model["name"])
        self._moved = model is not None
        if model is None and "://" in self._name:
            raise CorpusError(
                f"the corpus at {corpus.root} was embedded with the model {self._name}, and"
                f" sensegrep does not fetch a model because a corpus names it; if you trust it,"
                f" give --model {self._name}"
            )
        self._device = device
        self._batches = batches
        self._loaded = loaded
        self.notes = list(notes)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer the corpus was made with."""
        return make_tokenizer(dict(self._segment.options["tokenizer"]))

    @cached_property
    def model(self) -> Any:
        """The model the corpus was made with.

        Raises:
          CorpusError: if it cannot be loaded, or is another one.
        """
        if self._loaded is not None:
            return self._loaded
        expected = self._segment.model["fingerprint"]
        elmo = self._load(self._name)
        if elmo.fingerprint == expected:
            return elmo
        from elmo_infer.reading import earlier_versions

        for earlier in earlier_versions(self._name):
            older = self._load(earlier)
            if older.fingerprint == expected:
                self.notes.append(
                    f"the corpus was embedded with earlier weights of {self._name}, so queries are"
                    f" encoded with those (bundled as {earlier}); to use the present weights, embed"
                    f" its documents again, or add to it as it is with --model {earlier}"
                )
                return older
        raise CorpusError(
            f"the model {self._name} (fingerprint {elmo.fingerprint[:12]}...) is not the model"
            f" that the corpus was embedded with ({expected[:12]}...), so their vectors cannot be"
            " compared; give that model with --model, or embed the corpus again"
        )

    def _load(self, name: str) -> Any:
        import elmo_infer  # whose names import PyTorch, or not, when they are used

        state = self._segment.options["initial_state"]
        try:
            if self._device in ("auto", "cpu") and not self._batches:
                return elmo_infer.load_sentence_encoder(name, initial_state=state)
            return elmo_infer.load(name, device=self._device, initial_state=state)
        except DeviceError:
            raise  # has nothing to do with the model
        except (FileNotFoundError, ValueError) as error:
            said = f"the model {name} cannot be loaded: {error}"
            if not self._moved:
                said = (
                    f"the corpus was embedded with the model {name}, which cannot be loaded"
                    f" ({error})"
                )
            raise CorpusError(
                f"{said}; give the path of the corpus's model with --model PATH"
            ) from error

    def tokens(self, text: str) -> list[tuple[int, int]]:
        """Return the code points [start, end) of a text's tokens, in order."""
        return [
            place
            for sentence in self.tokenizer.tokenize(text)
            for place in zip(sentence.token_starts, sentence.token_ends, strict=True)
        ]

    def _find(
        self, text: str, node: tuple[int, int], starts: Sequence[int], ends: Sequence[int]
    ) -> int:
        try:
            return find_node(text, node, starts, ends)
        except UsageError as error:
            language = str(self._segment.options["tokenizer"]["language"])
            remark = wrong_language(text, language)
            if remark is None:
                raise
            raise UsageError(
                f"{error}. The corpus was embedded with --language {language}: {remark}, and embed"
                " the documents into a new corpus"
            ) from error

    def encode(self, query: str) -> EncodedQuery:
        """Encode a query; its brackets may mark one word.

        Raises:
          UsageError: if the query is malformed.
        """
        parsed = parse_query(query)
        sentences = self.tokenizer.tokenize(parsed.text)
        several = len(sentences) > 1
        if parsed.node is not None:
            # The sentence of the word is what a corpus would have embedded.
            node = parsed.node
            touching = [s for s in sentences if s.start < node[1] and s.end > node[0]]
            sentences = touching or sentences
        tokens = [token for sentence in sentences for token in sentence.tokens]
        if len(tokens) > MAX_QUERY_TOKENS:
            raise UsageError(
                f"the query has {len(tokens):,} tokens, expected at most {MAX_QUERY_TOKENS:,}; give"
                " one sentence, or put a word of it in [brackets]"
            )
        starts = [start for sentence in sentences for start in sentence.token_starts]
        ends = [end for sentence in sentences for end in sentence.token_ends]
        index = None if parsed.node is None else self._find(parsed.text, parsed.node, starts, ends)
        forms = [self.tokenizer.form(token) for token in tokens]
        options = self._segment.options
        result = self.model.embed(
            [forms], layer_weights=options["layer_weights"], pooling=options["pooling"]
        )
        return EncodedQuery(
            text=parsed.text,
            tokens=tuple(forms),
            token_index=index,
            token_vector=None if index is None else result.token_vectors[index],
            sentence_vector=result.sentence_vectors[0],
            attention=tuple(result.attention.tolist()),
            several=several and parsed.node is None,
            notes=tuple(self.notes),
        )
