"""A store in this process's memory, for tests and examples."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timezone
from hashlib import sha256 as _sha256

from faust_s3.exceptions import BucketMissing, ObjectMissing, PayloadTooLarge, RequestRefused
from faust_s3.stores.base import Location, ObjectInfo, Store, Upload

__all__ = ["MemoryStore"]

_PART_SIZE = 2**20  # bytes; whatever: there is nothing to gain


class MemoryStore(Store):
    """Keeps objects in a dictionary.

    Args:
        buckets: The buckets that exist. ``None`` (the default): every bucket does.

    Example:
        >>> store = MemoryStore()
        >>> await store.put(Location("bucket", "key"), b"payload")
    """

    def __init__(self, *, buckets: Iterable[str] | None = None) -> None:
        self._buckets = None if buckets is None else frozenset(buckets)
        self._objects: dict[Location, tuple[bytes, datetime]] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._objects)} objects>"

    async def put(self, location: Location, data: bytes, *, sha256: bytes | None = None) -> None:
        self._check_bucket(location.bucket, location.key)
        if sha256 is not None and _sha256(data).digest() != sha256:
            raise RequestRefused(
                "the SHA-256 sent with the object is not that of its bytes",
                bucket=location.bucket,
                key=location.key,
            )
        self._objects[location] = bytes(data), datetime.now(timezone.utc)

    async def get(self, location: Location, *, max_size: int) -> bytes:
        data, _ = self._find(location)
        if len(data) > max_size:
            raise PayloadTooLarge(
                f"the object has more than {max_size} bytes",
                bucket=location.bucket,
                key=location.key,
                size=len(data),
            )
        return data

    async def get_range(self, location: Location, start: int, stop: int) -> bytes:
        data, _ = self._find(location)
        return data[start:stop]

    async def open_upload(self, location: Location, *, size: int | None = None) -> Upload:
        self._check_bucket(location.bucket, location.key)
        return _Upload(self, location)

    async def head(self, location: Location) -> ObjectInfo:
        data, modified = self._find(location)
        return ObjectInfo(location, len(data), modified)

    async def delete(self, location: Location) -> None:
        self._check_bucket(location.bucket, location.key)
        self._objects.pop(location, None)

    async def list(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        self._check_bucket(bucket)
        for location, (data, modified) in sorted(self._objects.items()):
            if location.bucket == bucket and location.key.startswith(prefix):
                yield ObjectInfo(location, len(data), modified)

    def _check_bucket(self, bucket: str, key: str | None = None) -> None:
        if self._buckets is not None and bucket not in self._buckets:
            raise BucketMissing("there is no such bucket", bucket=bucket, key=key)

    def _find(self, location: Location) -> tuple[bytes, datetime]:
        self._check_bucket(location.bucket, location.key)
        try:
            return self._objects[location]
        except KeyError:
            raise ObjectMissing(
                "there is no such object", bucket=location.bucket, key=location.key
            ) from None


class _Upload(Upload):
    """Parts in a dictionary."""

    def __init__(self, store: MemoryStore, location: Location) -> None:
        self._store = store
        self._location = location
        self._parts: dict[int, bytes] = {}
        self._ended = False

    def part_size(self, number: int) -> int:
        return _PART_SIZE

    async def part(self, number: int, data: bytes) -> None:
        self._check()
        self._parts[number] = bytes(data)

    async def finish(self) -> None:
        self._check()
        await self._store.put(self._location, b"".join(p for _, p in sorted(self._parts.items())))

    async def abort(self) -> None:
        self._parts.clear()
        self._ended = True

    def _check(self) -> None:
        if self._ended:
            bucket, key = self._location
            raise RequestRefused("the upload is gone", bucket=bucket, key=key)
