"""Work that is not done twice: downloads for several readers of a topic, and equal uploads."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, Generic, TypeVar

from faust_s3.retry import Patience

__all__ = ["ByteCache", "RecentPuts", "SingleFlight"]

#: Puts that are remembered: about 1 MB.
_MOST_PUTS: Final = 4096

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SingleFlight(Generic[K, T]):
    """Lets callers who want the same thing at the same time share one coroutine.

    The first one runs it, the others wait for what comes of it. If the first one is cancelled,
    one of the others begins again.
    """

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Future[T]] = {}

    async def join(self, key: K, start: Callable[[], Awaitable[T]]) -> T:
        """Await what ``start()`` returns, or what it returned for an earlier caller."""
        while (flight := self._flights.get(key)) is not None:
            await asyncio.wait({flight})
            if not flight.cancelled():
                return flight.result()
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            result = await start()
        except Exception as exc:
            flight.set_exception(exc)
            flight.exception()  # seen, even if nobody else wants it
            raise
        else:
            flight.set_result(result)
            return result
        finally:
            del self._flights[key]
            flight.cancel()


class ByteCache(Generic[K]):
    """Keeps the most recently used values, up to a number of bytes.

    Args:
        limit: Bytes. A value of more than a quarter of it is not kept: it would push out
            the others and seldom be asked for again.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[K, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: K) -> bytes | None:
        """Return a value, and make it the most recently used one."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def add(self, key: K, value: bytes) -> None:
        """Keep a value, and let go of the least recently used ones beyond the limit."""
        if not value or len(value) > self._limit // 4 or key in self._values:
            return
        self._values[key] = value
        self._size += len(value)
        while self._size > self._limit:
            _, dropped = self._values.popitem(last=False)
            self._size -= len(dropped)


class RecentPuts(Generic[K]):
    """Remembers what was put where, so that the same need not be put again for a while.

    Its places are object keys, which have the digest of what lies there in them, or are of one
    put only. It asks nobody: what it knows is what this process did. Somebody may remove an
    object meanwhile, and so it forgets.

    Args:
        window: Seconds, counted from the beginning of a put; 0: it remembers nothing.
        clock: Returns seconds.
    """

    def __init__(self, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._window = window
        self._clock = clock
        self._done: OrderedDict[K, float] = OrderedDict()
        self._under_way: dict[K, asyncio.Future[None]] = {}

    def has(self, place: K) -> bool:
        """Tell whether something was put there within the window."""
        began = self._done.get(place)
        return began is not None and self._clock() - began < self._window

    def add(self, place: K, began: float) -> None:
        """Note a put that was made, and when it began."""
        self._done[place] = began
        self._done.move_to_end(place)
        while len(self._done) > _MOST_PUTS:
            self._done.popitem(last=False)

    async def once(
        self, place: K, put: Callable[[Patience], Awaitable[Any]], patience: Patience
    ) -> None:
        """Put something, unless that was done a moment ago, or is being done and succeeds.

        Args:
            place: Where to.
            put: Puts it, with what is left of the patience; raises if it could not.
            patience: How long to wait for the store, and for the other.
        """
        if not self._window:
            await put(patience)
            return
        if (other := self._under_way.get(place)) is not None:
            began = time.monotonic()
            await asyncio.wait({other}, timeout=patience.timeout)
            patience = patience.after(time.monotonic() - began)
        if self.has(place):
            return
        began, mine = self._clock(), asyncio.get_running_loop().create_future()
        first = self._under_way.setdefault(place, mine) is mine
        try:
            await put(patience)
            self.add(place, began)
        finally:
            mine.set_result(None)
            if first:
                del self._under_way[place]
