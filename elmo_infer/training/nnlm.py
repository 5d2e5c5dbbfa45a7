"""The neural probabilistic language model of Bengio et al. 2003, the first baseline.

Equation 1 of section 2, for a word given the n - 1 words before it:

    x = (C(w_{t-n+1}), ..., C(w_{t-1}))            concatenated embeddings, [(n-1) D]
    y = b + U tanh(d + H x)  (+ W x)               W: the optional direct connections
    P(w_t = i | context) = softmax(y)_i

Two things differ from the paper, both for speed: the softmax is sampled in training (Jean et al.
2015) and exact in `perplexity`; and Adam takes the place of plain gradient descent. What other
modules use of it is C, one static vector per word (elmo_infer.static).
"""

import json
import math
import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor

from elmo_infer.static import NNLM_FILE, NNLM_WEIGHTS
from elmo_infer.training.epoch_progress import (
    EpochProgress,
    Report,
    Sentences,
    check_at_least,
    check_rereadable,
)
from elmo_infer.training.optimizer import Moments, adam_update, adam_update_rows
from elmo_infer.training.sampled_softmax import choose_candidates, sampled_softmax_loss

UNKNOWN, START = "<unk>", "<s>"
REPORT_SECONDS = 5.0
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
FLOOR = 0.05  # the learning rate falls linearly to this share of itself


@dataclass(frozen=True, kw_only=True)
class NnlmOptions:
    """Shape and training of an NNLM.

    Attributes:
      dim: D, width of an embedding.
      context: n - 1, words looked back at.
      hidden: width of the tanh layer.
      direct: whether the embeddings also reach the softmax directly (W).
      epochs: passes over the text.
      min_count: rarer words become the unknown word.
      batch_tokens: predictions per step.
      draws: words drawn per step for the sampled softmax.
      learning_rate: of Adam at the start.
      precision: of the matrix products in training, "float32" or "bfloat16" (a third
        faster on a CPU that has it); weights and sums stay float32.
      seed: of initial values, order and drawing.
    """

    dim: int = 256
    context: int = 4
    hidden: int = 128
    direct: bool = False
    epochs: int = 3
    min_count: int = 5
    batch_tokens: int = 2048
    draws: int = 2048
    learning_rate: float = 2e-3
    precision: str = "float32"
    seed: int = 1

    def __post_init__(self) -> None:
        check_at_least(1, dim=self.dim, context=self.context, hidden=self.hidden)
        check_at_least(1, epochs=self.epochs, min_count=self.min_count)
        check_at_least(1, batch_tokens=self.batch_tokens, draws=self.draws)
        check_at_least(0, seed=self.seed)
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate is {self.learning_rate}; expected between 0 and 1")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}"
            )


