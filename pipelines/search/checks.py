"""Checks of a search before it runs.

Each raises UsageError, or NoTokenVectors where the corpus lacks what is asked for.
"""

from pipelines.errors import NoTokenVectors, UsageError
from pipelines.index.reader import OpenIndex
from pipelines.search.hits import SensesOfWord
from pipelines.search.options import SearchOptions


def refuse_word_options(options: SearchOptions) -> None:
    """Refuse options about words: they mean nothing where sentences are compared."""
    for name in ("any_word", "fold_case", "inflections"):
        if getattr(options, name):
            raise UsageError(
                f"--{name.replace('_', '-')} is about a word, but the query has none in [brackets];"
                " put one in brackets, or leave the option out"
            )
    if options.sense is not None:
        raise UsageError(
            "--sense chooses a sense of a word, but the query has no word in [brackets]; put one"
            " in brackets"
        )
    if options.sort[:1].isdigit():
        raise UsageError(
            f"--sort {options.sort} sorts by the words around a word in [brackets], but the"
            " query has none; put one in brackets"
        )


def check_sense(number: int | None, senses: SensesOfWord | None, word: str) -> None:
    """Make sure that a word has a sense of this number; None asks for no sense."""
    if number is None:
        return
    known = 0 if senses is None else len(senses.senses)
    if number > known:
        raise UsageError(
            f"--sense is {number}, but {word!r} has {known} sense{'' if known == 1 else 's'} here;"
            f" see: sensegrep senses {word} --corpus DIR"
        )


def check_filters(index: OpenIndex, options: SearchOptions) -> None:
    """Make sure that some indexed document passes the filters, if all documents are indexed."""
    filters, shards = options.filters, index.shards.values()
    if not filters or index.unindexed:
        return
    if any(shard.allowed_documents(filters).any() for shard in shards):  # type: ignore[union-attr]
        return
    keys = {
        key
        for shard in shards
        for row in shard.documents.column("metadata").slice(0, 1000).to_pylist()
        for key, _ in row
    }
    asked = ", ".join(f"{key}={value}" for key, value in filters.items())
    raise UsageError(
        f"no document has the metadata {asked}; the metadata keys of this corpus are:"
        f" {', '.join(sorted(keys)) or 'none'}"
    )


def check_has_tokens(index: OpenIndex) -> None:
    """Refuse to look for words where only sentences were embedded.

    Raises:
      NoTokenVectors: if the corpus has none.
    """
    if not any(segment.counts["token_vectors"] for segment in index.corpus.segments):
        raise NoTokenVectors(
            f"the corpus at {index.corpus.root} has no token vectors (it was embedded with --tokens"
            " none), so words cannot be searched; search without brackets, or embed it with"
            " --tokens content or all"
        )
