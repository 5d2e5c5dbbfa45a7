"""Occurrences of one word: which of them are near each other, by the student and by the teacher.

A batch's words are compared with occurrences of the same words in earlier batches, kept in a ring.
Three losses look at the cosines, those of the student against those of the teacher:

    occurrences  1 - correlation, each around the mean of its own word's: the whole order counts
    across       1 - correlation over all, so that cosines of different words can be compared
    nearest      divergence of how the nearest are picked, softmax(z / 0.5) with z in standard
                 deviations around the mean: far ones weigh nothing, as in a search
"""

import torch
import torch.nn.functional as F
from torch import Tensor

COMPARED = 16  # occurrences in the ring that each word is compared with
_WORDS = 8192  # of a batch, at most
_SHARP = 0.5
_FEW = 2  # others of its word: with fewer there is no order
COMMON = 5  # nearest ones that are looked at, in `nearest_in_common`


class OccurrenceRing:
    """Recent occurrences of words.

    Attributes:
      buffers: `types` [R] int64, -1 where empty; `student` [R, D] and `teacher` [R, K] float16 of
        length 1; `next` [1] int64 on the CPU, how many have been put there.
    """

    def __init__(self, size: int, dim: int, taught: int, device: torch.device) -> None:
        """Begin empty."""
        self.buffers = {
            "types": torch.full((size,), -1, dtype=torch.int64, device=device),
            "student": torch.zeros(size, dim, dtype=torch.float16, device=device),
            "teacher": torch.zeros(size, taught, dtype=torch.float16, device=device),
            "next": torch.zeros(1, dtype=torch.int64),
        }

    def others_of(self, types: Tensor) -> tuple[Tensor, Tensor]:
        """Return [n, COMPARED] places of occurrences of each type, and which of them there are.

        They are evenly spaced among all that the ring holds of it.
        """
        order = torch.argsort(self.buffers["types"], stable=True)
        sorted_types = self.buffers["types"][order]
        first = torch.searchsorted(sorted_types, types)
        count = torch.searchsorted(sorted_types, types, right=True) - first
        taken = torch.where(count < _FEW, 0, count.clamp(max=COMPARED))
        turn = torch.arange(COMPARED, device=types.device)[None]
        spaced = turn * count[:, None] // taken.clamp_min(1)[:, None]
        places = order[(first[:, None] + spaced).clamp_max(len(order) - 1)]
        return places, turn < taken[:, None]

    def put(self, types: Tensor, student: Tensor, teacher: Tensor) -> None:
        """Keep occurrences in place of the oldest."""
        ring, size = self.buffers, len(self.buffers["types"])
        count = min(len(types), size)
        start = int(ring["next"])
        places = (torch.arange(count, device=types.device) + start) % size
        ring["types"][places] = types[:count]
        ring["student"][places] = student[:count].detach().half()
        ring["teacher"][places] = teacher[:count].half()
        ring["next"] += count


def cosines_with_ring(
    ring: OccurrenceRing, types: Tensor, student: Tensor, teacher: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the student's and the teacher's [n, COMPARED] cosines, and which of them there are.

    Args:
      ring: of earlier occurrences.
      types: [N] int64, of which the first are compared.
      student: [N, D] float32 of length 1.
      teacher: [N, K] float32 of length 1.
    """
    types, student, teacher = types[:_WORDS], student[:_WORDS], teacher[:_WORDS]
    places, real = ring.others_of(types)
    near = ring.buffers["student"][places].to(student.dtype)
    taught = ring.buffers["teacher"][places].to(teacher.dtype)
    return (
        torch.einsum("nd,npd->np", student, near),
        torch.einsum("nk,npk->np", teacher, taught),
        real,
    )


def order_loss(student: Tensor, teacher: Tensor, real: Tensor) -> Tensor:
    """Return 1 - correlation, each row around its own mean: `occurrences`."""
    return 1 - F.cosine_similarity(
        _around_rows(student, real).ravel(), _around_rows(teacher, real).ravel(), dim=0
    )


def threshold_loss(student: Tensor, teacher: Tensor, real: Tensor) -> Tensor:
    """Return 1 - correlation over all: `across`."""
    count = real.sum().clamp_min(1)

    def around_all(values: Tensor) -> Tensor:
        return (values - (values * real).sum() / count) * real

    return 1 - F.cosine_similarity(around_all(student).ravel(), around_all(teacher).ravel(), dim=0)


def nearest_loss(student: Tensor, teacher: Tensor, real: Tensor) -> Tensor:
    """Return the mean divergence of how nearest ones are picked in each row: `nearest`."""
    log_student = _log_picks(student, real)
    log_teacher = _log_picks(teacher, real)
    picks = log_teacher.exp()
    divergence = (picks * (log_teacher - log_student)).masked_fill(~real, 0.0).sum(1)
    rows = real.any(1)
    return (divergence * rows).sum() / rows.sum().clamp_min(1)


def nearest_in_common(student: Tensor, teacher: Tensor, real: Tensor) -> Tensor:
    """Return the share of the COMMON nearest by the teacher that are nearest by the student too.

    Only words with all COMPARED others count; NaN where there is none.
    """
    rows = real.all(1)
    mine = student[rows].topk(COMMON, dim=1).indices
    theirs = teacher[rows].topk(COMMON, dim=1).indices
    return (mine[:, :, None] == theirs[:, None, :]).any(2).float().mean()


def _around_rows(values: Tensor, real: Tensor) -> Tensor:
    mean = (values * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp_min(1)
    return (values - mean) * real


def _log_picks(values: Tensor, real: Tensor) -> Tensor:
    centred = _around_rows(values, real)
    deviation = (centred.square().sum() / real.sum().clamp_min(1) + 1e-12).sqrt()
    # Rows without any others are not read; zeros there keep their gradients finite.
    scores = (centred / deviation / _SHARP).masked_fill(~real & real.any(1, keepdim=True), -1e4)
    return torch.log_softmax(scores, dim=1)
