"""The fused steps of an LSTM, in Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys

import pytest

_FUSED = """
import sys
import torch
from elmo_infer.training.lstm import Workspace, projected_lstm
from elmo_infer.training.lstm_kernels import TritonSteps

generator = torch.Generator().manual_seed(6)
arrays = [torch.randn(shape, generator=generator) for shape in [(9, 24), (24,), (6, 5)]]
workspace = Workspace(lambda work: work, TritonSteps())
for steps, rows in [(7, 3), (2, 300), (7, 3)]:  # less and more than one program's numbers
    x = torch.randn(steps, rows, 4, generator=generator)
    weight = torch.randn(steps, rows, 5, generator=generator)
    passes = []
    for place in (workspace, None):
        leaves = [each.clone().requires_grad_() for each in (x, *arrays)]
        y = projected_lstm(*leaves, cell_clip=0.7, projection_clip=0.6, workspace=place)
        passes.append([y.detach(), *torch.autograd.grad((y * weight).sum(), leaves)])
    assert float((passes[0][0].abs() == 0.6).float().mean()) > 0.01  # clips are hit
    assert float((workspace.memory["cells"].abs() == 0.7).float().mean()) > 0.01
    for fused, plain in zip(*passes):
        torch.testing.assert_close(fused, plain, atol=2e-4, rtol=1e-4)
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
