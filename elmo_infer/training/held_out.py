"""The teacher's losses on text that is not trained on."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from elmo_infer.training.batch_maker import BatchMaker
from elmo_infer.training.batches import plan_equal_length_batches
from elmo_infer.training.distillation import Distillation
from elmo_infer.training.forms import WordForms
from elmo_infer.training.network import Network
from elmo_infer.training.spelled_batch import Batch, Spellings
from elmo_infer.training.teacher_cache import TeacherCache
from elmo_infer.training.token_store import TokenStore

HELD_OUT_TOKENS = 60_000


class HeldOut:
    """A held-out text with what the teacher makes of it, read before the run."""

    def __init__(
        self,
        store: TokenStore,
        cache: TeacherCache,
        forms: WordForms,
        *,
        tokens_per_batch: int,
        fold: bool,
        max_characters: int,
        max_tokens: int = HELD_OUT_TOKENS,
    ) -> None:
        """Prepare it.

        Args:
          store: the text.
          cache: what the teacher makes of it.
          forms: of its types.
          tokens_per_batch: bound of sentences x length.
          fold: words that differ in case alone are occurrences of one word.
          max_characters: of a word.
          max_tokens: about how many tokens are looked at.
        """
        self._maker = BatchMaker(
            store=store,
            spellings=Spellings.of(store.types, max_characters),
            # Nothing is predicted here: the smallest softmax there is.
            vocabulary=4,
            draws=1,
            tokens_per_batch=tokens_per_batch,
            seed=0,
            forms=forms,
            fold=fold,
            cache=cache,
        )
        self._plan = plan_equal_length_batches(
            store.lengths, tokens_per_batch, np.random.default_rng(0)
        )
        self._max_tokens = max_tokens

    def losses(self, network: Network, distillation: Distillation) -> dict[str, float]:
        """Return each loss by name, unweighed, the mean over the words looked at.

        The occurrences are compared within the held-out text alone.
        """
        rings = distillation.new_rings()
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        for batch in self._batches(network):
            with torch.no_grad():
                layers, vectors = network.layers(batch)
                found = distillation.losses(batch, layers, vectors, rings, measure=True)
            for name, value in found.items():
                if bool(torch.isfinite(value)):
                    sums[name] = sums.get(name, value.new_zeros(())) + value * batch.n_tokens
                    counts[name] = counts.get(name, 0) + batch.n_tokens
        return {name: float(value) / counts[name] for name, value in sums.items()}

    def _batches(self, network: Network) -> Iterator[Batch]:
        seen = 0
        for step, sentences in enumerate(self._plan):
            batch = self._maker[step, 0, sentences].to(network.device)
            yield batch
            seen += batch.n_tokens
            if seen >= self._max_tokens:
                return
