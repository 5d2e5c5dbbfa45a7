"""`load`: make a model for batches, on a CPU or a GPU, in PyTorch."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from elmo_infer.arguments import DeviceError
from elmo_infer.embedder import Elmo, RunSettings
from elmo_infer.formats.model_files import ModelFiles
from elmo_infer.initial_state import InitialState
from elmo_infer.model import BiLm
from elmo_infer.placement import Placement
from elmo_infer.quantized_linear import has_products
from elmo_infer.reading import model_location, read_model
from elmo_infer.states import after_marks, start_state

if TYPE_CHECKING:
    from elmo_infer.static import StaticEncoder

logger = logging.getLogger(__name__)

# Where each can be computed in.
DTYPES = {
    "float32": (torch.float32, ("cpu", "cuda")),
    "float64": (torch.float64, ("cpu", "cuda")),
    "bfloat16": (torch.bfloat16, ("cpu", "cuda")),
    "float16": (torch.float16, ("cuda",)),
    "int8": (torch.int8, ("cpu",)),
}


def load(
    model: str | Path | None = None,
    *,
    options: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    dtype: str = "float32",
    initial_state: InitialState = "zero",
    max_tokens_per_batch: int = RunSettings.max_tokens_per_batch,
    word_cache_bytes: int = RunSettings.word_cache_bytes,
) -> "Elmo | StaticEncoder":
    """Load an ELMo model, or a baseline with the same interface.

    Args:
      model: a bundled name ("en-small"); a directory, .zip or options.json, as a path or an fsspec
        URL. The layout (official, simple_elmo, ELMoForManyLangs) is recognised by the files;
        word2vec files and NNLM directories are baselines.
      options: instead of `model`, an official options.json ...
      weights: ... and its HDF5 file.
      device: "auto" (CUDA if there is one, else the CPU), "cpu", "cuda" or "cuda:N".
      dtype: type of matrix products; everything else, LSTM cells included, is at least float32.
        "auto" takes a fast type of the device: float16 with CUDA; on a CPU bfloat16 if the
        processor multiplies it, else int8 if it multiplies that (VNNI), else float32;
        "float32"; "float64"; "bfloat16", fast if the processor has AVX512-BF16 or AMX; "int8",
        CPU only, fast if the processor has AVX512-VNNI; "float16", CUDA
        only. A processor without these products gives the same vectors at float32's speed.
        Measured on the bundled English model, cosine of a token's layer to float32's: at least
        0.9999 in bfloat16; 0.9997 on average and at least 0.997 in int8.
      initial_state: LSTM state at the start of each sentence. "zero"; "warm": one state computed
        from a fixed text; or arrays (h, c) of shape [n_lstm_layers, 2, P] and
        [n_lstm_layers, 2, cell_dim], the forward direction first.
      max_tokens_per_batch: tokens computed together; limits memory, changes no vector.
      word_cache_bytes: size limit of the cache of context-free word vectors.

    Returns:
      The ELMo, or a baseline with the same interface (elmo_infer.static.StaticEncoder).

    Raises:
      ValueError: if an option, the files or the device cannot be used.
      FileNotFoundError: if there is no such file.
    """
    settings = RunSettings(
        max_tokens_per_batch=max_tokens_per_batch, word_cache_bytes=word_cache_bytes
    )
    place = choose_device(device)
    placement = Placement(device=place, dtype=choose_dtype(dtype, place))
    if model is None:
        if options is None or weights is None:
            raise ValueError(
                f"load needs a model, or options and weights; found model=None, "
                f"options={options!r}, weights={weights!r}; for the bundled model: load('en-small')"
            )
        files = ModelFiles.of_pair(str(options), str(weights))
        name = str(options)
    else:
        if options is not None or weights is not None:
            raise ValueError("load takes either a model or options and weights, not both")
        name = str(model)
        files = ModelFiles.find(model_location(name))
    if files.kind == "other":
        return _load_static(files, device=device, dtype=dtype)
    # Reads and checks every tensor, before any is prepared.
    parts = read_model(files, initial_state)
    stacks = None
    if place.type == "cuda":
        from elmo_infer.cuda_graphs import GraphedStacks  # of no use on a CPU

        stacks = [GraphedStacks(parts.config, parts.weights.lstm, placement)]
    bilm = BiLm(parts.config, parts.weights, parts.speller, placement, stacks)
    start = after_marks(bilm, start_state(bilm, parts.start))
    if place.type == "cuda":
        torch.cuda.synchronize(place)  # whichever stream the first batch runs on, all is there
    logger.info("loaded %s on %s in %s", name, placement.device, placement.dtype)
    return Elmo(
        name=name,
        fingerprint=parts.fingerprint,
        bilm=bilm,
        start=start,
        pooling=parts.pooling,
        settings=settings,
    )


def _load_static(files: ModelFiles, *, device: str, dtype: str) -> "StaticEncoder":
    from elmo_infer import static  # the baselines are rarely wanted

    if not static.is_static_model(files.location):
        raise ValueError(files.explain())
    return static.load_static(
        files.location, device=device, dtype="float32" if dtype == "auto" else dtype
    )


def choose_device(device: str) -> torch.device:
    """Return the device asked for; never another one.

    Raises:
      DeviceError: if there is no such device here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(
            f"unknown device {device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'"
        ) from error
    if chosen.type not in ("cpu", "cuda"):
        raise DeviceError(f"unknown device {device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if chosen.type == "cuda" and (chosen.index or 0) >= count:
        raise DeviceError(
            f"device {device!r} was not found: this machine has {count} CUDA devices; choose"
            " cpu, or auto, which takes what there is"
        )
    if chosen.type == "cuda" and chosen.index is None:
        # "cuda" alone would mean another device in a thread that has chosen another one.
        return torch.device("cuda", torch.cuda.current_device())
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the type of matrix products; "auto" is a fast one of the device.

    Raises:
      ValueError: if it is unknown, or the device cannot.
    """
    if dtype == "auto":
        return _fast_dtype(device)
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}; expected auto or one of {', '.join(DTYPES)}")
    chosen, devices = DTYPES[dtype]
    if device.type not in devices:
        raise ValueError(
            f"dtype {dtype!r} cannot be used on {device}; it needs {' or '.join(devices)}. "
            f"On {device.type} there are: "
            + ", ".join(name for name, (_, where) in DTYPES.items() if device.type in where)
        )
    return chosen


def _fast_dtype(device: torch.device) -> torch.dtype:
    """Return the type of products that is faster than float32 here, as a short trial shows.

    The trial decides between yes and no only (see `has_products`), with room between, so that the
    same machine gives the same bytes. If the processor multiplies bfloat16 and int8 faster,
    bfloat16 is taken, which is nearer to float32.
    """
    if device.type != "cpu":
        return torch.float16
    faster = (torch.bfloat16, torch.int8)
    return next((dtype for dtype in faster if has_products(dtype)), torch.float32)
