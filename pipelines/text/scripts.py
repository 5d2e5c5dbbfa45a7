"""Scripts without spaces between words, and texts in them that are read as another language."""

import re

_SAMPLED_CHARACTERS = 4096
_LETTER = re.compile(r"[^\W\d_]")
# script -> (its letters, the language codes that segment it)
_UNSPACED = {
    "Japanese": (re.compile("[\u3040-\u30ff]"), ("ja",)),
    "Chinese": (re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]"), ("zh", "zh-char")),
    "Thai": (re.compile("[\u0e01-\u0e4e]"), ("th",)),
    "Lao": (re.compile("[\u0e81-\u0ede]"), ()),
    "Khmer": (re.compile("[\u1780-\u17d3]"), ()),
    "Burmese": (re.compile("[\u1000-\u104f]"), ()),
    "Tibetan": (re.compile("[\u0f40-\u0fbc]"), ("bo",)),
}
_HANDLED = frozenset({"zh", "zh-char", "ja", "th"})
_SHARE = 0.3


def unspaced_script(text: str, share: float = _SHARE) -> str | None:
    """Return the script without spaces that a text is written in, or None.

    Args:
      text: of which the beginning is looked at.
      share: of its letters that must be of the script.
    """
    text = text[:_SAMPLED_CHARACTERS]
    if text.isascii():
        return None
    letters = len(_LETTER.findall(text))
    # Japanese before Chinese: it is written with both kinds of letters.
    for script, (pattern, _) in _UNSPACED.items():
        found = len(pattern.findall(text))
        floor = 0.1 if script == "Japanese" else share
        if letters and found >= floor * letters and found:
            return script
    return None


def wrong_language(text: str, language: str) -> str | None:
    """Say which --language a text needs, if words of its script cannot be found in this one."""
    if language in _HANDLED:
        return None
    script = unspaced_script(text)
    if script is None:
        return None
    codes = _UNSPACED[script][1]
    asked = " or ".join(f"--language {code}" for code in codes)
    advice = f"give {asked}" if asked else "put spaces between its words, and give --pretokenized"
    return (
        f"{script} has no spaces between words, and --language {language} does not find the"
        f" words: whole clauses become single tokens; {advice}"
    )
