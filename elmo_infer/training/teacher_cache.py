"""What a teacher makes of a text, read once and kept on disk.

A cache is a directory:

    cache.json        what it is of: text, teacher, what is taught; and how much has been read
    senses.npy        [2 dim, K] float32, what is taught of a word in its sentence (discourse.py)
    single.npy        [N, dim] float16, what is taught of the most frequent words alone
    words.npy         [R, K] float16 of length 1, one row for each taught token
    sentences.npy     [S, dim] float16 of length 1, the vector of every sentence; 0 where not read
    rows.npy          [n] int32, the row of each of the text's tokens in words, -1 for none

It is read memory-mapped, by the processes that prepare batches. A reading that was broken off goes
on where it stopped, and ends with the same bytes.
"""

import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.discourse import in_context, sense_map
from elmo_infer.training.teacher import Teacher
from elmo_infer.training.token_store import TokenStore
from elmo_infer.training.word_distillation import WORDS, LessonProgress, word_targets
from elmo_infer.training.word_pieces import PieceTable
from elmo_infer.transfers import to_device

_HEADER = "cache.json"
PIECES_AT_ONCE = {"cpu": 2048, "cuda": 65_536}  # that are read at once
SAVE_SECONDS = 20.0
REPORT_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What is taught of a teacher.

    Attributes:
      layers: whose mean is a word's state, counted from 1; if empty the two in the middle.
      sentence_share: the part of its sentence's vector beside a word's state.
      share: of the text's sentences, which the teacher reads.
      seed: of the sentences and documents drawn.
    """

    layers: tuple[int, ...] = ()
    sentence_share: float = 0.8
    share: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}; expected above 0, at most 1")
        if self.sentence_share < 0:
            raise ValueError(f"sentence_share is {self.sentence_share}; expected 0 or more")

    def layers_of(self, teacher: Teacher) -> tuple[int, ...]:
        """Return the layers.

        Raises:
          ValueError: if the teacher has fewer.
        """
        wrong = [layer for layer in self.layers if not 1 <= layer <= teacher.n_layers]
        if wrong:
            raise ValueError(
                f"the teacher has no layer {wrong[0]}; expected numbers from 1 to "
                f"{teacher.n_layers}"
            )
        return self.layers or teacher.middle_layers


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherCache:
    """An open cache.

    Attributes:
      directory: where it lies.
      rows: [n] int32, the row of each of the text's tokens in words, -1 where nothing is taught.
      words: [R, K] float16, memory-mapped.
      sentences: [S, dim] float16, memory-mapped.
      single: [N, dim] float16, of the most frequent types.
      senses: [2 dim, K] float32.
    """

    directory: Path
    rows: np.ndarray
    words: np.ndarray
    sentences: np.ndarray
    single: np.ndarray
    senses: np.ndarray

    @classmethod
    def open(cls, directory: Path) -> "TeacherCache":
        """Open a cache that is finished."""
        arrays = {
            name: np.load(directory / f"{name}.npy", mmap_mode="r")
            for name in ("rows", "words", "sentences", "single", "senses")
        }
        return cls(directory=directory, **arrays)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as the directory; arrays would be copied otherwise."""
        return TeacherCache.open, (self.directory,)

    @property
    def dim(self) -> int:
        """Return the width of the teacher's states."""
        return int(self.sentences.shape[1])


@dataclass(frozen=True, kw_only=True)
class CacheReports:
    """Whom to tell while a teacher reads; each is told how much of how much is done.

    Attributes:
      documents: sentences of the documents that say what tells senses apart.
      words: single words.
      text: sentences of the text.
    """

    documents: Callable[[int, int], None] | None = None
    words: Callable[[LessonProgress], None] | None = None
    text: Callable[[int, int], None] | None = None


SILENT = CacheReports()


