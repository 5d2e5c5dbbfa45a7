"""What in a teacher's states tells the senses of a word apart, learned from whole documents.

Within a document a word nearly always keeps its sense (Gale, Church and Yarowsky 1992). So of two
occurrences of a word in one document, what differs is mostly noise; of two in different documents
it is in part the sense. Linear discriminant analysis (Fisher 1936) of the vectors of words in some
documents finds the directions of the one kind and of the other, without a label:

    W = covariance of vectors around the mean of their word in their document
    B = covariance of these means around the mean of their word
    x -> x (W + r I)^(-1/2) E diag(l / (1 + l))     E, l: of (W + r I)^(-1/2) B (W + r I)^(-1/2)

r, the mean variance in W, keeps directions that hardly vary from being blown up; l / (1 + l) is
the part of a direction's variance that lies between documents.
"""

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from elmo_infer.training.forms import FREQUENT
from elmo_infer.training.teacher import Teacher
from elmo_infer.training.token_store import TokenStore
from elmo_infer.transfers import to_device

_LOG = logging.getLogger(__name__)

SENTENCE_SHARE = 0.8  # the part of a sentence's vector beside the direction of a word's state
_DIRECTIONS = 256  # that are kept; more tell no more senses apart
MAX_DOCUMENTS = 400  # that the teacher reads; four times as many found nothing better
MAX_TOKENS = 250_000  # in them, at most: a vector of each rarer word is held in memory
_SENTENCES = (12, 30)  # a document has at least so many, and at most so many are read
_READ_TOKENS = 2048
_REPORT_SECONDS = 10.0
_LEAST = 4  # degrees of freedom of each covariance, in multiples of the number of dimensions


def in_context(words: Tensor, sentences: Tensor, sentence_share: float = SENTENCE_SHARE) -> Tensor:
    """Return [n, 2 dim]: the direction of each word's state, beside some of its sentence's vector.

    Args:
      words: [n, dim] a teacher's states.
      sentences: [n, dim] of length 1, the vector of each word's sentence.
      sentence_share: how much of it.
    """
    return torch.cat([F.normalize(words, dim=1), sentence_share * sentences], dim=1)


def sense_map(
    teacher: Teacher,
    store: TokenStore,
    seed: int,
    report: Callable[[int, int], None] | None = None,
    *,
    layers: Sequence[int] | None = None,
    sentence_share: float = SENTENCE_SHARE,
) -> Tensor:
    """Let a teacher read some documents, and find what in its states tells senses apart.

    Args:
      teacher: a transformer.
      store: text in documents.
      seed: of the documents drawn.
      report: told of sentences read, and of how many there are.
      layers: whose mean is a word's state; the two in the middle if not given.
      sentence_share: the part of a sentence's vector beside it.

    Returns:
      [2 dim, K] float32 on the teacher's device, to be applied to `in_context`. Where the text's
      documents repeat too few words this is logged, and all is kept: the identity.
    """
    dim = 2 * teacher.dim
    sentences, documents = _draw_sentences(store, seed)
    wanted = tuple(layers or teacher.middle_layers)
    vectors, words, places = _read(teacher, store, sentences, wanted, sentence_share, report)
    repeats = _repeats(words, documents[places])
    if min(repeats) < _LEAST * dim:
        _LOG.warning(
            "this text is too short to learn which directions distinguish senses, so the"
            " teacher's states are used unchanged: found %d repeated words within documents and %d "
            "between them, expected %d of each; give more text in long documents, with empty "
            "lines between them",
            *repeats,
            _LEAST * dim,
        )
        return torch.eye(dim, device=teacher.device)
    found = discriminant(vectors, words, documents[places], _DIRECTIONS)
    return torch.from_numpy(found.astype(np.float32)).to(teacher.device)


def discriminant(
    vectors: np.ndarray, words: np.ndarray, documents: np.ndarray, most: int
) -> np.ndarray:
    """Return [D, K] float64: directions in which words differ between documents, not within.

    Args:
      vectors: [n, D] of words in sentences.
      words: [n] int64, the type of each.
      documents: [n] int64, the document that each stands in.
      most: directions to keep, K = min(D, most).
    """
    pairs, classes = np.unique(np.stack([words, documents]), axis=1, return_inverse=True)
    within, means = _pooled_covariance(vectors.astype(np.float64), classes.ravel())
    between, _ = _pooled_covariance(means, np.unique(pairs[0], return_inverse=True)[1])
    values, basis = np.linalg.eigh(within)
    whitening = (basis / np.sqrt(values + values.mean())) @ basis.T
    ratios, directions = np.linalg.eigh(whitening @ between @ whitening)
    ratios = np.maximum(ratios, 0.0)
    found: np.ndarray = whitening @ (directions * (ratios / (1.0 + ratios)))[:, ::-1][:, :most]
    return found


