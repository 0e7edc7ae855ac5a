"""What only the store of boto3 does: parts, endpoints, and what its client is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from faults import (
    answering,
    refuse,
    trickle,
    trickle_head,
    without_length,
    without_ranges,
)

from faust_s3.exceptions import (
    ConfigError,
    ObjectMissing,
    PayloadTooLarge,
    RequestRefused,
    StoreUnavailable,
)
from faust_s3.stores import Location
from faust_s3.stores.s3 import S3Store
from faust_s3.stores.s3 import store as module
from faust_s3.stores.s3 import upload as uploads

# They look at the server with a blocking client; test_nothing_blocks_the_loop does not.
pytestmark = pytest.mark.may_block

MIB = 2**20
PART = 5 * MIB
PARTS = {"multipart_threshold": PART, "part_size": PART}
PLACE = Location("bucket", "key")

MakeStore = Callable[..., S3Store]


class _Raw:
    """The body of an answer that never was on a wire."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        yield self._body


def answer(request: Any, status: int, code: str) -> AWSResponse:
    body = f"<Error><Code>{code}</Code></Error>".encode()
    return AWSResponse(request.url, status, {}, _Raw(body))


# Parts


async def test_parts_round_trip(
    real_store: MakeStore, bucket: str, client: Any, large: bytes
) -> None:
    """A large object goes up and down in parts and is whole."""
    store, location = real_store(**PARTS), Location(bucket, "large")
    await store.put(location, large, sha256=sha256(large).digest())
    assert client.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')
    assert await store.get(location, max_size=len(large)) == large
    assert (await store.head(location)).size == len(large)


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART])
async def test_at_the_threshold(real_store: MakeStore, bucket: str, size: int) -> None:
    """No size falls between one request and many."""
    data = (b"0123456789" * (size // 10 + 1))[:size]
    store, location = real_store(**PARTS), Location(bucket, "key")
    await store.put(location, data)
    assert await store.get(location, max_size=size) == data


async def test_ranges_with_one_thread(real_store: MakeStore, bucket: str, large: bytes) -> None:
    """Parts that wait for a thread do not wait for each other."""
    store, location = real_store(**PARTS, concurrency=1), Location(bucket, "large")
    await store.put(location, large)
    assert await store.get(location, max_size=len(large)) == large


async def test_large_over_max_size(
    real_store: MakeStore, bucket: str, session: Any, large: bytes
) -> None:
    """The size is checked before the first part."""
    store, location = real_store(**PARTS), Location(bucket, "large")
    await store.put(location, large)
    with pytest.raises(PayloadTooLarge) as raised:
        await store.get(location, max_size=len(large) - 1)
    assert raised.value.size == len(large)


async def test_wrong_digest_of_a_large_object(
    real_store: MakeStore, bucket: str, client: Any, large: bytes
) -> None:
    """S3 verifies no digest of an object in parts, so the store does."""
    store, location = real_store(**PARTS), Location(bucket, "large")
    with pytest.raises(RequestRefused):
        await store.put(location, large, sha256=sha256(b"other").digest())
    with pytest.raises(ObjectMissing):
        await store.head(location)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
async def test_failed_part_aborts(
    real_store: MakeStore, session: Any, bucket: str, client: Any, large: bytes, operation: str
) -> None:
    """An upload that fails is aborted before the caller hears of it."""

    def fail(request: Any, **kwargs: Any) -> AWSResponse | None:
        if operation != "UploadPart" or "partNumber=2" in request.url:
            return answer(request, 503, "SlowDown")
        return None

    session.events.register(f"before-send.s3.{operation}", fail)
    store, location = real_store(**PARTS), Location(bucket, "large")
    with pytest.raises(StoreUnavailable, match="SlowDown"):
        await store.put(location, large)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    with pytest.raises(ObjectMissing):
        await store.head(location)


async def test_failed_abort_hides_nothing(
    real_store: MakeStore,
    session: Any,
    bucket: str,
    large: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An abort that fails too is logged; the first error is the one that is raised."""

    def fail(request: Any, event_name: str, **kwargs: Any) -> AWSResponse:
        code = "AccessDenied" if "Abort" in event_name else "SlowDown"
        return answer(request, 403 if "Abort" in event_name else 503, code)

    session.events.register("before-send.s3.UploadPart", fail)
    session.events.register("before-send.s3.AbortMultipartUpload", fail)
    with pytest.raises(StoreUnavailable, match="SlowDown"):
        await real_store(**PARTS).put(Location(bucket, "large"), large)
    assert "not aborted" in caplog.text


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart"])
async def test_cancelled_put_aborts(
    real_store: MakeStore, session: Any, bucket: str, client: Any, large: bytes, operation: str
) -> None:
    """A cancelled upload leaves neither an object nor parts of one."""
    arrived, go_on, aborted = threading.Event(), threading.Event(), threading.Event()

    def hold(**kwargs: Any) -> None:
        arrived.set()
        go_on.wait(30)

    session.events.register(f"before-send.s3.{operation}", hold)
    session.events.register("after-call.s3.AbortMultipartUpload", lambda **_: aborted.set())
    store, location = real_store(**PARTS), Location(bucket, "large")
    put = asyncio.ensure_future(store.put(location, large))
    await asyncio.to_thread(arrived.wait, 30)
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    go_on.set()
    assert await asyncio.to_thread(aborted.wait, 30)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    with pytest.raises(ObjectMissing):
        await store.head(location)


async def test_object_replaced_between_ranges(
    real_store: MakeStore, session: Any, bucket: str, client: Any, large: bytes
) -> None:
    """Parts of two objects are never put together."""
    store, location = real_store(**PARTS), Location(bucket, "large")
    await store.put(location, large)

    def replace(request: Any, **kwargs: Any) -> None:
        if "Range" in request.headers:
            client.put_object(Bucket=bucket, Key="large", Body=b"other")

    session.events.register("before-send.s3.GetObject", replace)
    await store.close()  # the next client has the event
    with pytest.raises(StoreUnavailable, match="412"):
        await store.get(location, max_size=len(large))


async def test_more_parts_than_s3_takes(
    monkeypatch: pytest.MonkeyPatch, real_store: MakeStore, bucket: str, client: Any, large: bytes
) -> None:
    """Parts grow when there would be too many of them."""
    monkeypatch.setattr(uploads, "MAX_PARTS", 2)
    store = real_store(**PARTS)
    await store.put(Location(bucket, "large"), large)
    assert client.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-2"')
    assert await store.get(Location(bucket, "large"), max_size=len(large)) == large


async def test_object_too_large(monkeypatch: pytest.MonkeyPatch, make_store: MakeStore) -> None:
    """What S3 cannot take is refused before a byte is sent."""
    monkeypatch.setattr(module, "MAX_OBJECT", 10)
    with pytest.raises(PayloadTooLarge) as raised:
        await make_store().put(PLACE, b"x" * 11)
    assert raised.value.size == 11


# Encryption


# Access


async def test_endpoint_that_is_no_url(aws: Any, make_store: MakeStore) -> None:
    """An endpoint that is no URL is a wrong setting."""
    with pytest.raises(ConfigError, match="not-a-url"):
        await make_store(endpoint_url="not-a-url", region="us-east-1").head(PLACE)


# A server that is away


async def test_trickle(faulty_store: MakeStore) -> None:
    """A byte now and then does not hold a request beyond its deadline, nor its thread."""
    store = faulty_store(trickle, request_timeout=0.3, read_timeout=5.0)
    with pytest.raises(StoreUnavailable, match=r"0\.3 s"):
        await store.get(PLACE, max_size=100_000)


async def test_trickling_head(faulty_store: MakeStore) -> None:
    """A head that never ends does not hold its caller."""
    store = faulty_store(trickle_head, request_timeout=0.2, connect_timeout=0.1)
    with pytest.raises(StoreUnavailable, match=r"0\.2 s"):
        await store.get(PLACE, max_size=100_000)


async def test_body_without_length(faulty_store: MakeStore) -> None:
    """A page of a proxy is not an object."""
    with pytest.raises(StoreUnavailable, match="ContentLength"):
        await faulty_store(without_length).get(PLACE, max_size=1000)


async def test_server_without_ranges(faulty_store: MakeStore) -> None:
    """The whole object is not taken for a part of it."""
    store = faulty_store(without_ranges, **PARTS)
    with pytest.raises(RequestRefused, match="no ranges"):
        await store.get(PLACE, max_size=10 * MIB)


async def test_wrong_region(faulty_store: MakeStore) -> None:
    """The error names the region that the store tells."""
    behaviour = refuse(301, "PermanentRedirect", x_amz_bucket_region="eu-west-3")
    with pytest.raises(ConfigError, match="eu-west-3"):
        await faulty_store(behaviour).get(PLACE, max_size=7)


# The event loop, and settings


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"session": object(), "profile": "other"}, "profile"),
        ({"endpoint_url": "http://key:secret@example.org"}, "endpoint_url"),
        ({"sse": "rot13"}, "sse"),
        ({"sse_kms_key_id": "key"}, "sse_kms_key_id"),
        ({"sse": "AES256", "sse_kms_key_id": "key"}, "sse_kms_key_id"),
        ({"concurrency": 0}, "concurrency"),
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"read_timeout": -1}, "read_timeout"),
        ({"request_timeout": float("nan")}, "request_timeout"),
        ({"multipart_threshold": 0}, "multipart_threshold"),
        ({"multipart_threshold": 5 * 2**30 + 1}, "multipart_threshold"),
        ({"part_size": 5 * MIB - 1}, "part_size"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], field: str) -> None:
    """An impossible setting is named, and its secrets are not."""
    with pytest.raises(ConfigError, match=f"^{field}: ") as raised:
        S3Store(**settings)
    assert "secret" not in str(raised.value)


def test_repr_tells_where() -> None:
    """The representation has endpoint and region, and no more."""
    store = S3Store(region="eu-west-3", endpoint_url="http://example.org:9000")
    assert repr(store) == "<S3Store: http://example.org:9000, region eu-west-3>"
    assert repr(S3Store()) == "<S3Store: AWS, region by default>"


@pytest.mark.parametrize(("size", "asks"), [(0, False), (MIB, False), (MIB + 1, True)])
async def test_asks_before_large_bodies_only(
    faulty_store: MakeStore, faults: Any, size: int, asks: bool
) -> None:
    """A put is one round trip, but for bodies that are worth a question."""
    server = faults(answering(200, b"", ETag="etag"))
    await faulty_store(server).put(PLACE, b"x" * size)
    ((_, _, headers),) = server.requests
    assert ("Expect" in headers) is asks
    assert headers["Content-Length"] == str(size)
