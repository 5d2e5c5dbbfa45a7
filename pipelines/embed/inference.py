"""ElmoModelHandler: a loaded model for Beam's RunInference.

A batch on which the model fails is halved until the failing sentence is alone; that one becomes
a reject. If every sentence of a batch fails alone, the model or the device is broken: an error.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler

from pipelines.embed.batch import EmbeddedBatch, Sentence, SentenceBatch
from pipelines.embed.meter import METRICS
from pipelines.embed.options import ModelOptions
from pipelines.embed.recipe import Recipe
from pipelines.reading.documents import EMBED, Reject, raw_start
from pipelines.text.normal_forms import is_plain, normal_form

logger = logging.getLogger(__name__)
_PROBE = [["the"]]
_lock = threading.Lock()
_loaded: dict[ModelOptions, Any] = {}


def load_model(options: ModelOptions) -> Any:
    """Return the model, kept for the life of this process so that slices share it.

    Raises:
      ValueError or OSError: if it cannot be loaded; the message says why.
    """
    with _lock:
        if options not in _loaded:
            from elmo_infer import load

            _loaded.clear()  # one model at a time: two could fill a device
            _loaded[options] = load(
                options.model,
                device=options.device,
                dtype=options.dtype,
                initial_state=options.initial_state,
                max_tokens_per_batch=options.max_tokens_per_batch,
            )
        return _loaded[options]


def describe_model(options: ModelOptions) -> Any:
    """Return the model for its description alone: on the CPU, and not kept.

    A process that submits a job needs neither the device nor the arithmetic of its workers.

    Raises:
      ValueError or OSError: if it cannot be loaded; the message says why.
    """
    from elmo_infer import load

    return load(options.model, device="cpu", initial_state=options.initial_state)


@dataclass(frozen=True)
class ElmoModelHandler(ModelHandler[SentenceBatch, EmbeddedBatch, Any]):
    """Embeds one packed batch at a time; use it `with_no_batching()`.

    Attributes:
      options: which model, and where.
      recipe: how vectors are made; a worker that loads other weights than these fails.
    """

    options: ModelOptions
    recipe: Recipe

    def load_model(self) -> Any:
        """Load the model once a process."""
        model = load_model(self.options)
        expected = self.recipe.model["fingerprint"]
        if model.fingerprint != expected:
            raise RuntimeError(
                f"this worker loaded {self.options.model} with fingerprint {model.fingerprint},"
                f" but the job was planned with {expected}; give all workers the same model files"
            )
        return model

    def run_inference(
        self,
        batch: Any,
        model: Any,
        inference_args: dict[str, Any] | None = None,
    ) -> list[EmbeddedBatch]:
        """Embed one batch.

        A list, not a generator: Beam measures and cleans up only what is done when this returns.
        """
        del inference_args
        embedded = embed_batch(batch, model, self.recipe)
        _count_words(model)
        return [embedded]

    def get_num_bytes(self, batch: Any) -> int:
        """Return the bytes of the texts; the default would pickle the batch to know."""
        return sum(len(sentence.text) for sentence in batch.sentences)

    def get_metrics_namespace(self) -> str:
        """Return the namespace of RunInference's own metrics."""
        return "sensegrep_embed"


def _count_words(model: Any) -> None:
    # A baseline looks every word up in its table: it has no cache, and nothing is counted.
    if hasattr(model, "take_word_counts"):
        counts = model.take_word_counts()
        Metrics.counter(METRICS, "word_cache_hits").inc(counts.hits)
        Metrics.counter(METRICS, "word_cache_misses").inc(counts.misses)


