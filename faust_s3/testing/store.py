"""A store in memory that fails when it is told to."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Literal, NamedTuple

from faust_s3.exceptions import S3Error, StoreUnavailable
from faust_s3.stores.base import Location, ObjectInfo, Upload
from faust_s3.stores.memory import MemoryStore

__all__ = ["FakeStore", "Method", "Request"]

#: Parts of objects are "put" and "get", too.
Method = Literal["put", "get", "head", "delete", "list"]


class Request(NamedTuple):
    """A request that the store got.

    Attributes:
        method: What was asked for.
        location: Of which object.
        error: What the store answered, if it did not do it.
    """

    method: Method
    location: Location
    error: S3Error | None = None


class FakeStore(MemoryStore):
    """A :class:`~faust_s3.stores.MemoryStore` with failures.

    Attributes:
        latency: Seconds that every request takes.
        requests: All requests, in the order in which they were answered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.latency = 0.0
        self.requests: list[Request] = []
        self._away: list[tuple[Method, ...]] = []
        self._planned: list[tuple[Method | None, S3Error]] = []

    @property
    def objects(self) -> Mapping[Location, bytes]:
        """What is stored."""
        return {location: data for location, (data, _) in self._objects.items()}

    @property
    def failures(self) -> Sequence[Request]:
        """The requests that failed."""
        return [request for request in self.requests if request.error is not None]

    @contextmanager
    def unavailable(self, *methods: Method) -> Iterator[None]:
        """Fail as in an outage, for the time of a ``with`` block.

        Args:
            *methods: Kinds of requests that fail. Default: all.
        """
        self._away.append(methods)
        try:
            yield
        finally:
            self._away.remove(methods)

    def fail_next(
        self, times: int = 1, error: S3Error | None = None, *, on: Method | None = None
    ) -> None:
        """Fail some requests.

        Args:
            times: How many.
            error: How. Default: ``StoreUnavailable``.
            on: Kind of requests. Default: any.
        """
        self._planned += [(on, error or _outage())] * times

    def lose(self, location: Location) -> None:
        """Remove an object.

        Raises:
            ObjectMissing: If there is none.
        """
        self._find(location)
        del self._objects[location]

    def corrupt(self, location: Location) -> None:
        """Change the bytes of an object, but not their number.

        Raises:
            ObjectMissing: If there is none.
        """
        data, modified = self._find(location)
        self._objects[location] = bytes(byte ^ 0xFF for byte in data[:1]) + data[1:], modified

    # -- the store contract

    async def put(self, location: Location, data: bytes, *, sha256: bytes | None = None) -> None:
        async with self._answering("put", location):
            await super().put(location, data, sha256=sha256)

    async def get(self, location: Location, *, max_size: int) -> bytes:
        async with self._answering("get", location):
            return await super().get(location, max_size=max_size)

    async def get_range(self, location: Location, start: int, stop: int) -> bytes:
        async with self._answering("get", location):
            return await super().get_range(location, start, stop)

    async def open_upload(self, location: Location, *, size: int | None = None) -> Upload:
        async with self._answering("put", location):
            return _FakeUpload(self, location, await super().open_upload(location, size=size))

    async def head(self, location: Location) -> ObjectInfo:
        async with self._answering("head", location):
            return await super().head(location)

    async def delete(self, location: Location) -> None:
        async with self._answering("delete", location):
            await super().delete(location)

    async def list(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        async with self._answering("list", Location(bucket, prefix)):
            found = [info async for info in super().list(bucket, prefix)]
        for info in found:
            yield info

    @asynccontextmanager
    async def _answering(self, method: Method, location: Location) -> AsyncIterator[None]:
        await asyncio.sleep(self.latency)
        try:
            if (error := self._failure(method)) is not None:
                error.bucket, error.key = error.bucket or location.bucket, error.key or location.key
                raise error
            yield
        except S3Error as exc:
            self.requests.append(Request(method, location, exc))
            raise
        self.requests.append(Request(method, location))

    def _failure(self, method: Method) -> S3Error | None:
        for planned in self._planned:
            on, error = planned
            if on in (None, method):
                self._planned.remove(planned)
                return copy.copy(error)  # one of its own for each request
        if any(method in methods or not methods for methods in self._away):
            return _outage()
        return None


class _FakeUpload(Upload):
    def __init__(self, store: FakeStore, location: Location, inner: Upload) -> None:
        self._store = store
        self._location = location
        self._inner = inner

    def part_size(self, number: int) -> int:
        return self._inner.part_size(number)

    async def part(self, number: int, data: bytes) -> None:
        async with self._store._answering("put", self._location):
            await self._inner.part(number, data)

    async def finish(self) -> None:
        await self._inner.finish()  # which puts the object

    async def abort(self) -> None:
        await self._inner.abort()


def _outage() -> StoreUnavailable:
    return StoreUnavailable("the store is away")
