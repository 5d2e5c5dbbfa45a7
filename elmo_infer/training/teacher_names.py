"""Where a teacher lies that is asked for by its name."""

import os
from collections.abc import Iterator
from pathlib import Path

NAMES = {
    "mpnet": "sentence-transformers/all-mpnet-base-v2",
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
}


def find_teacher(name: str) -> Path:
    """Return the directory of a teacher: a name of NAMES, or a directory itself.

    A name is looked for in this directory, and where huggingface_hub and sentence-transformers keep
    what they have downloaded. Nothing is downloaded.

    Raises:
      FileNotFoundError: if it is not there; the message says where it was looked for.
    """
    if name not in NAMES:
        return Path(name)
    looked = list(_places(NAMES[name]))
    for path in looked:
        if (path / "model.safetensors").is_file():
            return path
    raise FileNotFoundError(
        f"the teacher {name} ({NAMES[name]}) is not on this machine: looked in "
        f"{', '.join(map(str, looked))}; download it there, for example with `hf download "
        f"{NAMES[name]}`, or give its directory"
    )


def _places(repository: str) -> Iterator[Path]:
    """Yield the directories where a repository may lie, the latest snapshot of each cache first."""
    short = repository.rpartition("/")[2]
    yield Path(short)
    hub = os.environ.get("HF_HUB_CACHE")
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    caches = [Path(hub) if hub else home / "hub"]
    own = os.environ.get("SENTENCE_TRANSFORMERS_HOME")
    if own:
        caches.append(Path(own))
        yield Path(own) / repository.replace("/", "_")
    for cache in caches:
        snapshots = cache / f"models--{repository.replace('/', '--')}" / "snapshots"
        found = sorted(snapshots.iterdir()) if snapshots.is_dir() else []
        yield from sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
        yield snapshots
