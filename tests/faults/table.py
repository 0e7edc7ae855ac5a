"""The table of a campaign, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from campaign import Row

_HEAD = ("fault", "hits", "records", "lost", "duplicated", "longest stall", "time to recover")


def table(rows: Sequence[Row]) -> str:
    """Return the rows in columns of even width."""
    cells = [_HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    head, *lines = [_line(line, widths) for line in cells]
    rule = [f"{'-' * (width + 1)}:" for width in widths]
    rule[0] = "-" * (widths[0] + 2)
    return "\n".join([head, f"|{'|'.join(rule)}|", *lines])


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    name, *figures = cells
    aligned = [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
    return f"| {' | '.join([name.ljust(widths[0]), *aligned])} |"


def _cells(row: Row) -> tuple[str, ...]:
    recovery = "never" if row.recovery is None else f"{row.recovery:.1f} s"
    hits = "" if row.hits is None else row.hits
    counts = map(str, (hits, row.records, row.lost, row.duplicated))
    return (row.fault, *counts, f"{row.stall:.1f} s", recovery)
