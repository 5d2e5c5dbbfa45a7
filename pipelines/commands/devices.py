"""The option --device and its values."""

import argparse
import re

DEVICES = "auto, cpu, cuda or cuda:N"


def add_device(options: argparse._ActionsContainer, about: str = DEVICES) -> None:
    """Declare --device."""
    options.add_argument("--device", type=device_name, metavar="DEVICE", default="auto", help=about)


def device_name(text: str) -> str:
    """Return the name of a device; whether the device is there, the loading of a model finds out.

    Raises:
      argparse.ArgumentTypeError: if no device has such a name.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a device; expected {DEVICES}")
    return text
