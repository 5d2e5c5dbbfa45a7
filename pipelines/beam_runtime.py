"""Beam's flags checked before any work, and its own chatter kept off the terminal."""

import difflib
import logging
import warnings
from collections.abc import Sequence

from pipelines.errors import UsageError


def check_flags(flags: Sequence[str]) -> list[str]:
    """Return flags that Beam knows, for a runner; a mistyped flag of ours must not vanish in them.

    Args:
      flags: what our own parser did not know; each as --name=value or --name.

    Raises:
      UsageError: for a flag that Beam does not know either, or a stray word.
    """
    if not flags:
        return []
    from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

    parser = _BeamArgumentParser(add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)  # how Beam itself builds its parser
    known = [option for action in parser._actions for option in action.option_strings]
    for flag in flags:
        name = flag.split("=", 1)[0]
        if not name.startswith("--"):
            raise UsageError(f"unexpected {flag!r}; write flags for Beam as one word, --flag=value")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"unknown option {name}{hint} (neither ours nor one of Beam's)")
    return list(flags)


def quieten(verbose: bool) -> None:
    """Silence Beam's own logging, unless the user asked for more.

    Its errors go too: each is raised as well, and then told in one line instead of fifty.
    """
    if verbose:
        return
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="apache_beam")
    # Beam's remarks about cloud packages that are not installed go to the root logger.
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: record.name != "root" or record.levelno > logging.WARNING)
