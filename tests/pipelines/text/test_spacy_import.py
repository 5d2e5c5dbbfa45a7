"""thinc is imported without PyTorch, and nobody else loses PyTorch."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def said(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", program],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return done.stdout.strip()


SPARED = "import sys\nfrom pipelines.text.spacy_import import import_thinc_without_torch\n"


def test_a_tokenizer_is_had_without_torch_and_torch_can_be_imported_afterwards() -> None:
    program = SPARED + (
        "import_thinc_without_torch()\n"
        "from pipelines.text.tokenizer import Tokenizer\n"
        "[sentence] = Tokenizer('en').tokenize('It\\'s a bank.')\n"
        "print(list(sentence.tokens), 'torch' in sys.modules)\n"
        "import torch\nprint(torch.ones(1).item())"
    )
    assert said(program) == "['It', \"'s\", 'a', 'bank', '.'] False\n1.0"


@pytest.mark.slow
def test_where_thinc_is_imported_already_nothing_is_done() -> None:
    program = SPARED + (
        "import thinc.compat\nbefore = thinc.compat.has_torch\n"
        "import_thinc_without_torch()\n"
        "print(before, thinc.compat.has_torch, 'torch' in sys.modules)"
    )
    assert said(program) == "True True True"
