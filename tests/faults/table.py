"""The table of a campaign, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from campaign import Row

_HEAD = ("fault", "records", "lost", "duplicated", "longest stall", "time to recover")


def table(rows: Sequence[Row]) -> str:
    """Return the rows in columns of even width."""
    cells = [_HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in cells
    ]
    rule = "|".join(
        "-" * (width + 1) + ("-" if at == 0 else ":") for at, width in enumerate(widths)
    )
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def _cells(row: Row) -> tuple[str, ...]:
    recovery = "never" if row.recovery is None else f"{row.recovery:.1f} s"
    counts = map(str, (row.records, row.lost, row.duplicated))
    return (row.fault, *counts, f"{row.stall:.1f} s", recovery)
