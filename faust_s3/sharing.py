"""Work that several readers of one topic share: downloads under way, and done ones."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["ByteCache", "SingleFlight"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    passengers: int = 0


class SingleFlight(Generic[K, T]):
    """Lets callers who want the same thing at the same time share one coroutine.

    It runs as long as one of them waits: a caller that is cancelled leaves the others in
    peace, the last one to leave ends it.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[T]] = {}

    async def join(self, key: K, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await what ``start()`` returns, or what it returned for an earlier caller."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(start()))
        flight.passengers += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.passengers -= 1
            if flight.task.done() or not flight.passengers:
                flight.task.cancel()
                if self._flights.get(key) is flight:
                    del self._flights[key]


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
