"""Train a biLM from a token store to a directory that `load` reads."""

import json
import logging
import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import torch
from safetensors.torch import save_file

from elmo_infer import load
from elmo_infer.config import BiLmConfig
from elmo_infer.training.checkpoint import (
    CHECKPOINT,
    PretrainOptions,
    TrainingState,
    new_state,
    read_checkpoint,
    write_checkpoint,
)
from elmo_infer.training.discourse import sense_map
from elmo_infer.training.distillation import Distillation
from elmo_infer.training.fading import FADING_WORDS, check_fading_cells, plant_fading_cells
from elmo_infer.training.growth import grow
from elmo_infer.training.parameters import Parameters, initial_parameters
from elmo_infer.training.pooling import learn_query
from elmo_infer.training.pretrain import TrainingProgress, pretrain
from elmo_infer.training.ranked_query import (
    SENTENCES,
    choose_sentences,
    learn_ranking,
    read_sentences,
)
from elmo_infer.training.teacher import Teacher
from elmo_infer.training.token_store import TokenStore
from elmo_infer.training.word_distillation import (
    WORDS,
    LessonProgress,
    WordLessons,
    WordReview,
    teach_words,
    token_vectors,
    word_targets,
)

_LOG = logging.getLogger(__name__)
POOLING = "pooling.safetensors"


def check_output_directory(out: Path, *, resume: bool, bytes_needed: int) -> None:
    """Fail before any work where a run could not be written.

    Raises:
      FileExistsError: if the directory holds another run and this one does not resume it.
      FileNotFoundError: if there is nothing to resume.
      OSError: if the disk has no room.
    """
    if resume:
        if not (out / CHECKPOINT).is_file():
            raise FileNotFoundError(
                f"nothing to resume in {out}: it has no {CHECKPOINT}; train without --resume"
            )
    elif out.is_dir() and any(out.iterdir()):
        found = sorted(path.name for path in out.iterdir())[:3]
        raise FileExistsError(
            f"{out} is not empty (found {', '.join(found)}); give a new directory, "
            "or --resume to go on with the run in it"
        )
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    if free < bytes_needed:
        raise OSError(
            f"no room in {out}: {free // 2**20} MB are free, the text and two checkpoints need "
            f"{bytes_needed // 2**20} MB"
        )


def checkpoint_bytes(config: BiLmConfig, vocabulary: int) -> int:
    """Return about how large a checkpoint is: each number once, and twice for Adam."""
    width, cell, filters = config.projection_dim, config.cell_dim, config.n_filters
    cells = 2 * config.n_lstm_layers * (8 * width * cell + 4 * cell + cell * width)
    highway = config.n_highway * 2 * filters * (filters + 1)
    spans = sum(span * count * config.character_dim for span, count in config.filters)
    table = (vocabulary + 3) * (width + 1)
    return 12 * (cells + highway + spans + filters * width + table)


def config_of_model(directory: Path) -> BiLmConfig:
    """Read the shape of a model in the official layout.

    Raises:
      FileNotFoundError: if there is no options.json, or no weights.hdf5 beside it.
      ValueError: if it is not one of a character-input biLM.
    """
    for name in ("options.json", "weights.hdf5"):
        if not (directory / name).is_file():
            raise FileNotFoundError(
                f"nothing to fine-tune in {directory}: {name} is missing; expected a model in "
                "the official layout"
            )
    path = directory / "options.json"
    return BiLmConfig.from_options(json.loads(path.read_text(encoding="utf-8")), str(path))


