"""Beam transforms, storage, index, sense-aware search and the command line of sensegrep."""

from importlib import import_module
from typing import Any

# Resolved on first use: `import pipelines` costs nothing, and a search never imports Beam.
_HOMES = {
    "Corpus": "pipelines.api",
}

__all__ = ["Corpus"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pipelines' has no attribute {name!r}")
