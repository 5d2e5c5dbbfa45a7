"""Check that a job fits the corpus that it adds to, so that the corpus stays searchable."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipelines.corpus.view import CorpusView
from pipelines.embed.recipe import Recipe
from pipelines.errors import UsageError
from pipelines.reading.input_files import InputFile
from pipelines.text.tokenizer import RULES_VERSION, PretokenizedText, Tokenizer
from schemas import Segment

_FLAGS = {
    "layer_weights": "--layer-weights",
    "pooling": "--pooling",
    "initial_state": "--initial-state",
    "language": "--language",
    "max_sentence_tokens": "--max-sentence-tokens",
    "line_breaks": "--line-breaks",
    "name": "--language or --pretokenized",
}


def fit_rules(
    tokenizer: Tokenizer | PretokenizedText, corpus: CorpusView
) -> tuple[Tokenizer | PretokenizedText, str | None]:
    """Return the tokenizer by the version of the rules that a corpus was made with.

    Returns:
      The tokenizer, and a remark where it is an older version than this sensegrep's.
    """
    segment = _made_segment(corpus)
    if segment is None:
        return tokenizer, None
    rules = int(segment.options["tokenizer"]["rules"])
    if not 1 <= rules < RULES_VERSION:
        return tokenizer, None
    remark = (
        f"{corpus.root} was made with version {rules} of the token and sentence rules and keeps"
        f" that version, so that all its vectors can be compared; to use version"
        f" {RULES_VERSION}, embed the documents into a new corpus"
    )
    return tokenizer.of_rules(rules), remark


def check_recipe(recipe: Recipe, corpus: CorpusView) -> None:
    """Check that new vectors could be compared with those that a corpus has.

    Raises:
      UsageError: if not; says what differs and what to do.
    """
    segment = _made_segment(corpus)
    if segment is None or segment.fingerprint == recipe.fingerprint:
        return
    differences = "; ".join(_differences(segment, recipe))
    raise UsageError(
        f"the corpus at {corpus.root} was embedded with other settings, and its vectors cannot be"
        f" compared with new ones: {differences}. Give the settings of the corpus (to list them:"
        f" sensegrep info --corpus {corpus.root}), or embed into a new corpus; nothing was changed"
    )


def keep_names(files: list[InputFile], corpus: CorpusView) -> list[InputFile]:
    """Return the input files by the names that a corpus knows them by.

    Until version 0.1 a file was called as it was given; ids that records lack were made from that,
    and go on to be where a corpus has them.
    """
    other = {file.given for file in files if file.given and file.given != file.uri}
    if not other or not corpus.segments:
        return files
    known: set[str] = set()
    for batch in corpus.read("documents", ["uri"]):
        known |= other.intersection(batch.column("uri").unique().to_pylist())
    return [replace(f, uri=f.given) if f.given in known else f for f in files]


def _made_segment(corpus: CorpusView) -> Segment | None:
    """Return a segment that says how the corpus was made; None of an empty corpus."""
    return next((segment for segment in corpus.segments if segment.parts), None)


def _differences(segment: Segment, recipe: Recipe) -> list[str]:
    found = []
    theirs, ours = segment.model, recipe.model
    if theirs["fingerprint"] != ours["fingerprint"]:
        found.append(
            f"the corpus has the model {theirs['name']} ({str(theirs['fingerprint'])[:12]}...),"
            f" this job the model {ours['name']} ({str(ours['fingerprint'])[:12]}...)"
        )
    if segment.dim != recipe.dim:
        found.append(f"the corpus has vectors of width {segment.dim}, this job of {recipe.dim}")
    then = {**segment.options, **segment.options["tokenizer"]}
    now = {**recipe.options, **recipe.options["tokenizer"]}
    for name, flag in _FLAGS.items():
        if then.get(name) != now.get(name):
            found.append(
                f"the corpus has {flag} {_shown(then, name)}, this job {_shown(now, name)}"
            )
    for name, words in (("version", "the tokenizer package's version"), ("rules", "token rules")):
        if then.get(name) != now.get(name):
            found.append(f"the corpus has {words} {then.get(name)}, this job {now.get(name)}")
    return found or ["the settings have other fingerprints"]


def _shown(options: Mapping[str, Any], name: str) -> str:
    value = options.get(name, "none")
    return ",".join(f"{number:.3g}" for number in value) if isinstance(value, list) else str(value)
