"""Payloads that are uploaded while they are read: from a file, or as somebody makes them."""

from __future__ import annotations

import asyncio
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from hashlib import sha256
from typing import IO, Any, Final, TypeVar

from faust_s3.exceptions import PayloadTooLarge
from faust_s3.stores.base import Upload

__all__ = ["PARTS_AT_ONCE", "Source", "aborting", "source_of", "upload_parts"]

T = TypeVar("T")

#: Enough to fill a link; with the part that is being read, these are what memory holds.
PARTS_AT_ONCE: Final = 4
_READ: Final = 2**20  # bytes that are read from a file at a time
#: Seconds that who is cancelled waits for what it began to be removed.
_ABORT_GRACE: Final = 1.0


class Source(ABC):
    """Bytes that are read once, from the beginning to the end."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @abstractmethod
    async def _next(self) -> bytes:
        """Return some more bytes; none at the end."""

    async def measure(self, max_size: int) -> tuple[int, bytes] | None:
        """Return size and SHA-256 of all of it, if they can be had before it is read.

        Raises:
            PayloadTooLarge: If there are more bytes than so many.
        """
        return None

    async def aclose(self) -> None:  # noqa: B027 - most take nothing
        """Give back what reading took."""

    async def peek(self, size: int) -> bytes:
        """Return the next bytes, fewer only if it ends before, and leave them there."""
        while len(self._buffer) < size and (more := await self._next()):
            self._buffer += more
        return await asyncio.to_thread(self._copy, size)

    async def read(self, size: int) -> bytes:
        """Return the next bytes, fewer only if it ends before."""
        taken = await self.peek(size)
        del self._buffer[:size]
        return taken

    def _copy(self, size: int) -> bytes:
        with memoryview(self._buffer) as view, view[:size] as taken:
            return bytes(taken)


class _File(Source):
    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self._path = path
        self._file: IO[bytes] | None = None

    async def _next(self) -> bytes:
        if self._file is None:
            self._file = await asyncio.to_thread(self._open)
        return await asyncio.to_thread(self._file.read, _READ)

    def _open(self) -> IO[bytes]:
        if not stat.S_ISREG(os.stat(self._path).st_mode):
            raise ValueError(f"source {str(self._path)!r} must be a file, or an async iterator")
        return open(self._path, "rb", buffering=0)

    async def measure(self, max_size: int) -> tuple[int, bytes]:
        size, digest = 0, sha256()
        async with aclosing(_File(self._path)) as file:
            while more := await file._next():
                size += len(more)
                _check_size(size, max_size)
                await asyncio.to_thread(digest.update, more)
        return size, digest.digest()

    async def aclose(self) -> None:
        if self._file is not None:
            await asyncio.to_thread(self._file.close)
            self._file = None


class _Chunks(Source):
    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        super().__init__()
        self._chunks = aiter(chunks)

    async def _next(self) -> bytes:
        async for chunk in self._chunks:
            if not isinstance(chunk, (bytes, bytearray, memoryview)):
                raise TypeError(f"source yields {type(chunk).__name__!r}; it must yield bytes")
            if len(chunk):
                return chunk
        return b""


def source_of(source: str | os.PathLike[str] | AsyncIterable[bytes]) -> Source:
    """Return what reads a file or an async iterator.

    Args:
        source: Path of the file, or what yields the bytes.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(source, (str, os.PathLike)):
        return _File(source)
    if isinstance(source, AsyncIterable):
        return _Chunks(source)
    raise TypeError(f"source {source!r} must be the path of a file, or an async iterator of bytes")


async def upload_parts(
    source: Source,
    upload: Upload,
    attempt: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]],
    *,
    max_size: int,
) -> tuple[int, bytes]:
    """Upload what is left of a source, and return its size and SHA-256.

    A few parts are under way at once, each until it has arrived; the upload is not finished.

    Args:
        source: Where the bytes come from.
        upload: Where they go.
        attempt: Makes a request, again if need be.
        max_size: The most bytes that are taken.

    Raises:
        PayloadTooLarge: If there are more.
    """
    size, digest, number = 0, sha256(), 0
    under_way: set[asyncio.Future[None]] = set()
    try:
        while await source.peek(1):
            number += 1
            part = await source.read(upload.part_size(number))
            size += len(part)
            _check_size(size, max_size)
            await asyncio.to_thread(digest.update, part)
            under_way.add(asyncio.ensure_future(attempt(partial(upload.part, number, part))))
            del part  # or it would be held while the next one is read
            await _until(PARTS_AT_ONCE - 1, under_way)
        await _until(0, under_way)
    finally:
        for request in under_way:
            request.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
    return size, digest.digest()


def _check_size(size: int, max_size: int) -> None:
    if size > max_size:
        raise PayloadTooLarge(f"the payload has more than max_payload={max_size} bytes", size=size)


@asynccontextmanager
async def aborting(upload: Upload) -> AsyncIterator[None]:
    """Abort an upload if the block fails."""
    try:
        yield
    except asyncio.CancelledError:
        with suppress(asyncio.TimeoutError):  # it goes on by itself
            await asyncio.wait_for(upload.abort(), _ABORT_GRACE)
        raise
    except BaseException:
        await upload.abort()
        raise


async def _until(count: int, under_way: set[asyncio.Future[Any]]) -> None:
    """Wait until no more than so many requests are under way, or one has failed."""
    while len(under_way) > count:
        done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        for request in done:
            request.result()
        under_way -= done
