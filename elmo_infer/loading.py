"""`load`: find, read and check a model by its bundled name, path or URL."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from elmo_infer.characters import ByteSpeller, Speller
from elmo_infer.config import BiLmConfig
from elmo_infer.embedder import Elmo, Pooling, RunSettings
from elmo_infer.formats.many_langs import read_many_langs
from elmo_infer.formats.model_files import ModelFiles, read_json
from elmo_infer.formats.official import read_official
from elmo_infer.formats.safetensors_file import read_safetensors
from elmo_infer.model import BiLm
from elmo_infer.placement import Placement
from elmo_infer.quantized_linear import has_products
from elmo_infer.states import InitialState, after_marks, describe_start, start_state
from elmo_infer.weights import BiLmWeights, fingerprint

if TYPE_CHECKING:
    from elmo_infer.static import StaticEncoder

logger = logging.getLogger(__name__)

MODELS = Path(__file__).parent / "models"
# Where each can be computed in.
DTYPES = {
    "float32": (torch.float32, ("cpu", "cuda")),
    "float64": (torch.float64, ("cpu", "cuda")),
    "bfloat16": (torch.bfloat16, ("cpu", "cuda")),
    "float16": (torch.float16, ("cuda",)),
    "int8": (torch.int8, ("cpu",)),
}
POOLING_FILE = "pooling.safetensors"


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
        "auto" takes the fastest type of the device: float16 with CUDA; on a CPU bfloat16 if the
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
                f"options={options!r}, weights={weights!r}"
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
    config, tensors, speller, spelling = _READERS[files.kind](files)
    pooling = read_pooling(files, config)
    described = describe_start(config, initial_state)
    extra = {
        "spelling": spelling,
        "query": pooling.query,
        "layer_weights": pooling.layer_weights,
        **described,
    }
    # Reads and checks every tensor, before any is prepared.
    digest = fingerprint(config, tensors, extra)
    stacks = None
    if place.type == "cuda":
        from elmo_infer.cuda_graphs import GraphedStacks  # of no use on a CPU

        stacks = [GraphedStacks(config, tensors.lstm, placement)]
    bilm = BiLm(config, tensors, speller, placement, stacks)
    start = after_marks(bilm, start_state(bilm, described))
    if place.type == "cuda":
        torch.cuda.synchronize(place)  # whichever stream the first batch runs on, all is there
    logger.info("loaded %s on %s in %s", name, placement.device, placement.dtype)
    return Elmo(
        name=name,
        fingerprint=digest,
        bilm=bilm,
        start=start,
        pooling=pooling,
        settings=settings,
    )


def model_location(name: str) -> str:
    """Return the directory of a bundled model; a path or URL as it is.

    Raises:
      FileNotFoundError: if it is neither; lists the bundled models.
    """
    if "/" in name or "\\" in name or Path(name).exists():
        return name
    if (MODELS / name).is_dir():
        return str(MODELS / name)
    bundled = sorted(entry.name for entry in MODELS.glob("*/")) if MODELS.is_dir() else []
    raise FileNotFoundError(
        f"no model {name!r}: it is neither a file or directory here nor a bundled model; "
        f"bundled are: {', '.join(bundled) or 'none'}"
    )


def earlier_versions(name: str) -> list[str]:
    """Return the bundled names of a bundled model's earlier weights, the newest first.

    They stay loadable, so that what was embedded with them can be searched.
    """
    if "/" in name or "\\" in name or not (MODELS / name).is_dir():
        return []
    return sorted((entry.name for entry in MODELS.glob(f"{name}-*/")), reverse=True)


def read_beside(name: str, file: str) -> bytes | None:
    """Return the bytes of a file that lies beside a model's weights; None if there is none.

    Args:
      name: of a model, as `load` takes it.
      file: base name.
    """
    try:
        found = ModelFiles.find(model_location(name))
    except (FileNotFoundError, ValueError, OSError):
        return None
    return found.read(file) if file in found.paths else None


def _load_static(files: ModelFiles, *, device: str, dtype: str) -> "StaticEncoder":
    from elmo_infer import static  # the baselines are rarely wanted

    if not static.is_static_model(files.location):
        raise ValueError(files.explain())
    return static.load_static(
        files.location, device=device, dtype="float32" if dtype == "auto" else dtype
    )


Loaded = tuple[BiLmConfig, BiLmWeights, Speller, Any]


def load_official(files: ModelFiles) -> Loaded:
    options = read_json(files, files.options)
    config = BiLmConfig.from_options(options, files.label(files.options))
    file = files.open_hdf5(files.weights)
    tensors = read_official(file, config, files.label(files.weights))
    return config, tensors, ByteSpeller(config.max_characters), "utf-8 bytes"


def load_many_langs(files: ModelFiles) -> Loaded:
    model = read_many_langs(files)
    return model.config, model.weights, model.speller, model.spelling


_READERS: dict[str, Callable[[ModelFiles], Loaded]] = {
    "official": load_official,
    "many_langs": load_many_langs,
}


def read_pooling(files: ModelFiles, config: BiLmConfig) -> Pooling:
    """Read pooling.safetensors (`query` [D], `layer_weights` [L]) where a model ships one."""
    if POOLING_FILE not in files.names:
        return Pooling()
    where = files.label(POOLING_FILE)
    tensors = read_safetensors(files.read(POOLING_FILE), where)
    expected = {"query": (config.dim,), "layer_weights": (config.n_lstm_layers + 1,)}
    for key, values in tensors.items():
        if key not in expected:
            raise ValueError(f"{where}: unknown tensor {key!r}; expected {', '.join(expected)}")
        if values.shape != expected[key] or not np.isfinite(values).all():
            raise ValueError(
                f"{where}: tensor {key!r} has shape {values.shape}, expected {expected[key]}, "
                "finite"
            )
    pooling = Pooling()
    if "query" in tensors:
        pooling = replace(pooling, query=tensors["query"].astype(np.float32))
    if "layer_weights" in tensors:
        pooling = replace(pooling, layer_weights=tuple(tensors["layer_weights"].tolist()))
    return pooling


def choose_device(device: str) -> torch.device:
    """Return the device asked for; never another one.

    Raises:
      ValueError: if there is no such device here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"unknown device {device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'"
        ) from error
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if chosen.type == "cuda" and (chosen.index or 0) >= count:
        raise ValueError(
            f"device {device!r} is not there: {count} CUDA devices were found. "
            "Use device='cpu', or device='auto' to take what there is"
        )
    if chosen.type == "cuda" and chosen.index is None:
        # "cuda" alone would mean another device in a thread that has chosen another one.
        return torch.device("cuda", torch.cuda.current_device())
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the type of matrix products; "auto" is the fastest of the device.

    Raises:
      ValueError: if it is unknown, or the device cannot.
    """
    if dtype == "auto":
        return _fastest_dtype(device)
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}; expected auto or one of {', '.join(DTYPES)}")
    chosen, devices = DTYPES[dtype]
    if device.type not in devices:
        raise ValueError(
            f"dtype {dtype!r} cannot be computed on {device}; it needs {' or '.join(devices)}. "
            f"On {device.type} there are: "
            + ", ".join(name for name, (_, where) in DTYPES.items() if device.type in where)
        )
    return chosen


def _fastest_dtype(device: torch.device) -> torch.dtype:
    """Return the fastest type of products, as docs/models.md has measured it.

    It follows from the device and not from a trial, which on a busy machine could end in another
    way the next time: the same machine gives the same bytes. If the processor multiplies bfloat16
    and int8, bfloat16 is taken, which is nearer to float32.
    """
    if device.type != "cpu":
        return torch.float16
    faster = (torch.bfloat16, torch.int8)
    return next((dtype for dtype in faster if has_products(dtype)), torch.float32)
