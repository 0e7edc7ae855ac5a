"""The line of senders: whoever sent first publishes first, whatever happens in between."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faust_s3.order import Line, Place


async def turns(count: int = 5) -> None:
    """Let everything that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def publish(place: Place, number: int, published: list[int]) -> None:
    try:
        await place.reached()
        published.append(number)
    finally:
        place.leave()


async def test_first_place_is_reached_at_once() -> None:
    """Nobody waits in an empty line."""
    await Line().join().reached()


async def test_second_place_waits_for_the_first() -> None:
    """A place is reached when the one before is left, and not earlier."""
    line = Line()
    first, second = line.join(), line.join()
    waiting = asyncio.create_task(second.reached())
    await turns()
    assert not waiting.done()
    first.leave()
    await waiting


async def test_place_after_an_empty_line() -> None:
    """Who comes after everybody left does not wait."""
    line = Line()
    line.join().leave()
    await line.join().reached()


async def test_order_is_that_of_joining() -> None:
    """Messages are published in the order of joining, whoever is ready first."""
    line, published = Line(), list[int]()
    places = [line.join() for _ in range(5)]
    tasks = [
        asyncio.create_task(publish(places[number], number, published))
        for number in (4, 2, 0, 1, 3)
    ]
    await asyncio.gather(*tasks)
    assert published == [0, 1, 2, 3, 4]


async def test_leaving_early_lets_nobody_overtake() -> None:
    """A sender that gives up before its turn does not let those behind it past those before."""
    line = Line()
    first, second, third = line.join(), line.join(), line.join()
    second.leave()
    waiting = asyncio.create_task(third.reached())
    await turns()
    assert not waiting.done()
    first.leave()
    await waiting


async def test_many_leave_early() -> None:
    """However many give up in a row, the next one still waits for the first."""
    line = Line()
    first, *others, last = [line.join() for _ in range(200)]
    for place in others:
        place.leave()
    waiting = asyncio.create_task(last.reached())
    await turns()
    assert not waiting.done()
    first.leave()
    await waiting


async def test_cancelled_sender_keeps_the_order() -> None:
    """A sender that is cancelled while it waits is passed over, the rest stays in order."""
    line, published = Line(), list[int]()
    places = [line.join() for _ in range(4)]
    tasks = [
        asyncio.create_task(publish(place, number, published))
        for number, place in enumerate(places)
        if number
    ]
    await turns()
    tasks[0].cancel()
    await turns()
    assert published == []
    places[0].leave()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert published == [2, 3]


async def test_leaving_twice() -> None:
    """Leaving a second time changes nothing."""
    line = Line()
    first, second = line.join(), line.join()
    first.leave()
    first.leave()
    await second.reached()


async def test_reached_twice() -> None:
    """A place that was reached stays so."""
    line = Line()
    first, second = line.join(), line.join()
    first.leave()
    await second.reached()
    await second.reached()


async def test_no_future_for_those_who_do_not_wait() -> None:
    """Most leave at once, and nobody waits behind them: that costs no more than the place."""
    line, loop = Line(), asyncio.get_running_loop()
    made: list[None] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "create_future", lambda: made.append(None))
        for _ in range(3):
            place = line.join()
            await place.reached()
            place.leave()
    assert (made, line.empty) == ([], True)


async def test_line_keeps_nobody_who_left() -> None:
    """A line of a million sends holds on to none of them."""
    line = Line()
    left = []
    for _ in range(100):
        place = line.join()
        await place.reached()
        place.leave()
        left.append(weakref.ref(place))
        del place
    gc.collect()
    assert sum(ref() is not None for ref in left) <= 1


def test_line_of_another_event_loop() -> None:
    """A place that an app left behind on another event loop holds up nobody on this one."""
    line = Line()

    async def join() -> Place:
        return line.join()

    async def join_and_wait() -> None:
        await line.join().reached()

    asyncio.run(join())
    asyncio.run(join_and_wait())


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[bool], list[tuple[str, int]]]:
    """Which senders fail, and in which order they get ready, are cancelled, or run."""
    count = draw(st.integers(1, 12))
    fails = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    steps = [("ready", number) for number in range(count)]
    steps += [("cancel", number) for number in draw(st.sets(st.integers(0, count - 1)))]
    steps += [("run", turns) for turns in draw(st.lists(st.integers(1, 4), max_size=10))]
    return fails, draw(st.permutations(steps))


@given(schedules())
async def test_any_interleaving(schedule: tuple[list[bool], list[tuple[str, int]]]) -> None:
    """Senders get ready, fail and are cancelled at any time: what is published is in order."""
    fails, steps = schedule
    line, published = Line(), list[int]()
    ready = [asyncio.Event() for _ in fails]

    async def send(number: int) -> None:
        place = line.join()
        try:
            await ready[number].wait()
            if fails[number]:
                raise ValueError
            await place.reached()
            await asyncio.sleep(0)
            published.append(number)
        finally:
            place.leave()

    tasks = [asyncio.create_task(send(number)) for number in range(len(fails))]
    await turns(1)
    for step, number in steps:
        if step == "ready":
            ready[number].set()
        elif step == "cancel":
            tasks[number].cancel()
        else:
            await turns(number)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert published == [number for number, result in enumerate(results) if result is None]


async def test_failed_wait_keeps_its_place() -> None:
    """A wait that is cancelled does not leave the place by itself."""
    line = Line()
    first, second, third = line.join(), line.join(), line.join()
    waiting = asyncio.create_task(second.reached())
    await turns()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first.leave()
    behind = asyncio.create_task(third.reached())
    await turns()
    assert not behind.done()
    second.leave()
    await behind
