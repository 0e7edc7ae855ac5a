"""How the figures of a campaign are made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from campaign import Row, _longest_stall
from checker import Source
from table import table


def watched(*seen: tuple[int, float]) -> Any:
    """Return what has seen results of sources at times."""
    return SimpleNamespace(
        seen=[SimpleNamespace(source=Source(0, offset), at=at) for offset, at in seen]
    )


@pytest.mark.parametrize(
    ("seen", "stall"),
    [
        ([], 10.0),
        ([(0, 1.0), (1, 3.0), (2, 8.0)], 5.0),
        ([(0, 1.0), (1, 3.0), (1, 6.0), (2, 8.0)], 5.0),
        ([(0, 6.0), (1, 7.0)], 6.0),
        ([(0, 1.0), (1, 2.0)], 8.0),
        ([(0, -1.0), (1, 5.0), (2, 11.0)], 5.0),
    ],
)
def test_stalls(seen: list[tuple[int, float]], stall: float) -> None:
    """The longest time without a result of something new, from end to end."""
    assert _longest_stall(watched(*seen), 0.0, 10.0) == stall


def test_the_table() -> None:
    """A line for each row, in columns."""
    rows = [Row("none", 120, 0, 0, 1.26, 0.0), Row("S3 away", 7, 1, 12, 91.0, hits=3)]
    assert table(rows).splitlines() == [
        "| fault   | hits | records | lost | duplicated | longest stall | time to recover |",
        "|---------|-----:|--------:|-----:|-----------:|--------------:|----------------:|",
        "| none    |      |     120 |    0 |          0 |         1.3 s |           0.0 s |",
        "| S3 away |    3 |       7 |    1 |         12 |        91.0 s |           never |",
    ]


@pytest.mark.parametrize(
    ("row", "problems"),
    [
        (Row("none", 120, recovery=0.0), []),
        (Row("S3 away", 120, recovery=0.0, hits=1), []),
        (Row("S3 away", 120, recovery=0.0, hits=0), ["the fault has hit nothing"]),
        (Row("S3 away", 120, hits=1), ["no recovery"]),
        (Row("none", recovery=0.0), ["no records"]),
        (Row("none", 9, 1, recovery=0.0, broken={"lost": [7]}), ["lost [7]"]),
    ],
)
def test_what_makes_a_campaign_fail(row: Row, problems: list[str]) -> None:
    """A broken promise, and also a fault that shows nothing."""
    assert row.problems() == problems
