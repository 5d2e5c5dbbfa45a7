"""Entry file of the Dataflow flex template: its parameters become one `sensegrep` command.

Dataflow's launcher passes nothing but --name=value and takes the template for launched when this
program ends, so that it submits and leaves. It holds no program logic: a name is our own
(`step`, `input`), or it is passed on as it is.
"""

import sys
from collections.abc import Sequence

from pipelines.__main__ import main

STEPS = ("embed", "index")


def command(given: Sequence[str]) -> list[str]:
    """Return the arguments of `sensegrep` for the parameters of a template.

    Args:
      given: --name=value each; an empty value is a parameter that was left out.

    Raises:
      SystemExit: if a parameter is missing or wrong; the message says which.
    """
    named = dict(word.removeprefix("--").split("=", 1) for word in given if "=" in word)
    passed = [word for word in given if "=" not in word]
    step = named.pop("step", "") or "embed"
    inputs = named.pop("input", "").split()
    if step not in STEPS:
        raise SystemExit(f"parameter step is {step!r}; expected {' or '.join(STEPS)}")
    if (step == "embed") != bool(inputs):
        raise SystemExit(f"parameter input is {' '.join(inputs)!r}; {step} takes "
                         + ("files, globs or URLs" if step == "embed" else "none"))  # fmt: skip
    flags = [f"--{name}={value}" for name, value in named.items() if value]
    return [step, *inputs, "--no-wait", *flags, *passed]


if __name__ == "__main__":
    sys.exit(main(command(sys.argv[1:])))
