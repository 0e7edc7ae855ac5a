"""S3, and whatever else speaks its protocol: boto3 in threads of its own.

Every request is one function that runs in the store's own pool. boto3 does not try again,
because the pipeline above does; whatever leaves a request went through :func:`translate`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from hashlib import sha256 as _sha256
from http.client import HTTPException
from itertools import count
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore import exceptions as boto
from botocore.config import Config
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from faust_s3.exceptions import (
    AccessDenied,
    BucketMissing,
    ConfigError,
    ObjectMissing,
    PayloadTooLarge,
    RequestRefused,
    S3Error,
    StoreUnavailable,
)
from faust_s3.stores.base import Location, ObjectInfo, Store

__all__ = ["S3Store", "translate"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40

CONCURRENCY = 32  # more threads than this delay the event loop by the GIL, not the store
CONNECT_TIMEOUT = 5.0  # s; a live store accepts within one lost SYN or two
READ_TIMEOUT = 30.0  # s; S3 answers in well under one, KMS and cold prefixes in a few
REQUEST_TIMEOUT = 60.0  # s; 32 MiB, the largest body of one request, at 5 Mbit/s
MULTIPART_THRESHOLD = 32 * MIB  # below it, more requests cost more than they gain
PART_SIZE = 8 * MIB  # about what one connection to S3 carries in 0.1 s

PARTS_AT_ONCE = 4  # of one object: enough to fill a link, not enough to starve the others
SLACK = 1.0  # s that the thread has to notice its deadline before its caller gives up
CLOSE_GRACE = 2.0  # s that close() waits for running requests; they end by their timeouts
STREAM_FROM = MIB  # a smaller body goes out as one write; see _Body
CHUNK = 256 * KIB  # between two looks at the deadline

MAX_OBJECT = 5 * TIB  # limits of S3
MAX_SINGLE_PUT = 5 * GIB
MAX_PARTS = 10_000
MIN_PART = 5 * MIB

# What a store's error code calls for. A code that is not listed goes by its HTTP status.
_CODES: dict[str, type[S3Error]] = {
    **dict.fromkeys(
        (
            # asked for less, or for later
            *("SlowDown", "RequestLimitExceeded", "BandwidthLimitExceeded", "TooManyRequests"),
            *("TooManyRequestsException", "ProvisionedThroughputExceededException"),
            *("InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable"),
            *("ServerBusy", "Busy", "RequestTimeout", "RequestTimeoutException"),
            *("OperationAborted", "ConditionalRequestConflict", "TemporaryRedirect"),
            # credentials that boto3 renews, clocks that are set right
            *("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"),
            *("RequestTimeTooSkewed", "RequestExpired", "IDPCommunicationError"),
            # bytes damaged or lost on the wire
            *("BadDigest", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"),
            *("XAmzContentChecksumMismatch",),
            # somebody else replaced the object or ended the upload: begin anew
            *("PreconditionFailed", "InvalidRange", "NoSuchUpload", "InvalidPart"),
        ),
        StoreUnavailable,
    ),
    **dict.fromkeys(("NoSuchKey", "NotFound", "404"), ObjectMissing),
    "NoSuchBucket": BucketMissing,
    **dict.fromkeys(
        (
            *("AccessDenied", "AccessDeniedException", "Forbidden", "AllAccessDisabled"),
            *("AccountProblem", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"),
            *("InvalidSecurity", "InvalidPayer", "NotSignedUp", "UnauthorizedAccess"),
            *("InvalidClientTokenId", "UnrecognizedClientException", "InvalidIdentityToken"),
        ),
        AccessDenied,
    ),
    **dict.fromkeys(("EntityTooLarge", "MaxMessageLengthExceeded"), PayloadTooLarge),
    **dict.fromkeys(
        (
            *("PermanentRedirect", "AuthorizationHeaderMalformed", "InvalidBucketName"),
            *("IllegalLocationConstraintException", "InvalidRegionName", "301"),
        ),
        ConfigError,
    ),
    # 403 and 501, but neither a matter of permission nor of time
    **dict.fromkeys(("InvalidObjectState", "NotImplemented"), RequestRefused),
}

_STATUSES: dict[int, type[S3Error]] = {
    **{301: ConfigError, 307: StoreUnavailable, 401: AccessDenied, 403: AccessDenied},
    **{408: StoreUnavailable, 409: StoreUnavailable, 412: StoreUnavailable},
    **{413: PayloadTooLarge, 425: StoreUnavailable, 429: StoreUnavailable},
}

# What botocore and the layers below it raise before or instead of an answer. The first
# class that matches decides, so a derived class stands before its base.
_CLASSES: tuple[tuple[tuple[type[BaseException], ...], type[S3Error]], ...] = (
    (
        (
            *(boto.NoCredentialsError, boto.PartialCredentialsError, boto.NoAuthTokenError),
            *(boto.UnknownCredentialError, boto.RefreshWithMFAUnsupportedError),
            boto.SSOError,  # somebody has to log in
            *((boto.LoginError,) if hasattr(boto, "LoginError") else ()),  # botocore >= 1.41
        ),
        AccessDenied,
    ),
    (
        (
            # No connection, or one that broke. SSLError is among them, certificates too:
            # one that lapsed is renewed, and until then records wait and are not skipped.
            *(boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError),
            *(boto.CredentialRetrievalError, boto.MetadataRetrievalError),
            *(boto.TokenRetrievalError, boto.ChecksumError, boto.FlexibleChecksumError),
            ResponseParserError,  # no XML: a proxy's page, or an answer cut short
            # Streaming bodies raise urllib3's errors and those of http.client; credentials
            # that are renewed but still expired are a RuntimeError (botocore/credentials.py).
            *(HTTPError, HTTPException, OSError, RuntimeError),
        ),
        StoreUnavailable,
    ),
    ((boto.ParamValidationError,), RequestRefused),
    ((boto.BotoCoreError, ValueError), ConfigError),  # profile, region, endpoint, addressing
)

_FOREIGN = (
    *(boto.BotoCoreError, boto.ClientError, ResponseParserError),
    *(HTTPError, HTTPException, OSError, RuntimeError),
)

_SENTENCES: dict[type[S3Error], str] = {
    StoreUnavailable: "the store is not available",
    ObjectMissing: "there is no such object",
    BucketMissing: "there is no such bucket",
    AccessDenied: "access is denied",
    PayloadTooLarge: "the store does not take an object of this size",
    ConfigError: "the settings do not fit the store",
    RequestRefused: "the request is refused",
}


def translate(exc: BaseException, location: Location) -> S3Error:
    """Return the error of ours that says what to do about one of boto3's.

    Args:
        exc: What boto3, or a layer below it, raised.
        location: What the request was about; an empty key stands for the bucket.

    Returns:
        An error to be raised ``from exc``. It carries what the store said and no secrets.
    """
    kind, said = _answer(exc) if isinstance(exc, boto.ClientError) else _failure(exc)
    said = " ".join(said.split())[:400]  # one line, however much HTML a proxy sent
    return kind(f"{_SENTENCES[kind]}: {said}", bucket=location.bucket, key=location.key or None)


def _answer(exc: Any) -> tuple[type[S3Error], str]:
    """Judge an answer of the store."""
    error = exc.response.get("Error", {})
    meta = exc.response.get("ResponseMetadata", {})
    code, status = str(error.get("Code", "")), int(meta.get("HTTPStatusCode") or 0)
    if status == 0 and code.isdecimal():
        status = int(code)  # an answer to HEAD has no body, and its code is the status
    on_object = exc.operation_name not in ("ListObjectsV2", "HeadBucket")
    kind = _CODES.get(code)
    if kind is ObjectMissing and not on_object:
        kind = BucketMissing
    elif kind is None and "Throttl" in code:
        kind = StoreUnavailable
    elif kind is None:
        kind = StoreUnavailable if status >= 500 else _STATUSES.get(status, RequestRefused)
    said = f"{exc.operation_name} was answered {status or ''} {code}: {error.get('Message', '')}"
    region = meta.get("HTTPHeaders", {}).get("x-amz-bucket-region") or error.get("Region")
    if kind is ConfigError and region:
        said = f"the bucket is in region {region}; {said}"
    elif kind is AccessDenied and exc.operation_name in ("GetObject", "HeadObject"):
        said += " (or no such object, and listing the bucket is not allowed)"
    return kind, said


def _failure(exc: BaseException) -> tuple[type[S3Error], str]:
    """Judge what happened without an answer."""
    inner = getattr(exc, "kwargs", {}).get("error")
    if isinstance(inner, S3Error):  # raised by _Body, wrapped by botocore
        return type(inner), inner.reason
    for classes, kind in _CLASSES:
        if isinstance(exc, classes):
            return kind, f"{type(exc).__name__}: {exc}"
    raise exc  # not one of boto3's: a mistake of ours


class _Request:
    """One request: its place, its deadline, and whether anybody still waits for it."""

    def __init__(self, location: Location, timeout: float) -> None:
        self.location = location
        self.timeout = timeout
        self.started: float | None = None
        self.abandoned = False

    def begin(self) -> None:
        self.started = time.monotonic()
        self.check()

    def check(self) -> None:
        late = self.started is not None and time.monotonic() - self.started > self.timeout
        if late or self.abandoned:
            raise self.too_late()

    def too_late(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"the store is not available: no complete answer within {self.timeout:g} s",
            bucket=self.location.bucket,
            key=self.location.key or None,
        )

    def body(self, data: memoryview | bytes) -> Any:
        """Return what boto3 is to send."""
        return bytes(data) if len(data) <= STREAM_FROM else _Body(memoryview(data), self.check)

    def read(self, raw: Any, size: int) -> list[bytes]:
        """Read ``size`` bytes of a body in the pieces in which they come."""
        # read() would sit out a server that sends a byte now and then; read1() returns
        # with what is there. urllib3 has it since 2.1.
        read = getattr(raw, "read1", raw.read)
        pieces, missing = [], size
        while missing:
            self.check()
            piece = read(min(missing, CHUNK))
            if not piece:
                raise StoreUnavailable(
                    f"the store is not available: the body ended {missing} bytes early",
                    bucket=self.location.bucket,
                    key=self.location.key,
                    size=size,
                )
            pieces.append(piece)
            missing -= len(piece)
        return pieces


class _Body:
    """A request body that goes out piece by piece, without a copy.

    urllib3 gives a body of bytes the connect timeout for all of it, which is too short for
    large ones; a file has it for each piece. And boto3 asks before it sends a file
    ("Expect: 100-continue"), so a refused upload costs one round trip and not its bytes.
    """

    def __init__(self, data: memoryview, check: Callable[[], None]) -> None:
        self._data = data
        self._check = check
        self._at = 0

    def __len__(self) -> int:
        return len(self._data)

    def read(self, size: int = -1) -> memoryview:
        self._check()
        piece = self._data[self._at : self._at + CHUNK]  # more than urllib3's 16 KiB is fine
        self._at += len(piece)
        return piece

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, len(self._data))[whence] + offset
        return self._at


class _Engine:
    """Threads and a client: what close() gives back."""

    def __init__(self, make_client: Callable[[], Any], concurrency: int) -> None:
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="faust-s3")
        self._make_client = make_client
        self._client: Any = None
        self._lock = threading.Lock()

    def submit(self, request: _Request, call: Callable[[Any, _Request], T]) -> Future[T]:
        return self._pool.submit(self._work, request, call)

    def shut(self) -> Future[None]:
        """Let running requests end, then close the client, all in a thread that ends too."""
        closer = ThreadPoolExecutor(1, thread_name_prefix="faust-s3-close")
        closed = closer.submit(self._shut)
        closer.shutdown(wait=False)
        return closed

    def _shut(self) -> None:
        self._pool.shutdown(wait=True)
        if self._client is not None:
            self._client.close()

    def _work(self, request: _Request, call: Callable[[Any, _Request], T]) -> T:
        try:
            with self._lock:
                if self._client is None:
                    self._client = self._make_client()
            request.begin()
            return call(self._client, request)
        except _FOREIGN as exc:
            raise translate(exc, request.location) from exc


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
        rules = (
            (session is None or profile is None, "profile: a session has its own"),
            (
                endpoint_url is None or "@" not in urlsplit(endpoint_url).netloc,
                "endpoint_url: credentials do not belong into it",
            ),
            (sse in (None, "AES256", "aws:kms"), f"sse: {sse!r} is not 'AES256' or 'aws:kms'"),
            (sse_kms_key_id is None or sse == "aws:kms", "sse_kms_key_id: needs sse='aws:kms'"),
            (concurrency >= 1, f"concurrency: {concurrency} is less than 1"),
            (
                min(connect_timeout, read_timeout, request_timeout) > 0,
                "connect_timeout, read_timeout, request_timeout: must be more than 0 s",
            ),
            (
                0 < multipart_threshold <= MAX_SINGLE_PUT,
                f"multipart_threshold: {multipart_threshold} is not within 1 B and 5 GiB",
            ),
            (
                MIN_PART <= part_size <= MAX_SINGLE_PUT,
                f"part_size: {part_size} is not within 5 MiB and 5 GiB",
            ),
        )
        for holds, complaint in rules:
            if not holds:
                raise ConfigError(complaint)
        self._session = session
        self._region = region
        self._profile = profile
        self._endpoint_url = endpoint_url
        self._encryption = {
            name: value
            for name, value in (("ServerSideEncryption", sse), ("SSEKMSKeyId", sse_kms_key_id))
            if value is not None
        }
        self._concurrency = concurrency
        self._request_timeout = request_timeout
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
        self._engine: _Engine | None = None
        self._lock = threading.Lock()  # guards _engine; never held across I/O

    def __repr__(self) -> str:
        where = f"{self._endpoint_url or 'AWS'}, region {self._region or 'by default'}"
        return f"<{type(self).__name__}: {where}>"

    async def put(self, location: Location, data: bytes, *, sha256: bytes | None = None) -> None:
        if len(data) > MAX_OBJECT:
            raise PayloadTooLarge(
                "the store takes objects of 5 TiB at most",
                bucket=location.bucket,
                key=location.key,
                size=len(data),
            )
        if len(data) > self._multipart_threshold:
            await self._put_parts(location, data, sha256)
        else:
            await self._run(location, partial(self._put_whole, data, sha256))

    async def get(self, location: Location, *, max_size: int) -> bytes:
        pieces, size, etag = await self._run(location, partial(self._get_first, max_size))
        got = sum(map(len, pieces))
        if got < size:
            parts = (
                partial(self._get_part, at, min(at + self._part_size, size), etag)
                for at in range(got, size, self._part_size)
            )
            for more in await self._run_many(location, parts, []):
                pieces += more
        if len(pieces) == 1:
            return pieces[0]  # no copy at all
        # One copy, from the pieces into the whole, and in a thread.
        return await self._run(location, lambda client, request: b"".join(pieces))

    async def head(self, location: Location) -> ObjectInfo:
        answer = await self._run(location, _head)
        return ObjectInfo(location, answer["ContentLength"], answer["LastModified"])

    async def delete(self, location: Location) -> None:
        await self._run(location, _delete)

    async def list(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        query = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": 1000}
        more = True
        while more:
            page = await self._run(
                Location(bucket, ""), lambda client, request: client.list_objects_v2(**query)
            )
            for found in page.get("Contents", ()):
                place = Location(bucket, found["Key"])
                yield ObjectInfo(place, found["Size"], found["LastModified"])
            more = page.get("IsTruncated", False)
            query["ContinuationToken"] = page.get("NextContinuationToken", "")

    async def close(self) -> None:
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            # asyncio.wait leaves the rest to the closing thread when the grace is over.
            await asyncio.wait({asyncio.wrap_future(engine.shut())}, timeout=CLOSE_GRACE)

    def _make_client(self) -> Any:
        try:
            session = self._session or boto3.Session(profile_name=self._profile)
            return session.client(
                "s3",
                region_name=self._region,
                endpoint_url=self._endpoint_url,
                config=Config(**self._config),
            )
        except ValueError as exc:  # an endpoint that is no URL
            raise translate(exc, Location("", "")) from exc

    def _submit(self, request: _Request, call: Callable[[Any, _Request], T]) -> Future[T]:
        with self._lock:
            if self._engine is None:
                self._engine = _Engine(self._make_client, self._concurrency)
            return self._engine.submit(request, call)

    async def _run(
        self,
        location: Location,
        call: Callable[[Any, _Request], T],
        futures: list[Future[Any]] | None = None,
    ) -> T:
        """Run one request in the pool, and wait for it no longer than it may take."""
        request = _Request(location, self._request_timeout)
        future = self._submit(request, call)
        if futures is not None:
            futures.append(future)
        waiter = asyncio.wrap_future(future)
        try:
            await asyncio.wait({waiter}, timeout=self._limit)
            if not waiter.done() and request.started is not None:
                # It queued behind other objects' parts: its time began later.
                left = request.started + self._limit - time.monotonic()
                await asyncio.wait({waiter}, timeout=max(left, 0.0))
            if not waiter.done():
                raise request.too_late()
            return waiter.result()
        finally:
            request.abandoned = True
            future.cancel()
            if not waiter.cancel() and not waiter.cancelled():
                waiter.exception()  # seen, even if we were cancelled as it came

    async def _run_many(
        self,
        location: Location,
        calls: Iterable[Callable[[Any, _Request], T]],
        futures: list[Future[Any]],
    ) -> list[T]:
        """Run requests, a few at a time, and return what they did in order."""
        numbered = zip(count(), calls)
        results: dict[int, T] = {}

        async def work() -> None:
            for number, call in numbered:
                results[number] = await self._run(location, call, futures)

        workers = [asyncio.ensure_future(work()) for _ in range(PARTS_AT_ONCE)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return [results[number] for number in sorted(results)]

    def _put_whole(self, data: bytes, sha256: bytes | None, client: Any, request: _Request) -> None:
        checksum = {} if sha256 is None else {"ChecksumSHA256": b64encode(sha256).decode()}
        bucket, key = request.location
        body = request.body(data)
        client.put_object(Bucket=bucket, Key=key, Body=body, **checksum, **self._encryption)

    async def _put_parts(self, location: Location, data: bytes, sha256: bytes | None) -> None:
        size = max(self._part_size, -(-len(data) // MAX_PARTS))
        place = {"Bucket": location.bucket, "Key": location.key}

        def create(client: Any, request: _Request) -> str:
            # S3 verifies a digest of each part, but none of the whole.
            if sha256 is not None and _sha256(data).digest() != sha256:
                raise RequestRefused(
                    "the SHA-256 sent with the object is not that of its bytes",
                    bucket=location.bucket,
                    key=location.key,
                )
            answer = client.create_multipart_upload(
                **place, ChecksumAlgorithm="SHA256", **self._encryption
            )
            return str(answer["UploadId"])

        def send(number: int, client: Any, request: _Request) -> dict[str, Any]:
            part = memoryview(data)[(number - 1) * size : number * size]
            checksum = b64encode(_sha256(part).digest()).decode()
            answer = client.upload_part(
                **upload, PartNumber=number, Body=request.body(part), ChecksumSHA256=checksum
            )
            return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

        def complete(client: Any, request: _Request) -> None:
            client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

        def abort(client: Any, request: _Request) -> None:
            # What runs is told to stop; a part that arrives after the abort would stay.
            wait([future for future in futures if future.running()], timeout=self._limit)
            creation = futures[0]
            if not creation.done() or creation.cancelled() or creation.exception() is not None:
                return
            try:
                client.abort_multipart_upload(**place, UploadId=creation.result())
            except _FOREIGN as exc:
                logger.warning("multipart upload to %s not aborted: %s", location, exc)

        futures: list[Future[Any]] = []
        try:
            upload = {**place, "UploadId": await self._run(location, create, futures)}
            numbers = range(1, -(-len(data) // size) + 1)
            parts = await self._run_many(location, (partial(send, n) for n in numbers), futures)
            await self._run(location, complete, futures)
        except BaseException as exc:
            aborted = self._submit(_Request(location, self._request_timeout), abort)
            if not isinstance(exc, asyncio.CancelledError):
                # asyncio.wait does not cancel the abort if we are cancelled meanwhile.
                await asyncio.wait({asyncio.wrap_future(aborted)}, timeout=self._limit)
            raise

    def _get_first(
        self, max_size: int, client: Any, request: _Request
    ) -> tuple[list[bytes], int, str]:
        """Read a small object, or the first part of a large one."""
        bucket, key = request.location
        answer = client.get_object(Bucket=bucket, Key=key)
        with answer["Body"] as raw:  # leaving closes a connection that has bytes left
            size = int(answer["ContentLength"])
            if size > max_size:
                raise PayloadTooLarge(
                    f"the object has more than {max_size} bytes", bucket=bucket, key=key, size=size
                )
            large = size > self._multipart_threshold
            pieces = request.read(raw, min(self._part_size, size) if large else size)
        return pieces, size, answer["ETag"]

    def _get_part(
        self, start: int, stop: int, etag: str, client: Any, request: _Request
    ) -> list[bytes]:
        bucket, key = request.location
        answer = client.get_object(
            Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}", IfMatch=etag
        )
        with answer["Body"] as raw:
            return request.read(raw, stop - start)


def _head(client: Any, request: _Request) -> Any:
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


def _delete(client: Any, request: _Request) -> None:
    bucket, key = request.location
    try:
        client.delete_object(Bucket=bucket, Key=key)
    except boto.ClientError as exc:
        error = translate(exc, request.location)
        if not isinstance(error, ObjectMissing):  # some servers complain
            raise error from exc
