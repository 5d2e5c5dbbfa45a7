"""Train a biLM from a token store to a directory that `load` reads."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import torch

from elmo_infer import load
from elmo_infer.config import BiLmConfig
from elmo_infer.training.batch_maker import BatchMaker
from elmo_infer.training.checkpoint import (
    CHECKPOINT,
    PretrainOptions,
    TrainingState,
    new_state,
    read_checkpoint,
    write_checkpoint,
)
from elmo_infer.training.fading import FADING_WORDS, check_fading_cells, plant_fading_cells
from elmo_infer.training.final_query import learn_pooling, save_pooling
from elmo_infer.training.forms import WordForms
from elmo_infer.training.growth import grow
from elmo_infer.training.model_card import model_card
from elmo_infer.training.parameters import Parameters, initial_parameters
from elmo_infer.training.pretrain import TrainingProgress, pretrain
from elmo_infer.training.saved_softmax import read_softmax
from elmo_infer.training.teacher_cache import SILENT, CacheReports
from elmo_infer.training.teaching import TeachingOptions, open_teaching, single_targets
from elmo_infer.training.token_store import TokenStore
from elmo_infer.training.word_distillation import (
    LessonProgress,
    WordLessons,
    WordReview,
    teach_words,
    token_vectors,
)


def has_letter_or_digit(word: str) -> bool:
    """Say whether a word is more than punctuation."""
    return any(map(str.isalnum, word))


def check_output_directory(out: Path, *, resume: bool, bytes_needed: int) -> None:
    """Fail before any work where a run could not be written.

    Raises:
      FileExistsError: if the directory holds another run and this one does not resume it.
      FileNotFoundError: if there is nothing to resume.
      OSError: if the disk has no room.
    """
    if resume:
        # A run that broke off while the teacher read has its text, and what was read, already.
        if not ((out / CHECKPOINT).is_file() or (out / "text" / "store.json").is_file()):
            raise FileNotFoundError(
                f"nothing to resume in {out}: it has no {CHECKPOINT}; train without --resume"
            )
    elif out.is_dir() and any(out.iterdir()):
        found = sorted(path.name for path in out.iterdir())[:3]
        raise FileExistsError(
            f"{out} is not empty (found {', '.join(found)}); give a new directory, "
            "or --resume to continue the run in it"
        )
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    if free < bytes_needed:
        raise OSError(
            f"no room in {out}: {free // 2**20} MB are free, but the text and two checkpoints need "
            f"{-(-bytes_needed // 2**20)} MB; free some, or give a directory on another disk"
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
    teaching: TeachingOptions | None = None,
    is_content: Callable[[str], bool] = has_letter_or_digit,
    lessons: WordLessons | None = None,
    review_words: int = 0,
    fading_cells: int = 0,
    layer_weights: Sequence[float] | None = None,
    recipe: str = "",
    report: Callable[[TrainingProgress], None] | None = None,
    report_lessons: Callable[[LessonProgress], None] | None = None,
    cache_reports: CacheReports = SILENT,
) -> TrainingState:
    """Train a biLM and write it in the official layout, with its pooling query and card.

    Args:
      store: training text.
      out: directory of the model, its checkpoint and its curve, and of what the teacher makes of
        the text.
      config: shape of the model.
      options: how long and how to train.
      valid: text for the perplexity, and the teacher's losses.
      resume: go on from the checkpoint in out.
      start_from: a model in the official layout to fine-tune; one with fewer cells, filters,
        highways or outputs is grown. Its softmax is taken over where it was saved.
      teacher: a sentence-transformers directory to distil from.
      teaching: what is learned from it.
      is_content: says whether a word is neither a stop word nor punctuation.
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
      cache_reports: told while the teacher reads.

    Raises:
      ValueError: if there are lessons but no teacher, a review of a frozen token layer, not one
        layer weight a layer, or no room for the fading cells.
    """
    teaching = teaching or TeachingOptions()
    if (lessons is not None or review_words) and teacher is None:
        raise ValueError("lessons on single words need a teacher; give one")
    if review_words and options.freeze_token_layer:
        raise ValueError(
            "a review of single words teaches the token layer, and a frozen token layer does not"
            " learn; give one of the two"
        )
    state = _state(store, out, config, options, resume, start_from, fading_cells)
    weights = _mix(config, layer_weights, start_from)
    network = state.network
    forms = WordForms.of(store.types, is_content)
    taught = None
    if teacher is not None:
        taught = open_teaching(
            teacher, out, store, forms, network, options, teaching, weights,
            valid=valid, is_content=is_content, reports=cache_reports,
        )  # fmt: skip
    targets = None
    if taught is not None and (review_words or lessons is not None):
        targets = single_targets(taught.cache, network.device)
    if not resume:
        if lessons is not None and targets is not None:
            keep = start_from is not None
            teach_words(network, store, targets, lessons, keep=keep, report=report_lessons)
        if fading_cells:
            vectors = token_vectors(network, min(FADING_WORDS, len(store.types)))
            counts = store.counts[: len(vectors)]
            plant_fading_cells(network.parameters, config, vectors, counts, fading_cells)
        if lessons is not None:
            write_checkpoint(state, store, options, out)
    review = None
    if review_words and targets is not None:
        review = WordReview(network, store, targets, review_words, options.seed)

    def tell(progress: TrainingProgress) -> None:
        # Before the first checkpoint there is no model yet that the query could be of.
        if taught is not None and (out / "options.json").is_file():
            query = taught.distillation.parameters["query"]
            save_pooling(out, query.detach().cpu().clone(), weights)
        if report is not None:
            report(progress)

    maker = BatchMaker(
        store=store,
        spellings=network.spellings,
        vocabulary=network.vocabulary,
        draws=network.draws,
        tokens_per_batch=options.tokens_per_batch,
        seed=options.seed,
        lowercase_share=options.lowercase_share,
        forms=forms,
        fold=teaching.fold,
        cache=None if taught is None else taught.cache,
    )
    state = pretrain(
        maker,
        state,
        options,
        out,
        valid=valid,
        auxiliary=None if taught is None else taught.distillation,
        held_out=None if taught is None else taught.held_out_losses,
        review=review,
        report=tell,
    )
    learn_pooling(
        store,
        out,
        weights,
        options.seed,
        cache=None if taught is None else taught.cache,
        start=None if taught is None else taught.distillation.parameters["query"].detach().cpu(),
        forms=forms,
        penalty=teaching.penalty,
        device=options.device,
    )
    card = model_card(store, state, options, None if teacher is None else teaching, recipe)
    (out / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return state


def _state(
    store: TokenStore,
    out: Path,
    config: BiLmConfig,
    options: PretrainOptions,
    resume: bool,
    start_from: Path | None,
    fading_cells: int,
) -> TrainingState:
    """Return where the run begins."""
    if resume:
        return read_checkpoint(out, store, config, options)
    if fading_cells:
        own = None if start_from is None else config_of_model(start_from)
        check_fading_cells(fading_cells, config, own)
    if start_from is None:
        return new_state(store, config, options)
    given = parameters_to_start_from(start_from, config, options.seed)
    return new_state(store, config, options, given, read_softmax(start_from))


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
            f"{len(weights)} layer weights were given for {n_layers} layers; give one number per"
            " layer, the token layer first"
        )
    return weights