@dataclass(kw_only=True)
class Nnlm:
    """The model's numbers.

    V words, most frequent first, the unknown word among them; the sentence start has the
    embedding after the last.

    Attributes:
      vocabulary: V words.
      context: n - 1.
      direct: whether the softmax sees x beside the tanh layer.
      embedding: [V + 1, D], C.
      hidden: [(n-1) D + 1, H]; the last row is d.
      output: [V, H + 1], or [V, H + (n-1) D + 1] with direct connections; last column b.
    """

    vocabulary: list[str]
    context: int
    direct: bool
    embedding: Tensor
    hidden: Tensor
    output: Tensor
    ids: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.ids = {word: row for row, word in enumerate(self.vocabulary)}

    @classmethod
    def initial(
        cls, vocabulary: list[str], shares: npt.NDArray[np.float64], options: NnlmOptions
    ) -> "Nnlm":
        """Random small weights; the output bias starts at each word's log share of the text."""
        generator = torch.Generator().manual_seed(options.seed)
        width = options.context * options.dim
        seen = options.hidden + (width if options.direct else 0)

        def normal(rows: int, columns: int, scale: float) -> Tensor:
            return torch.randn(rows, columns, generator=generator) * scale

        hidden = normal(width + 1, options.hidden, width**-0.5)
        hidden[-1] = 0
        output = normal(len(vocabulary), seen + 1, 0.05)
        output[:, -1] = torch.from_numpy(np.log(shares))
        return cls(
            vocabulary=vocabulary,
            context=options.context,
            direct=options.direct,
            embedding=normal(len(vocabulary) + 1, options.dim, 0.1),
            hidden=hidden,
            output=output,
        )

    def features(
        self, embedded: Tensor, hidden: Tensor, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """What the softmax sees, from embedded contexts [M, n-1, D]: [M, H (+ (n-1) D)] float32.

        `dtype` is that of the matrix product.
        """
        x = embedded.flatten(1)
        product = torch.mm(x.to(dtype), hidden[:-1].to(dtype)).float()
        activation = torch.tanh(product + hidden[-1])
        return torch.cat([activation, x], dim=1) if self.direct else activation

    def encode(self, sentences: Sentences) -> npt.NDArray[np.int32]:
        """Ids of all tokens, each sentence led in by n - 1 sentence starts (id V)."""
        unknown, start = self.ids[UNKNOWN], [len(self.vocabulary)] * self.context
        flat: list[int] = []
        parts: list[npt.NDArray[np.int32]] = []
        for sentence in sentences:
            flat += start
            flat += [self.ids.get(word, unknown) for word in sentence]
            if len(flat) > 1_000_000:
                parts.append(np.array(flat, dtype=np.int32))
                flat = []
        return np.concatenate([*parts, np.array(flat, dtype=np.int32)])

    def log_probabilities(self, contexts: Tensor) -> Tensor:
        """Exact log P(. | context) for id contexts [M, n-1]: [M, V] float32."""
        features = self.features(self.embedding[contexts], self.hidden)
        scores = torch.addmm(self.output[:, -1], features, self.output[:, :-1].t())
        return torch.log_softmax(scores, dim=1)

    def perplexity(self, sentences: Sentences) -> float:
        """Exact perplexity per token; a word outside the vocabulary counts as the unknown word.

        Raises:
          ValueError: if there are no tokens.
        """
        text = self.encode(sentences)
        places = np.flatnonzero(text < len(self.vocabulary))
        if not len(places):
            raise ValueError("no tokens to measure perplexity on")
        total = 0.0
        with torch.inference_mode():
            for low in range(0, len(places), 1024):
                contexts, targets = _windows(text, places[low : low + 1024], self.context)
                found = self.log_probabilities(torch.from_numpy(contexts))
                total += float(found.gather(1, torch.from_numpy(targets)[:, None]).double().sum())
        return math.exp(-total / len(places))

    def save(self, directory: Path, extra: dict[str, Any]) -> None:
        """Write nnlm.json and weights.safetensors; the directory appears whole or not at all."""
        settings = {
            "format": "nnlm",
            "version": 1,
            "dim": self.embedding.shape[1],
            "context": self.context,
            "hidden": self.hidden.shape[1],
            "direct": self.direct,
            "unknown": UNKNOWN,
            "training": extra,
            "vocabulary": self.vocabulary,
        }
        tensors = {
            "embedding": self.embedding[:-1],
            "start": self.embedding[-1],
            "hidden": self.hidden,
            "output": self.output,
        }
        part = directory.with_name(f".{directory.name}.{os.getpid()}.part")
        part.mkdir(parents=True)
        try:
            text = json.dumps(settings, ensure_ascii=False) + "\n"
            (part / NNLM_FILE).write_text(text, encoding="utf-8")
            save_file(
                {name: tensor.contiguous().clone() for name, tensor in tensors.items()},
                part / NNLM_WEIGHTS,
            )
            part.replace(directory)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def train_nnlm(
    sentences: Sentences,
    out: str | Path,
    *,
    progress: Report | None = None,
    **settings: Any,
) -> Nnlm:
    """Train an NNLM and write it as a directory that `elmo_infer.load` reads.

    Args:
      sentences: token lists; read twice, to count and to encode. Four bytes a token are held.
      out: directory to write; must not exist.
      progress: called every few seconds and after each epoch, with the sampled loss.
      settings: of NnlmOptions.

    Returns:
      The trained model.

    Raises:
      TypeError: if `sentences` can be read only once, or a setting is unknown.
      ValueError: if a setting is out of range, or no word occurs min_count times.
      FileExistsError: if `out` exists.
    """
    options = NnlmOptions(**settings)
    check_rereadable(sentences)
    path = Path(out)
    if path.exists():
        raise FileExistsError(f"{path} exists; remove it or choose another name")
    vocabulary, shares = _count(sentences, options.min_count)
    model = Nnlm.initial(vocabulary, shares, options)
    text = model.encode(sentences)
    places = np.flatnonzero(text < len(vocabulary))
    _fit(model, text, places, options, progress)
    model.save(path, extra={**vars(options), "tokens": len(places)})
    return model


def _count(sentences: Sentences, min_count: int) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Vocabulary, most frequent first (ties by spelling), and each word's share of the text."""
    counts = Counter(word for sentence in sentences for word in sentence)
    for symbol in (UNKNOWN, START):  # where the text holds the symbols, it means just that
        counts.pop(symbol, None)
    kept = {word: count for word, count in counts.items() if count >= min_count}
    if not kept:
        raise ValueError(
            f"no word occurs min_count={min_count} times; give more text or a smaller min_count"
        )
    kept[UNKNOWN] = max(1, counts.total() - sum(kept.values()))
    ordered = sorted(kept, key=lambda word: (-kept[word], word))
    numbers = np.array([kept[word] for word in ordered], dtype=np.float64)
    return ordered, numbers / numbers.sum()


def _windows(
    text: npt.NDArray[np.int32], places: npt.NDArray[np.int64], context: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Contexts [M, n-1] and targets [M] of the tokens at `places`, as ids."""
    before = places[:, None] + np.arange(-context, 0)
    return text[before].astype(np.int64), text[places].astype(np.int64)


def _fit(
    model: Nnlm,
    text: npt.NDArray[np.int32],
    places: npt.NDArray[np.int64],
    options: NnlmOptions,
    progress: Report | None,
) -> None:
    rng = np.random.default_rng(options.seed)
    trainer = _Trainer(model, options, rng)
    total = options.epochs * len(places)
    started = last = time.monotonic()
    done, losses, counted = 0, 0.0, 0
    for epoch in range(1, options.epochs + 1):
        order = rng.permutation(len(places))
        for low in range(0, len(places), options.batch_tokens):
            chosen = places[order[low : low + options.batch_tokens]]
            rate = options.learning_rate * max(FLOOR, 1 - done / total)
            losses += trainer.step(*_windows(text, chosen, options.context), rate) * len(chosen)
            counted += len(chosen)
            done += len(chosen)
            now = time.monotonic()
            ended = low + options.batch_tokens >= len(places)
            if progress is not None and (ended or now - last > REPORT_SECONDS):
                progress(
                    EpochProgress(
                        epoch=epoch,
                        epochs=options.epochs,
                        tokens=done,
                        total_tokens=total,
                        tokens_per_second=done / max(now - started, 1e-9),
                        loss=losses / counted,
                    )
                )
                last, losses, counted = now, 0.0, 0


class _Trainer:
    """One gradient step at a time: Adam, on just the touched rows of the two word tables."""

    def __init__(self, model: Nnlm, options: NnlmOptions, rng: np.random.Generator) -> None:
        self._model, self._draws, self._rng = model, options.draws, rng
        self._dtype = PRECISIONS[options.precision]
        self._embedding = Moments.for_array(model.embedding, by_row=True)
        self._output = Moments.for_array(model.output, by_row=True)
        self._hidden = Moments.for_array(model.hidden)

    def step(
        self, contexts: npt.NDArray[np.int64], targets: npt.NDArray[np.int64], rate: float
    ) -> float:
        """Update the model; return the mean sampled loss before the update."""
        model = self._model
        candidates = choose_candidates(targets, len(model.vocabulary), self._draws, self._rng)
        rows, inverse = (torch.from_numpy(a) for a in np.unique(contexts, return_inverse=True))
        embedded = model.embedding.index_select(0, rows).requires_grad_()
        hidden = model.hidden.clone().requires_grad_()
        table = model.output.index_select(0, candidates.rows).requires_grad_()
        # index_select adds its gradient up by rows, several times faster than indexing does.
        context_vectors = embedded.index_select(0, inverse.view(-1)).view(*contexts.shape, -1)
        features = model.features(context_vectors, hidden, self._dtype)
        right = torch.from_numpy(np.searchsorted(candidates.rows.numpy(), targets))
        loss = sampled_softmax_loss(features, table, right, candidates, self._dtype)
        loss = loss / len(targets)
        gradients = torch.autograd.grad(loss, (embedded, hidden, table))
        with torch.no_grad():
            adam_update_rows(model.embedding, rows, gradients[0], self._embedding, rate)
            adam_update([model.hidden], [gradients[1]], [self._hidden], rate)
            adam_update_rows(model.output, candidates.rows, gradients[2], self._output, rate)
        return float(loss.detach())
