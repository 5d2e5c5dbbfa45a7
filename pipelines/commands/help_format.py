"""How options are shown: their defaults named, where there is something to name."""

import argparse


class HelpFormatter(argparse.HelpFormatter):
    """Adds "(default: X)" unless there is no default or the option is a plain switch."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        silent = action.default in (None, False, argparse.SUPPRESS) or "default" in text
        if silent or not action.option_strings:
            return action.help
        return f"{text} (default: %(default)s)"
