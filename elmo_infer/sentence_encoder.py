"""One sentence through the biLM, in NumPy alone: for queries, in processes that start cold.

PyTorch takes a second to import and has a cost per operation; a sentence is a few dozen small
products. Batches belong to `elmo_infer.embedder.Elmo`, whose vectors these are within 2e-5.

Axes: T tokens, N word types, E width of a character, F filters, P width of one direction; D = 2P.
Both directions are computed side by side: the first axis of their arrays, forward first.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from elmo_infer.arguments import Sentences, check_layer_weights, check_pooling, check_sentences
from elmo_infer.config import BiLmConfig
from elmo_infer.formats.model_files import ModelFiles
from elmo_infer.initial_state import WARM_TEXT, InitialState
from elmo_infer.reading import ModelParts, model_location, read_model
from elmo_infer.results import EmbedResult, Floats
from elmo_infer.weights import HighwayWeights, ReadLstm

if TYPE_CHECKING:
    from elmo_infer.static import StaticEncoder

WORD_CACHE_BYTES = 64 * 2**20
State = list[tuple[Floats, Floats]]  # per layer h [2, 1, P] and c [2, 1, cell_dim]


def load_sentence_encoder(
    model: str | Path, *, initial_state: InitialState = "zero"
) -> "SentenceEncoder | StaticEncoder":
    """Load a model to encode single sentences on the CPU, in float32.

    Args:
      model: as `load` takes it.
      initial_state: as `load` takes it.

    Returns:
      The encoder; of a baseline, the same as `load` returns.

    Raises:
      ValueError: if an option or the files cannot be used.
      FileNotFoundError: if there is no such file.
    """
    files = ModelFiles.find(model_location(str(model)))
    if files.kind == "other":
        from elmo_infer import load

        return load(model)
    return SentenceEncoder(str(model), read_model(files, initial_state, keep_all=True))


class SentenceEncoder:
    """A model for single sentences. Safe to call from several threads: calls take turns.

    Args:
      name: of the model, as it was asked for.
      parts: the model, read.

    Attributes:
      name: of the model.
      fingerprint: the same as `Elmo.fingerprint`.
      dim: D, width of a vector, both directions together.
      n_layers: L, with the context-free layer.
      default_layer_weights: [L] weights of the layers, used if none are given.
    """

    def __init__(self, name: str, parts: ModelParts) -> None:
        config = parts.config
        self.name, self.fingerprint = name, parts.fingerprint
        self.dim, self.n_layers = config.dim, config.n_lstm_layers + 1
        self.default_layer_weights = parts.pooling.layer_weights or (
            (1.0 / self.n_layers,) * self.n_layers
        )
        self._query = parts.pooling.query
        self._words = _WordEncoder(parts)
        self._layers = [
            _BothDirections(config, *reads) for reads in zip(*parts.weights.lstm, strict=True)
        ]
        self._skip = config.use_skip_connections
        # A product of one row is over before a second thread has woken up; and those wait busily.
        self._threads = ThreadpoolController()
        self._lock = threading.Lock()
        with self._threads.limit(limits=1, user_api="blas"):
            self._start = self._after_marks(self._start_state(parts))

    def embed(
        self,
        sentences: Sentences,
        layer_weights: Sequence[float] | None = None,
        pooling: str = "attention",
        focus: Sequence[int | None] | None = None,
    ) -> EmbedResult:
        """Return token and sentence vectors, as `Elmo.embed` does; one sentence after the other.

        Raises:
          TypeError: if a token is not a string.
          ValueError: if layer_weights, pooling or focus is not valid; the message says what is.
        """
        lengths = check_sentences(sentences)
        coefficients = check_layer_weights(
            self.default_layer_weights if layer_weights is None else layer_weights, self.n_layers
        )
        check_pooling(pooling, focus, lengths)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        result = EmbedResult(
            token_vectors=np.empty((int(offsets[-1]), self.dim), np.float32),
            offsets=offsets,
            sentence_vectors=np.zeros((len(sentences), self.dim), np.float32),
            attention=np.empty(int(offsets[-1]), np.float32),
        )
        with self._lock, self._threads.limit(limits=1, user_api="blas"):
            for index, tokens in enumerate(sentences):
                if not tokens:
                    continue
                place = slice(offsets[index], offsets[index + 1])
                vectors = self._mixed(tokens, coefficients)
                query = self._query if focus is None or focus[index] is None else None
                if focus is not None and focus[index] is not None:
                    query = vectors[focus[index]]
                pooled, attention = pool(vectors, pooling, query)
                result.token_vectors[place], result.attention[place] = vectors, attention
                result.sentence_vectors[index] = pooled
        return result

    def _mixed(self, tokens: Sequence[str], coefficients: Sequence[float]) -> Floats:
        """Return the weighted sum of the layers of a sentence, [T, D]."""
        needed = max((layer + 1 for layer, weight in enumerate(coefficients) if weight), default=1)
        context_free = self._words.encode(tokens)
        inputs = np.stack([context_free, context_free[::-1]])
        layers, _ = self._read(inputs, self._start, needed)
        mixed = np.zeros_like(inputs)
        for layer, weight in zip(layers, coefficients, strict=False):
            if weight:
                mixed += np.float32(weight) * layer
        return np.concatenate([mixed[0], mixed[1, ::-1]], axis=1)

    def _read(self, inputs: Floats, state: State, n_layers: int) -> tuple[list[Floats], State]:
        """Read a sentence, [2, T, P], each direction in its order; return layers and last state."""
        outputs, after = [inputs], []
        layers = self._layers[: n_layers - 1]
        for number, (layer, (h, c)) in enumerate(zip(layers, state, strict=False)):
            hidden, end = layer.run(inputs, h, c)
            after.append(end)
            inputs = hidden + inputs if number and self._skip else hidden
            outputs.append(inputs)
        return outputs, after

    def _start_state(self, parts: ModelParts) -> State:
        """Return the state before the first mark; see elmo_infer.initial_state."""
        config, start = parts.config, parts.start
        if start["initial_state"] == "given":
            given = (np.asarray(start[name], np.float32)[:, :, None] for name in ("h", "c"))
            return list(zip(*given, strict=True))
        zeros = [
            np.zeros((2, 1, width), np.float32)
            for width in (config.projection_dim, config.cell_dim)
        ]
        state: State = [(zeros[0], zeros[1])] * config.n_lstm_layers
        if start["initial_state"] != "zero":
            for sentence in WARM_TEXT:
                speller = parts.speller
                vectors = self._words.encode([speller.start, *sentence.split(), speller.end])
                inputs = np.stack([vectors, vectors[::-1]])
                _, state = self._read(inputs, state, self.n_layers)
        return state

    def _after_marks(self, state: State) -> State:
        """Return the state after the mark that each direction reads first."""
        marks = self._words.encode([self._words.speller.start, self._words.speller.end])
        _, after = self._read(marks[:, None], state, self.n_layers)
        return after


class _BothDirections:
    """One LSTM layer, both directions; the formulas are those of elmo_infer.model.ProjectedLstm.

    Since sigmoid(x) = (tanh(x / 2) + 1) / 2, one tanh over z serves all four gates once the columns
    of i, f and o are halved. What the inputs add to the gates is one product for all steps.
    """

    def __init__(self, config: BiLmConfig, forward: ReadLstm, backward: ReadLstm) -> None:
        cell = config.cell_dim
        halved = np.full(4 * cell, 0.5, np.float32)
        halved[2 * cell : 3 * cell] = 1.0
        weights = (forward(), backward())
        self._input = np.stack([one.input for one in weights]) * halved
        self._recurrent = np.stack([one.recurrent for one in weights]) * halved
        self._bias = (np.stack([one.bias for one in weights]) * halved)[:, None]
        projections = [one.projection * 0.5 for one in weights if one.projection is not None]
        self._projection = np.stack(projections) if projections else None
        self._cell_clip = np.float32(config.cell_clip or np.inf)
        self._clip = np.float32(config.projection_clip or np.inf)

    def run(self, inputs: Floats, h: Floats, c: Floats) -> tuple[Floats, tuple[Floats, Floats]]:
        """Read [2, T, P] from a state; return outputs [2, T, P], before any residual, and state."""
        gates = inputs @ self._input
        gates += self._bias
        outputs = np.empty((2, inputs.shape[1], h.shape[2]), np.float32)
        c, clip = c.copy(), self._cell_clip
        for step in range(inputs.shape[1]):
            z = h @ self._recurrent  # [2, 1, 4 cell_dim]
            z += gates[:, step : step + 1]
            np.tanh(z, out=z)
            i, f, g, o = np.split(z, 4, axis=2)
            # 2c' = (f + 1) c + (i + 1) g
            f += 1.0
            c *= f
            i += 1.0
            i *= g
            c += i
            c *= 0.5
            np.minimum(c, clip, out=c)
            np.maximum(c, -clip, out=c)
            o += 1.0
            o *= np.tanh(c)
            h = self._project(o)
            outputs[:, step : step + 1] = h
        return outputs, (h, c)

    def _project(self, doubled: Floats) -> Floats:
        if self._projection is None:
            return doubled * np.float32(0.5)
        h = doubled @ self._projection
        np.minimum(h, self._clip, out=h)
        return np.maximum(h, -self._clip, out=h)


class _WordEncoder:
    """Words -> context-free vectors: characters, convolutions, highways, projection; and a cache.

    The steps are those of elmo_infer.character_encoder.
    """

    def __init__(self, parts: ModelParts) -> None:
        self.speller = parts.speller
        self._config, self._weights = parts.config, parts.weights
        self._kernels = [
            (kernel.reshape(-1, kernel.shape[-1]), bias)
            for kernel, bias in parts.weights.convolutions
        ]  # [width * E, count], [count]
        self._cache: dict[str, Floats] = {}
        self._room = max(1, WORD_CACHE_BYTES // (4 * parts.config.projection_dim))

    def encode(self, words: Sequence[str]) -> Floats:
        """Return the vectors of words, [T, P]."""
        keys = [self.speller.key(word) for word in words]
        missing = [key for key in dict.fromkeys(keys) if key not in self._cache]
        if missing:
            if len(self._cache) + len(missing) > self._room:
                self._cache.clear()
                missing = list(dict.fromkeys(keys))
            self._cache.update(zip(missing, self._compute(missing), strict=True))
        return np.stack([self._cache[key] for key in keys])

    def _compute(self, words: Sequence[str]) -> Floats:
        config, weights = self._config, self._weights
        spelled = self.speller.spell(words)
        features = self._convolve(spelled.character_ids, int(spelled.lengths.max()))
        features = np.maximum(features, 0.0) if config.activation == "relu" else np.tanh(features)
        for read in weights.highways:
            features = _highway(read(), features)
        if weights.words is not None:
            assert spelled.word_ids is not None
            features = np.concatenate([weights.words[spelled.word_ids], features], axis=1)
        if weights.projection is None:
            return features
        matrix, bias = weights.projection
        return features @ matrix + bias

    def _convolve(self, ids: npt.NDArray[np.int64], longest: int) -> Floats:
        """Return the maxima of the convolutions over N words, [N, F].

        Windows that lie wholly in the padding give one value, so the first of them is enough.
        """
        config = self._config
        widest = max(width for width, _ in config.filters)
        positions = min(longest + widest, config.max_characters)
        padded = np.full((len(ids), positions), self.speller.padding, np.int64)
        known = min(positions, ids.shape[1])
        padded[:, :known] = ids[:, :known]
        vectors = self._weights.characters[padded]  # [N, positions, E]
        peaks = []
        for (width, _), (kernel, bias) in zip(config.filters, self._kernels, strict=True):
            n_windows = min(longest + 1, positions - width + 1)
            windows = np.stack(
                [vectors[:, offset : offset + n_windows] for offset in range(width)], axis=2
            ).reshape(-1, len(kernel))
            peaks.append((windows @ kernel).reshape(len(ids), n_windows, -1).max(axis=1) + bias)
        return np.concatenate(peaks, axis=1)


def _highway(weights: HighwayWeights, features: Floats) -> Floats:
    gate = np.tanh((features @ weights.gate + weights.gate_bias) * np.float32(0.5))
    gate = (gate + 1) * np.float32(0.5)
    transformed = np.maximum(features @ weights.transform + weights.transform_bias, 0.0)
    return features + gate * (transformed - features)


def pool(vectors: Floats, how: str, query: Floats | None) -> tuple[Floats, Floats]:
    """Pool the token vectors of one sentence, as elmo_infer.pooling does.

    Args:
      vectors: [T, D], T at least 1.
      how: "attention", "mean" or "max".
      query: [D] of attention, or None: the mean of the vectors.

    Returns:
      The sentence's vector [D], and the weights of its tokens [T].
    """
    count = len(vectors)
    if how == "max":
        winners = np.bincount(vectors.argmax(axis=0), minlength=count)
        return vectors.max(axis=0), (winners / vectors.shape[1]).astype(np.float32)
    attention = np.full(count, 1.0 / count, np.float32)
    if how == "attention":
        scores = vectors @ (attention @ vectors if query is None else query)
        scores = scores / np.float32(np.sqrt(vectors.shape[1]))
        attention = np.exp(scores - scores.max())
        attention /= attention.sum()
    return attention @ vectors, attention
