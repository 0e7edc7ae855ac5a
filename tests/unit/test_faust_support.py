"""``docs/faust-support.md`` and ``reliability.md``: items name tests, and the tests are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DOCUMENT, RELIABILITY = (
    (TESTS.parent / "docs" / name).read_text(encoding="utf-8")
    for name in ("faust-support.md", "reliability.md")
)
NAMED = sorted(set(re.findall(r"`(\w+/\w+\.py)::(\w+)`", DOCUMENT + RELIABILITY)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_test_is_there(path: str, name: str) -> None:
    """By the name that the document gives."""
    source = (TESTS / path).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE)


def test_every_item_has_a_test() -> None:
    """A row of a table whose last column is for tests names at least one."""
    tables = re.findall(r"^\|.*shown by \|\n\|[-|]+\n((?:\|.*\n)+)", DOCUMENT, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    assert rows
    assert [row for row in rows if not re.search(r"::test_\w+` \|$", row)] == []
