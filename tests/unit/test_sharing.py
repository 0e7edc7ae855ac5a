"""What is not done twice: downloads under way, and done ones, and equal uploads."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faust_s3.exceptions import StoreUnavailable
from faust_s3.retry import FOREVER, Patience
from faust_s3.sharing import ByteCache, RecentPuts, SingleFlight


class Work:
    """A coroutine function that counts, and ends when told."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.entered = asyncio.Event()
        self.result: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> str:
        self.started += 1
        self.entered.set()
        try:
            return await asyncio.shield(self.result)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def joined(
    flights: SingleFlight[str, str], work: Work, count: int
) -> list[asyncio.Task[str]]:
    """Return so many callers who wait for the same work."""
    tasks = [asyncio.create_task(flights.join("key", work)) for _ in range(count)]
    await work.entered.wait()
    await asyncio.sleep(0)
    return tasks


async def test_callers_share_one_call() -> None:
    """Callers who want the same thing at the same time make one call and get its result."""
    flights, work = SingleFlight[str, str](), Work()
    tasks = await joined(flights, work, 3)
    work.result.set_result("bytes")
    assert await asyncio.gather(*tasks) == ["bytes"] * 3
    assert work.started == 1


async def test_other_keys_are_other_calls() -> None:
    """Callers who want different things do not wait for each other."""
    flights, one, other = SingleFlight[str, str](), Work(), Work()
    other.result.set_result("other")
    task = asyncio.create_task(flights.join("one", one))
    assert await flights.join("other", other) == "other"
    one.result.set_result("one")
    assert await task == "one"


async def test_later_callers_make_another_call() -> None:
    """A call that is over is not shared: this is no cache."""
    flights, work = SingleFlight[str, str](), Work()
    work.result.set_result("bytes")
    await flights.join("key", work)
    await flights.join("key", work)
    assert work.started == 2


