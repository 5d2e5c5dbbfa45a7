"""How commands print numbers with their nouns."""


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, as in 1 segment or 2,000 segments."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
