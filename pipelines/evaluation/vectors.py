"""Embed the sentences of evaluation sets, each distinct sentence once.

L layers, D vector width. A view is a named layer mix: each layer alone, and the model's own mix.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipelines.evaluation.sets import Context, Sentence

Vectors = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]  # tokens done, tokens in all

# Tokens embedded between two looks at the clock; their layers are held at once: 200 MB at
# D = 1024, L = 3.
BLOCK_TOKENS = 16_384


class Encoder(Protocol):
    """What `elmo_infer.load` returns, an ELMo or a static encoder."""

    name: str
    fingerprint: str
    dim: int
    n_layers: int
    default_layer_weights: tuple[float, ...]
    pooling: Any

    def layers(self, sentences: Sequence[Sequence[str]]) -> list[npt.NDArray[Any]]: ...


@dataclass(frozen=True)
class View:
    """A layer mix under its name: "layer 0", ..., "mix" for the model's own."""

    name: str
    weights: tuple[float, ...]


def views_of(encoder: Encoder, mixes: Sequence[Sequence[float]] = ()) -> tuple[View, ...]:
    """Every layer alone, the model's own mix, and the given mixes; one layer is no mix.

    Args:
      encoder: the model.
      mixes: each [L] coefficients; the view is named after them: "mix 0.2,0.5,0.3".

    Raises:
      ValueError: if one of the mixes has not one number per layer.
    """
    count = encoder.n_layers
    views = [
        View(f"layer {layer}", tuple(float(layer == each) for each in range(count)))
        for layer in range(count)
    ]
    if count > 1:
        views.append(View("mix", tuple(encoder.default_layer_weights)))
    for weights in mixes:
        if len(weights) != count:
            raise ValueError(
                f"{len(weights)} layer weights for {encoder.name}, which has {count} layers"
            )
        name = ",".join(f"{weight:g}" for weight in weights)
        views.append(View(f"mix {name}", tuple(weights)))
    return tuple(views)


def mix(layers: Vectors, view: View) -> Vectors:
    """Sum_l weights[l] * layers[l]: [L, N, D] -> [N, D]."""
    return np.tensordot(np.asarray(view.weights, dtype=np.float32), layers, axes=1)


def plan_blocks(lengths: Sequence[int], block_tokens: int = BLOCK_TOKENS) -> list[list[int]]:
    """Group sentences, shortest first, into blocks of at most `block_tokens` tokens.

    Sentences of like length together waste least in the model. A longer sentence is a block of
    its own.
    """
    blocks: list[list[int]] = []
    held = block_tokens + 1
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if held + lengths[index] > block_tokens:
            blocks.append([])
            held = 0
        blocks[-1].append(index)
        held += lengths[index]
    return blocks


def target_vectors(
    encoder: Encoder, contexts: Sequence[Context], progress: Progress | None = None
) -> Vectors:
    """Embed the target token of each context in every layer.

    Returns:
      [L, N, D] float32, in the order of `contexts`.
    """
    sentences, rows = _distinct([context.tokens for context in contexts])
    wanted: list[list[int]] = [[] for _ in sentences]
    for number, row in enumerate(rows):
        wanted[row].append(number)
    result = np.empty((encoder.n_layers, len(contexts), encoder.dim), dtype=np.float32)
    for block, layers in _embedded(encoder, sentences, progress):
        for row, values in zip(block, layers, strict=True):
            for number in wanted[row]:
                result[:, number] = values[:, contexts[number].index]
    return result


def sentence_vectors(
    encoder: Encoder,
    sentences: Sequence[Sentence],
    views: Sequence[View],
    poolings: Sequence[str],
    progress: Progress | None = None,
) -> dict[tuple[str, str], Vectors]:
    """Embed sentences under every view and every pooling, computing each layer once.

    The poolings are those of the model's own `embed`: attention asks with the query that the model
    has learned, or with the sentence's mean token vector if it has none.

    Returns:
      By (view name, pooling): [N, D] float32, in the order of `sentences`; zero for an empty one.
    """
    distinct, rows = _distinct(sentences)
    shape = (len(distinct), encoder.dim)
    found = {(v.name, p): np.zeros(shape, dtype=np.float32) for v in views for p in poolings}
    for block, layers in _embedded(encoder, distinct, progress):
        lengths = np.array([values.shape[1] for values in layers], dtype=np.int64)
        together = np.concatenate(layers, axis=1)  # [L, n, D]
        for view in views:
            tokens = mix(together, view)
            for pooling in poolings:
                pooled = _pool(tokens, lengths, pooling, encoder.pooling.query)
                found[view.name, pooling][block] = pooled
    return {key: vectors[rows] for key, vectors in found.items()}


def _pool(
    tokens: Vectors, lengths: npt.NDArray[np.int64], pooling: str, query: Vectors | None
) -> Vectors:
    import torch

    from elmo_infer.pooling import attention_pool, max_pool, mean_pool

    values = torch.from_numpy(tokens)
    if pooling == "attention":
        asked = None if query is None else torch.from_numpy(np.asarray(query, dtype=np.float32))
        pooled, _ = attention_pool(values, lengths, asked)
    elif pooling == "mean":
        pooled, _ = mean_pool(values, lengths)
    elif pooling == "max":
        pooled, _ = max_pool(values, lengths)
    else:
        raise ValueError(f"unknown pooling {pooling!r}; expected attention, mean or max")
    return np.asarray(pooled.numpy(), dtype=np.float32)


def _distinct(sentences: Sequence[Sentence]) -> tuple[list[Sentence], list[int]]:
    """The distinct sentences, and for each given one its number among them."""
    numbers: dict[Sentence, int] = {}
    rows = [numbers.setdefault(sentence, len(numbers)) for sentence in sentences]
    return list(numbers), rows


def _embedded(encoder: Encoder, sentences: Sequence[Sentence], progress: Progress | None) -> Any:
    """Yield (sentence numbers, their layers [L, T, D]) block by block."""
    lengths = [len(sentence) for sentence in sentences]
    done, total = 0, sum(lengths)
    for block in plan_blocks(lengths):
        yield block, encoder.layers([sentences[index] for index in block])
        done += sum(lengths[index] for index in block)
        if progress is not None:
            progress(done, total)
