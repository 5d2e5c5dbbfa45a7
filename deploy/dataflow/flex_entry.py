"""Entry file of the Dataflow flex templates: parameters become `sensegrep embed` or `stream`.

Dataflow's launcher passes nothing but --name=value and takes the template for launched when this
program ends, so that it submits and leaves. It holds no program logic: `input` becomes the inputs,
`source` that of a stream, and every other name is passed on as it is.
"""

import sys
from collections.abc import Sequence

from pipelines.__main__ import main


def command(given: Sequence[str]) -> list[str]:
    """Return the arguments of `sensegrep` for the parameters of a template.

    Args:
      given: --name=value each; an empty value is a parameter that was left out.

    Raises:
      SystemExit: if there is neither input nor source; the message says so.
    """
    named = dict(word.removeprefix("--").split("=", 1) for word in given if "=" in word)
    passed = [word for word in given if "=" not in word]
    inputs, source = named.pop("input", "").split(), named.pop("source", "")
    if not inputs and not source:
        raise SystemExit(
            "parameter input is empty; expected gs:// URLs, separated by spaces; or, for a stream,"
            " parameter source"
        )
    named.setdefault("runner", "DataflowRunner")
    flags = [f"--{name}={value}" for name, value in named.items() if value]
    words = ["stream", source] if source else ["embed", *inputs]
    return [*words, "--no-wait", *flags, *passed]


if __name__ == "__main__":
    sys.exit(main(command(sys.argv[1:])))
