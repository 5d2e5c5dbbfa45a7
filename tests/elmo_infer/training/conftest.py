"""Fixtures: a small text to train on."""

from pathlib import Path

import numpy as np
import pytest

from elmo_infer.training.token_store import TokenStore, build_token_store


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    """Twenty documents of six sentences of nine words, drawn with one seed."""
    rng = np.random.default_rng(5)
    words = ["the", "cat", "dog", "sat", "ran", "on", "mat", "hill", "."]
    documents = [
        [[*rng.choice(words, size=rng.integers(3, 9)), "."] for _ in range(6)] for _ in range(20)
    ]
    return build_token_store(documents, tmp_path / "text")
