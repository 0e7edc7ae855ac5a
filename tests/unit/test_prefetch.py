"""The queue between conductor and stream: ordered, bounded, and no slower than it must be."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mode.utils.queues import FlowControlEvent
from worlds import ended, message, settle

from faust_s3.exceptions import StoreUnavailable
from faust_s3.prefetch import Pending, PrefetchQueue


class Downloads:
    """Events by number, whose downloads end when the test says so."""

    def __init__(self, dispose: Any = None) -> None:
        self.dispose = dispose or Disposed()
        self.started: list[int] = []
        self.cancelled: list[int] = []
        self._ends: dict[int, asyncio.Future[Any]] = {}

    def pending(self, number: int, size: int = 1) -> Pending:
        return Download(self, number, size)

    async def run(self, number: int) -> Any:
        self.started.append(number)
        try:
            return await self._end(number)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise

    def _end(self, number: int) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        return self._ends.setdefault(number, loop.create_future())

    def finish(self, number: int) -> None:
        self._end(number).set_result(number)

    def fail(self, number: int, exc: Exception) -> None:
        self._end(number).set_exception(exc)


class Download(Pending):
    """One of them."""

    def __init__(self, downloads: Downloads, number: int, size: int) -> None:
        super().__init__(message(b"claim", offset=number), size)
        self._downloads = downloads

    async def resolve(self) -> Any:
        return await self._downloads.run(self.message.offset)

    async def dispose(self, exc: BaseException) -> None:
        await self._downloads.dispose(self.message, exc)


class Disposed:
    """Notes what cannot be made whole; waits at the gate if there is one."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.errors: list[BaseException] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, message: Any, exc: BaseException) -> None:
        self.offsets.append(message.offset)
        self.errors.append(exc)
        if self.gate is not None:
            await self.gate.wait()


def make_queue(
    *, prefetch: int = 100, prefetch_bytes: int = 100, maxsize: int = 0, is_read: bool = True
) -> PrefetchQueue:
    flow_control = FlowControlEvent(initially_suspended=False)
    queue = PrefetchQueue(
        maxsize=maxsize,
        flow_control=flow_control,
        clear_on_resume=True,
        prefetch=prefetch,
        prefetch_bytes=prefetch_bytes,
        is_read=is_read,
    )
    queue.test_flow_control = flow_control  # type: ignore[attr-defined] # which is weak
    return queue


async def take(queue: PrefetchQueue, count: int) -> list[Any]:
    return [await queue.get() for _ in range(count)]


# -- order


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 1000))
def test_events_leave_in_the_order_in_which_they_came(large: list[bool], seed: int) -> None:
    """Whatever is large, whatever order downloads end in, and whenever the stream asks."""
    random = Random(seed)

    async def check() -> None:
        downloads, queue = Downloads(), make_queue(prefetch=3)
        reader = asyncio.ensure_future(take(queue, len(large)))
        finished: set[int] = set()
        for number, is_large in enumerate(large):
            queue.put_nowait(downloads.pending(number) if is_large else number)
            if random.random() < 0.5:
                await asyncio.sleep(0)
        while len(finished) < sum(large):
            await settle(lambda: set(downloads.started) - finished)
            number = random.choice(sorted(set(downloads.started) - finished))
            downloads.finish(number)
            finished.add(number)
            await settle(turns=random.randrange(5))
        assert await reader == list(range(len(large)))
        assert (queue._ahead, queue._ahead_bytes) == (0, 0)

    asyncio.run(check())


async def test_a_small_event_waits_for_a_large_one_before_it() -> None:
    """Order holds for events without a claim, too."""
    downloads, queue = Downloads(), make_queue()
    queue.put_nowait(downloads.pending(0))
    queue.put_nowait("small")
    assert queue.empty()
    downloads.finish(0)
    assert await take(queue, 2) == [0, "small"]


