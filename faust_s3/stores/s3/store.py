"""S3, and whatever else speaks its protocol: boto3 in threads of its own.

Every request is one function that runs in the store's own pool. boto3 does not try again,
because the pipeline above does; whatever leaves a request went through :func:`translate`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from functools import partial
from hashlib import sha256 as _sha256
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from faust_s3.exceptions import (
    BucketMissing,
    ConfigError,
    ObjectMissing,
    PayloadTooLarge,
    RequestRefused,
    StoreUnavailable,
)
from faust_s3.offloop import off_loop
from faust_s3.stores.base import Location, ObjectInfo, Store, Upload
from faust_s3.stores.s3.errors import FOREIGN, require, translate
from faust_s3.stores.s3.upload import S3Upload, UploadGone
from faust_s3.stores.transfer import Request, Threads, Whole

__all__ = ["S3Store"]

MIB, GIB, TIB = 2**20, 2**30, 2**40  # bytes

CONCURRENCY = 32  # more threads than this delay the event loop by the GIL, not the store
CONNECT_TIMEOUT = 5.0  # s; a live store accepts within one lost SYN or two
READ_TIMEOUT = 30.0  # s; S3 answers in well under one, KMS and cold prefixes in a few
REQUEST_TIMEOUT = 60.0  # s; 32 MiB, the largest body of one request, at 5 Mbit/s
MULTIPART_THRESHOLD = 32 * MIB  # below it, more requests cost more than they gain
PART_SIZE = 8 * MIB  # about what one connection to S3 carries in 0.1 s

SLACK = 1.0  # s that the thread has to notice its deadline before its caller gives up

ASK_FROM = MIB  # bytes; asking whether to send less costs more time than sending it

MAX_OBJECT = 5 * TIB  # limits of S3
MAX_SINGLE_PUT = 5 * GIB
MIN_PART = 5 * MIB


T = TypeVar("T")


class _Begun(NamedTuple):
    """An object, and how many bytes of it were read."""

    whole: Whole
    got: int
    etag: str


class S3Store(Store):
    """Objects in S3.

    Credentials come from boto3's own chain (environment, profiles, roles, SSO, web
    identity). Making the store does no I/O; the first request opens it.

    Args:
        session: A boto3 session to use, instead of a new one. Excludes ``profile``.
        region: Region of the bucket. Default: boto3's.
        profile: Profile of the AWS configuration files. Default: boto3's.
        endpoint_url: URL of an S3 server that is not AWS.
        path_style: Put the bucket into the path and not into the host name, as many S3
            servers need.
        sse: Encryption at rest: ``"AES256"`` (SSE-S3) or ``"aws:kms"`` (SSE-KMS). Default:
            what the bucket says.
        sse_kms_key_id: Key for SSE-KMS. Default: the account's own key for S3.
        concurrency: Threads, and connections, at most.
        connect_timeout: Seconds to connect.
        read_timeout: Seconds of silence on a connection.
        request_timeout: Seconds for one request with its whole body. A part of a large
            object is a request of its own.
        multipart_threshold: Bytes; larger objects go up and down in parts.
        part_size: Bytes of a part; more if there would be more parts than S3 takes.

    Raises:
        ConfigError: If a setting is impossible.

    Example:
        >>> store = S3Store(region="eu-central-1")
        >>> await store.put(Location("bucket", "key"), b"payload")
    """

    def __init__(
        self,
        *,
        session: Any | None = None,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        path_style: bool = False,
        sse: str | None = None,
        sse_kms_key_id: str | None = None,
        concurrency: int = CONCURRENCY,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        request_timeout: float = REQUEST_TIMEOUT,
        multipart_threshold: int = MULTIPART_THRESHOLD,
        part_size: int = PART_SIZE,
    ) -> None:
        if session is not None and profile is not None:
            raise ConfigError(f"profile: {profile!r} and a session exclude each other")
        if "@" in urlsplit(endpoint_url or "").netloc:
            raise ConfigError("endpoint_url: credentials do not belong into it")
        if sse not in (None, "AES256", "aws:kms"):
            raise ConfigError(f"sse: {sse!r} is neither 'AES256' nor 'aws:kms'")
        if sse_kms_key_id is not None and sse != "aws:kms":
            raise ConfigError("sse_kms_key_id: a key needs sse='aws:kms'")
        for name, value, least, most in (
            ("concurrency", concurrency, 1, 1000),
            ("connect_timeout", connect_timeout, 0.001, 3600),
            ("read_timeout", read_timeout, 0.001, 3600),
            ("request_timeout", request_timeout, 0.001, 24 * 3600),
            ("multipart_threshold", multipart_threshold, 1, MAX_SINGLE_PUT),
            ("part_size", part_size, MIN_PART, MAX_SINGLE_PUT),
        ):
            if not least <= value <= most:
                raise ConfigError(f"{name}: {value} is not within {least} and {most}")
        self._session = session
        self._region = region
        self._profile = profile
        self._endpoint_url = endpoint_url
        self._encryption = {
            name: value
            for name, value in (("ServerSideEncryption", sse), ("SSEKMSKeyId", sse_kms_key_id))
            if value is not None
        }
        self._limit = request_timeout + connect_timeout + SLACK
        self._multipart_threshold = multipart_threshold
        self._part_size = part_size
        self._config = {
            "connect_timeout": connect_timeout,
            "read_timeout": read_timeout,
            "max_pool_connections": concurrency,
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            # Servers beside AWS refuse the checksums that boto3 adds by itself. Ours are
            # explicit, and the pipeline verifies every payload that it reads.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "signature_version": "s3v4",
            "s3": {"addressing_style": "path" if path_style else "auto"},
            "tcp_keepalive": True,
        }
        self._threads = Threads(
            self._make_client,
            foreign=FOREIGN,
            translate=translate,
            concurrency=concurrency,
            timeout=request_timeout,
            slack=connect_timeout + SLACK,
        )

    def __repr__(self) -> str:
        where = f"{self._endpoint_url or 'AWS'}, region {self._region or 'by default'}"
        return f"<{type(self).__name__}: {where}>"

    async def put(self, location: Location, data: bytes, *, sha256: bytes | None = None) -> None:
        self._check_size(location, len(data))
        if len(data) > self._multipart_threshold:
            await self._put_parts(location, data, sha256)
        else:
            await self._threads.run(location, partial(self._put_whole, data, sha256))

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
        def finish(begun: _Begun) -> T | _Begun:
            return begun if begun.got < len(begun.whole.view) else decode(begun.whole.done())

        found = await self._threads.run_then(location, partial(self._get_first, max_size), finish)
        if not isinstance(found, _Begun):
            return found
        whole, got, etag = found
        size = len(whole.view)
        parts = (
            partial(self._get_part, whole.view, at, min(at + self._part_size, size), etag)
            for at in range(got, size, self._part_size)
        )
        await self._threads.run_many(location, parts)
        return await off_loop(max(size, decoded_size), lambda: decode(whole.done()))

    async def get_range(self, location: Location, start: int, stop: int) -> bytes:
        return await self._threads.run(location, partial(_get_range, start, stop))

    async def open_upload(self, location: Location, *, size: int | None = None) -> Upload:
        self._check_size(location, size or 0)
        async with self._upload(location, size) as upload:
            await upload.begin()
        return upload

    async def head(self, location: Location) -> ObjectInfo:
        answer = await self._threads.run(location, _head)
        return ObjectInfo(location, answer["ContentLength"], answer["LastModified"])

    async def delete(self, location: Location) -> None:
        await self._threads.run(location, _delete)

    async def list(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        query = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": 1000}
        more = True
        while more:
            page = await self._threads.run(
                Location(bucket, ""), lambda client, request: client.list_objects_v2(**query)
            )
            for found in page.get("Contents", ()):
                place = Location(bucket, found["Key"])
                yield ObjectInfo(place, found["Size"], found["LastModified"])
            if more := page.get("IsTruncated", False):
                query["ContinuationToken"] = page["NextContinuationToken"]

    async def close(self) -> None:
        await self._threads.close()

    def _make_client(self) -> Any:
        try:
            session = self._session or boto3.Session(profile_name=self._profile)
            client = session.client(
                "s3",
                region_name=self._region,
                endpoint_url=self._endpoint_url,
                config=Config(**self._config),
            )
        except ValueError as exc:  # an endpoint that is no URL
            raise translate(exc, Location("", "")) from exc
        for operation in ("PutObject", "UploadPart"):
            client.meta.events.register(f"before-sign.s3.{operation}", _ask_less)
            client.meta.events.register(f"before-sign.s3.{operation}", _hash_less)
        return client

    def _put_whole(self, data: bytes, sha256: bytes | None, client: Any, request: Request) -> None:
        checksum = {} if sha256 is None else {"ChecksumSHA256": b64encode(sha256).decode()}
        bucket, key = request.location
        body = request.body(data)
        answer = client.put_object(
            Bucket=bucket, Key=key, Body=body, **checksum, **self._encryption
        )
        require(answer, request.location, "ETag")

    async def _put_parts(self, location: Location, data: bytes, sha256: bytes | None) -> None:
        def verify(client: Any, request: Request) -> None:
            # S3 verifies a digest of each part, but none of the whole.
            if sha256 is not None and _sha256(data).digest() != sha256:
                raise RequestRefused(
                    "the SHA-256 sent with the object is not that of its bytes",
                    bucket=location.bucket,
                    key=location.key,
                )

        await self._threads.run(location, verify)
        try:
            async with self._upload(location, len(data)) as upload:
                await upload.begin()
                await upload.send(data)
                await upload.finish()
        except UploadGone as exc:
            raise StoreUnavailable(
                f"the store is not available: {exc.reason}",
                bucket=location.bucket,
                key=location.key,
            ) from exc

    def _check_size(self, location: Location, size: int) -> None:
        if size > MAX_OBJECT:
            bucket, key = location
            raise PayloadTooLarge(
                "the store takes objects of 5 TiB at most", bucket=bucket, key=key, size=size
            )

    def _upload(self, location: Location, size: int | None) -> S3Upload:
        return S3Upload(
            self._threads,
            location,
            part_size=self._part_size,
            size=size,
            encryption=self._encryption,
            limit=self._limit,
        )

    def _get_first(self, max_size: int, client: Any, request: Request) -> _Begun:
        """Read all of a small object, or the first part of a large one."""
        bucket, key = request.location
        answer = client.get_object(Bucket=bucket, Key=key)
        with answer["Body"] as raw:  # leaving closes a connection that has bytes left
            size = _length(answer, request)
            if size > max_size:
                raise PayloadTooLarge(
                    f"the object has more than {max_size} bytes", bucket=bucket, key=key, size=size
                )
            large = size > max(self._multipart_threshold, self._part_size)
            got = self._part_size if large else size
            whole = Whole(size)
            request.read(raw, whole.view[:got])
        return _Begun(whole, got, answer["ETag"])

    def _get_part(
        self, view: memoryview, start: int, stop: int, etag: str, client: Any, request: Request
    ) -> None:
        bucket, key = request.location
        answer = client.get_object(
            Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}", IfMatch=etag
        )
        with answer["Body"] as raw:
            if not answer.get("ContentRange", "").startswith(f"bytes {start}-{stop - 1}/"):
                raise RequestRefused("the store takes no ranges", bucket=bucket, key=key)
            request.read(raw, view[start:stop])


def _ask_less(request: Any, **kwargs: Any) -> None:
    # boto3 asks before it sends any body ("Expect: 100-continue"), which is a round trip.
    # For large bodies that is well spent: a refused one is not sent.
    if len(request.data) <= ASK_FROM:
        del request.headers["Expect"]


def _hash_less(request: Any, **kwargs: Any) -> None:
    # Over TLS botocore leaves the body out of a signature that covers a checksum of it, but
    # notes only checksums of its own, and would hash the body once more for ours.
    ours = {"in": "header", "name": "x-amz-checksum-sha256"}
    request.context.setdefault("checksum", {"request_algorithm": ours})


def _get_range(start: int, stop: int, client: Any, request: Request) -> bytes:
    bucket, key = request.location
    try:
        answer = client.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}")
    except boto.ClientError as exc:
        if exc.response.get("Error", {}).get("Code") == "InvalidRange":
            return b""  # the object ends before
        raise
    with answer["Body"] as raw:
        size = _length(answer, request)
        got = answer.get("ContentRange", "bytes 0-")  # without: the object, which may be empty
        if not got.startswith(f"bytes {start}-") or size > stop - start:
            raise RequestRefused("the store takes no ranges", bucket=bucket, key=key)
        whole = Whole(size)
        request.read(raw, whole.view)
    return whole.done()


def _length(answer: Any, request: Request) -> int:
    require(answer, request.location, "ContentLength", "ETag")
    return int(answer["ContentLength"])


def _head(client: Any, request: Request) -> Any:
    bucket, key = request.location
    try:
        return client.head_object(Bucket=bucket, Key=key)
    except boto.ClientError as exc:
        error = translate(exc, request.location)
        if isinstance(error, ObjectMissing):
            # An answer to HEAD does not say what is missing. Whoever may not see the
            # bucket is told of the object.
            try:
                client.head_bucket(Bucket=bucket)
            except boto.ClientError as other:
                if isinstance(missing := translate(other, request.location), BucketMissing):
                    raise missing from other
        raise error from exc


def _delete(client: Any, request: Request) -> None:
    bucket, key = request.location
    try:
        client.delete_object(Bucket=bucket, Key=key)
    except boto.ClientError as exc:
        error = translate(exc, request.location)
        if not isinstance(error, ObjectMissing):  # some servers complain
            raise error from exc