async def test_failure_reaches_all() -> None:
    """When the call fails, every caller hears of it."""
    flights, work = SingleFlight[str, str](), Work()
    tasks = await joined(flights, work, 3)
    work.result.set_exception(ValueError("no"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == ["no"] * 3


async def test_failure_is_not_kept() -> None:
    """A caller after a failure tries for itself."""
    flights, failing, working = SingleFlight[str, str](), Work(), Work()
    failing.result.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await flights.join("key", failing)
    working.result.set_result("bytes")
    assert await flights.join("key", working) == "bytes"


@pytest.mark.parametrize(("leaver", "calls"), [(0, 2), (1, 1), (2, 1)])
async def test_cancelled_caller_leaves_the_others(leaver: int, calls: int) -> None:
    """A caller that is cancelled does not take the others with it: another one begins again."""
    flights, work = SingleFlight[str, str](), Work()
    tasks = await joined(flights, work, 3)
    tasks[leaver].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks.pop(leaver)
    await asyncio.sleep(0)
    work.result.set_result("bytes")
    assert await asyncio.gather(*tasks) == ["bytes"] * 2
    assert (work.started, work.cancelled) == (calls, calls - 1)


async def test_last_caller_ends_the_call() -> None:
    """When nobody waits any more, the call is cancelled."""
    flights, work = SingleFlight[str, str](), Work()
    tasks = await joined(flights, work, 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)
    assert work.cancelled == 1


async def test_caller_after_the_last_one() -> None:
    """A caller who comes after everybody left gets a call of its own, not a cancelled one."""
    flights, left, fresh = SingleFlight[str, str](), Work(), Work()
    (task,) = await joined(flights, left, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    fresh.result.set_result("bytes")
    assert await flights.join("key", fresh) == "bytes"


async def test_caller_joins_while_another_leaves() -> None:
    """A caller who comes in the same turn as the only one leaves is not cancelled with it."""
    flights, work = SingleFlight[str, str](), Work()
    (leaving,) = await joined(flights, work, 1)
    joining = asyncio.create_task(flights.join("key", work))
    leaving.cancel()
    work.result.set_result("bytes")
    assert await joining == "bytes"
    with pytest.raises(asyncio.CancelledError):
        await leaving


# -- cache


def test_cache_keeps() -> None:
    """What was added is there."""
    cache = ByteCache[str](100)
    cache.add("a", b"bytes")
    assert cache.get("a") == b"bytes"
    assert cache.get("b") is None


@pytest.mark.parametrize(("size", "kept"), [(24, True), (25, True), (26, False)])
def test_large_values_are_not_kept(size: int, kept: bool) -> None:
    """A value of more than a quarter of the limit would push out the others."""
    cache = ByteCache[str](100)
    cache.add("a", bytes(size))
    assert (cache.get("a") is not None) is kept


def test_least_recently_used_goes_first() -> None:
    """At the limit, what was not used for the longest time makes room."""
    cache = ByteCache[str](100)
    for key in "abcd":
        cache.add(key, bytes(25))
    cache.get("a")
    cache.add("e", bytes(25))
    assert [key for key in "abcde" if cache.get(key) is not None] == list("acde")


def test_adding_again() -> None:
    """A value that is there is not counted twice."""
    cache = ByteCache[str](100)
    for _ in range(10):
        cache.add("a", bytes(25))
    cache.add("b", bytes(25))
    assert cache.get("a") is not None


@pytest.mark.parametrize("value", [b"x", b""])
def test_no_cache(value: bytes) -> None:
    """With a limit of 0 nothing is kept."""
    cache = ByteCache[str](0)
    cache.add("a", value)
    assert cache.get("a") is None


@given(
    st.integers(0, 200),
    st.lists(st.tuples(st.integers(0, 20), st.binary(min_size=1, max_size=80))),
)
def test_cache_is_bounded(limit: int, added: list[tuple[int, bytes]]) -> None:
    """Whatever is added, the cache holds at most so many bytes, and what it holds is right."""
    cache = ByteCache[int](limit)
    first: dict[int, bytes] = {}
    for key, value in added:
        if cache.get(key) is None:
            first[key] = value
        cache.add(key, value)
        held = {key: value for key in range(21) if (value := cache.get(key)) is not None}
        assert sum(map(len, held.values())) <= limit
        assert all(first[key] == value for key, value in held.items())


# -- puts


class Puts:
    """Puts that are counted, under a clock that stands still."""

    def __init__(self, window: float = 60.0) -> None:
        self.now = 1000.0
        self.recent: RecentPuts[str] = RecentPuts(window, lambda: self.now)
        self.patiences: list[Patience] = []
        self.errors: list[Exception] = []
        self.gate: asyncio.Event | None = None

    @property
    def count(self) -> int:
        return len(self.patiences)

    async def put(self, patience: Patience) -> None:
        self.patiences.append(patience)
        if self.gate is not None:
            await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)

    async def once(self, place: str = "a", patience: Patience = FOREVER) -> None:
        await self.recent.once(place, self.put, patience)

    async def started(self, count: int) -> list[asyncio.Task[None]]:
        """Return so many that want the same, the first of which is at it."""
        self.gate = asyncio.Event()
        tasks = [asyncio.create_task(self.once()) for _ in range(count)]
        await asyncio.sleep(0)
        assert self.count == 1
        return tasks


async def test_put_once() -> None:
    """What is put in a place is put once."""
    puts = Puts()
    for _ in range(3):
        await puts.once()
    assert puts.count == 1


async def test_puts_are_forgotten() -> None:
    """When the window is over, counted from the beginning of the put, it is made again."""
    puts = Puts(window=60)
    await puts.once()
    puts.now += 59.9
    await puts.once()
    assert puts.count == 1
    puts.now += 0.1
    await puts.once()
    assert puts.count == 2
    puts.now += 59.9
    await puts.once()
    assert puts.count == 2


async def test_other_places() -> None:
    """Each is one of its own."""
    puts = Puts()
    for place in ("a", "b", "a", "c"):
        await puts.once(place)
    assert puts.count == 3


async def test_without_a_window() -> None:
    """Nothing is remembered, and nobody waits for another one."""
    puts = Puts(window=0)
    await puts.once()
    puts.gate = asyncio.Event()
    tasks = [asyncio.create_task(puts.once()) for _ in range(2)]
    await asyncio.sleep(0)
    assert puts.count == 3
    puts.gate.set()
    await asyncio.gather(*tasks)


async def test_failed_puts_are_not_remembered() -> None:
    """What was not stored is put again."""
    puts = Puts()
    puts.errors = [StoreUnavailable("away")]
    with pytest.raises(StoreUnavailable):
        await puts.once()
    await puts.once()
    assert puts.count == 2


async def test_puts_under_way_are_shared() -> None:
    """Whoever wants the same meanwhile waits for it."""
    puts = Puts()
    tasks = await puts.started(5)
    assert puts.gate is not None
    puts.gate.set()
    await asyncio.gather(*tasks)
    assert puts.count == 1


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
async def test_a_put_under_way_that_comes_to_nothing(how: str) -> None:
    """Those who waited for it do it themselves."""
    puts = Puts()
    first, *others = await puts.started(3)
    assert puts.gate is not None
    if how == "fails":
        puts.errors = [StoreUnavailable("away")]
    else:
        first.cancel()
        await asyncio.sleep(0)
    puts.gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert isinstance(results[0], (StoreUnavailable, asyncio.CancelledError))
    assert results[1:] == [None, None]
    assert puts.count > 1


async def test_waiting_for_another_one_costs_patience() -> None:
    """A sender with a timeout waits no longer because another one has more patience."""
    puts = Puts()
    (first,) = await puts.started(1)
    second = asyncio.create_task(puts.once(patience=Patience(timeout=0)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert puts.count == 2
    timeout = puts.patiences[1].timeout
    assert timeout is not None
    assert timeout < 0
    assert puts.gate is not None
    puts.gate.set()
    await asyncio.gather(first, second)


async def test_the_number_of_puts_is_bounded() -> None:
    """The oldest ones are forgotten first."""
    puts = Puts()
    for number in range(4097):
        await puts.once(f"{number}")
    await puts.once("4096")
    assert puts.count == 4097
    await puts.once("0")
    assert puts.count == 4098