async def test_small_events_cost_no_task() -> None:
    """An event without a claim passes as through Faust's own queue."""
    queue = make_queue()
    before = asyncio.all_tasks()
    queue.put_nowait("small")
    assert asyncio.all_tasks() == before
    assert queue.get_nowait() == "small"


async def test_an_event_of_any_kind_passes() -> None:
    """``None`` and falsy values are events like others."""
    queue = make_queue()
    queue.put_nowait(None)
    queue.put_nowait(0)
    assert [queue.get_nowait(), queue.get_nowait()] == [None, 0]


# -- bounds


async def test_no_more_downloads_than_prefetch() -> None:
    """Downloads under way and done ones together are at most ``prefetch``."""
    downloads, queue = Downloads(), make_queue(prefetch=2)
    for number in range(4):
        queue.put_nowait(downloads.pending(number))
    await settle()
    assert downloads.started == [0, 1]
    downloads.finish(1)
    await settle()
    assert downloads.started == [0, 1]
    downloads.finish(0)
    assert await take(queue, 1) == [0]
    await settle()
    assert downloads.started == [0, 1, 2]
    queue.clear()
    await settle()


async def test_no_more_bytes_than_prefetch_bytes() -> None:
    """A download starts only if its bytes fit beside those ahead of the stream."""
    downloads, queue = Downloads(), make_queue(prefetch_bytes=10)
    for number, size in enumerate((6, 4, 1)):
        queue.put_nowait(downloads.pending(number, size))
    await settle()
    assert downloads.started == [0, 1]
    downloads.finish(0)
    await take(queue, 1)
    await settle()
    assert downloads.started == [0, 1, 2]
    queue.clear()
    await settle()


async def test_a_later_small_download_does_not_overtake() -> None:
    """What fits does not start before what does not: else the large one would starve."""
    downloads, queue = Downloads(), make_queue(prefetch_bytes=10)
    for number, size in enumerate((6, 6, 1)):
        queue.put_nowait(downloads.pending(number, size))
    await settle()
    assert downloads.started == [0]
    queue.clear()
    await settle()


async def test_one_download_is_always_allowed() -> None:
    """An event larger than the whole budget comes through, alone."""
    downloads, queue = Downloads(), make_queue(prefetch_bytes=10)
    queue.put_nowait(downloads.pending(0, 1000))
    queue.put_nowait(downloads.pending(1, 1000))
    await settle()
    assert downloads.started == [0]
    downloads.finish(0)
    assert await take(queue, 1) == [0]
    await settle()
    assert downloads.started == [0, 1]
    downloads.finish(1)
    assert await take(queue, 1) == [1]


# -- what streams ask of a queue


async def test_empty_while_the_head_is_not_whole() -> None:
    """Streams ask ``empty()`` and then take ``get_nowait()``."""
    downloads, queue = Downloads(), make_queue()
    assert queue.empty()
    queue.put_nowait(downloads.pending(0))
    assert queue.empty()
    assert queue.qsize() == 1
    downloads.finish(0)
    await settle()
    assert not queue.empty()
    assert queue.get_nowait() == 0
    assert queue.empty()


async def test_get_nowait_never_returns_half_an_event() -> None:
    """It raises ``QueueEmpty`` while the head is not whole."""
    downloads, queue = Downloads(), make_queue()
    queue.put_nowait(downloads.pending(0))
    with pytest.raises(asyncio.QueueEmpty):
        queue.get_nowait()
    queue.clear()
    await settle()


async def test_get_waits_for_the_first_event() -> None:
    """A stream that came first is woken by what comes, small or large."""
    downloads, queue = Downloads(), make_queue()
    reader = asyncio.ensure_future(take(queue, 2))
    await settle()
    queue.put_nowait("small")
    queue.put_nowait(downloads.pending(1))
    await settle()
    downloads.finish(1)
    assert await reader == ["small", 1]