def teacher_cache(
    teacher: Teacher,
    store: TokenStore,
    taught_types: np.ndarray,
    taught: Taught,
    directory: Path,
    *,
    senses: np.ndarray | None = None,
    n_single: int = WORDS,
    reports: CacheReports = SILENT,
) -> TeacherCache:
    """Open the cache in a directory, or make it, or go on making it.

    Args:
      teacher: a transformer.
      store: the text.
      taught_types: [V] bool, of which types a state is taught.
      taught: what of the teacher.
      directory: of the cache; made if it is absent.
      senses: what is taught of a word in its sentence, where it is known (of held-out text).
      n_single: most frequent types that are read alone.
      reports: whom to tell.

    Raises:
      ValueError: if the directory holds the cache of something else.
      OSError: if the disk has no room for it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    header = {"format": 1, "text": store.digest, "teacher": teacher.digest, **asdict(taught)}
    header["layers"] = list(taught.layers_of(teacher))
    header["single"] = min(n_single, len(store.types))
    found_there = _read_header(directory, header)
    if found_there is None:
        header |= {"pieces": PIECES_AT_ONCE[teacher.device.type], "parts": 0}
    else:
        header = found_there
    reader = _Reader(teacher, store, taught_types, taught, directory, int(str(header["pieces"])))
    if found_there is None:
        reader.check_room()
        _write_header(directory, header)  # what lies there so far is of this
    senses_path = directory / "senses.npy"
    if not senses_path.is_file():
        if senses is None:
            found = sense_map(
                teacher,
                store,
                taught.seed,
                reports.documents,
                layers=header["layers"],
                sentence_share=taught.sentence_share,
            )
            senses = found.float().cpu().numpy()
        _save(senses_path, senses)
    single_path = directory / "single.npy"
    if not single_path.is_file():
        words = store.types[: header["single"]]
        targets = word_targets(teacher, words, reports.words)
        _save(single_path, targets.half().cpu().numpy())
    kept = np.load(senses_path)
    reader.read(
        kept,
        int(str(header["parts"])),
        lambda parts: _write_header(directory, header | {"parts": parts}),
        reports.text,
    )
    return TeacherCache.open(directory)


class _Reader:
    """The teacher's way through the text, in parts that are the same each time."""

    def __init__(
        self,
        teacher: Teacher,
        store: TokenStore,
        taught_types: np.ndarray,
        taught: Taught,
        directory: Path,
        pieces: int,
    ) -> None:
        self._teacher, self._store, self._directory = teacher, store, directory
        self._pieces = pieces
        self._layers, self._sentence_share = taught.layers_of(teacher), taught.sentence_share
        rng = np.random.default_rng((taught.seed, 19))
        self.chosen = (store.lengths >= 2) & (rng.random(len(store)) < taught.share)
        kept = taught_types[store.tokens] & np.repeat(self.chosen, store.lengths)
        self.rows = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
        self._n_rows = int(kept.sum())

    def check_room(self) -> None:
        needed = 2 * (self._n_rows * 256 + len(self._store) * self._teacher.dim)
        free = shutil.disk_usage(self._directory).free
        if free < needed:
            raise OSError(
                f"no room in {self._directory}: {free // 2**20} MB are free, the teacher's"
                f" vectors of the text need {-(-needed // 2**20)} MB; give a smaller share of the"
                " text"
            )

    def read(
        self,
        senses: np.ndarray,
        done: int,
        save: Callable[[int], None],
        report: Callable[[int, int], None] | None,
    ) -> None:
        """Read what has not been read; `save` is told how many parts are safe on disk."""
        words = self._array("words.npy", (self._n_rows, senses.shape[1]), done)
        sentences = self._array("sentences.npy", (len(self._store), self._teacher.dim), done)
        table = self._teacher.table_of(self._store.types)
        parts = self._parts(table)
        onto = torch.from_numpy(senses).to(self._teacher.device)
        total, read = int(self.chosen.sum()), sum(len(part) for part in parts[:done])
        if not (self._directory / "rows.npy").is_file():
            _save(self._directory / "rows.npy", self.rows)
        told = saved = time.monotonic()
        for number, (part, rows, found, whole) in enumerate(
            self._states(parts[done:], table, onto), done + 1
        ):
            words[rows], sentences[part] = found, whole
            read += len(part)
            now = time.monotonic()
            if report is not None and (number == len(parts) or now - told > REPORT_SECONDS):
                report(read, total)
                told = now
            if number == len(parts) or now - saved > SAVE_SECONDS:
                words.flush()
                sentences.flush()
                save(number)
                saved = now

    def _array(self, name: str, shape: tuple[int, int], done: int) -> np.memmap:
        path = self._directory / name
        if done and path.is_file():
            return np.load(path, mmap_mode="r+")
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)

    def _parts(self, table: PieceTable) -> list[np.ndarray]:
        """Group the chosen sentences by their pieces: little is padded."""
        store = self._store
        pieces = np.concatenate([[0], np.cumsum(table.sizes[store.tokens])])
        sizes = np.diff(pieces[store.sentences])
        chosen = np.flatnonzero(self.chosen)
        order = chosen[np.argsort(sizes[chosen], kind="stable")]
        budget = self._pieces
        parts, start = [], 0
        # The last of a part is its longest.
        while start < len(order):
            rows = max(1, budget // int(sizes[order[start]] + 2))
            while rows > 1:
                last = min(start + rows, len(order)) - 1
                fits = max(1, budget // int(sizes[order[last]] + 2))
                if fits >= last + 1 - start:
                    break
                rows = fits
            parts.append(order[start : start + rows])
            start += rows
        return parts

    def _states(
        self, parts: list[np.ndarray], table: PieceTable, senses: Tensor
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield each part with the rows of its taught words, their vectors and the sentences'."""
        store, teacher = self._store, self._teacher

        def read(part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
            lengths = store.sentences[part + 1] - store.sentences[part]
            places = _ranges(store.sentences[part], lengths)
            words = store.tokens[places].astype(np.int64)
            states, whole = teacher.states_of(table, words, lengths, self._layers)
            kept = np.flatnonzero(self.rows[places] >= 0)
            sentence = np.repeat(np.arange(len(part)), lengths)[kept]
            device = teacher.device
            mine = states[to_device(kept, device)]
            beside = whole[to_device(sentence, device)]
            vectors = F.normalize(in_context(mine, beside, self._sentence_share) @ senses, dim=1)
            found = vectors.half().cpu().numpy()
            return part, self.rows[places[kept]], found, whole.half().cpu().numpy()

        # Two at once: on a device the next part is laid out while one is read.
        with ThreadPoolExecutor(2) as pool:
            ahead = [pool.submit(read, part) for part in parts[:3]]
            for part in itertools.chain(parts[3:], [None] * min(3, len(parts))):
                yield ahead.pop(0).result()
                if part is not None:
                    ahead.append(pool.submit(read, part))


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the numbers from each start on, as many as its length, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths - starts, lengths)


def _read_header(directory: Path, header: dict[str, object]) -> dict[str, object] | None:
    """Return what a cache says of itself; None where there is none.

    Raises:
      ValueError: if it is of something else.
    """
    path = directory / _HEADER
    if not path.is_file():
        return None
    found: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    for name, wanted in header.items():
        if found.get(name) != wanted:
            raise ValueError(
                f"{directory} holds a teacher's vectors of another text or with other options:"
                f" its {name} is "
                f"{found.get(name)}, expected {wanted}; use the same options and text, or delete"
                " the directory to compute them again"
            )
    return found


def _write_header(directory: Path, header: dict[str, object]) -> None:
    part = directory / f"{_HEADER}.tmp"
    part.write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
    os.replace(part, directory / _HEADER)


def _save(path: Path, array: np.ndarray) -> None:
    part = path.with_name(f"{path.name}.tmp")
    with open(part, "wb") as file:
        np.save(file, array)
    os.replace(part, path)
