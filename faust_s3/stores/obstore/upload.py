"""Objects that arrive in parts, where the store has no parts that can be tried again."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from typing import IO

from faust_s3.exceptions import RequestRefused
from faust_s3.stores.base import Location, Upload

__all__ = ["SpooledUpload"]


class SpooledUpload(Upload):
    """Parts in a temporary file, which goes to the store as a whole.

    The file has no name, so that nothing is left of it whatever happens.

    Args:
        location: Where to.
        put: Stores a file of so many bytes.
        part_size: Bytes of a part.
    """

    def __init__(
        self,
        location: Location,
        put: Callable[[Location, IO[bytes], int], Awaitable[None]],
        *,
        part_size: int,
    ) -> None:
        self._location = location
        self._put = put
        self._part_size = part_size
        self._file: IO[bytes] | None = None
        self._lock = asyncio.Lock()  # of the file's position
        self._size = 0
        self._ended = self._finished = False

    def part_size(self, number: int) -> int:
        return self._part_size

    async def part(self, number: int, data: bytes) -> None:
        async with self._lock:
            self._check()
            await asyncio.to_thread(self._write, (number - 1) * self._part_size, data)
            self._size = max(self._size, (number - 1) * self._part_size + len(data))

    async def finish(self) -> None:
        async with self._lock:
            if self._finished:
                return  # but whoever called did not hear of it
            self._check()
            file = await asyncio.to_thread(self._opened)
            await asyncio.to_thread(file.seek, 0)
            await self._put(self._location, file, self._size)
            self._finished = True
            await self._close()

    async def abort(self) -> None:
        self._ended = True
        await self._close()

    async def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            await asyncio.to_thread(file.close)

    def _check(self) -> None:
        if self._ended:
            bucket, key = self._location
            raise RequestRefused("the upload is gone", bucket=bucket, key=key)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="faust-s3-")  # noqa: SIM115 - see abort
        return self._file

    def _write(self, at: int, data: bytes) -> None:
        file = self._opened()
        file.seek(at)
        file.write(data)