async def test_several_getters_each_get_one() -> None:
    """The streams of an agent with ``concurrency`` share a queue; none is forgotten."""
    downloads, queue = Downloads(), make_queue()
    getters = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await settle()
    for number in range(3):
        queue.put_nowait(downloads.pending(number))
    await settle()
    for number in (2, 1, 0):
        downloads.finish(number)
    assert sorted(await asyncio.gather(*getters)) == [0, 1, 2]


async def test_a_cancelled_getter_leaves_the_event_to_others() -> None:
    """A getter that was woken and cancelled at once passes the turn on."""
    queue = make_queue()
    first, second = (asyncio.ensure_future(queue.get()) for _ in range(2))
    await settle()
    queue.put_nowait("small")  # wakes the first one
    first.cancel()
    await settle(second.done)
    try:
        assert second.done()
        assert await second == "small"
    finally:
        await ended(first, second)


async def test_a_cancelled_getter_is_forgotten() -> None:
    """An agent that was restarted does not swallow an event with its old getter."""
    queue = make_queue()
    getter = asyncio.ensure_future(queue.get())
    await settle()
    await ended(getter)
    queue.put_nowait("small")
    assert queue.get_nowait() == "small"
    assert not queue._getters  # type: ignore[attr-defined]


async def test_an_error_is_thrown_into_a_waiting_getter() -> None:
    """``ThrowableQueue._throw`` reaches a stream that waits for a download."""
    downloads, queue = Downloads(), make_queue()
    queue.put_nowait(downloads.pending(0))
    getter = asyncio.ensure_future(queue.get())
    await settle()
    queue._throw(ValueError("thrown"))
    with pytest.raises(ValueError, match="thrown"):
        await getter
    downloads.finish(0)
    assert await queue.get() == 0


async def test_an_error_is_kept_for_the_next_getter() -> None:
    """Without a getter it is raised by whatever the stream asks next, ahead of events."""
    queue = make_queue()
    queue.put_nowait("small")
    queue._throw(ValueError("first"))
    queue._throw(ValueError("second"))
    assert not queue.empty()
    with pytest.raises(ValueError, match="first"):
        queue.get_nowait()
    with pytest.raises(ValueError, match="second"):
        await queue.get()
    assert await queue.get() == "small"


async def test_a_put_never_waits() -> None:
    """The conductor serves all queues: one whose store is away takes what was fetched."""
    downloads, queue = Downloads(), make_queue(maxsize=1)
    for number in range(3):
        await queue.put(downloads.pending(number))
    assert not queue.full()
    for number in range(3):
        downloads.finish(number)
        assert await queue.get() == number


async def test_an_overfull_queue_stops_whoever_brings_more() -> None:
    """Faust clears queues without forgetting whom it stopped; they are stopped again."""
    queue = make_queue(maxsize=5)
    stopped: list[str] = []

    def drop() -> None:
        """Not called: nobody takes anything."""

    def put(count: int) -> None:
        for _ in range(count):
            queue.put_nowait_enhanced(
                "small", on_pressure_high=lambda: stopped.append("high"), on_pressure_drop=drop
            )

    put(5)
    assert stopped == ["high"]
    queue.clear()
    put(5)
    assert stopped == ["high"]
    put(1)
    assert stopped == ["high", "high"]


async def test_pressure_is_felt_and_goes() -> None:
    """Faust stops fetching when the queue is nearly full, and goes on when it is not."""
    downloads, queue = Downloads(), make_queue(maxsize=5)
    pressure: list[str] = []

    def high() -> None:
        pressure.append("high")

    def drop() -> None:
        pressure.append("drop")

    for number in range(5):
        queue.put_nowait_enhanced(
            downloads.pending(number), on_pressure_high=high, on_pressure_drop=drop
        )
    assert pressure == ["high"]
    for number in range(5):
        downloads.finish(number)
    assert await take(queue, 5) == list(range(5))
    assert pressure == ["high", "drop"]


