"""The queue between conductor and stream: downloads run ahead in it, ordered and bounded."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from weakref import WeakSet

from faust.types import EventT, Message
from mode.utils.queues import ThrowableQueue

from faust_s3.exceptions import StoreUnavailable

__all__ = ["Hold", "Pending", "PrefetchQueue"]


class Pending(ABC):
    """Stands in the queue for an event whose payload is still in the store.

    Args:
        message: The message, with its claim.
        size: Bytes that will be downloaded.
    """

    __slots__ = ("message", "size")

    def __init__(self, message: Message, size: int = 0) -> None:
        self.message = message
        self.size = size

    @abstractmethod
    async def resolve(self) -> EventT[Any]:
        """Return the event, with its payload."""

    @abstractmethod
    async def dispose(self, exc: BaseException) -> None:
        """Deal with the error of an event that cannot be made whole.

        Awaited when its turn comes and everything before it has left; returns when the next
        event may follow.
        """


_NOTHING = object()


class _Slot:
    """A place in the queue that a download fills."""

    __slots__ = ("disposing", "error", "event", "pending", "task")

    def __init__(self, pending: Pending) -> None:
        self.pending = pending
        self.task: asyncio.Task[EventT[Any]] | None = None
        self.event: EventT[Any] | None = None
        self.error: BaseException | None = None
        self.disposing = False


class Hold:
    """Keeps streams from taking events.

    Attributes:
        active: Whether it does.
    """

    def __init__(self) -> None:
        self.active = False
        self._queues: WeakSet[PrefetchQueue] = WeakSet()

    def add(self, queue: PrefetchQueue) -> None:
        """Hold the events of a queue, too."""
        self._queues.add(queue)

    def set(self, active: bool) -> None:
        """Begin or end to hold events."""
        released = self.active and not active
        self.active = active
        if released:
            for queue in self._queues:
                queue._wake_getter()


class PrefetchQueue(ThrowableQueue[Any]):
    """A stream's queue that accepts :class:`Pending` events and hands out whole ones.

    Events leave in the order in which they came. ``empty()`` answers True while the first
    one is not whole: streams ask that before ``get_nowait()``.

    Args:
        prefetch: Downloads that may be under way or done ahead of the stream.
        prefetch_bytes: Their bytes. One download is always allowed.
        is_read: Whether anybody reads. If not, downloads begin with the first ``get()``.
        dispose: Instead of what each :class:`Pending` says: the conductor may share one between
            channels, each of which deals with errors in its own way.
        hold: While it is active, no event leaves.
    """

    def __init__(
        self,
        *args: Any,
        prefetch: int,
        prefetch_bytes: int,
        is_read: bool = True,
        dispose: Callable[[Message, BaseException], Awaitable[None]] | None = None,
        hold: Hold | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._hold = hold or Hold()
        self._hold.add(self)
        self.prefetch = prefetch
        self.prefetch_bytes = prefetch_bytes
        self._is_read = is_read
        self._dispose = dispose
        self._waiting: deque[_Slot] = deque()
        self._ahead = 0
        self._ahead_bytes = 0

    # -- what asyncio.Queue asks its subclasses to override

    def _put(self, item: Any) -> None:
        if isinstance(item, Pending):
            item = _Slot(item)
            self._waiting.append(item)
        self._queue.append(item)  # type: ignore[attr-defined]
        self._start_downloads()

    def _get(self) -> Any:
        item = self._queue.popleft()  # type: ignore[attr-defined]
        if isinstance(item, _Slot):
            self._give_back(item)
            item = item.event
        self._wake_getter()
        return item

    # -- what the held-back head changes

    def full(self) -> bool:
        """Tell whether the conductor has to wait: never.

        It would wait for this queue and serve no other one, whose agents may need no store.
        Faust has stopped to fetch the partition before, and what was fetched already (up to
        ``consumer_max_fetch_size`` of each partition, claims mostly) is taken.
        """
        return False

    def in_pressure_high_state(self, callback: Callable[..., Any]) -> bool:
        """Tell whether a partition that brings more is not to be fetched, for the time being."""
        # Faust says so once, and not again when a queue was cleared meanwhile.
        return super().in_pressure_high_state(callback) or self.qsize() >= self.maxsize > 0

    def empty(self) -> bool:
        """Tell whether ``get_nowait`` would have nothing to return."""
        if self._errors:
            return False
        queue = self._queue  # type: ignore[attr-defined]
        if self._hold.active or not queue:
            return True
        return type(queue[0]) is _Slot and queue[0].event is None

    async def get(self) -> Any:
        """Return the next event, whole."""
        if not self._is_read:
            self._is_read = True
            self._start_downloads()
        while True:
            if self._errors:
                raise self._errors.popleft()
            if not self.empty():
                return self.get_nowait()
            head = self._head()
            if isinstance(head, _Slot) and head.error is not None and not head.disposing:
                await self._dispose_of(head, head.error)
            else:
                self.maybe_endorse_pressure_drop()
                await self._wait()

    def clear(self) -> None:
        """Drop all events, and the downloads for them."""
        slots = [item for item in self._queue if isinstance(item, _Slot)]  # type: ignore[attr-defined]
        super().clear()
        self._waiting.clear()
        self._ahead = self._ahead_bytes = 0
        for slot in slots:
            task, slot.task = slot.task, None
            if task is not None:
                task.cancel()

    # -- our own

    def _head(self) -> Any:
        queue = self._queue  # type: ignore[attr-defined]
        return queue[0] if queue else _NOTHING

    async def _wait(self) -> None:
        # Mirrors asyncio.Queue.get, which cannot be called: it takes "not empty" for
        # "get_nowait() succeeds" and so would not see a head that failed.
        getters: deque[asyncio.Future[None]] = self._getters  # type: ignore[attr-defined]
        getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        getters.append(getter)
        try:
            await getter
        except BaseException:
            getter.cancel()
            if getter in getters:
                getters.remove(getter)
            self._wake_getter()
            raise

    def _wake_getter(self) -> None:
        head = self._head()
        if head is not _NOTHING and not (isinstance(head, _Slot) and head.task is not None):
            self._wakeup_next(self._getters)  # type: ignore[attr-defined]

    def _start_downloads(self) -> None:
        while self._waiting and self._is_read:
            slot = self._waiting[0]
            size = self._ahead_bytes + slot.pending.size
            if self._ahead >= self.prefetch or (self._ahead and size > self.prefetch_bytes):
                return
            self._waiting.popleft()
            self._ahead += 1
            self._ahead_bytes = size
            slot.task = asyncio.ensure_future(slot.pending.resolve())
            slot.task.add_done_callback(partial(self._downloaded, slot))

    def _downloaded(self, slot: _Slot, task: asyncio.Task[EventT[Any]]) -> None:
        if slot.task is not task:
            return  # clear() was called: nobody waits for it
        slot.task = None
        if task.cancelled():
            slot.error = StoreUnavailable("the download was cancelled by somebody else")
        elif (error := task.exception()) is not None:
            slot.error = error
        else:
            slot.event = task.result()
        if slot is self._head():
            self._wake_getter()

    async def _dispose_of(self, slot: _Slot, error: BaseException) -> None:
        slot.disposing = True
        try:
            if self._dispose is None:
                await slot.pending.dispose(error)
            else:
                await self._dispose(slot.pending.message, error)
        finally:
            slot.disposing = False
            self._wake_getter()  # if this one was cancelled, another one goes on
        if slot is self._head():
            self._queue.popleft()  # type: ignore[attr-defined]
            self._give_back(slot)
            self._wakeup_next(self._putters)  # type: ignore[attr-defined]
            self._wake_getter()

    def _give_back(self, slot: _Slot) -> None:
        self._ahead -= 1
        self._ahead_bytes -= slot.pending.size
        self._start_downloads()
