"""Stores to put around another one: they count, fail, hold up. None of them sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Literal

from faust_s3.exceptions import S3Error, StoreUnavailable
from faust_s3.stores import Location, MemoryStore, ObjectInfo, Store, Upload

__all__ = [
    "BarrierStore",
    "CountingStore",
    "DistantStore",
    "FailingStore",
    "SlowStore",
    "WrapperStore",
]

Method = Literal[
    "put", "get", "head", "delete", "get_range", "open_upload", "part", "finish", "abort"
]


class WrapperStore(Store):
    """Passes everything on to another store, after :meth:`enter`."""

    def __init__(self, inner: Store | None = None) -> None:
        self.inner = inner if inner is not None else MemoryStore()

    async def enter(self, method: Method, location: Location) -> None:
        """Do something before a request; what it raises is the request's failure."""

    async def leave(self, method: Method, location: Location) -> None:
        """Do something after a request, however it ended."""

    async def put(self, location: Location, data: bytes, *, sha256: bytes | None = None) -> None:
        try:
            await self.enter("put", location)
            await self.inner.put(location, data, sha256=sha256)
        finally:
            await self.leave("put", location)

    async def get(self, location: Location, *, max_size: int) -> bytes:
        try:
            await self.enter("get", location)
            return await self.inner.get(location, max_size=max_size)
        finally:
            await self.leave("get", location)

    async def get_range(self, location: Location, start: int, stop: int) -> bytes:
        try:
            await self.enter("get_range", location)
            return await self.inner.get_range(location, start, stop)
        finally:
            await self.leave("get_range", location)

    async def open_upload(self, location: Location, *, size: int | None = None) -> Upload:
        try:
            await self.enter("open_upload", location)
            return _WrappedUpload(self, location, await self.inner.open_upload(location, size=size))
        finally:
            await self.leave("open_upload", location)

    async def head(self, location: Location) -> ObjectInfo:
        try:
            await self.enter("head", location)
            return await self.inner.head(location)
        finally:
            await self.leave("head", location)

    async def delete(self, location: Location) -> None:
        try:
            await self.enter("delete", location)
            await self.inner.delete(location)
        finally:
            await self.leave("delete", location)

    def list(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        return self.inner.list(bucket, prefix)

    async def close(self) -> None:
        await self.inner.close()


class _WrappedUpload(Upload):
    def __init__(self, store: WrapperStore, location: Location, inner: Upload) -> None:
        self._store = store
        self._location = location
        self._inner = inner

    def part_size(self, number: int) -> int:
        return self._inner.part_size(number)

    async def part(self, number: int, data: bytes) -> None:
        try:
            await self._store.enter("part", self._location)
            await self._inner.part(number, data)
        finally:
            await self._store.leave("part", self._location)

    async def finish(self) -> None:
        try:
            await self._store.enter("finish", self._location)
            await self._inner.finish()
        finally:
            await self._store.leave("finish", self._location)

    async def abort(self) -> None:
        try:
            await self._store.enter("abort", self._location)
            await self._inner.abort()
        finally:
            await self._store.leave("abort", self._location)


class CountingStore(WrapperStore):
    """Remembers each request.

    Attributes:
        requests: Method and place, in order.
    """

    def __init__(self, inner: Store | None = None) -> None:
        super().__init__(inner)
        self.requests: list[tuple[Method, Location]] = []

    async def enter(self, method: Method, location: Location) -> None:
        self.requests.append((method, location))

    def count(self, method: Method) -> int:
        """Return how many requests of a kind there were."""
        return sum(1 for made, _ in self.requests if made == method)


class DistantStore(CountingStore):
    """Takes some turns of the event loop for each request, as a real one does."""

    async def enter(self, method: Method, location: Location) -> None:
        await super().enter(method, location)
        for _ in range(10):
            await asyncio.sleep(0)


class FailingStore(CountingStore):
    """Fails the first requests, with these errors or so many times, and works afterwards.

    Args:
        errors: What to raise, one after the other; a number stands for so many
            ``StoreUnavailable``.
        inner: The store that works.
    """

    def __init__(self, errors: Iterable[S3Error] | int, inner: Store | None = None) -> None:
        super().__init__(inner)
        if isinstance(errors, int):
            errors = [StoreUnavailable("the store is away") for _ in range(errors)]
        self._errors = iter(errors)

    async def enter(self, method: Method, location: Location) -> None:
        await super().enter(method, location)
        if (error := next(self._errors, None)) is not None:
            raise error


class BarrierStore(CountingStore):
    """Lets requests go on only once so many of them are under way together.

    Whatever gets through proves that they were; after that the barrier stays open.

    Attributes:
        inside: Requests under way.
        most: The most that ever were.
    """

    def __init__(self, parties: int, inner: Store | None = None) -> None:
        super().__init__(inner)
        self.inside = self.most = 0
        self._parties = parties
        self._open = asyncio.Event()

    async def enter(self, method: Method, location: Location) -> None:
        await super().enter(method, location)
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside >= self._parties:
            self._open.set()
        await self._open.wait()
        await asyncio.sleep(0)  # or nobody would ever be inside with the last one

    async def leave(self, method: Method, location: Location) -> None:
        self.inside -= 1


class SlowStore(CountingStore):
    """Takes until :meth:`release` for every request.

    Attributes:
        entered: Set once the first request is under way.
    """

    def __init__(self, inner: Store | None = None) -> None:
        super().__init__(inner)
        self.entered = asyncio.Event()
        self._released = asyncio.Event()

    def release(self) -> None:
        """Let this and every later request finish."""
        self._released.set()

    async def enter(self, method: Method, location: Location) -> None:
        await super().enter(method, location)
        self.entered.set()
        await self._released.wait()
