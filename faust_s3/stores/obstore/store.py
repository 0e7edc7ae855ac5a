"""Requests by obstore, on whatever event loop asks: no threads, and little work for Python.

obstore does not try again, because the pipeline above does; whatever leaves a request went
through :func:`translate`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, TypeVar

import obstore

from faust_s3.exceptions import (
    AccessDenied,
    ObjectMissing,
    PayloadTooLarge,
    RequestRefused,
    S3Error,
    StoreUnavailable,
)
from faust_s3.offloop import off_loop
from faust_s3.stores.answers import ForeignAnswer, sentence
from faust_s3.stores.base import Location, ObjectInfo, Store, Upload
from faust_s3.stores.obstore.clients import client_maker
from faust_s3.stores.obstore.errors import FOREIGN, ends_before, translate
from faust_s3.stores.obstore.upload import SpooledUpload
from faust_s3.stores.transfer import Whole

__all__ = ["ObstoreStore"]

T = TypeVar("T")

MIB: Final = 2**20
PARTS_AT_ONCE: Final = 4  # of one object, as with boto3


class _Deadline:
    """The end of a request, which may need several answers, one after the other.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._pass)
        self._passed = False
        self._waiter: asyncio.Future[None] | None = None

    def __enter__(self) -> _Deadline:
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()

    def _pass(self) -> None:
        self._passed = True
        self._wake()

    def _wake(self, asked: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait_for(self, awaited: Awaitable[T]) -> T:
        """Return what is awaited, or raise ``asyncio.TimeoutError``.

        What obstore returns are futures. ``asyncio.wait_for`` would make a task of each before
        Python 3.12, and ``asyncio.wait`` takes longer than all that is done here.
        """
        asked = asyncio.ensure_future(awaited)
        self._waiter = self._loop.create_future()
        asked.add_done_callback(self._wake)
        try:
            if not self._passed:
                await self._waiter
            if not asked.done():
                raise asyncio.TimeoutError
            return asked.result()
        finally:
            asked.remove_done_callback(self._wake)
            if not asked.cancel() and not asked.cancelled():
                asked.exception()  # seen, even if we were cancelled as it came


class ObstoreStore(Store):
    """Objects in S3, or in another kind of store that obstore knows.

    Credentials for S3 come from boto3's own chain, those for Google and Azure from the
    environment, as their own tools take them. Large objects go to S3 by boto3, in parts that
    are tried again one by one, which obstore does not offer.

    Args:
        scheme: ``"s3"``, ``"gs"``, ``"az"``, ``"file"`` or ``"memory"``.
        root: Directory that holds the buckets, which are directories too; for ``file``.
        buckets: The buckets that there are, for ``memory``.
        session: As for :class:`~faust_s3.stores.s3.S3Store`, like all the others.
        region: Region of the bucket.
        profile: Profile of the AWS configuration files.
        endpoint_url: URL of an S3 server that is not AWS, or of an Azure server.
        path_style: Put the bucket into the path.
        sse: Encryption at rest.
        sse_kms_key_id: Key for SSE-KMS.
        concurrency: Connections that are kept.
        connect_timeout: Seconds to connect.
        read_timeout: Seconds of silence on a connection.
        request_timeout: Seconds for one request with its whole body.
        multipart_threshold: Bytes; larger objects go up and down in parts.
        part_size: Bytes of a part.

    Raises:
        ConfigError: If a setting is impossible, or not for this kind of store.
    """

    def __init__(
        self,
        scheme: str = "s3",
        *,
        root: str = "",
        buckets: Collection[str] = (),
        session: Any | None = None,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        path_style: bool = False,
        sse: str | None = None,
        sse_kms_key_id: str | None = None,
        concurrency: int = 32,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        request_timeout: float = 60.0,
        multipart_threshold: int = 32 * MIB,
        part_size: int = 8 * MIB,
    ) -> None:
        settings: dict[str, Any] = {
            "session": session,
            "region": region,
            "profile": profile,
            "endpoint_url": endpoint_url,
            "path_style": path_style,
            "sse": sse,
            "sse_kms_key_id": sse_kms_key_id,
            "concurrency": concurrency,
            "connect_timeout": connect_timeout,
            "read_timeout": read_timeout,
            "request_timeout": request_timeout,
        }
        self._where = f"{scheme}://{root}"
        self._make_client = client_maker(scheme, settings, root=root, buckets=buckets)
        self._clients: dict[str, Any] = {}
        self._limit = request_timeout
        self._multipart_threshold = multipart_threshold
        self._part_size = part_size
        self._in_order = scheme not in ("file", "memory")
        self._parts: Store | None = None
        if scheme == "s3":
            from faust_s3.stores.s3 import S3Store

            self._parts = S3Store(
                **settings, multipart_threshold=multipart_threshold, part_size=part_size
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._where}>"

    async def put(self, location: Location, data: bytes, *, sha256: bytes | None = None) -> None:
        if len(data) > self._multipart_threshold and self._parts is not None:
            await self._parts.put(location, data, sha256=sha256)
            return
        await self._put(location, data, len(data))

    async def get(self, location: Location, *, max_size: int) -> bytes:
        return await self.fetch(location, max_size=max_size, decode=bytes)

    async def fetch(
        self,
        location: Location,
        *,
        max_size: int,
        decode: Callable[[bytes], T],
        decoded_size: int = 0,
    ) -> T:
        if max_size > self._multipart_threshold:
            whole = await self._get_large(location, max_size)
            return await off_loop(max(len(whole), decoded_size), lambda: decode(whole))
        # An answer and its body would be two steps, each of which disturbs the event loop.
        got = await self._ask_for_bytes(
            location,
            lambda client: obstore.get_range_async(client, location.key, start=0, end=max_size + 1),
        )
        if len(got) > max_size:
            raise _too_large(location, max_size)
        return await off_loop(max(len(got), decoded_size), lambda: decode(bytes(got)))

    async def get_range(self, location: Location, start: int, stop: int) -> bytes:
        got = await self._range(location, start, stop)
        return await off_loop(len(got), lambda: bytes(got))

    async def open_upload(self, location: Location, *, size: int | None = None) -> Upload:
        if self._parts is not None:
            return await self._parts.open_upload(location, size=size)
        await self._ask(Location(location.bucket, ""), _first)  # the bucket has to be there
        return SpooledUpload(location, self._put, part_size=self._part_size)

    async def head(self, location: Location) -> ObjectInfo:
        try:
            found = await self._ask(
                location, lambda client: obstore.head_async(client, location.key)
            )
        except ObjectMissing:
            await self._check_bucket(location)
            raise
        return ObjectInfo(location, found["size"], found["last_modified"])

    async def delete(self, location: Location) -> None:
        with suppress(ObjectMissing):  # of directories and memory; S3 says BucketMissing
            await self._ask(location, lambda client: obstore.delete_async(client, location.key))

    async def list(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        place = Location(bucket, "")
        # obstore's prefixes are whole segments.
        parent = prefix.rpartition("/")[0]
        stream = (await self._client(place)).list(parent or None)
        unordered: list[Any] = []
        while (page := await self._ask(place, lambda _: anext(stream, None))) is not None:
            if self._in_order:
                for found in _starting(prefix, page, bucket):
                    yield found
            else:
                unordered += page
        for found in _starting(prefix, sorted(unordered, key=_path), bucket):
            yield found

    async def close(self) -> None:
        self._clients.clear()  # connections end with the clients
        if self._parts is not None:
            await self._parts.close()

    async def _client(self, location: Location) -> Any:
        bucket = location.bucket
        client = self._clients.get(bucket)
        if client is None:
            # It reads files, and may ask for credentials.
            try:
                made = await asyncio.to_thread(self._make_client, bucket)
            except FOREIGN as exc:
                raise translate(exc, location) from None
            client = self._clients.setdefault(bucket, made)
        return client

    async def _ask(
        self,
        location: Location,
        call: Callable[[Any], Awaitable[T]],
        deadline: _Deadline | None = None,
    ) -> T:
        """Make a request, and wait no longer than it may take."""
        if deadline is None:
            with _Deadline(self._limit) as deadline:
                return await self._ask(location, call, deadline)
        try:
            client = self._clients.get(location.bucket)
            if client is None:
                client = await deadline.wait_for(self._client(location))
            return await deadline.wait_for(call(client))
        except asyncio.TimeoutError:
            raise StoreUnavailable(
                f"the store is not available: no complete answer within {deadline.seconds:g} s",
                bucket=location.bucket,
                key=location.key or None,
            ) from None
        except FOREIGN as exc:
            raise translate(exc, location) from exc

    async def _range(
        self, location: Location, start: int, stop: int, etag: str | None = None
    ) -> Any:
        async def read(client: Any) -> Any:
            options: dict[str, Any] = {"range": (start, stop)}
            if etag is not None:
                options["if_match"] = etag
            answer = await obstore.get_async(client, location.key, options=options)
            begin, end = answer.range
            if begin != start or end > stop:
                raise RequestRefused(
                    "the store takes no ranges", bucket=location.bucket, key=location.key
                )
            got = await answer.buffer_async()
            self._check_length(location, len(got), end - begin)
            return got

        return await self._ask_for_bytes(location, read)

    async def _ask_for_bytes(
        self, location: Location, call: Callable[[Any], Awaitable[Any]]
    ) -> Any:
        """Ask for a range: there are no bytes in it if the object ends before it begins."""
        try:
            return await self._ask(location, call)
        except S3Error as exc:
            if isinstance(exc.__cause__, FOREIGN) and ends_before(exc.__cause__):
                return b""
            raise

    async def _get_large(self, location: Location, max_size: int) -> bytes:
        """Return an object that may have to come in parts."""
        with _Deadline(self._limit) as deadline:
            answer = await self._ask(
                location, lambda client: obstore.get_async(client, location.key), deadline
            )
            size, etag = answer.meta["size"], answer.meta["e_tag"]
            if etag is None and self._parts is not None:
                raise sentence(ForeignAnswer, "an answer without ETag", location)
            if size > max_size:
                raise _too_large(location, max_size, size)
            if size <= self._multipart_threshold:
                got = await self._ask(location, lambda _: answer.buffer_async(), deadline)
                self._check_length(location, len(got), size)
                return await off_loop(size, lambda: bytes(got))
        return await self._get_parts(location, size, etag)

    async def _get_parts(self, location: Location, size: int, etag: str | None) -> bytes:
        starts = iter(range(0, size, self._part_size))
        whole = Whole(size)

        def keep(part: Any, start: int, stop: int) -> None:
            whole.view[start:stop] = memoryview(part)

        async def work() -> None:
            for start in starts:
                stop = min(start + self._part_size, size)
                part = await self._range(location, start, stop, etag)
                self._check_length(location, len(part), stop - start)
                await asyncio.to_thread(keep, part, start, stop)

        workers = [asyncio.ensure_future(work()) for _ in range(PARTS_AT_ONCE)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return whole.done()

    async def _put(self, location: Location, data: Any, size: int) -> None:
        # obstore takes no digest. It signs one that it computes, and the server verifies that.
        large = size > self._multipart_threshold
        rounds = -(-size // (PARTS_AT_ONCE * self._part_size)) if large else 1
        with _Deadline(self._limit * rounds) as deadline:
            await self._ask(
                location,
                lambda client: obstore.put_async(
                    client,
                    location.key,
                    data,
                    use_multipart=large,
                    chunk_size=self._part_size,
                    max_concurrency=PARTS_AT_ONCE,
                ),
                deadline,
            )

    async def _check_bucket(self, location: Location) -> None:
        """Raise BucketMissing, if that is why an answer to HEAD, which says little, was 404."""
        with suppress(AccessDenied, StoreUnavailable):  # then the object is what is missing
            await self._ask(Location(location.bucket, ""), _first)

    def _check_length(self, location: Location, got: int, said: int) -> None:
        if got != said:
            raise StoreUnavailable(
                f"the store is not available: the body has {got} bytes and not {said}",
                bucket=location.bucket,
                key=location.key,
                size=said,
            )


def _too_large(location: Location, max_size: int, size: int | None = None) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the object has more than {max_size} bytes",
        bucket=location.bucket,
        key=location.key,
        size=size,
    )


def _path(found: Any) -> str:
    return str(found["path"])


def _starting(prefix: str, page: Iterable[Any], bucket: str) -> Iterator[ObjectInfo]:
    for found in page:
        if _path(found).startswith(prefix):
            place = Location(bucket, _path(found))
            yield ObjectInfo(place, found["size"], found["last_modified"])


async def _first(client: Any) -> Any:
    return await anext(client.list(chunk_size=1), None)
