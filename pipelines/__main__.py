"""The command line: subcommands, logging, exit statuses.

Exit status: 0 done, 1 failed, 2 bad usage, 3 done but some records were rejected.
"""

import argparse
import atexit
import errno
import logging
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from pipelines.commands.help_examples import EXAMPLES, FIRST_STEPS, epilog_of
from pipelines.commands.help_format import CommandParser, HelpFormatter
from pipelines.commands.output import HarmlessFormatter, harmless, never_fail_to_print
from pipelines.errors import UsageError
from pipelines.version import version

_STORE_PACKAGES = frozenset(
    ("botocore", "aiobotocore", "boto3", "s3fs", "gcsfs", "google", "adlfs", "azure", "aiohttp")
)
_NATIVE_THREADS = frozenset(("pyarrow", "grpc"))
DONE, FAILED, BAD_USAGE = 0, 1, 2
COMPLETION = "--print-completion"
# Commands that continue where they stopped.
RESUMED = ("run", "embed", "stream")
_SYSTEM_ERROR = re.compile(r"\[Errno (?P<number>\d+)\] (?P<said>[^:]+)(?:: '(?P<path>.*)')?")
_ADVICE = {
    errno.ENOENT: "check the path",
    errno.EISDIR: "give the path of a file",
    errno.ENOTDIR: "a part of the path is a file; check the path",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EROFS: "choose a place that can be written",
    errno.ENOSPC: "free some space, and run the command again",
    errno.EDQUOT: "free some space, and run the command again",
}
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

# Each command's module is imported only when the command is used: search must not pay for Beam.
COMMANDS = {
    "run": ("pipelines.commands.run", "embed documents, then index them: the main command"),
    "embed": ("pipelines.commands.embed", "embed documents into a corpus"),
    "stream": (
        "pipelines.commands.stream",
        "keep a corpus up to date from a folder, Kafka or Pub/Sub",
    ),
    "index": ("pipelines.commands.index", "build or extend the indexes of a corpus"),
    "search": ("pipelines.commands.search", "find a word in the same sense, or similar sentences"),
    "senses": ("pipelines.commands.senses", "list the senses of a word"),
    "serve": ("pipelines.commands.serve", "serve the search page and the HTTP API"),
    "info": ("pipelines.commands.info", "show what a corpus contains"),
    "verify": ("pipelines.commands.verify", "check every file of a corpus"),
    "delete": ("pipelines.commands.delete", "delete documents from a corpus"),
    "compact": (
        "pipelines.commands.compact",
        "merge segments and drop the rows of deleted documents",
    ),
    "vacuum": ("pipelines.commands.vacuum", "remove files that no snapshot uses"),
    "train": ("pipelines.commands.train", "pretrain a biLM, or train a static baseline"),
    "evaluate": ("pipelines.commands.evaluate", "score models on sense and similarity sets"),
}


def build_parser(*commands: str) -> CommandParser:
    """Build the parser; only the arguments of `commands` are filled in."""
    parser = CommandParser(
        prog="sensegrep",
        description="Embed text corpora with ELMo and search them by the sense of a word.",
        epilog="\n".join(
            ["start with:", f"  {EXAMPLES['run'][0]}", f"  {EXAMPLES['search'][0]}",
             "help on a command: sensegrep COMMAND --help"]
        ),
        formatter_class=HelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"sensegrep {version()}")
    parser.add_argument(
        "--verbose", action="store_true", help="log more, and print tracebacks of errors"
    )
    _add_completion(parser)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=epilog_of(name),
            formatter_class=HelpFormatter,
        )
        if name in commands:
            _fill(subparser, import_module(module))
    return parser


def _add_completion(parser: CommandParser) -> None:
    parser.add_argument(
        COMPLETION,
        choices=("bash", "zsh", "tcsh"),
        help="print a script that completes commands and options in a shell, and exit",
    )


def _fill(parser: CommandParser, module: ModuleType) -> None:
    module.add_arguments(parser)
    # Also after the command's name, where it must not undo what was given before it.
    hidden = argparse.SUPPRESS
    parser.add_argument("--verbose", action="store_true", default=hidden, help=hidden)
    if rare := getattr(module, "RARE_OPTIONS", None):
        parser.show_rare_only_on_demand(rare)
    parser.set_defaults(refuse=parser.error)


def completion_script(shell: str) -> str:
    """Return the script that completes every command and option in a shell."""
    import shtab

    return str(shtab.complete(build_parser(*COMMANDS), shell))


