"""Presets by name."""

import pytest

from elmo_infer.training.presets import preset


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown preset 'huge'; expected one of tiny, compact"):
        preset("huge")
