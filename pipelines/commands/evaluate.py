"""`sensegrep evaluate`: score models on sense and similarity sets, side by side."""

import argparse
import json
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.commands.evaluate_options import add_arguments as add_arguments
from pipelines.commands.progress import ProgressDisplay, duration
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pipelines.evaluation.evaluate import EvaluationOptions, SetReport
    from pipelines.evaluation.report import ModelReport
    from pipelines.evaluation.sets import EvaluationSet, SampledSet
    from pipelines.evaluation.vectors import Encoder
    from pipelines.text.tokenizer import Tokenizer

RARE_OPTIONS = frozenset(
    ("--single-sense", "--layer-weights", "--poolings", "--lowercase-fallback", "--beside",
     "--seed", "--centerings", "--keys")
)  # fmt: skip


def execute(args: argparse.Namespace) -> int:
    """Run the command."""
    from pipelines.evaluation.evaluate import EvaluationOptions
    from pipelines.evaluation.report import tables

    _check_outputs(args)
    try:
        options = EvaluationOptions(
            centerings=args.centerings,
            poolings=args.poolings,
            mixes=tuple(args.layer_weights or ()),
            language=args.language,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    names = _choose_sets(args)
    models = _labels(args.models)
    earlier = _earlier_reports(args, [label for label, _ in models])
    with ProgressDisplay() as display:
        encoders = _load_models(args, [path for _, path in models], display)
        sets = _read_sets(args, names, display)
        reports = earlier + [
            _evaluate(label, path, encoder, sets, options, display)
            for (label, path), encoder in zip(models, encoders, strict=True)
        ]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if args.sample is not None:
        print(textwrap.fill(_sample_note(args), width or 100) + "\n")
    print(tables(reports, width))
    print()
    for line in _timing(reports):
        print(textwrap.fill(line, width or 10_000, subsequent_indent="  "))
    _write_files(args, reports)
    return 0


def _write_files(args: argparse.Namespace, reports: "Sequence[ModelReport]") -> None:
    from pipelines.evaluation.report import plot, to_json
    from pipelines.evaluation.side_by_side import markdown

    if args.json is not None:
        args.json.write_text(
            json.dumps(to_json(reports, _settings(args)), indent=1) + "\n", encoding="utf-8"
        )
    if args.keys is not None:
        args.keys.mkdir(parents=True, exist_ok=True)
        for report in reports[-1].sets:
            if report.key:
                text = "".join(f"{line}\n" for line in report.key)
                (args.keys / f"{report.name}.key").write_text(text, encoding="utf-8")
    if args.markdown is not None:
        args.markdown.write_text(markdown(reports), encoding="utf-8")
    if args.plot is not None:
        sampled = "" if args.sample is None else f", sample of {args.sample} a word"
        plot(reports, args.plot, sampled)


def _check_outputs(args: argparse.Namespace) -> None:
    """Find out before the work what would fail after it."""
    from pipelines.reading.training_text import check_training_files

    if args.text is not None:
        check_training_files(args.text)
        _single_words(args)
    elif args.single_sense is not None:
        raise UsageError("--single-sense is for the set single_sense, which needs --text FILE")
    if args.sample is not None and args.sample < 1:
        raise UsageError(f"--sample is {args.sample}; expected at least 1")
    written = (("--json", args.json), ("--markdown", args.markdown), ("--plot", args.plot))
    for option, path in written:
        if path is not None and not path.absolute().parent.is_dir():
            raise UsageError(
                f"{option} {path}: there is no folder {path.absolute().parent}; create it,"
                " or give another path"
            )
    if args.keys is not None and len(args.models) > 1:
        raise UsageError("--keys writes the senses of one model; give one MODEL")
    if args.keys is not None and args.keys.exists() and not args.keys.is_dir():
        raise UsageError(f"--keys {args.keys}: expected a folder, found a file")
    if args.plot is not None and args.plot.suffix != ".png":
        raise UsageError(
            f"--plot {args.plot}: the plot is a PNG file; give a name that ends in .png"
        )
    if args.plot is not None and find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib; install it with: pip install 'sensegrep[plot]'")


def _choose_sets(args: argparse.Namespace) -> tuple[str, ...]:
    from pipelines.evaluation.readers import KEYED_SETS, choose_sets
    from pipelines.evaluation.report import PLOTTED_SET

    try:
        # "zh-char" is a way to tokenize, not a language of its own
        language = args.language.partition("-")[0]
        names = choose_sets(args.data, args.sets or (), language, text=args.text is not None)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if args.keys is not None and not set(names) & set(KEYED_SETS):
        raise UsageError(
            f"--keys writes the senses of {', '.join(KEYED_SETS)}; add one of them to --sets"
        )
    if args.plot is not None and PLOTTED_SET not in names:
        raise UsageError(f"--plot shows {PLOTTED_SET} word by word; add it to --sets")
    return names


def _earlier_reports(args: argparse.Namespace, labels: Sequence[str]) -> "list[ModelReport]":
    from pipelines.evaluation.report import from_json

    if args.beside is None:
        return []
    try:
        found = json.loads(args.beside.read_text(encoding="utf-8"))
        reports = from_json(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = getattr(error, "strerror", None) or error
        raise UsageError(f"--beside {args.beside}: cannot be read: {said}") from error
    now = _settings(args)
    for name in ("language", "sample", "seed"):
        if found["settings"][name] != now[name]:
            raise UsageError(
                f"--beside {args.beside} was made with {name} {found['settings'][name]}, but"
                f" this run has {now[name]}, so the numbers cannot be compared; score that model"
                " again, or leave"
                " out --beside"
            )
    twice = [report.label for report in reports if report.label in labels]
    if twice:
        raise UsageError(
            f"--beside {args.beside} already has a model {twice[0]}; give the new one another"
            f" name: NAME={twice[0]}"
        )
    return reports


def _read_sets(
    args: argparse.Namespace, names: Sequence[str], display: ProgressDisplay
) -> "list[EvaluationSet]":
    from pipelines.evaluation.readers import TEXT_SET, read_set
    from pipelines.evaluation.sets import sample
    from pipelines.text.tokenizer import Tokenizer

    tokenizer = Tokenizer(args.language)
    sets = []
    for name in names:
        display.keep(f"reading {name}")
        found: EvaluationSet
        if name == TEXT_SET:
            found = _read_single_words(args, tokenizer, display)
        else:
            found = read_set(args.data, name, tokenizer.tokenize)
        sets.append(found if args.sample is None else sample(found, args.sample, args.seed))
    return sets


def _single_words(args: argparse.Namespace) -> list[str]:
    from pipelines.senses.learning import bundled_single_words, parse_words

    if args.single_sense is not None:
        if not args.single_sense.is_file():
            raise UsageError(f"--single-sense {args.single_sense}: there is no such file")
        found = parse_words(args.single_sense.read_text(encoding="utf-8"))
        if not found:
            raise UsageError(f"--single-sense {args.single_sense}: there are no words in it")
        return found
    bundled = bundled_single_words(args.language.partition("-")[0])
    if bundled is None:
        raise UsageError(
            f"there is no bundled list of words of one sense in language {args.language!r}; give"
            " one with --single-sense FILE"
        )
    return bundled


def _read_single_words(
    args: argparse.Namespace, tokenizer: "Tokenizer", display: ProgressDisplay
) -> "SampledSet":
    from pipelines.evaluation.single_words import read_single_words

    def show(documents: int, found: int) -> None:
        display.show(f"reading text: {documents:,} documents, {found:,} occurrences")

    return read_single_words(args.text, _single_words(args), tokenizer, show)


def _load_models(
    args: argparse.Namespace, models: Sequence[str], display: ProgressDisplay
) -> "list[Encoder]":
    from elmo_infer import load
    from elmo_infer.static import is_static_model, load_static
    from pipelines.evaluation.vectors import views_of

    encoders: list[Any] = []
    for model in models:
        display.keep(f"loading {model}")
        if is_static_model(model):
            encoders.append(load_static(model, lowercase_fallback=args.lowercase_fallback))
        else:
            encoders.append(load(model, device=args.device))
        if encoders[-1].n_layers > 1:
            try:
                views_of(encoders[-1], args.layer_weights or ())
            except ValueError as error:
                raise UsageError(f"--layer-weights: {error}") from error
    if args.layer_weights and all(encoder.n_layers == 1 for encoder in encoders):
        raise UsageError(
            "--layer-weights is for models with layers, but none of these has layers; leave it out"
        )
    return encoders


def _evaluate(
    label: str,
    path: str,
    encoder: "Encoder",
    sets: "Sequence[EvaluationSet]",
    options: "EvaluationOptions",
    display: ProgressDisplay,
) -> "ModelReport":
    from dataclasses import replace

    from pipelines.evaluation.evaluate import evaluate
    from pipelines.evaluation.report import ModelReport

    if encoder.n_layers == 1:
        options = replace(options, mixes=())  # there is nothing to mix
    found: list[SetReport] = []
    for each in sets:
        started = time.monotonic()
        show = partial(_show_embedding, display, label, started)
        found.append(evaluate(encoder, each, options, show))
        timing = f"{found[-1].embed_seconds:.1f} s embedding, {found[-1].score_seconds:.1f} s"
        display.keep(f"{label}: {each.name}: {timing} scoring")
    return ModelReport(
        label=label,
        path=path,
        fingerprint=encoder.fingerprint,
        dim=encoder.dim,
        n_layers=encoder.n_layers,
        layer_weights=tuple(encoder.default_layer_weights),
        sets=tuple(found),
    )


def _show_embedding(
    display: ProgressDisplay, label: str, started: float, name: str, done: int, total: int
) -> None:
    speed = done / max(time.monotonic() - started, 1e-9)
    left = (total - done) / max(speed, 1e-9)
    display.show(
        f"{label}: {name}: {done:,} of {total:,} tokens, {speed:,.0f} tokens/s,"
        f" about {duration(left)} left",
        done / total,
    )


def _labels(models: Sequence[str]) -> list[tuple[str, str]]:
    """(name to show, path) of each model; whole paths where short names would be the same.

    Raises:
      UsageError: if two models are given the same name.
    """
    named = []
    for model in models:
        name, equals, path = model.partition("=")
        given = equals and name and path and "/" not in name and not Path(model).exists()
        named.append((name, path) if given else (Path(model).name or model, model))
    short = [name for name, _ in named]
    labels = [(name if short.count(name) == 1 else path, path) for name, path in named]
    if len({label for label, _ in labels}) < len(labels):
        raise UsageError(
            f"a model is given twice: {', '.join(models)}; give each its own name: NAME=MODEL"
        )
    return labels


def _sample_note(args: argparse.Namespace) -> str:
    return (
        f"SAMPLE (--sample {args.sample} --seed {args.seed}): at most {args.sample} occurrences"
        " per word, pairs per set, documents per collection. Compare only with numbers of the"
        " same sample."
    )


def _timing(reports: "Sequence[ModelReport]") -> list[str]:
    lines = []
    for report in reports:
        embedding = sum(each.embed_seconds for each in report.sets)
        scoring = sum(each.score_seconds for each in report.sets)
        unknown = ", ".join(
            f"{each.name} {100 * each.unknown_share:.1f}%"
            for each in report.sets
            if each.unknown_share
        )
        weights = ", ".join(f"{weight:.3g}" for weight in report.layer_weights)
        lines.append(
            f"{report.label}: D = {report.dim}, mix [{weights}]; {embedding:.1f} s embedding, "
            f"{scoring:.1f} s scoring" + (f"; unknown words: {unknown}" if unknown else "")
        )
    return lines


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "sets": list(args.sets or ()) or "all",
        "language": args.language,
        "sample": args.sample,
        "seed": args.seed,
        "centerings": list(args.centerings),
        "poolings": list(args.poolings),
        "lowercase_fallback": args.lowercase_fallback,
    }
