"""A teacher in a run: what it makes of the texts, and the losses made of that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from elmo_infer.training.checkpoint import PretrainOptions
from elmo_infer.training.distillation import Distillation
from elmo_infer.training.forms import WordForms
from elmo_infer.training.held_out import HeldOut
from elmo_infer.training.loss_weights import LossWeights
from elmo_infer.training.network import Network
from elmo_infer.training.teacher import Teacher
from elmo_infer.training.teacher_cache import (
    SILENT,
    CacheReports,
    Taught,
    TeacherCache,
    teacher_cache,
)
from elmo_infer.training.token_store import TokenStore

TEXT_CACHE, VALID_CACHE = "teacher", "valid-teacher"
_RING = 65_536
_RING_BATCHES = 16  # batches that a ring holds, at least: of large ones it is larger


@dataclass(frozen=True, kw_only=True)
class TeachingOptions:
    """What is learned from a teacher.

    Attributes:
      taught: what of the teacher.
      weights: of the losses.
      fold: words that differ in case alone are occurrences of one word.
    """

    taught: Taught = field(default_factory=Taught)
    weights: LossWeights = field(default_factory=LossWeights)
    fold: bool = False

    @property
    def penalty(self) -> tuple[float, float]:
        """Return what attention's mass on punctuation and on stop words costs."""
        return self.weights.punctuation, self.weights.stop_words


@dataclass(frozen=True, kw_only=True, eq=False)
class Teaching:
    """A teacher's part of a run.

    Attributes:
      cache: what it makes of the training text.
      distillation: the losses.
      held_out: the held-out text, or None.
    """

    cache: TeacherCache
    distillation: Distillation
    held_out: HeldOut | None

    def held_out_losses(self, network: Network) -> dict[str, float]:
        """Return the losses on the held-out text, none where there is no text."""
        return {} if self.held_out is None else self.held_out.losses(network, self.distillation)


def open_teaching(
    directory: Path,
    out: Path,
    store: TokenStore,
    forms: WordForms,
    network: Network,
    options: PretrainOptions,
    teaching: TeachingOptions,
    layer_weights: Sequence[float],
    *,
    valid: TokenStore | None = None,
    is_content: Callable[[str], bool] = str.isalnum,
    reports: CacheReports = SILENT,
) -> Teaching:
    """Let a teacher read the texts, unless it has, and prepare the losses.

    Args:
      directory: of the teacher.
      out: of the run; what the teacher makes of the texts lies in `teacher` and `valid-teacher`.
      store: training text.
      forms: of its types.
      network: the student.
      options: of the run.
      teaching: what is learned.
      layer_weights: [L] of the mix whose geometry is taught.
      valid: held-out text.
      is_content: says whether a word is neither a stop word nor punctuation.
      reports: told while it reads.
    """
    teacher = Teacher.open(directory, network.dtype, network.device)
    cache = teacher_cache(
        teacher, store, forms.taught, teaching.taught, out / TEXT_CACHE, reports=reports
    )
    held_out = None
    if valid is not None:
        their_forms = WordForms.of(valid.types, is_content)
        held_out = HeldOut(
            valid,
            # Read in one piece, with what was found to tell senses apart in the training text.
            teacher_cache(
                teacher,
                valid,
                their_forms.taught,
                Taught(
                    layers=teaching.taught.layers,
                    sentence_share=teaching.taught.sentence_share,
                    seed=teaching.taught.seed,
                ),
                out / VALID_CACHE,
                senses=cache.senses,
                reports=CacheReports(text=reports.text),
            ),
            their_forms,
            tokens_per_batch=min(4096, options.tokens_per_batch),
            fold=teaching.fold,
            max_characters=network.config.max_characters,
        )
    distillation = Distillation(
        dim=network.config.dim,
        taught=cache.senses.shape[1],
        teacher_dim=cache.dim,
        layer_weights=layer_weights,
        weights=teaching.weights,
        ring=max(_RING, _RING_BATCHES * (3 * options.tokens_per_batch // 8)),
        seed=options.seed,
        device=network.device,
    )
    return Teaching(cache=cache, distillation=distillation, held_out=held_out)


def single_targets(cache: TeacherCache, device: torch.device) -> torch.Tensor:
    """Return [N, dim] float32: what is taught of the most frequent words alone."""
    return torch.from_numpy(cache.single.astype("float32")).to(device)
