"""The errors that the command line turns into exit statuses.

UsageError (ValueError)   the command was given wrongly           exit 2
CorpusError (RuntimeError) the corpus or its storage is at fault   exit 1
Everything else that is a ValueError, OSError or RuntimeError also exits 1.
"""

from collections.abc import Mapping


class UsageError(ValueError):
    """An option or argument that cannot mean anything here; the message says what would."""


class AbsentWord(UsageError):
    """A word that never occurs in the index.

    Args:
      message: what was looked for, and the nearest forms in words.
      nearest: the forms spelled most alike, with their occurrences.
    """

    def __init__(self, message: str, nearest: Mapping[str, int]) -> None:
        super().__init__(message)
        self.nearest = dict(nearest)


class CorpusError(RuntimeError):
    """A corpus that is missing, damaged, from a newer version, or busy."""


class NoTokenVectors(CorpusError):
    """Words are asked for in a corpus of which only sentences were embedded."""
