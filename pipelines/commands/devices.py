"""The values of --device."""

import argparse
import re

DEVICES = "auto, cpu, cuda or cuda:N"


def device_name(text: str) -> str:
    """Return the name of a device; whether the device is there, the loading of a model finds out.

    Raises:
      argparse.ArgumentTypeError: if no device has such a name.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a device; expected {DEVICES}")
    return text
