"""What only the S3 store does: parts, encryption, and mapping of what goes wrong."""

from __future__ import annotations

import asyncio
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import boto3
import pytest
from blockbuster import blockbuster_ctx
from botocore.awsrequest import AWSResponse
from faults import (
    Behaviour,
    answering,
    cut,
    done,
    page,
    refuse,
    trickle,
    trickle_head,
    without_length,
    without_ranges,
)

from faust_s3.exceptions import (
    AccessDenied,
    ConfigError,
    ObjectMissing,
    PayloadTooLarge,
    RequestRefused,
    S3Error,
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


@pytest.fixture(scope="module")
def large() -> bytes:
    """Two whole parts and a bit, no two MiB of them the same."""
    return b"".join(bytes([n]) * MIB for n in range(10)) + b"the bit"


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


async def test_sse_s3(real_store: MakeStore, bucket: str, client: Any) -> None:
    """SSE-S3 is asked for, and reading needs nothing more."""
    store, location = real_store(sse="AES256"), Location(bucket, "key")
    await store.put(location, b"payload", sha256=sha256(b"payload").digest())
    assert client.head_object(Bucket=bucket, Key="key")["ServerSideEncryption"] == "AES256"
    assert await store.get(location, max_size=7) == b"payload"


async def test_sse_kms(real_store: MakeStore, bucket: str, client: Any, large: bytes) -> None:
    """SSE-KMS is asked for with its key, for objects in parts too."""
    store = real_store(sse="aws:kms", sse_kms_key_id="the-key", **PARTS)
    for key, data in (("small", b"payload"), ("large", large)):
        await store.put(Location(bucket, key), data)
        head = client.head_object(Bucket=bucket, Key=key)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "the-key")
        assert await store.get(Location(bucket, key), max_size=len(data)) == data


# Access


@pytest.mark.parametrize("size", [1, 2**20, 2 * MIB, 6 * MIB])
async def test_denied(real_store: MakeStore, s3_server: Any, bucket: str, size: int) -> None:
    """Who may only read is denied a put, however large it is."""
    keys = s3_server.reader_keys
    store = real_store(session=boto3.Session(keys.access_key, keys.secret_key), **PARTS)
    with pytest.raises(AccessDenied, match="403"):
        await store.put(Location(bucket, "key"), b"x" * size)
    assert [info async for info in store.list(bucket)] == []


@pytest.mark.parametrize("wrong", ["key", "secret"])
async def test_wrong_credentials(
    real_store: MakeStore, s3_server: Any, bucket: str, wrong: str
) -> None:
    """Wrong credentials are said to be wrong and are not told to anybody."""
    key = s3_server.keys.access_key if wrong == "secret" else "wrong-key"
    store, location = real_store(session=boto3.Session(key, "wrong-secret")), Location(bucket, "k")
    for request in (
        store.put(location, b"payload"),
        store.get(location, max_size=7),
        store.head(location),
        store.delete(location),
        anext(store.list(bucket)),
    ):
        with pytest.raises(AccessDenied) as raised:
            await request
        told = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + repr(store)
        assert "wrong-secret" not in told
        assert "wrong-key" not in told


async def test_no_credentials(aws: Any, make_store: MakeStore) -> None:
    """Without any credentials the error says so."""
    with pytest.raises(AccessDenied, match="NoCredentialsError"):
        await make_store(endpoint_url="http://127.0.0.1:9").head(PLACE)


async def test_region_is_passed_on(faulty_store: MakeStore, faults: Any) -> None:
    """Requests are signed for the region."""
    server = faults(done)
    await faulty_store(server, region="eu-west-3").delete(PLACE)
    assert "/eu-west-3/s3/" in server.requests[0][2]["Authorization"]
    assert server.requests[0][:2] == ("DELETE", "/bucket/key")


async def test_profile_is_passed_on(aws: Any, make_store: MakeStore, faults: Any) -> None:
    """A profile brings its own keys and region."""
    (aws / "config").write_text("[profile other]\nregion = eu-west-3\n")
    (aws / "credentials").write_text(
        "[other]\naws_access_key_id = other-key\naws_secret_access_key = other-secret\n"
    )
    server = faults(done)
    await make_store(profile="other", endpoint_url=server.url).delete(PLACE)
    authorization = server.requests[0][2]["Authorization"]
    assert "Credential=other-key/" in authorization
    assert "/eu-west-3/s3/" in authorization


async def test_unknown_profile(aws: Any, make_store: MakeStore) -> None:
    """A profile that is nowhere is a wrong setting, found by the first request."""
    store = make_store(profile="nobody")
    with pytest.raises(ConfigError, match="nobody"):
        await store.head(PLACE)


