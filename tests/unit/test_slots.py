"""How many requests are in flight: the level on stores that are simulated, and the line."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Hashable, Sequence
from itertools import count
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faust_s3.exceptions import ObjectMissing, StoreUnavailable
from faust_s3.slots import Level, Slots

LATENCIES = [0.0, 0.010, 0.030, 0.100]
LEAST, MOST, START = 4, 128, 32


class Run(NamedTuple):
    """What came of a simulation.

    Attributes:
        rate: Answers per second.
        levels: The level at each answer, the first third left out.
    """

    rate: float
    levels: list[int]


class SimulatedStore:
    """A store, and callers who always want more, in a time of its own.

    Args:
        latency: Seconds on the way.
        rate: Units of size that the store, or we, can do in a second, one after the other.
        jitter: What the way takes longer, on average, as a multiple of the latency.
        sizes: Of requests, in units.
        transfer: Seconds on the way for each unit, beside others.
        most: The store refuses requests beyond so many at a time.
        callers: How many want something at a time.
    """

    def __init__(
        self,
        latency: float,
        *,
        rate: float = 300.0,
        jitter: float = 0.0,
        sizes: Sequence[int] = (1,),
        transfer: float = 0.0,
        most: int | None = None,
        callers: int = 1000,
    ) -> None:
        self.latency = latency
        self.rate = rate
        self.jitter = jitter
        self.sizes = sizes
        self.transfer = transfer
        self.most = most
        self.callers = callers
        self.now = 0.0
        self._random = random.Random(1)

    def run(self, level: Level, seconds: float) -> Run:
        """Ask as much as the level admits, for so many seconds."""
        started, free, answers, levels = self.now, self.now, 0, []
        numbers, in_flight = count(), 0
        events: list[tuple[float, int, bool, float, int, bool]] = []
        while self.now < started + seconds:
            while in_flight < min(int(level), self.callers):
                size = self._random.choice(self.sizes)
                way = self.latency * (1 + self.jitter * self._random.expovariate(1))
                way += self.transfer * size
                refused = self.most is not None and in_flight >= self.most
                event = (self.now + way, next(numbers), False, self.now, size, refused)
                heapq.heappush(events, event)
                in_flight += 1
            self.now, number, served, began, size, refused = heapq.heappop(events)
            if not served and not refused:
                free = max(free, self.now) + size / self.rate
                heapq.heappush(events, (free, number, True, began, size, refused))
                continue
            if refused:
                level.refused(in_flight=in_flight, now=self.now)
            else:
                took = self.now - began
                level.answered(size, took, in_flight=in_flight, now=self.now)
                answers += 1
            in_flight -= 1
            if self.now > started + seconds / 3:
                levels.append(int(level))
        return Run(answers / seconds, levels)


def mean(levels: Sequence[int]) -> float:
    return sum(levels) / len(levels)


def rate_of(latency: float, level: Level, **more: float) -> float:
    return SimulatedStore(latency, **more).run(level, 20).rate  # type: ignore[arg-type]


# -- what the level comes to


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("jitter", [0.0, 0.5])
def test_as_fast_as_the_best_fixed_number(latency: float, jitter: float) -> None:
    """At each latency all but a twentieth of what the store can do, as with the best number."""
    best = max(rate_of(latency, Level(n, n, n), jitter=jitter) for n in (8, 32, 128))
    assert best > 280
    assert rate_of(latency, Level(LEAST, MOST, START), jitter=jitter) > 0.95 * best


def test_few_if_few_are_enough() -> None:
    """Where the store is near, requests do not queue up, in it nor for a processor."""
    assert mean(SimulatedStore(0.001).run(Level(LEAST, MOST, START), 20).levels) < 12


def test_many_if_many_are_needed() -> None:
    """Where the store is far and wide, there are as many as may be, and nearly all the time."""
    run = SimulatedStore(0.100, rate=1e9).run(Level(LEAST, MOST, START), 40)
    assert mean(run.levels) > 0.95 * MOST
    assert run.rate > 0.9 * MOST / 0.100


@pytest.mark.parametrize("latency", LATENCIES)
def test_large_and_small_ones(latency: float) -> None:
    """That a large object takes longer than a small one is not taken for a queue."""
    sizes = [1, 1, 1, 1, 10]
    store = SimulatedStore(latency, sizes=sizes)
    assert store.run(Level(LEAST, MOST, START), 40).rate > 0.9 * 300 / mean(sizes)


def test_large_ones_after_small_ones() -> None:
    """Nor when only large ones are left."""
    level, store = Level(LEAST, MOST, START), SimulatedStore(0.010, rate=1e9, transfer=0.010)
    store.run(level, 12)
    store.sizes = [40]
    run = store.run(level, 9)
    assert min(run.levels[:100]) > START


def test_a_rare_kind_becomes_slower() -> None:
    """What is too rare to be looked at in a moment is not held for a queue for ever."""
    level, store = Level(LEAST, MOST, START), SimulatedStore(0.010, rate=1e9, transfer=0.001)
    store.sizes = [1] * 19 + [40]
    store.run(level, 12)
    store.transfer = 0.020
    store.run(level, 60)
    assert mean(store.run(level, 10).levels) > 0.8 * MOST


def test_a_store_that_refuses() -> None:
    """The level goes below what the store takes, and stays near it."""
    store = SimulatedStore(0.030, rate=1e9, most=40)
    run = store.run(Level(LEAST, MOST, START), 40)
    assert 27 < mean(run.levels) < 41
    assert max(run.levels) < 60


def test_a_store_that_is_away() -> None:
    """Then the fewest ask; once it is back, the level is soon what it was."""
    level, store = Level(LEAST, MOST, START), SimulatedStore(0.030, rate=1e9)
    assert mean(store.run(level, 20).levels) > 100
    store.most = 0
    assert store.run(level, 10).levels[-1] == LEAST
    store.most = None
    assert mean(store.run(level, 20).levels) > 100


@pytest.mark.parametrize(("before", "after"), [(0.001, 0.100), (0.100, 0.001)])
def test_the_latency_changes(before: float, after: float) -> None:
    """A way that became longer is not taken for a queue for long, nor the other way round."""
    level, store = Level(LEAST, MOST, START), SimulatedStore(before)
    store.run(level, 20)
    store.latency = after
    store.run(level, 20)
    assert store.run(level, 20).rate > 0.9 * 300


def test_nobody_asks_for_more() -> None:
    """While few requests are made, the level does not rise beyond what was ever seen to work."""
    run = SimulatedStore(0.030, rate=1e9, callers=3).run(Level(LEAST, MOST, START), 60)
    assert max(run.levels) == START


@given(
    least=st.integers(1, 50),
    more=st.integers(0, 50),
    start=st.integers(1, 200),
    answers=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", None]),
            st.floats(0, 100),
            st.integers(1, 200),
            st.floats(0, 20),
        ),
        max_size=400,
    ),
)
@settings(max_examples=50)
def test_never_outside_the_bounds(
    least: int,
    more: int,
    start: int,
    answers: list[tuple[Hashable, float, int, float]],
) -> None:
    """Whatever is answered, whenever, and refused."""
    level, now = Level(least, least + more, start), 0.0
    for kind, seconds, in_flight, later in answers:
        now += later
        if kind is None:
            level.refused(in_flight=in_flight, now=now)
        else:
            level.answered(kind, seconds, in_flight=in_flight, now=now)
        assert least <= int(level) <= least + more


# -- the line


class Line:
    """Slots, and callers who each keep one until they are told."""

    def __init__(self, level: Level) -> None:
        self.slots = Slots(level, lambda: 0.0)
        self.inside: list[int] = []
        self.gates: dict[int, asyncio.Future[None]] = {}

    async def call(self, number: int) -> None:
        await self.slots.run("kind", lambda: self.request(number))

    async def request(self, number: int) -> None:
        self.inside.append(number)
        self.gates[number] = asyncio.get_running_loop().create_future()
        try:
            await self.gates[number]
        finally:
            self.inside.remove(number)

    async def start(self, callers: int) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.call(number)) for number in range(callers)]
        await self.turns()
        return tasks

    async def leave(self, number: int, error: Exception | None = None) -> None:
        if error is None:
            self.gates[number].set_result(None)
        else:
            self.gates[number].set_exception(error)
        await self.turns()

    async def turns(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def end(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_first_come_first_served() -> None:
    """As many as the level says are let in, in order, and one more whenever one leaves."""
    line = Line(Level(2, 2, 2))
    tasks = await line.start(5)
    assert line.inside == [0, 1]
    await line.leave(1)
    assert line.inside == [0, 2]
    await line.leave(0)
    assert line.inside == [2, 3]
    await line.end(tasks)
    assert line.inside == []


async def test_nobody_overtakes() -> None:
    """Who comes while a slot is free, but others wait for it, stands behind them."""
    line = Line(Level(1, 1, 1))
    tasks = await line.start(2)
    line.gates[0].set_result(None)
    tasks.append(asyncio.create_task(line.call(2)))
    await line.turns()
    assert line.inside == [1]
    await line.end(tasks)


async def test_who_waits_may_leave() -> None:
    """A place in the line that is given up is nobody's, and costs no slot."""
    line = Line(Level(1, 1, 1))
    tasks = await line.start(3)
    tasks[1].cancel()
    await line.turns()
    await line.leave(0)
    assert line.inside == [2]
    await line.end(tasks)