async def test_pressure_goes_while_the_stream_waits_for_the_head() -> None:
    """A head that takes long does not keep Faust from fetching."""
    downloads, queue = Downloads(), make_queue(maxsize=2)
    pressure: list[str] = []

    def high() -> None:
        pressure.append("high")

    def drop() -> None:
        pressure.append("drop")

    queue.put_nowait("small")
    queue.put_nowait_enhanced(downloads.pending(0), on_pressure_high=high, on_pressure_drop=drop)
    assert await queue.get() == "small"
    getter = asyncio.ensure_future(queue.get())
    await settle()
    downloads.finish(0)
    assert await getter == 0
    getter = asyncio.ensure_future(queue.get())
    await settle()
    assert pressure == ["high", "drop"]
    await ended(getter)


# -- clearing, as at a rebalance


async def test_clear_cancels_downloads_and_gives_the_budget_back() -> None:
    """Nothing of before is downloaded on, handed out, or counted."""
    downloads, queue = Downloads(), make_queue(prefetch=2)
    for number in range(3):
        queue.put_nowait(downloads.pending(number))
    await settle()
    queue.clear()
    await settle()
    assert downloads.cancelled == [0, 1]
    assert queue.empty()
    for number in range(10, 13):
        queue.put_nowait(downloads.pending(number))
    await settle()
    assert downloads.started == [0, 1, 10, 11]
    for number in range(10, 13):
        downloads.finish(number)
    assert await take(queue, 3) == [10, 11, 12]
    assert (queue._ahead, queue._ahead_bytes) == (0, 0)


async def test_a_download_that_somebody_else_cancels_is_not_lost() -> None:
    """Its event would wait for ever, without a word: it is dealt with like a failed one."""
    downloads, queue = Downloads(), make_queue()
    queue.put_nowait(downloads.pending(0))
    reader = asyncio.ensure_future(queue.get())
    await settle(lambda: downloads.started)
    downloads._end(0).cancel()
    await settle(lambda: downloads.dispose.errors)
    assert isinstance(downloads.dispose.errors[0], StoreUnavailable)
    await ended(reader)


async def test_downloads_wait_for_a_reader() -> None:
    """Of a queue that is filled and not read, until it is; its claims would never be whole."""
    downloads, queue = Downloads(), make_queue(is_read=False)
    queue.put_nowait(downloads.pending(0))
    queue.put_nowait(downloads.pending(1))
    await asyncio.sleep(0)
    assert downloads.started == []
    reader = asyncio.ensure_future(queue.get())
    await settle(lambda: downloads.started == [0, 1])
    downloads.finish(0)
    assert await reader == 0
    await ended(*(slot.task for slot in queue._queue))


async def test_flow_control_clears_the_queue() -> None:
    """Faust's own signal at a rebalance reaches the downloads."""
    downloads, queue = Downloads(), make_queue()
    queue.put_nowait(downloads.pending(0))
    await settle()
    queue._flow_control.suspend()
    queue._flow_control.resume()
    await settle()
    assert downloads.cancelled == [0]


async def test_a_getter_survives_clear() -> None:
    """A stream that waited for a cleared event gets the next one."""
    downloads, queue = Downloads(), make_queue()
    queue.put_nowait(downloads.pending(0))
    getter = asyncio.ensure_future(queue.get())
    await settle()
    queue.clear()
    await settle()
    queue.put_nowait("after")
    assert await getter == "after"


async def test_clear_forgets_a_download_that_just_failed() -> None:
    """An error of before the rebalance is nobody's any more."""
    dispose = Disposed()
    downloads, queue = Downloads(dispose), make_queue()
    queue.put_nowait(downloads.pending(0))
    getter = asyncio.ensure_future(queue.get())
    await settle()
    downloads.fail(0, ValueError("gone"))
    queue.clear()
    await settle()
    queue.put_nowait("after")
    assert await getter == "after"
    assert dispose.offsets == []


