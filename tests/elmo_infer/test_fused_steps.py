"""The fused steps of a device compute what PyTorch's operations compute; without a GPU."""

import importlib.util
import os
import subprocess
import sys

import pytest

_FUSED = """
import math, torch
from elmo_infer.recurrent_steps import TorchSteps
from elmo_infer.fused_steps import TritonSteps

generator = torch.Generator().manual_seed(0)
S, R, C, H = 3, 5, 7, 4
draw = lambda *shape: torch.randn(shape, generator=generator)
for dtype, bound in ((torch.float32, 2e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)):
    for clip in (0.4, math.inf):
        z, inputs = draw(2, R, 4 * C).to(dtype), draw(2, S, R, 4 * C).to(dtype)
        bias = draw(2, 4 * C)
        active = torch.rand((S, R, 1), generator=generator) < 0.6
        cells, h = draw(2, R, C), draw(2, R, H)
        projected = draw(2, R, H).to(dtype)
        results = []
        for steps in (TorchSteps(), TritonSteps()):
            c, exposed = cells.clone(), torch.zeros(2, R, C, dtype=dtype)
            steps.advance(z, inputs, bias, active, c, exposed, 1, clip)
            state, low, outputs = h.clone(), h.to(dtype), torch.zeros(2, S, R, H)
            steps.emit(projected, active, state, low, outputs, 1, 1.5, clip)
            # What is exposed by rows that are not active is of no account.
            exposed[:, ~active[1, :, 0]] = 0
            results.append((c, exposed.float(), state, low.float(), outputs))
        assert not torch.equal(results[0][0], cells)
        assert torch.equal(results[0][2][:, ~active[1, :, 0]], h[:, ~active[1, :, 0]])
        for fused, plain in zip(*results):
            torch.testing.assert_close(fused, plain, atol=bound, rtol=0)
print("same")
"""


def test_the_fused_steps_are_the_same() -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs Triton, whose interpreter runs its kernels without a GPU")
    # In a process of its own: Triton reads this where its language is imported.
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _FUSED], env=environment, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, "same\n"), done.stderr
