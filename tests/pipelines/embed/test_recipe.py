"""The recipe of rows: what decides its fingerprint and its digest."""

import json
from typing import Any

from pipelines.embed.recipe import Recipe


def test_recipe_depends_on_what_decides_rows_alone() -> None:
    def recipe(**options: Any) -> Recipe:
        chosen = {
            "layer_weights": [1.0],
            "pooling": "mean",
            "initial_state": "zero",
            "tokenizer": {"name": "spacy"},
            "vector_dtype": "float16",
            "tokens": "all",
            **options,
        }
        return Recipe(model={"name": "m", "fingerprint": "f"}, options=chosen, dim=4)

    base = recipe()
    assert recipe().digest == base.digest
    for stored in ({"vector_dtype": "float32"}, {"tokens": "none"}):
        assert recipe(**stored).fingerprint == base.fingerprint
        assert recipe(**stored).digest != base.digest
    for decisive in ({"pooling": "max"}, {"layer_weights": [0.5]}, {"initial_state": "warm"}):
        assert recipe(**decisive).fingerprint != base.fingerprint
    assert json.dumps(base.options)
