"""Imports spaCy's foundation without PyTorch, in a process that is a command's own.

spaCy's tokenizers need no PyTorch, but thinc beneath them imports it where it is installed, which
takes a second of processor time.
"""

import importlib
import sys


def import_thinc_without_torch() -> None:
    """Import thinc so that it takes PyTorch for absent; others can import PyTorch afterwards.

    thinc looks for PyTorch once, when it is imported. So no spaCy pipeline with layers of PyTorch
    can run in this process afterwards: call this only in a process that nobody shares, and before
    it starts threads. Where thinc or PyTorch is imported already, nothing is done.
    """
    if "torch" in sys.modules or "thinc" in sys.modules:
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # Python's way to say: not here
    try:
        importlib.import_module("thinc.compat")
    finally:
        del sys.modules["torch"]