def main(argv: Sequence[str] | None = None, *, own_process: bool = False) -> int:
    """Run one command and return its exit status.

    Args:
      argv: arguments; None takes those of the process.
      own_process: nothing else runs in this process, so a command may set it up for itself.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    never_fail_to_print()
    if not arguments:
        print(FIRST_STEPS, file=sys.stderr)
        return BAD_USAGE
    command = next((word for word in arguments if word in COMMANDS), None)
    if command is None and arguments[0].partition("=")[0] == COMPLETION:
        return _print_completion(arguments)
    parser = build_parser(*([command] if command else []))
    _refuse_options_before(command, arguments, parser)
    args, rest = parser.parse_known_args(arguments)
    module = import_module(COMMANDS[args.command][0])
    if getattr(module, "accepts_beam_flags", False):
        args.beam_args = rest
    elif rest:
        # Said by the command's own parser, whose usage shows what it takes.
        args.refuse(f"unrecognized arguments: {' '.join(rest)}{_quotes_advice(rest)}")
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING,
        format=LOG_FORMAT,
    )
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            handler.setFormatter(HarmlessFormatter(LOG_FORMAT))
    try:
        if own_process and (prepare := getattr(module, "prepare_process", None)):
            prepare()
        return int(module.execute(args))
    except UsageError as error:
        return _report(error, args.verbose, BAD_USAGE)
    except OSError as error:
        return _report(_placed(error, args), args.verbose, FAILED)
    except MemoryError as error:
        return _report(_short_of_memory(error), args.verbose, FAILED)
    except (ValueError, RuntimeError) as error:
        return _report(_advised(error, args) or error, args.verbose, FAILED)
    except BrokenPipeError:
        raise
    except Exception as error:  # of a store's client, a codec, ...: never a traceback for a user
        return _report(_named(error), args.verbose, FAILED)
    except KeyboardInterrupt:
        again = "; run the same command again: it continues where it stopped"
        said = again if args.command in RESUMED else ""
        print(f"sensegrep: interrupted{said}", file=sys.stderr)
        return FAILED


def _refuse_options_before(
    command: str | None, arguments: Sequence[str], parser: CommandParser
) -> None:
    """Refuse options of a command that stand before its name."""
    if command is None:
        return
    known = tuple(parser._option_string_actions)
    for word in arguments[: list(arguments).index(command)]:
        name = word.partition("=")[0]
        if name.startswith("--") and not any(each.startswith(name) for each in known):
            parser.error(
                f"{name} stands before the command; write it after: sensegrep {command} ... {name}"
            )


def _quotes_advice(rest: Sequence[str]) -> str:
    """Return what to do about words that no option takes."""
    if any(word.startswith("-") for word in rest):
        return ""
    return "; write quotes around a text of several words, as in 'They sat on the [bank]'"


def _print_completion(arguments: Sequence[str]) -> int:
    parser = CommandParser(prog="sensegrep")
    _add_completion(parser)
    print(completion_script(parser.parse_args(arguments).print_completion))
    return DONE


def console() -> None:
    """Entry point of the installed `sensegrep` command."""
    ended: list[int] = []
    atexit.register(_end, ended)  # registered first, so it runs last
    try:
        status = main(own_process=True)
        sys.stdout.flush()
    except BrokenPipeError:
        # `sensegrep search ... | head` closes our output early; that is not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = DONE
    if "grpc" in sys.modules:
        # A worker in this process that lost its engine would tell of it in tracebacks.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    ended.append(status)
    sys.exit(status)


def _end(ended: list[int]) -> None:
    """End the process at once where Arrow or gRPC is loaded, before Python takes itself apart.

    A native thread of theirs that still gives a Python object back would abort the process then,
    with its work done (https://github.com/apache/arrow/issues/34314).
    """
    if ended and sys.modules.keys() & _NATIVE_THREADS:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended[0])


def _named(error: Exception) -> Exception:
    """Return an error of a kind that no command expects, with its name and what to do."""
    package = type(error).__module__.partition(".")[0]
    if package in _STORE_PACKAGES:
        advice = "check the URL, the credentials and the network"
        text = f"the store answered {type(error).__name__}: {error}; {advice}"
    else:
        text = f"unexpected {type(error).__name__}: {error}; --verbose shows where it was raised"
    return RuntimeError(text).with_traceback(error.__traceback__)


def _advised(error: Exception, args: argparse.Namespace) -> OSError | None:
    """Return an error of the system with its file or the corpus, and what to do; None of others."""
    # Beam and Arrow raise errors again with nothing but their text.
    found = _SYSTEM_ERROR.fullmatch(str(error))
    if found is None or int(found["number"]) not in _ADVICE:
        return None
    corpus = getattr(args, "corpus", None)
    place = getattr(error, "filename", None) or found["path"] or (corpus and f"corpus {corpus}")
    told = f"{place}: {found['said']}" if place else found["said"]
    advised = OSError(f"{told}; {_ADVICE[int(found['number'])]}")
    return advised.with_traceback(error.__traceback__)


def _placed(error: OSError, args: argparse.Namespace) -> OSError:
    """Return an error with what to do, or of a store's client with the corpus's URL."""
    if advised := _advised(error, args):
        return advised
    corpus = getattr(args, "corpus", None) or ""
    if "://" not in corpus or corpus in str(error) or error.filename or "://" in str(error):
        return error
    # Not of the same class: a client's errors take other arguments.
    return OSError(f"{error} (corpus {corpus})").with_traceback(error.__traceback__)


def _short_of_memory(error: MemoryError) -> Exception:
    found = f" ({error})" if str(error) else ""
    text = f"there is not enough memory{found}; free some, or lower the command's limits, such as"
    limits = " --max-tokens-per-batch of embed, --max-memory of index and --k of search"
    return RuntimeError(text + limits).with_traceback(error.__traceback__)


def _report(error: BaseException, verbose: bool, status: int) -> int:
    if isinstance(error, BrokenPipeError):
        raise error
    if verbose:
        logging.getLogger("pipelines").error("traceback of the error below", exc_info=error)
    # What an error quotes may command the terminal.
    print(f"sensegrep: error: {harmless(str(error))}", file=sys.stderr)
    return status


if __name__ == "__main__":
    console()
