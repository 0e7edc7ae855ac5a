"""What readers share: downloads under way, and done ones."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faust_s3.sharing import ByteCache, SingleFlight


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


@pytest.mark.parametrize("leaver", [0, 1, 2])
async def test_cancelled_caller_leaves_the_others(leaver: int) -> None:
    """A caller that is cancelled, the first one too, does not take the others with it."""
    flights, work = SingleFlight[str, str](), Work()
    tasks = await joined(flights, work, 3)
    tasks[leaver].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks.pop(leaver)
    work.result.set_result("bytes")
    assert await asyncio.gather(*tasks) == ["bytes"] * 2
    assert (work.started, work.cancelled) == (1, 0)


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