def _pooled_covariance(vectors: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the [D, D] covariance within classes, pooled over them, and their [C, D] means.

    Args:
      vectors: [n, D] float64.
      classes: [n] int64 from 0 to C - 1, of which some have more than one vector.
    """
    sizes = np.bincount(classes)
    means = np.zeros((len(sizes), vectors.shape[1]))
    np.add.at(means, classes, vectors)
    means /= sizes[:, None]
    rest = vectors - means[classes]
    return rest.T @ rest / (len(vectors) - len(sizes)), means


def _repeats(words: np.ndarray, documents: np.ndarray) -> tuple[int, int]:
    """Return the degrees of freedom within documents, and of words between them."""
    pairs = np.unique(np.stack([words, documents]), axis=1)
    return len(words) - pairs.shape[1], pairs.shape[1] - len(np.unique(words))


def _draw_sentences(store: TokenStore, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return [S] int64 sentences of some long documents, and the document of each."""
    least, most = _SENTENCES
    starts = store.documents
    long = np.flatnonzero(np.diff(starts) >= least)
    drawn = np.random.default_rng((seed, 13)).permutation(long)[:MAX_DOCUMENTS]
    ends = np.minimum(starts[drawn] + most, starts[drawn + 1])
    tokens = store.sentences[ends] - store.sentences[starts[drawn]]
    drawn = drawn[: np.searchsorted(tokens.cumsum(), MAX_TOKENS, side="right")]
    taken = [np.arange(starts[one], end) for one, end in zip(drawn, ends, strict=False)]
    none = np.empty(0, dtype=np.int64)
    return np.concatenate([none, *taken]), np.repeat(drawn, [len(each) for each in taken])


def _read(
    teacher: Teacher,
    store: TokenStore,
    sentences: np.ndarray,
    layers: tuple[int, ...],
    sentence_share: float,
    report: Callable[[int, int], None] | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Let the teacher read sentences.

    Returns:
      [n, 2 dim] float32 vectors of their rarer words, [n] int64 the type of each, and [n] int64
      its sentence's place among those given.
    """
    lengths = store.lengths[sentences]
    order = np.argsort(lengths, kind="stable")
    parts = []
    for length, group in itertools.groupby(order, key=lambda place: int(lengths[place])):
        equal = np.fromiter(group, np.int64)
        rows = max(1, _READ_TOKENS // length)
        parts += [equal[low : low + rows] for low in range(0, len(equal), rows)]

    def read(part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        length = lengths[part[0]]
        tokens = store.sentences[sentences[part]][:, None] + np.arange(length)
        types = store.tokens[tokens].astype(np.int64)
        states, whole = teacher.states([[store.types[one] for one in row] for row in types], layers)
        chosen = np.flatnonzero(types.ravel() >= FREQUENT)
        rows = chosen // length
        vectors = in_context(
            states.flatten(0, 1)[to_device(chosen, states.device)],
            whole[to_device(rows, states.device)],
            sentence_share,
        )
        return vectors.cpu().numpy(), types.ravel()[chosen], part[rows]

    # A device's work is queued by one thread.
    with ThreadPoolExecutor(2 if teacher.device.type == "cpu" else 1) as pool:
        found, done, told = [], 0, time.monotonic()
        for part, values in zip(parts, pool.map(read, parts), strict=True):
            found.append(values)
            done += len(part)
            now = time.monotonic()
            if report is not None and (done == len(sentences) or now - told > _REPORT_SECONDS):
                report(done, len(sentences))
                told = now
    if not found:
        nothing = np.empty(0, np.int64)
        return np.empty((0, 2 * teacher.dim), np.float32), nothing, nothing
    vectors, types, places = zip(*found, strict=True)
    return np.concatenate(vectors), np.concatenate(types), np.concatenate(places)
