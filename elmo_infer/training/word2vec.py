"""Word2vec baselines (Mikolov et al. 2013) through gensim: CBOW, skip-gram, negative sampling."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from elmo_infer.formats.word2vec import write_word2vec
from elmo_infer.training.epoch_progress import (
    EpochProgress,
    Report,
    Sentences,
    check_at_least,
    check_rereadable,
)

logger = logging.getLogger(__name__)

ARCHITECTURES = ("cbow", "skip-gram")
REPORT_SECONDS = 5.0


def train_word2vec(
    sentences: Sentences,
    out: str | Path,
    *,
    architecture: str = "cbow",
    dim: int = 256,
    window: int = 5,
    epochs: int = 5,
    min_count: int = 5,
    negative: int = 5,
    subsample: float = 1e-3,
    seed: int = 1,
    workers: int = 1,
    progress: Report | None = None,
) -> Path:
    """Train word vectors and write them in a word2vec format.

    Args:
      sentences: token lists; read once to count and once per epoch.
      out: file to write: text if it ends in .txt or .vec, binary otherwise; .gz compresses.
      architecture: "cbow" or "skip-gram".
      dim: D, width of a vector.
      window: tokens looked at to each side, at most.
      epochs: passes over the text.
      min_count: rarer words are left out.
      negative: noise words drawn per target.
      subsample: threshold above which frequent words are thinned out (0 keeps all).
      seed: of the initial vectors and of all drawing.
      workers: threads. With one, the same text and seed give the same bytes; with more, the order
        of updates is left to chance.
      progress: called every few seconds and after each epoch.

    Returns:
      The file written.

    Raises:
      TypeError: if `sentences` can be read only once.
      ValueError: if an option is out of range, or no word occurs min_count times.
      FileExistsError: if `out` exists.
      ImportError: if gensim is not installed.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r}; expected {ARCHITECTURES}")
    check_at_least(1, dim=dim, window=window, epochs=epochs, min_count=min_count)
    check_at_least(1, negative=negative, workers=workers)
    check_at_least(0, subsample=subsample, seed=seed)
    check_rereadable(sentences)
    path = Path(out)
    if path.exists():
        raise FileExistsError(f"{path} exists; remove it or choose another name")
    try:
        from gensim.models import Word2Vec
    except ImportError as error:
        raise ImportError(
            "training word2vec needs gensim: pip install 'sensegrep[train]'"
        ) from error
    model = Word2Vec(
        vector_size=dim,
        window=window,
        min_count=min_count,
        sg=int(architecture == "skip-gram"),
        negative=negative,
        sample=subsample,
        seed=seed,
        workers=workers,
        epochs=epochs,
    )
    model.build_vocab(corpus_iterable=sentences)
    if not len(model.wv):
        raise ValueError(
            f"no word occurs min_count={min_count} times in the {model.corpus_count} sentences; "
            "give more text or a smaller min_count"
        )
    reported = _Reported(sentences, epochs, model.corpus_total_words, progress)
    model.train(
        corpus_iterable=reported,
        total_examples=model.corpus_count,
        total_words=model.corpus_total_words,
        epochs=epochs,
    )
    _write(path, model.wv.index_to_key, np.asarray(model.wv.vectors, dtype=np.float32))
    return path


def _write(path: Path, words: Sequence[str], vectors: np.ndarray) -> None:
    """Write what the format can hold: white space would end a word."""
    kept = [row for row, word in enumerate(words) if word and not any(map(str.isspace, word))]
    if len(kept) < len(words):
        logger.warning(
            "%d of %d words hold white space, which the word2vec formats cannot; left out",
            len(words) - len(kept),
            len(words),
        )
    write_word2vec(path, [words[row] for row in kept], vectors[kept])


@dataclass
class _Reported:
    """The sentences, telling how far they are read; gensim iterates once per epoch."""

    sentences: Sentences
    epochs: int
    tokens_per_epoch: int
    report: Report | None
    epoch: int = 0
    tokens: int = 0
    started: float = field(default_factory=time.monotonic)

    def __iter__(self) -> Iterator[Sequence[str]]:
        self.epoch += 1
        last = time.monotonic()
        for sentence in self.sentences:
            yield sentence
            self.tokens += len(sentence)
            if time.monotonic() - last > REPORT_SECONDS:
                last = time.monotonic()
                self._say()
        self._say()

    def _say(self) -> None:
        if self.report is None:
            return
        self.report(
            EpochProgress(
                epoch=self.epoch,
                epochs=self.epochs,
                tokens=self.tokens,
                total_tokens=self.epochs * self.tokens_per_epoch,
                tokens_per_second=self.tokens / max(time.monotonic() - self.started, 1e-9),
            )
        )
