"""A table of scores as aligned text or as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under titles: columns of names first, then columns of numbers.

    Attributes:
      names: how many columns hold names; they stand to the left in every part.
      groups: for each column the group that it belongs to; empty for none.
      titles: for each column its title.
      rows: cells; an empty one holds nothing.
    """

    names: int
    groups: Sequence[str]
    titles: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return the table as Markdown."""
        pairs = zip(self.groups, self.titles, strict=True)
        titles = [f"{group} {title}".strip() for group, title in pairs]
        rule = ["---" if i < self.names else "---:" for i in range(len(titles))]
        return "\n".join(f"| {' | '.join(row)} |" for row in [titles, rule, *self.rows])

    def text(self, width: int | None = None) -> str:
        """Return the table as aligned text.

        Args:
          width: a wider table is parted between groups into several, each with the names.
        """
        return "\n\n".join(_aligned(part) for part in self._parts(width))

    def _parts(self, width: int | None) -> "list[Table]":
        if width is None:
            return [self]
        numbers = range(self.names, len(self.titles))
        starts = [i for i in numbers if i == self.names or self.groups[i] != self.groups[i - 1]]
        names, parts = list(range(self.names)), []
        held = names
        for start, end in zip(starts, [*starts[1:], len(self.titles)], strict=True):
            wider = [*held, *range(start, end)]
            if held != names and _columns_of(self._with(wider)) > width:
                parts.append(self._with(held))
                wider = [*names, *range(start, end)]
            held = wider
        return [*parts, self._with(held)]

    def _with(self, kept: Sequence[int]) -> "Table":
        return Table(
            names=self.names,
            groups=[self.groups[i] for i in kept],
            titles=[self.titles[i] for i in kept],
            rows=[[row[i] for i in kept] for row in self.rows],
        )


def _columns_of(table: Table) -> int:
    return max(len(line) for line in _aligned(table).splitlines())


def _aligned(table: Table) -> str:
    """Columns of equal width, names to the left, numbers to the right; empty ones left out.

    The first line names groups, each where its first column begins; a name may run over the
    columns that follow.
    """
    columns = range(len(table.titles))
    kept = [i for i in columns if any(row[i] for row in table.rows)]
    widths = {i: max(len(row[i]) for row in [table.titles, *table.rows]) for i in kept}
    heads, end, shown = "", 0, ""
    for i in kept:
        if table.groups[i] != shown:
            shown = table.groups[i]
            heads = heads.ljust(end) + (f"{shown}  " if shown else "")
        end += widths[i] + 2
    lines = [heads.rstrip()]
    for row in [table.titles, *table.rows]:
        if row is not table.titles and not any(row[i] for i in kept[1:]):
            continue  # nothing to say about these columns
        cells = [
            row[i].ljust(widths[i]) if i < table.names else row[i].rjust(widths[i]) for i in kept
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
