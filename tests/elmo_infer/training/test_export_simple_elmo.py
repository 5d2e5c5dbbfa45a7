"""A trained model read by simple_elmo on TensorFlow, where an environment with both is at hand.

It needs a Python of its own, which SIMPLE_ELMO_PYTHON names:

    pip install tensorflow-cpu tf_keras h5py pandas scikit-learn smart_open
    pip install --no-deps simple_elmo==0.9.2
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from elmo_infer import load
from elmo_infer.reading import MODELS
from elmo_infer.training.export import write_official_layout
from elmo_infer.training.parameters import initial_parameters
from elmo_infer.training.presets import preset

SENTENCES = [["They", "sat", "on", "the", "bank", "."], ["Äpfel", "<S>", "x" * 70]]
# Without its warm-up, the first batch starts from the zero state, as every sentence does here.
SCRIPT = """
import json, sys
import numpy as np
from simple_elmo import ElmoModel
model = ElmoModel()
model.load(sys.argv[1])
vectors = model.get_elmo_vectors(json.loads(sys.argv[3]), warmup=False, layers="all")
np.save(sys.argv[2], vectors)
"""


@pytest.mark.parametrize("trained", [False, True], ids=["new parameters", "the bundled model"])
def test_simple_elmo_computes_the_same_from_an_exported_model(
    tmp_path: Path, trained: bool
) -> None:
    if "SIMPLE_ELMO_PYTHON" not in os.environ:
        pytest.skip("SIMPLE_ELMO_PYTHON does not name a Python with simple_elmo and TensorFlow")
    directory = MODELS / "en-small" if trained else tmp_path / "model"
    if not trained:
        write_official_layout(directory, preset("tiny"), initial_parameters(preset("tiny"), seed=3))
    target = tmp_path / "vectors.npy"

    subprocess.run(
        [os.environ["SIMPLE_ELMO_PYTHON"], "-c", SCRIPT, directory, target, json.dumps(SENTENCES)],
        check=True,
        capture_output=True,
        # It was written for Keras 2.
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
    )
    expected = np.load(target)  # [sentences, L, longest, D], padded
    found = load(str(directory), device="cpu").layers(SENTENCES)

    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs[:, : ours.shape[1]], atol=5e-5)
