"""Checks of the arguments of an encoder, made before anything is computed."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from elmo_infer.config import POOLINGS

Sentences = Sequence[Sequence[str]]


class DeviceError(ValueError):
    """A device that is not in this machine, or that no machine has."""


def check_sentences(sentences: Sentences) -> npt.NDArray[np.int64]:
    """Return the lengths [B] of sentences that are lists of strings, or say what is not one."""
    if isinstance(sentences, str):
        raise TypeError(
            f"sentences is a string, {sentences[:40]!r}; expected a list of lists of tokens"
        )
    for index, sentence in enumerate(sentences):
        if isinstance(sentence, str):
            raise TypeError(
                f"sentence {index} is a string, {sentence[:40]!r}; expected a list of tokens. "
                "Pass a list of sentences, each a list of strings"
            )
        if not isinstance(sentence, Sequence):
            raise TypeError(
                f"sentence {index} is {sentence!r} ({type(sentence).__name__}); expected a list "
                "of tokens"
            )
        if set(map(type, sentence)) <= {str}:
            continue  # at a fraction of the loop's cost
        for position, token in enumerate(sentence):
            if not isinstance(token, str):
                raise TypeError(
                    f"token {position} of sentence {index} is {token!r} ({type(token).__name__}); "
                    "expected a string. Convert tokens with str() first"
                )
    return np.array([len(sentence) for sentence in sentences], dtype=np.int64)


def check_layer_weights(layer_weights: Sequence[float], n_layers: int) -> tuple[float, ...]:
    """Return the coefficients as floats, one per layer, or say what is wrong with them."""
    coefficients = tuple(float(weight) for weight in layer_weights)
    if len(coefficients) != n_layers:
        raise ValueError(
            f"layer_weights has {len(coefficients)} numbers; this model has {n_layers} layers, "
            "so it needs as many"
        )
    if not np.isfinite(coefficients).all():
        raise ValueError(f"layer_weights is {coefficients}; expected finite numbers")
    return coefficients


def check_pooling(
    pooling: str, focus: Sequence[int | None] | None, lengths: npt.NDArray[np.int64]
) -> None:
    """Raise ValueError unless pooling is known and every focus is a token of its sentence."""
    if pooling not in POOLINGS:
        raise ValueError(f"unknown pooling {pooling!r}; expected one of {', '.join(POOLINGS)}")
    if focus is None:
        return
    if pooling != "attention":
        raise ValueError(f"focus needs pooling='attention'; found pooling={pooling!r}")
    if len(focus) != len(lengths):
        raise ValueError(f"focus has {len(focus)} entries for {len(lengths)} sentences")
    for index, (position, length) in enumerate(zip(focus, lengths, strict=True)):
        if position is not None and not 0 <= position < length:
            raise ValueError(
                f"focus of sentence {index} is {position}; expected a token index from 0 to "
                f"{length - 1}, or None"
            )
