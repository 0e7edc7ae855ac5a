"""The store contract: where payloads lie.

A store knows locations, bytes and errors. It knows nothing of claims, digests of
payloads, thresholds, Kafka or Faust, and it does not try again: the pipeline does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeVar

from faust_s3.offloop import off_loop

__all__ = ["Location", "ObjectInfo", "Store", "Upload"]

T = TypeVar("T")


class Location(NamedTuple):
    """The place of one object.

    Attributes:
        bucket: Bucket name.
        key: Object key, at most 1024 bytes of UTF-8.
    """

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store tells about an object without its bytes.

    Attributes:
        location: Its place.
        size: Stored size in bytes.
        modified: When it was last written, timezone-aware.
    """

    location: Location
    size: int
    modified: datetime


class Upload(ABC):
    """An object that arrives in parts.

    Parts may come in any order and several at once. The object is there, whole, once
    :meth:`finish` has returned, and not before. Errors are those of :class:`Store`; what a
    :exc:`~faust_s3.exceptions.StoreUnavailable` interrupted may be called again.
    """

    @abstractmethod
    def part_size(self, number: int) -> int:
        """Return how many bytes a part must have, unless it is the last one.

        Args:
            number: Of the part, counted from 1.

        Raises:
            PayloadTooLarge: If the store does not take so many parts.
        """

    @abstractmethod
    async def part(self, number: int, data: bytes) -> None:
        """Store a part. Repeating it with the same bytes changes nothing.

        Args:
            number: Of the part, counted from 1.
            data: Its bytes.

        Raises:
            RequestRefused: If the upload is gone, because somebody ended it.
        """

    @abstractmethod
    async def finish(self) -> None:
        """Make an object of the parts, in the order of their numbers. There is at least one.

        Raises:
            RequestRefused: If the upload is gone, because somebody ended it.
        """

    @abstractmethod
    async def abort(self) -> None:
        """Remove what has arrived. Never fails; one that is cancelled takes effect later."""


class Store(ABC):
    """Objects by location, asynchronously.

    One instance serves any number of event loops and threads at once. Opening is lazy:
    the first request connects. No method blocks the event loop, and every request has a
    deadline of its own.

    Every method raises, besides what it lists:

    * :exc:`~faust_s3.exceptions.StoreUnavailable` - the same call may succeed later;
    * :exc:`~faust_s3.exceptions.AccessDenied` - credentials or permission;
    * :exc:`~faust_s3.exceptions.BucketMissing` - no such bucket;
    * :exc:`~faust_s3.exceptions.RequestRefused` - refused for another reason.

    Errors carry ``bucket`` and ``key``. Cancelling an awaited call abandons it: a request
    that is on the wire may still take effect.
    """

    @abstractmethod
    async def put(self, location: Location, data: bytes, *, sha256: bytes | None = None) -> None:
        """Store an object, whole or not at all.

        Repeating a put with the same bytes changes nothing; with other bytes the last
        one to finish wins. After a failure or a cancellation the object is either absent
        (or as it was) or whole, never partly written.

        Args:
            location: Where to.
            data: All of its bytes; may be empty.
            sha256: SHA-256 of ``data`` (32 bytes) for the store to verify on arrival, if the
                client can send it along; obstore sends one that it computes.

        Raises:
            PayloadTooLarge: If the store does not take objects of this size.
        """

    @abstractmethod
    async def get(self, location: Location, *, max_size: int) -> bytes:
        """Return all bytes of an object.

        Args:
            location: Where from.
            max_size: The most bytes that the caller will take.

        Raises:
            ObjectMissing: If there is no such object.
            PayloadTooLarge: If it has more than ``max_size`` bytes; at most
                ``max_size`` + 1 bytes of it were read.
        """

    async def fetch(
        self,
        location: Location,
        *,
        max_size: int,
        decode: Callable[[bytes], T],
        decoded_size: int = 0,
    ) -> T:
        """Return what is made of all bytes of an object: :meth:`get`, and more.

        Stores that read in threads decode there, which spares the bytes a way and the
        processor a look at bytes that it has forgotten.

        Args:
            location: Where from.
            max_size: As for :meth:`get`.
            decode: Blocks, and may raise errors of its own. Runs off the event loop if there
                are many bytes.
            decoded_size: Bytes that it makes of them, if those are more.

        Raises:
            ObjectMissing: As :meth:`get`.
            PayloadTooLarge: As :meth:`get`.
        """
        data = await self.get(location, max_size=max_size)
        return await off_loop(max(len(data), decoded_size), lambda: decode(data))

    @abstractmethod
    async def get_range(self, location: Location, start: int, stop: int) -> bytes:
        """Return some bytes of an object, fewer if it ends before.

        Args:
            location: Where from.
            start: The first byte, counted from 0.
            stop: The first byte that is not wanted any more, greater than ``start``.

        Raises:
            ObjectMissing: If there is no such object.
        """

    @abstractmethod
    async def open_upload(self, location: Location, *, size: int | None = None) -> Upload:
        """Begin an object that arrives in parts.

        Args:
            location: Where to.
            size: Bytes that will come, if that is known.

        Raises:
            PayloadTooLarge: If the store does not take objects of this size.
        """

    @abstractmethod
    async def head(self, location: Location) -> ObjectInfo:
        """Return size and time of an object.

        Raises:
            ObjectMissing: If there is no such object.
        """

    @abstractmethod
    async def delete(self, location: Location) -> None:
        """Remove an object. An object that is not there is no error."""

    @abstractmethod
    def list(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key starts with ``prefix``, in the order of their keys.

        Objects that come or go while the listing runs may be in it or not.
        """

    async def close(self) -> None:  # noqa: B027 - most stores hold nothing
        """Give back threads and connections. Idempotent; a later request opens anew."""
