"""Everything that one training step reads, prepared on the host: in this process or in others."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from elmo_infer.training.batches import epochs_of_batches, gather_batch
from elmo_infer.training.forms import RARE, WordForms
from elmo_infer.training.spelled_batch import Batch, Spellings, TaughtBatch, prepare_batch
from elmo_infer.training.teacher_cache import TeacherCache
from elmo_infer.training.token_store import TokenStore

_TAUGHT_SHARE = 3 / 8  # of a batch's words, at most, are taught
_AHEAD = 4  # batches that each process has ready

# (step, epoch, sentences [B])
Turn = tuple[int, int, np.ndarray]


@dataclass(kw_only=True)
class BatchMaker(Dataset[Batch]):
    """Makes each batch of a run, the same in whatever process.

    Attributes:
      store: training text.
      spellings: of its types.
      vocabulary: words of the softmax, special ones included.
      draws: softmax samples drawn a batch.
      tokens_per_batch: bound of sentences x length.
      seed: of samples and of documents to lower-case.
      lowercase_share: of documents, other ones in each pass.
      forms: of the types; needed to lower-case, and by a teacher.
      fold: words that differ in case alone are occurrences of one word.
      cache: what a teacher makes of the text, or None.
    """

    store: TokenStore
    spellings: Spellings
    vocabulary: int
    draws: int
    tokens_per_batch: int
    seed: int
    lowercase_share: float = 0.0
    forms: WordForms | None = None
    fold: bool = False
    cache: TeacherCache | None = None

    def __getitem__(self, turn: Turn) -> Batch:
        """Make the batch of a turn."""
        step, epoch, sentences = turn
        rng = np.random.default_rng((self.seed, 7, step))
        types = gather_batch(self.store, sentences)
        if self.lowercase_share and self.forms is not None:
            document = np.searchsorted(self.store.documents, sentences, side="right") - 1
            chosen = _lowered_documents(
                self.seed, epoch, len(self.store.documents) - 1, self.lowercase_share
            )[document]
            types = np.where(chosen[:, None], self.forms.lower[types], types)
        batch, distinct = prepare_batch(
            types,
            sentences,
            rng,
            spellings=self.spellings,
            vocabulary=self.vocabulary,
            draws=self.draws,
            kinds=None if self.forms is None else self.forms.kinds,
        )
        if self.cache is None:
            return batch
        object.__setattr__(batch, "taught", self._taught(types, sentences, distinct, rng))
        return batch

    def _taught(
        self,
        types: np.ndarray,
        sentences: np.ndarray,
        distinct: np.ndarray,
        rng: np.random.Generator,
    ) -> TaughtBatch:
        assert self.cache is not None
        assert self.forms is not None, "a teacher's words need their forms"
        starts = self.store.sentences[sentences]
        rows = self.cache.rows[starts[:, None] + np.arange(types.shape[1])].T.ravel()
        chosen = np.flatnonzero(rows >= 0)
        most = max(2, int(_TAUGHT_SHARE * self.tokens_per_batch))
        if len(chosen) > most:
            chosen = np.sort(rng.choice(chosen, most, replace=False))
        words = types.T.ravel()[chosen]
        whole = np.asarray(self.cache.sentences[sentences])
        columns = np.flatnonzero(whole.any(1))
        alone = np.flatnonzero(distinct < len(self.cache.single))
        named = distinct[alone]
        shares = self.store.counts[named] / len(self.store.tokens)
        # As if drawn by what a word weighs in a sum of words, see word_distillation.
        weights = shares * RARE / (RARE + shares) / np.minimum(1.0, self.tokens_per_batch * shares)
        arrays = {
            "places": chosen,
            "words": np.asarray(self.cache.words[rows[chosen]]),
            "types": self.forms.folded[words] if self.fold else words,
            "columns": columns,
            "sentences": whole[columns],
            "single_places": alone,
            "single": np.asarray(self.cache.single[named]),
            "single_weights": (weights / max(float(weights.sum()), 1e-30)).astype(np.float32),
        }
        return TaughtBatch(**{name: torch.from_numpy(one) for name, one in arrays.items()})


@lru_cache(maxsize=2)
def _lowered_documents(seed: int, epoch: int, count: int, share: float) -> np.ndarray:
    """Return [count] bool: the documents that a pass lower-cases."""
    return np.random.default_rng((seed, 23, epoch)).random(count) < share


def batches_of_a_run(
    maker: BatchMaker, first_step: int, *, processes: int = 0, pin: bool = False
) -> Iterator[Batch]:
    """Yield batches without end, on the host, each made ready while others are trained on.

    The number of processes changes no batch.

    Args:
      maker: makes them.
      first_step: batches of the run that came before.
      processes: that make them; with 0 a thread of this one does.
      pin: put them where a device copies from without the host.
    """
    turns = (
        (step, epoch, sentences)
        for step, (epoch, sentences) in enumerate(
            epochs_of_batches(maker.store, maker.tokens_per_batch, maker.seed, skip=first_step),
            first_step,
        )
    )
    if processes:
        yield from DataLoader(
            maker,
            batch_size=None,
            sampler=turns,
            num_workers=processes,
            prefetch_factor=_AHEAD,
            pin_memory=pin,
            multiprocessing_context="forkserver",
        )
        return
    with ThreadPoolExecutor(1) as pool:

        def begin() -> Future[Batch]:
            return pool.submit(lambda turn: _pinned(maker[turn], pin), next(turns))

        following = begin()
        while True:
            current, following = following, begin()
            yield current.result()


def _pinned(batch: Batch, pin: bool) -> Batch:
    return batch.pin_memory() if pin else batch