async def test_clear_while_disposing() -> None:
    """The budget is given back once, and what came after the rebalance stays."""
    dispose = Disposed()
    dispose.gate = asyncio.Event()
    downloads, queue = Downloads(dispose), make_queue()
    queue.put_nowait(downloads.pending(0))
    getter = asyncio.ensure_future(queue.get())
    await settle()
    downloads.fail(0, ValueError("gone"))
    await settle(lambda: dispose.offsets)
    queue.clear()
    queue.put_nowait("after")
    dispose.gate.set()
    assert await getter == "after"
    assert (queue._ahead, queue._ahead_bytes) == (0, 0)


# -- events that cannot be made whole


async def test_disposed_of_in_turn() -> None:
    """Not before everything ahead of it has been taken, and then what is behind follows."""
    dispose = Disposed()
    downloads, queue = Downloads(dispose), make_queue()
    for number in range(3):
        queue.put_nowait(downloads.pending(number))
    await settle()
    downloads.fail(1, ValueError("gone"))
    downloads.finish(2)
    reader = asyncio.ensure_future(take(queue, 2))
    await settle()
    assert dispose.offsets == []
    downloads.finish(0)
    assert await reader == [0, 2]
    assert dispose.offsets == [1]
    assert str(dispose.errors[0]) == "gone"
    assert (queue._ahead, queue._ahead_bytes) == (0, 0)


async def test_disposed_of_when_the_stream_asks() -> None:
    """While the stream works on the event before, nothing happens behind its back."""
    dispose = Disposed()
    downloads, queue = Downloads(dispose), make_queue()
    queue.put_nowait(downloads.pending(0))
    await settle()
    downloads.fail(0, ValueError("gone"))
    await settle()
    assert dispose.offsets == []
    assert queue.empty()


async def test_nothing_follows_an_event_that_is_being_disposed_of() -> None:
    """Other getters wait as well, until the first one is through."""
    dispose = Disposed()
    dispose.gate = asyncio.Event()
    downloads, queue = Downloads(dispose), make_queue()
    getters = [asyncio.ensure_future(queue.get()) for _ in range(2)]
    await settle()
    queue.put_nowait(downloads.pending(0))
    queue.put_nowait("small")
    queue.put_nowait("smaller")
    await settle()
    downloads.fail(0, ValueError("gone"))
    await settle()
    assert not any(getter.done() for getter in getters)
    assert queue.empty()
    dispose.gate.set()
    assert sorted(await asyncio.gather(*getters)) == ["small", "smaller"]
    assert dispose.offsets == [0]


async def test_another_getter_takes_over_from_a_cancelled_one() -> None:
    """A stream cancelled while it disposes of an event leaves the work to the next one."""
    dispose = Disposed()
    dispose.gate = asyncio.Event()
    downloads, queue = Downloads(dispose), make_queue()
    first, second = (asyncio.ensure_future(queue.get()) for _ in range(2))
    await settle()
    queue.put_nowait(downloads.pending(0))
    queue.put_nowait("small")
    await settle()
    downloads.fail(0, ValueError("gone"))
    await settle(lambda: dispose.offsets)
    dispose.gate.set()
    first.cancel()
    await settle(second.done)
    try:
        assert second.done()
        assert await second == "small"
    finally:
        await ended(first, second)


async def test_an_error_of_disposing_reaches_the_getter() -> None:
    """What ``dispose`` raises is raised in the stream, and the event stays at the head."""

    async def dispose(message: Any, exc: BaseException) -> None:
        raise exc

    downloads, queue = Downloads(dispose), make_queue()
    queue.put_nowait(downloads.pending(0))
    queue.put_nowait("small")
    await settle()
    downloads.fail(0, ValueError("gone"))
    for _ in range(2):
        with pytest.raises(ValueError, match="gone"):
            await queue.get()
