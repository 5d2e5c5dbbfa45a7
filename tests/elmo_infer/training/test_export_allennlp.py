"""A trained model read by AllenNLP's own modules, where they are at hand."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from elmo_infer import load
from elmo_infer.training.export import write_official_layout
from elmo_infer.training.parameters import initial_parameters
from elmo_infer.training.presets import preset

SENTENCES = [["They", "sat", "on", "the", "bank", "."], ["Äpfel", "<S>", "", "x" * 70]]


@pytest.mark.filterwarnings("ignore")  # the reference is years older than this torch
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_allennlp_computes_the_same_from_an_exported_model(
    shared: Path, tmp_path: Path, dtype: str
) -> None:
    if "ALLENNLP_ROOT" not in os.environ:
        pytest.skip("ALLENNLP_ROOT does not name the unpacked wheel of allennlp 2.10.1")
    specification = importlib.util.spec_from_file_location(
        "ref_allennlp", shared / "peers" / "ref_allennlp.py"
    )
    assert specification is not None
    assert specification.loader is not None
    reference = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(reference)
    config = preset("compact")
    write_official_layout(tmp_path, config, initial_parameters(config, seed=3), dtype)

    bilm = reference.load_bilm(str(tmp_path / "options.json"), str(tmp_path / "weights.hdf5"))
    expected = reference.embed(bilm, SENTENCES)
    found = load(str(tmp_path), device="cpu").layers(SENTENCES)

    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs), atol=5e-5)