def parameters_to_start_from(directory: Path, config: BiLmConfig, seed: int) -> Parameters:
    """Read weights.hdf5 as training parameters, and grow them to the configuration asked for.

    Args:
      directory: of a model in the official layout.
      config: of the model to train.
      seed: of what is new in it.

    Raises:
      FileNotFoundError: if a file is missing.
      ValueError: if its tensors are not those of its options.json, or it cannot grow so.
    """
    own = config_of_model(directory)
    path = directory / "weights.hdf5"
    found: Parameters = {}

    def take(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = torch.from_numpy(item[()]).float()

    with h5py.File(path, "r") as file:
        file.visititems(take)
    for name, value in initial_parameters(own, seed).items():
        if name not in found or found[name].shape != value.shape:
            shape = tuple(found[name].shape) if name in found else "nothing"
            raise ValueError(
                f"{path} does not fit options.json: found {name} as {shape}, expected "
                f"{tuple(value.shape)}; only a character-input biLM in the official layout can "
                "be fine-tuned"
            )
    return found if own == config else grow(found, own, config, seed)


def train_bilm(
    store: TokenStore,
    out: Path,
    config: BiLmConfig,
    options: PretrainOptions,
    *,
    valid: TokenStore | None = None,
    resume: bool = False,
    start_from: Path | None = None,
    teacher: Path | None = None,
    teacher_share: float = 0.5,
    lessons: WordLessons | None = None,
    review_words: int = 0,
    fading_cells: int = 0,
    layer_weights: Sequence[float] | None = None,
    recipe: str = "",
    report: Callable[[TrainingProgress], None] | None = None,
    report_lessons: Callable[[LessonProgress], None] | None = None,
    report_documents: Callable[[int, int], None] | None = None,
    report_sentences: Callable[[int, int], None] | None = None,
) -> TrainingState:
    """Train a biLM and write it in the official layout, with its pooling query and card.

    Args:
      store: training text.
      out: directory of the model, its checkpoint and its curve.
      config: shape of the model.
      options: how long and how to train.
      valid: text for the perplexity.
      resume: go on from the checkpoint in out.
      start_from: a model in the official layout to fine-tune; one with fewer cells, filters,
        highways or outputs is grown.
      teacher: a sentence-transformers directory to distil from.
      teacher_share: of each batch's sentences that the teacher reads.
      lessons: single words that the teacher's knowledge of is taught before the sentences; a run
        that resumes has had them.
      review_words: single words that are taught on, so many after every second batch.
      fading_cells: cells of each first layer that begin as fading sums of the words read, after the
        lessons; a run that resumes has them.
      layer_weights: coefficients of the layers that the model will mix by default, the token
        layer's first; if None those of start_from, or their plain mean. The pooling query is
        learned for this mix.
      recipe: the command, for the model card.
      report: told of progress.
      report_lessons: told of the lessons' progress.
      report_documents: told how many sentences of how many the teacher has read, to find what
        tells senses apart.
      report_sentences: told the same of those that the pooling query is learned from, at the end.

    Raises:
      ValueError: if there are lessons but no teacher, a review of a frozen token layer, not one
        layer weight a layer, or no room for the fading cells.
    """
    if (lessons is not None or review_words) and teacher is None:
        raise ValueError("lessons on single words were asked for without a teacher; give one")
    if review_words and options.freeze_token_layer:
        raise ValueError(
            "a review of single words was asked for, and a frozen token layer, which would not "
            "learn from it; give one of the two"
        )
    if resume:
        state = read_checkpoint(out, store, config, options)
    else:
        if fading_cells:
            own = None if start_from is None else config_of_model(start_from)
            check_fading_cells(fading_cells, config, own)
        given = None
        if start_from is not None:
            given = parameters_to_start_from(start_from, config, options.seed)
        state = new_state(store, config, options, given)
    weights = _mix(config, layer_weights, start_from)
    network = state.network
    opened = None if teacher is None else Teacher.open(teacher, network.dtype, network.device)
    targets = None
    if opened is not None and (review_words or (lessons is not None and not resume)):
        words = store.types[: WORDS if lessons is None else lessons.words]
        targets = word_targets(opened, words, report_lessons)
    if not resume:
        if lessons is not None and opened is not None:
            keep = start_from is not None
            teach_words(
                network, store, opened, lessons, keep=keep, targets=targets, report=report_lessons
            )
        if fading_cells:
            vectors = token_vectors(network, min(FADING_WORDS, len(store.types)))
            counts = store.counts[: len(vectors)]
            plant_fading_cells(network.parameters, config, vectors, counts, fading_cells)
        if lessons is not None:
            write_checkpoint(state, store, options, out)
    distillation = None
    if opened is not None:
        senses = state.auxiliary_buffers.get("senses")
        if senses is None:
            senses = sense_map(opened, store, options.seed, report_documents)
        distillation = Distillation(
            opened,
            store,
            senses.to(network.device),
            dim=config.dim,
            layer_weights=weights,
            share=teacher_share,
            seed=options.seed,
            device=network.device,
        )

    review = None
    if review_words and targets is not None:
        review = WordReview(network, store, targets, review_words, options.seed)

    def tell(progress: TrainingProgress) -> None:
        # Before the first checkpoint there is no model yet that the query could be of.
        if distillation is not None and (out / "options.json").is_file():
            _save_pooling(out, distillation.parameters["query"].detach().cpu().clone(), weights)
        if report is not None:
            report(progress)

    state = pretrain(
        store,
        state,
        options,
        out,
        valid=valid,
        auxiliary=distillation,
        review=review,
        report=tell,
    )
    query = None if distillation is None else distillation.parameters["query"].detach().cpu()
    learn_pooling(
        store, out, weights, options.seed, teacher=opened, start=query, report=report_sentences
    )
    card = model_card(store, state, options, teacher is not None, recipe)
    (out / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return state


def _mix(
    config: BiLmConfig, layer_weights: Sequence[float] | None, start_from: Path | None
) -> tuple[float, ...]:
    """Return the coefficients of the default mix: those given, the old model's, or equal ones."""
    n_layers = config.n_lstm_layers + 1
    if layer_weights is None and start_from is not None:
        layer_weights = load(str(start_from), device="cpu").default_layer_weights
    weights = tuple(layer_weights) if layer_weights else (1.0 / n_layers,) * n_layers
    if len(weights) != n_layers:
        raise ValueError(
            f"{len(weights)} layer weights were given for {n_layers} layers; give one each, the "
            "token layer's first"
        )
    return weights


def learn_pooling(
    store: TokenStore,
    directory: Path,
    layer_weights: Sequence[float],
    seed: int,
    *,
    teacher: Teacher | None = None,
    start: torch.Tensor | None = None,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Learn a finished model's pooling query, and write it.

    A teacher says which of the sentences near to one are nearest, and the query goes on from
    `start`, the one that the losses of training have learned. Without a teacher neighbouring
    sentences are told from others.

    pooling.safetensors gets `query` [D] and `layer_weights` [L], the mix it was learned for. A
    text without enough sentences is logged, and leaves the query of training, or a model that
    pools with its mean token.

    Args:
      store: training text.
      directory: of the model, in the official layout.
      layer_weights: [L] of the mix.
      seed: of the sentences.
      teacher: a transformer, or None.
      start: [D] the query to go on from.
      report: told how many sentences of how many the teacher has read.
    """
    model = load(str(directory), device="cpu")
    words = store.types

    def encode(sentences: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
        embedded = model.embed(sentences, layer_weights=layer_weights, pooling="mean")
        return embedded.token_vectors, embedded.offsets

    try:
        if teacher is None or start is None:
            query = learn_query(store, encode, model.dim, seed=seed)
        else:
            chosen = choose_sentences(store, SENTENCES, np.random.default_rng((seed, 17)))
            taught = read_sentences(teacher, store, chosen, report)
            starts, ends = store.sentences[chosen], store.sentences[chosen + 1]
            read = [
                [words[token] for token in store.tokens[first:last]]
                for first, last in zip(starts, ends, strict=True)
            ]
            query = learn_ranking(*encode(read), taught, start, seed=seed)
    except ValueError as error:
        kept = "the mean token" if start is None else "the query of training as it is"
        _LOG.warning("no pooling query was learned, the model uses %s: %s", kept, error)
        return
    _save_pooling(directory, query, layer_weights)


def _save_pooling(out: Path, query: torch.Tensor, layer_weights: Sequence[float]) -> None:
    part = out / f"{POOLING}.tmp"
    tensors = {"query": query, "layer_weights": torch.tensor(layer_weights, dtype=torch.float32)}
    save_file(tensors, str(part))
    # Readable by whoever may read the weights; the writer makes it private.
    part.chmod((out / "options.json").stat().st_mode)
    os.replace(part, out / POOLING)


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"


def model_card(
    store: TokenStore,
    state: TrainingState,
    options: PretrainOptions,
    taught: bool,
    recipe: str,
) -> str:
    """Say what a model is made of, in Markdown."""
    config = state.network.config
    measured = (
        "not measured (no validation text was given)"
        if state.perplexity is None
        else f"{state.perplexity[0]:.1f} forward, {state.perplexity[1]:.1f} backward"
    )
    passes = state.tokens / max(1, len(store.tokens))
    rows: Mapping[str, object] = {
        "Kind": "bidirectional LSTM language model over characters (ELMo), official layout",
        "LSTM cells / projection": f"{config.cell_dim} / {config.projection_dim}",
        "Character filters": json.dumps([list(pair) for pair in config.filters]),
        "Training text": f"{len(store.tokens):,} tokens, {len(store.types):,} types, "
        f"{len(store):,} sentences",
        "Seen in training": f"{state.tokens:,} tokens ({passes:.2f} passes), {state.step:,} steps",
        "Teacher": "a sentence transformer, besides the language-model loss" if taught else "none",
        "Validation perplexity": measured,
        "Time": f"{state.seconds / 60:.0f} minutes",
        "Machine": f"{_machine(state.network.device)}, {options.precision} products",
        "Seed": options.seed,
    }
    lines = ["# Model card", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    lines += ["", "## Recipe", "", "```", recipe, "```", "", "## Options", "", "```json"]
    lines += [json.dumps(asdict(options), indent=1), "```", ""]
    return "\n".join(lines)
