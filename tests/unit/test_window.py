"""The window: bounded, in the order of arrival, one message always."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faust_s3.window import Ticket, Window


def window(count: int = 3, size: int = 100) -> Window:
    return Window(lambda: count, lambda: size)


async def test_up_to_the_count() -> None:
    """So many are admitted at once, the next one when another has left."""
    here = window(count=3)
    tickets = [here.join(1) for _ in range(5)]
    assert [ticket.admitted for ticket in tickets] == [True, True, True, False, False]
    tickets[1].leave()
    assert [ticket.admitted for ticket in tickets[3:]] == [True, False]
    assert len(here) == 4


async def test_up_to_the_size() -> None:
    """Exactly the limit fits, one byte more does not."""
    here = window(size=100)
    first = here.join(60)
    assert here.join(40).admitted
    last = here.join(1)
    assert not last.admitted
    first.leave()
    assert last.admitted
    assert here.size == 41


async def test_one_is_always_allowed() -> None:
    """Whatever its size, once all before it have left."""
    here = window(size=10)
    first, giant, small = here.join(1), here.join(1000), here.join(1)
    assert not giant.admitted
    first.leave()
    assert giant.admitted
    assert not small.admitted
    giant.leave()
    assert small.admitted


async def test_nobody_overtakes() -> None:
    """A small message that would fit does not pass a large one that waits, or they would lock."""
    here = window(size=100)
    first, waiting, small = here.join(90), here.join(50), here.join(1)
    assert (waiting.admitted, small.admitted) == (False, False)
    small.leave()  # given up
    first.leave()
    assert waiting.admitted


async def test_what_came_later_keeps_nobody_out() -> None:
    """What cannot wait is counted, but only for those behind it."""
    here = window(size=100)
    first, waiting = here.join(100), here.join(100)
    intruder = here.intrude(1000)
    assert intruder.admitted
    first.leave()
    assert waiting.admitted
    last = here.join(1)
    waiting.leave()
    assert not last.admitted
    intruder.leave()
    assert last.admitted


async def test_leaving_twice_changes_nothing() -> None:
    """Every way out may say so."""
    here = window()
    ticket = here.join(10)
    ticket.leave()
    ticket.leave()
    assert (len(here), here.size) == (0, 0)


async def test_waiting() -> None:
    """It ends when there is room, or when time is over."""
    here = window(count=1)
    first, second = here.join(1), here.join(1)
    assert await first.wait(10)
    assert not await second.wait(0.001)
    first.leave()
    assert await second.wait(10)


@pytest.mark.may_block  # hypothesis keeps a database
@given(st.lists(st.tuples(st.integers(0, 120), st.booleans(), st.integers(0, 5)), max_size=30))
async def test_everybody_gets_in(moves: list[tuple[int, bool, int]]) -> None:
    """Whoever is admitted leaves some time; nobody waits for ever, and bounds hold."""
    here = window(count=3, size=100)
    present: list[Ticket] = []
    for size, intrudes, leaver in moves:
        present.append(here.intrude(size) if intrudes else here.join(size))
        if leaver < len(present) and present[leaver].admitted:
            present.pop(leaver).leave()
    while present:
        admitted = [ticket for ticket in present if ticket.admitted]
        assert admitted
        present.remove(admitted[0])
        admitted[0].leave()
    assert (len(here), here.size) == (0, 0)
