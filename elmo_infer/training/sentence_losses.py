"""Pooled sentences against the teacher's: their vectors, and where attention lies."""

import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.forms import CONTENT, PUNCTUATION, STOP_WORD

_NEAR = 16  # nearest sentences that each is compared with
_FILLED = 4 * _NEAR  # sentences in the ring, before nearest ones are looked for
_LOOKED_UP = 384  # sentences of a batch, at most, whose nearest are looked for
_RELATED = 1024


class SentenceRing:
    """Recent sentences.

    Attributes:
      buffers: `student` [R, D] and `teacher` [R, dim] float16 of length 1; `next` [1] int64 on the
        CPU, how many have been put there.
    """

    def __init__(self, size: int, dim: int, teacher_dim: int, device: torch.device) -> None:
        """Begin empty."""
        self.buffers = {
            "student": torch.zeros(size, dim, dtype=torch.float16, device=device),
            "teacher": torch.zeros(size, teacher_dim, dtype=torch.float16, device=device),
            "next": torch.zeros(1, dtype=torch.int64),
        }

    def put(self, student: Tensor, teacher: Tensor) -> None:
        """Keep sentences in place of the oldest."""
        ring, size = self.buffers, len(self.buffers["student"])
        count = min(len(student), size)
        places = (torch.arange(count, device=student.device) + int(ring["next"])) % size
        ring["student"][places] = student[:count].detach().half()
        ring["teacher"][places] = teacher[:count].half()
        ring["next"] += count

    def near_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return 1 - correlation of cosines with each sentence's nearest in the ring.

        Nearest by the teacher; each around the mean of its own. 0 until there are enough.

        Args:
          student: [n, D] float32 of length 1.
          teacher: [n, dim] float32 of length 1.
        """
        filled = min(int(self.buffers["next"]), len(self.buffers["student"]))
        if filled < _FILLED:
            return student.new_zeros(())
        step = -(-len(student) // _LOOKED_UP)
        student, teacher = student[::step], teacher[::step]
        kept = self.buffers["teacher"][:filled]
        # Half precision is exact enough to find them; a CPU has no fast products of it.
        low = kept.dtype if student.device.type == "cuda" else teacher.dtype
        wanted, places = (teacher.to(low) @ kept.to(low).t()).float().topk(_NEAR, dim=1)
        near = self.buffers["student"][places].to(student.dtype)
        found = torch.einsum("nd,nkd->nk", student, near)
        return 1 - F.cosine_similarity(
            (found - found.mean(1, keepdim=True)).ravel(),
            (wanted - wanted.mean(1, keepdim=True)).ravel(),
            dim=0,
        )


def attention_weights(vectors: Tensor, query: Tensor) -> Tensor:
    """Return [B, T] softmax(q . k / sqrt(D)) of [B, T, D] equally long sentences."""
    return torch.softmax(vectors @ query / vectors.shape[2] ** 0.5, dim=1)


def attention_pool(vectors: Tensor, query: Tensor) -> Tensor:
    """Pool [B, T, D] equally long sentences into [B, D] by softmax(q . k / sqrt(D))."""
    return (attention_weights(vectors, query)[:, :, None] * vectors).sum(1)


def masses(weights: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of attention's mass on punctuation and on stop words.

    A sentence without a content word has nothing else to look at, and is left out.

    Args:
      weights: [B, T] attention.
      kinds: [B, T] of the tokens, see forms.py; negative at padding.
    """
    has_content = (kinds == CONTENT).any(1)
    count = has_content.sum().clamp_min(1)
    return (
        ((weights * (kinds == PUNCTUATION)).sum(1) * has_content).sum() / count,
        ((weights * (kinds == STOP_WORD)).sum(1) * has_content).sum() / count,
    )


def relation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of cosines between pairs, student's against teacher's.

    Args:
      student: [n, D] of length 1.
      teacher: [n, K] of length 1.
    """
    step = -(-len(student) // _RELATED)
    some, wanted = student[::step], teacher[::step]
    return (some @ some.t() - wanted @ wanted.t()).square().mean()