def embed_batch(batch: SentenceBatch, model: Any, recipe: Recipe) -> EmbeddedBatch:
    """Embed a batch; sentences that fail alone become rejects of it.

    Raises:
      RuntimeError: if all of the sentences fail, each alone.
    """
    dtype = np.dtype(recipe.options["vector_dtype"])
    pieces, failed = _embed_or_halve(batch.sentences, model, recipe, dtype)
    if failed and len(failed) == len(batch.sentences):
        _blame(failed, model)
    rejects = [_reject(sentence, error) for sentence, error in failed]
    done = [sentence for piece in pieces for sentence in piece[0]]
    left = SentenceBatch(
        batch.part, batch.sequence, done, batch.ends, batch.rejects + rejects, batch.last
    )
    if len(pieces) == 1:
        return EmbeddedBatch(left, *pieces[0][1:])
    width = (0, recipe.dim)
    return EmbeddedBatch(
        left,
        np.concatenate([np.empty(width, dtype), *(piece[1] for piece in pieces)]),
        np.concatenate([np.empty(width, dtype), *(piece[2] for piece in pieces)]),
        np.concatenate([np.empty(0, np.float32), *(piece[3] for piece in pieces)]),
    )


_Piece = tuple[Sequence[Sentence], Any, Any, Any]
_Failed = list[tuple[Sentence, Exception]]


def _embed_or_halve(
    sentences: Sequence[Sentence], model: Any, recipe: Recipe, dtype: np.dtype
) -> tuple[list[_Piece], _Failed]:
    # Whatever the model raises: halving finds what causes it.
    if not sentences:
        return [], []
    try:
        return [_embed(sentences, model, recipe, dtype)], []
    except Exception as error:
        logger.warning("%d sentences failed with: %r", len(sentences), error)
    if len(sentences) == 1:
        # Once more: the failure of a device need not be the sentence's.
        try:
            return [_embed(sentences, model, recipe, dtype)], []
        except Exception as error:
            return [], [(sentences[0], error)]
    middle = len(sentences) // 2
    first, first_failed = _embed_or_halve(sentences[:middle], model, recipe, dtype)
    second, second_failed = _embed_or_halve(sentences[middle:], model, recipe, dtype)
    return first + second, first_failed + second_failed


def _embed(sentences: Sequence[Sentence], model: Any, recipe: Recipe, dtype: np.dtype) -> _Piece:
    result = model.embed(
        model_tokens(sentences, recipe.options["tokenizer"]["rules"]),
        layer_weights=recipe.options["layer_weights"],
        pooling=recipe.options["pooling"],
    )
    limit = float(np.finfo(dtype).max)
    for vectors in (result.token_vectors, result.sentence_vectors):
        # Two passes without a copy; a NaN fails every comparison.
        if vectors.size and not (-limit <= vectors.min() and vectors.max() <= limit):
            raise ValueError(
                f"the model gave vectors that are not finite in {dtype}; try --dtype float32"
            )
    token_vectors = result.token_vectors.astype(dtype, copy=False)
    sentence_vectors = result.sentence_vectors.astype(dtype, copy=False)
    return sentences, token_vectors, sentence_vectors, result.attention


def model_tokens(sentences: Sequence[Sentence], rules: int) -> list[list[str]]:
    """Return the tokens of sentences as the model reads them: in normal form.

    Args:
      sentences: [B].
      rules: version of the corpus's token rules; in version 1 a token is its own form.
    """
    if rules == 1:
        return [sentence.tokens for sentence in sentences]
    return [
        sentence.tokens
        if is_plain(sentence.text)
        else [normal_form(token) for token in sentence.tokens]
        for sentence in sentences
    ]


def _blame(failed: _Failed, model: Any) -> None:
    """Decide whether a batch that failed as a whole condemns the model."""
    error = failed[0][1]
    if len(failed) == 1:
        # A sentence that was alone in its batch: ask the model about a harmless one.
        try:
            model.embed(_PROBE)
        except Exception as probe_error:
            raise RuntimeError(
                f"the model fails even on {_PROBE[0]}: {probe_error!r}; the model or the device is"
                " broken"
            ) from probe_error
        return
    sentence = failed[0][0]
    raise RuntimeError(
        f"each of the {len(failed)} sentences of a batch failed alone, the first (doc_id="
        f"{sentence.doc_id!r}, sentence_index={sentence.sentence_index}) with {error!r}; the model"
        " or the device is broken"
    ) from error


def _reject(sentence: Sentence, error: Exception) -> Reject:
    return Reject(
        sentence.uri,
        sentence.position,
        EMBED,
        "model-failed",
        raw_start(repr(error)),
        sentence.doc_id,
        sentence.sentence_index,
        raw_start(sentence.text),
    )