async def test_cancelled_as_its_turn_comes() -> None:
    """It is passed over, and the next one is let in."""
    line = Line(Level(1, 1, 1))
    tasks = await line.start(3)
    line.gates[0].set_result(None)
    tasks[1].cancel()
    await line.turns()
    assert line.inside == [2]
    assert tasks[1].cancelled()
    await line.end(tasks)


async def test_cancelled_as_it_was_let_in() -> None:
    """The slot goes to the next one."""
    line = Line(Level(1, 1, 1))
    tasks = await line.start(3)
    line.gates[0].set_result(None)
    await asyncio.sleep(0)
    assert line.inside == []  # the next one has the slot, and does not know it yet
    tasks[1].cancel()
    await line.turns()
    assert line.inside == [2]
    await line.end(tasks)


async def test_a_level_that_rises_and_falls() -> None:
    """More are let in as soon as it rises; nobody is thrown out as it falls."""
    level = Level(1, 10, 4)
    line = Line(level)
    tasks = await line.start(8)
    assert line.inside == [0, 1, 2, 3]
    await line.leave(0, StoreUnavailable("SlowDown"))
    assert int(level) == 2
    assert line.inside == [1, 2, 3]
    await line.leave(1)
    assert line.inside == [2, 3]
    await line.leave(2)
    assert line.inside == [3, 4]
    await line.end(tasks)


async def test_an_answer_that_does_not_please() -> None:
    """An object that is not there says nothing of how busy the store is."""
    level = Level(1, 10, 4)
    line = Line(level)
    tasks = await line.start(5)
    await line.leave(0, ObjectMissing("not there"))
    assert int(level) == 4
    assert line.inside == [1, 2, 3, 4]
    await line.end(tasks)
