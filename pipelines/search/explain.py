"""Show a line with its words shaded by their weight in the sentence's vector."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

from pipelines.search.kwic import Style, one_line

# Backgrounds of a 256-colour terminal, from none to strong; black letters stay legible on each.
_SHADES = ("", "\x1b[30;48;5;230m", "\x1b[30;48;5;222m", "\x1b[30;48;5;214m", "\x1b[30;48;5;208m")


def explain_lines(hits: Iterable[Any], style: Style) -> list[str]:
    """Return each hit's sentence with its words shaded, or where there is no colour with the
    weights of those that stand out, in per cent.

    Args:
      hits: with score, doc_id, tokens [T] and attention [T].
      style: of the terminal.
    """
    return [
        f"{hit.score:6.3f} "
        + " ".join(_word(token, share, style) for token, share in _shares(hit))
        + f"  {one_line(hit.doc_id)}"
        for hit in hits
    ]


def _shares(hit: Any) -> list[tuple[str, tuple[float, float]]]:
    """Return tokens with their weight, and that weight as a share of the sentence's greatest."""
    most = max(hit.attention, default=0.0) or 1.0
    equal = 1 / max(1, len(hit.tokens))
    return [
        (one_line(token), (weight, weight / most if weight > equal else 0.0))
        for token, weight in zip(hit.tokens, hit.attention, strict=True)
    ]


def _word(token: str, share: tuple[float, float], style: Style) -> str:
    weight, relative = share
    if style.colour:
        return style.paint(token, shade) if (shade := _SHADES[_level(relative)]) else token
    return f"{token}[{100 * weight:.0f}]" if relative else token


def _level(relative: float) -> int:
    return min(len(_SHADES) - 1, int(relative * len(_SHADES)))


def explain_page(query: str, hits: Sequence[Any]) -> str:
    """Return an HTML page of the hits' sentences, words shaded by weight; texts are escaped."""
    rows = []
    for hit in hits:
        words = " ".join(
            f'<span style="background:rgba(230,140,0,{relative:.2f})"'
            f' title="{weight:.3f}">{html.escape(token)}</span>'
            for token, (weight, relative) in _shares(hit)
        )
        rows.append(f"<li><small>{hit.score:.3f} {html.escape(hit.doc_id)}</small> {words}</li>")
    title = html.escape(query)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<h1>{title}</h1><p>Words are shaded by their weight in the sentence's vector.</p>"
        f"<ol>{''.join(rows)}</ol></html>\n"
    )