async def test_endpoint_that_is_no_url(aws: Any, make_store: MakeStore) -> None:
    """An endpoint that is no URL is a wrong setting."""
    with pytest.raises(ConfigError, match="not-a-url"):
        await make_store(endpoint_url="not-a-url", region="us-east-1").head(PLACE)


# A server that is away


async def test_refused_port(make_store: MakeStore) -> None:
    """Nobody listens: try again later."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        store = make_store(
            session=boto3.Session("key-id", "secret"), region="us-east-1", endpoint_url=url
        )
        with pytest.raises(StoreUnavailable) as raised:
            await store.put(PLACE, b"payload")
    assert (raised.value.bucket, raised.value.key) == PLACE


@pytest.mark.parametrize("size", [1, 3 * MIB])
async def test_black_hole(make_store: MakeStore, size: int) -> None:
    """A server that takes a connection and says nothing: try again later."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        store = make_store(
            session=boto3.Session("key-id", "secret"),
            region="us-east-1",
            endpoint_url=f"http://127.0.0.1:{hole.getsockname()[1]}",
            connect_timeout=0.5,
            read_timeout=0.5,
        )
        for request in (store.put(PLACE, b"x" * size), store.get(PLACE, max_size=7)):
            with pytest.raises(StoreUnavailable):
                await request


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


async def test_cut_body(faulty_store: MakeStore) -> None:
    """A body that ends early is not an object."""
    # urllib3 says it itself if it reads by read(), as its versions before 2.1 do.
    with pytest.raises(StoreUnavailable, match=r"990 (bytes early|more expected)"):
        await faulty_store(cut).get(PLACE, max_size=1000)


async def test_body_without_length(faulty_store: MakeStore) -> None:
    """A page of a proxy is not an object."""
    with pytest.raises(StoreUnavailable, match="ContentLength"):
        await faulty_store(without_length).get(PLACE, max_size=1000)


@pytest.mark.parametrize("behaviour", [page, answering(200, b"<html></html>"), done])
async def test_a_page_stores_nothing(faulty_store: MakeStore, behaviour: Behaviour) -> None:
    """An answer that is not the store's does not say that an object is stored."""
    with pytest.raises(StoreUnavailable):
        await faulty_store(behaviour).put(PLACE, b"payload")


async def test_page_instead_of_a_listing(faulty_store: MakeStore) -> None:
    """A page of a proxy is not a listing."""
    with pytest.raises(StoreUnavailable):
        await anext(faulty_store(page).list("bucket"))


async def test_server_without_ranges(faulty_store: MakeStore) -> None:
    """The whole object is not taken for a part of it."""
    store = faulty_store(without_ranges, **PARTS)
    with pytest.raises(RequestRefused, match="no ranges"):
        await store.get(PLACE, max_size=10 * MIB)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (503, "SlowDown", StoreUnavailable),
        (500, "InternalError", StoreUnavailable),
        (429, "TooManyRequests", StoreUnavailable),
        (400, "ExpiredToken", StoreUnavailable),
        (400, "InvalidRequest", RequestRefused),
        (400, "EntityTooLarge", PayloadTooLarge),
    ],
)
async def test_refusals(
    faulty_store: MakeStore, status: int, code: str, kind: type[S3Error]
) -> None:
    """The store's code decides, and the store asks once: the pipeline asks again."""
    store = faulty_store(refuse(status, code))
    for request in (
        store.put(PLACE, b"payload"),
        store.put(PLACE, b"x" * 2 * MIB),
        store.get(PLACE, max_size=7),
        store.delete(PLACE),
        anext(store.list("bucket")),
    ):
        with pytest.raises(kind, match=code) as raised:
            await request
        assert type(raised.value) is kind
        assert raised.value.__cause__ is not None


async def test_wrong_region(faulty_store: MakeStore) -> None:
    """The error names the region that the store tells."""
    behaviour = refuse(301, "PermanentRedirect", x_amz_bucket_region="eu-west-3")
    with pytest.raises(ConfigError, match="eu-west-3"):
        await faulty_store(behaviour).get(PLACE, max_size=7)


# The event loop, and settings


async def test_nothing_blocks_the_loop(real_store: MakeStore, bucket: str, large: bytes) -> None:
    """Opening, requests, parts and closing leave the event loop free."""
    store, location = real_store(**PARTS), Location(bucket, "key")
    with blockbuster_ctx():
        for data in (b"payload", large):
            await store.put(location, data, sha256=sha256(data).digest())
            assert await store.get(location, max_size=len(data)) == data
        await store.head(location)
        assert [info.location async for info in store.list(bucket)] == [location]
        await store.delete(location)
        await store.close()


def test_no_io_to_make_one(aws: Any) -> None:
    """Making a store reads no file and starts no thread."""
    before = threading.active_count()
    with blockbuster_ctx():
        S3Store(profile="nobody", region="eu-west-3")
    assert threading.active_count() == before


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
