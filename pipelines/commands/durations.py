"""Times as the commands take them: 90s, 30m, 12h, 7d."""

import re

from pipelines.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str, option: str) -> float:
    """Read a time into seconds; `option` is for the message.

    Raises:
      UsageError: if it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if not match:
        raise UsageError(f"{option} is {text!r}; expected a duration such as 90s, 30m, 12h or 7d")
    return float(match[1]) * _UNITS[match[2]]
