"""`sensegrep vacuum --corpus DIR`: remove files that no snapshot names."""

import argparse
import re

from pipelines.commands.wording import counted
from pipelines.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--corpus", required=True, metavar="DIR", help="path or URL")
    parser.add_argument(
        "--older-than",
        default="1d",
        metavar="AGE",
        help="keep younger files, because a running job may be writing them: 90s, 30m, 12h, 7d",
    )
    parser.add_argument(
        "--keep-snapshots",
        type=int,
        default=1,
        metavar="N",
        help="number of newest snapshots to keep",
    )
    parser.add_argument("--dry-run", action="store_true", help="only count; remove nothing")


def execute(args: argparse.Namespace) -> int:
    """Remove; prints how much."""
    from pipelines.corpus.view import CorpusView
    from pipelines.maintenance.vacuum import vacuum

    if args.keep_snapshots < 1:
        raise UsageError(f"--keep-snapshots is {args.keep_snapshots}, expected at least 1")
    report = vacuum(
        CorpusView.open(args.corpus),
        older_than_seconds=parse_age(args.older_than),
        keep_snapshots=args.keep_snapshots,
        dry_run=args.dry_run,
    )
    verb = "would remove" if args.dry_run else "removed"
    print(
        f"{verb} {counted(report.files, 'file')}, {counted(report.bytes, 'byte')};"
        f" {report.snapshots:,} of them old snapshots"
    )
    if report.young:
        print(
            f"{counted(report.young, 'file')} that no snapshot uses were kept: younger than"
            f" {args.older_than} (see --older-than)"
        )
    for writer in report.writers:
        print(f"{writer} is running: the files that it may need were kept")
    return 0


def parse_age(text: str, option: str = "--older-than") -> float:
    """Read an age such as 90s, 30m, 12h or 7d into seconds.

    Raises:
      UsageError: if it is not one.
    """
    match = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if not match:
        raise UsageError(f"{option} is {text!r}; expected a duration such as 90s, 30m, 12h or 7d")
    return float(int(match[1]) * _UNITS[match[2]])
