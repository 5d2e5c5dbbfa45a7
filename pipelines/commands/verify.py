"""`sensegrep verify --corpus DIR`: compare every file with its checksum."""

import argparse
import sys

from pipelines.commands.output import say
from pipelines.commands.wording import counted

DONE, FAILED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--corpus", required=True, metavar="DIR", help="path or URL")


def execute(args: argparse.Namespace) -> int:
    """Check; 0 if all is well, 1 with a line for each fault otherwise."""
    from pipelines.corpus.view import CorpusView
    from pipelines.maintenance.verify import verify

    report = verify(CorpusView.open(args.corpus))
    for fault in report.faults:
        say(f"fault: {fault}", file=sys.stderr)
    verdict = counted(len(report.faults), "fault") if report.faults else "all well"
    say(f"verified {counted(report.files, 'file')}, {counted(report.bytes, 'byte')}: {verdict}")
    for line in report.advice:
        say(line)
    return FAILED if report.faults else DONE
