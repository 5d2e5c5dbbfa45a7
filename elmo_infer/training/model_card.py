"""What a trained model is made of, written beside it."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict

import torch

from elmo_infer.training.checkpoint import PretrainOptions, TrainingState
from elmo_infer.training.teaching import TeachingOptions
from elmo_infer.training.token_store import TokenStore


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"


def model_card(
    store: TokenStore,
    state: TrainingState,
    options: PretrainOptions,
    teaching: TeachingOptions | None,
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
        "Teacher": "none"
        if teaching is None
        else "a sentence transformer, besides the language-model loss",
        "Validation perplexity": measured,
        "Time": f"{state.seconds / 60:.0f} minutes",
        "Machine": f"{_machine(state.network.device)}, {options.precision} products",
        "Seed": options.seed,
    }
    lines = ["# Model card", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    lines += ["", "## Recipe", "", "```", recipe, "```", "", "## Options", "", "```json"]
    given = asdict(options) | ({} if teaching is None else {"teaching": asdict(teaching)})
    lines += [json.dumps(given, indent=1), "```", ""]
    if held_out := state.held_out:
        lines += ["## The teacher's losses on held-out text", "", "| loss | |", "|---|---|"]
        lines += [f"| {name} | {value:.4f} |" for name, value in held_out.items()]
        lines.append("")
    return "\n".join(lines)
