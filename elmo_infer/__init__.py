"""ELMo inference: tokens in, arrays out.

    >>> from elmo_infer import load
    >>> elmo = load("en-small")
    >>> [layers] = elmo.layers([["The", "bank", "of", "the", "river"]])   # [L, T, D]

The imports behind these names (torch among them) happen on first use.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "EmbedResult": "elmo_infer.results",
    "Elmo": "elmo_infer.embedder",
    "load": "elmo_infer.loading",
    "load_sentence_encoder": "elmo_infer.sentence_encoder",
}

__all__ = ["Elmo", "EmbedResult", "load", "load_sentence_encoder"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'elmo_infer' has no attribute {name!r}")
