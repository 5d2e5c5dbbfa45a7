"""The errors that the command line turns into exit statuses.

UsageError (ValueError)   the command was given wrongly           exit 2
CorpusError (RuntimeError) the corpus or its storage is at fault   exit 1
Everything else that is a ValueError, OSError or RuntimeError also exits 1.
"""


class UsageError(ValueError):
    """An option or argument that cannot mean anything here; the message says what would."""


class CorpusError(RuntimeError):
    """A corpus that is missing, damaged, from a newer version, or busy."""
