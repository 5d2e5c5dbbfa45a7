"""The pooling query of a finished model: learned last, and written with its mix of layers."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from elmo_infer import load
from elmo_infer.training.forms import WordForms
from elmo_infer.training.pooling import learn_query
from elmo_infer.training.ranked_query import (
    SENTENCES,
    choose_sentences,
    learn_ranking,
)
from elmo_infer.training.teacher_cache import TeacherCache
from elmo_infer.training.token_store import TokenStore

_LOG = logging.getLogger(__name__)
POOLING = "pooling.safetensors"


def learn_pooling(
    store: TokenStore,
    directory: Path,
    layer_weights: Sequence[float],
    seed: int,
    *,
    cache: TeacherCache | None = None,
    start: torch.Tensor | None = None,
    forms: WordForms | None = None,
    penalty: tuple[float, float] = (0.0, 0.0),
    device: str = "cpu",
) -> None:
    """Learn a finished model's pooling query, and write it.

    A teacher says which of the sentences near to one are nearest, and the query goes on from
    `start`, the one that the losses of training have learned. Without a teacher neighbouring
    sentences are told from others.

    pooling.safetensors gets `query` [D] and `layer_weights` [L], the mix it was learned for. A
    text without enough sentences is logged, and leaves the query of training, or a model that
    pools with its mean token.

    Args:
      store: training text.
      directory: of the model, in the official layout.
      layer_weights: [L] of the mix.
      seed: of the sentences.
      cache: what a teacher makes of the text, or None.
      start: [D] the query to go on from.
      forms: of the text's types; needed by a penalty.
      penalty: weights of attention's mass on punctuation and on stop words.
      device: where the sentences are embedded.
    """
    model = load(str(directory), device=device)
    words = store.types

    def encode(sentences: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
        embedded = model.embed(sentences, layer_weights=layer_weights, pooling="mean")
        return embedded.token_vectors, embedded.offsets

    try:
        if cache is None or start is None:
            query = learn_query(
                store,
                encode,
                model.dim,
                seed=seed,
                kinds=None if forms is None else forms.kinds,
                penalty=penalty,
            )
        else:
            rng = np.random.default_rng((seed, 17))
            chosen = choose_sentences(store, cache.sentences, SENTENCES, rng)
            starts, ends = store.sentences[chosen], store.sentences[chosen + 1]
            tokens = [store.tokens[first:last] for first, last in zip(starts, ends, strict=True)]
            query = learn_ranking(
                *encode([[words[token] for token in one] for one in tokens]),
                torch.from_numpy(np.asarray(cache.sentences[chosen])).float(),
                start,
                seed=seed,
                kinds=None if forms is None else forms.kinds[np.concatenate(tokens)],
                penalty=penalty,
            )
    except ValueError as error:
        kept = "the mean token" if start is None else "the query of training as it is"
        _LOG.warning("no pooling query was learned, so the model uses %s: %s", kept, error)
        return
    save_pooling(directory, query, layer_weights)


def save_pooling(out: Path, query: torch.Tensor, layer_weights: Sequence[float]) -> None:
    """Write a pooling query [D] and the mix [L] that it is for beside a model, and rename it."""
    part = out / f"{POOLING}.tmp"
    tensors = {"query": query, "layer_weights": torch.tensor(layer_weights, dtype=torch.float32)}
    save_file(tensors, str(part))
    # Readable by whoever may read the weights; the writer makes it private.
    part.chmod((out / "options.json").stat().st_mode)
    os.replace(part, out / POOLING)
