"""Objects that go to S3 in parts."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import Mapping
from concurrent.futures import wait
from functools import partial
from hashlib import sha256 as _sha256
from types import TracebackType
from typing import Any

from botocore import exceptions as boto

from faust_s3.exceptions import PayloadTooLarge, RequestRefused
from faust_s3.stores.base import Location, Upload
from faust_s3.stores.s3.errors import FOREIGN, require
from faust_s3.stores.transfer import Futures, Request, Threads

__all__ = ["MAX_PARTS", "S3Upload", "UploadGone"]

logger = logging.getLogger(__name__)

MAX_PARTS = 10_000  # limits of S3
MAX_PART = 5 * 2**30  # bytes
_DOUBLE_EVERY = 1000  # parts; of 8 MiB and more, all of them are then more than 5 TiB


class UploadGone(RequestRefused):
    """Somebody ended the upload, or lost a part of it: only a new one can succeed."""


class S3Upload(Upload):
    """A multipart upload.

    In an ``async with`` statement it is aborted if the block fails: before that is known
    outside, unless it was cancelled.

    Args:
        threads: Where requests run.
        location: Where to.
        part_size: Bytes of a part, at least.
        size: Bytes of the object, if known; parts then have all the same size.
        encryption: Arguments of the request that begins it.
        limit: Seconds that a request may take.
    """

    def __init__(
        self,
        threads: Threads,
        location: Location,
        *,
        part_size: int,
        size: int | None,
        encryption: Mapping[str, str],
        limit: float,
    ) -> None:
        self._threads = threads
        self._location = location
        self._place = {"Bucket": location.bucket, "Key": location.key}
        self._least = part_size
        self._size = size
        self._encryption = encryption
        self._limit = limit
        self._running: Futures = []
        self._parts: dict[int, dict[str, Any]] = {}
        self._sizes: dict[int, int] = {}
        self._completed = False

    async def __aenter__(self) -> S3Upload:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc, asyncio.CancelledError):
            self._threads.submit(self._location, self._abort)
        elif exc is not None:
            await self.abort()

    async def begin(self) -> None:
        """Begin the upload."""
        await self._run(self._create)

    async def send(self, data: bytes) -> None:
        """Store all parts, a few at a time."""
        size = self.part_size(1)
        view = memoryview(data)
        calls = (
            partial(self._send, number, view[at : at + size])
            for number, at in enumerate(range(0, len(data), size), 1)
        )
        await self._threads.run_many(self._location, calls, futures=self._running)

    def part_size(self, number: int) -> int:
        if number > MAX_PARTS:
            bucket, key = self._location
            raise PayloadTooLarge(
                f"the store takes {MAX_PARTS} parts at most", bucket=bucket, key=key
            )
        if self._size is not None:
            return max(self._least, -(-self._size // MAX_PARTS))
        return min(self._least << (number - 1) // _DOUBLE_EVERY, MAX_PART)

    async def part(self, number: int, data: bytes) -> None:
        await self._run(partial(self._send, number, data))

    async def finish(self) -> None:
        await self._run(self._complete)

    async def abort(self) -> None:
        _, aborted = self._threads.submit(self._location, self._abort)
        # asyncio.wait does not cancel the abort if we are cancelled meanwhile.
        await asyncio.wait({asyncio.wrap_future(aborted)}, timeout=self._limit)

    async def _run(self, call: Any) -> None:
        # What failed holds its part by its traceback; only what runs is of interest.
        self._running = [future for future in self._running if not future.done()]
        await self._threads.run(self._location, call, futures=self._running)

    # -- in a thread

    def _create(self, client: Any, request: Request) -> None:
        answer = client.create_multipart_upload(
            **self._place, ChecksumAlgorithm="SHA256", **self._encryption
        )
        require(answer, self._location, "UploadId")
        self._place["UploadId"] = answer["UploadId"]

    def _send(self, number: int, data: bytes | memoryview, client: Any, request: Request) -> None:
        checksum = b64encode(_sha256(data).digest()).decode()
        try:
            answer = client.upload_part(
                **self._place,
                PartNumber=number,
                Body=request.body(data),
                ChecksumSHA256=checksum,
            )
        except boto.ClientError as exc:
            self._check_gone(exc)
            raise
        require(answer, self._location, "ETag")
        self._sizes[number] = len(data)
        self._parts[number] = {
            "PartNumber": number,
            "ETag": answer["ETag"],
            "ChecksumSHA256": checksum,
        }

    def _complete(self, client: Any, request: Request) -> None:
        parts = [part for _, part in sorted(self._parts.items())]
        before, self._completed = self._completed, True
        try:
            answer = client.complete_multipart_upload(
                **self._place, MultipartUpload={"Parts": parts}
            )
        except boto.ClientError as exc:
            if not (before and self._is_there(client)):
                self._check_gone(exc)
                raise
        else:
            require(answer, self._location, "ETag")

    def _is_there(self, client: Any) -> bool:
        """Tell whether the last try got through, and only its answer did not."""
        bucket, key = self._location
        try:
            answer = client.head_object(Bucket=bucket, Key=key)
        except boto.ClientError:
            return False
        return bool(answer["ContentLength"] == sum(self._sizes.values()))

    def _check_gone(self, exc: Any) -> None:
        if exc.response.get("Error", {}).get("Code") in ("NoSuchUpload", "InvalidPart"):
            bucket, key = self._location
            raise UploadGone("the upload is gone", bucket=bucket, key=key) from exc

    def _abort(self, client: Any, request: Request) -> None:
        # What runs is told to stop; a part that arrives after the abort would stay.
        wait([future for future in self._running if future.running()], timeout=self._limit)
        if "UploadId" not in self._place:
            return
        try:
            client.abort_multipart_upload(**self._place)
        except FOREIGN as exc:
            logger.warning("multipart upload to %s not aborted: %s", self._location, exc)
