"""What only the S3 store does with ranges, and with objects that arrive in parts."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from base64 import b64encode
from collections.abc import Callable
from contextlib import aclosing, suppress
from hashlib import sha256
from typing import Any

import boto3
import pytest
from blockbuster import blockbuster_ctx
from botocore.awsrequest import AWSResponse
from faults import cut, page, refuse, without_length, without_ranges

from faust_s3 import AccessDenied, Config, ObjectMissing, RequestRefused, StoreUnavailable
from faust_s3.exceptions import PayloadTooLarge
from faust_s3.pipeline import Pipeline
from faust_s3.stores import Location
from faust_s3.stores.s3 import S3Store
from faust_s3.upload import source_of

# They look at the server with a blocking client; test_nothing_blocks_the_loop does not.
pytestmark = pytest.mark.may_block

MIB, TIB = 2**20, 2**40
PART = 5 * MIB
PARTS = {"part_size": PART}
PLACE = Location("bucket", "key")

MakeStore = Callable[..., S3Store]


class _Raw:
    """The body of an answer that never was on a wire."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *args: Any, **kwargs: Any) -> Any:
        yield self._body


def answer(request: Any, status: int, code: str) -> AWSResponse:
    body = f"<Error><Code>{code}</Code></Error>".encode()
    return AWSResponse(request.url, status, {}, _Raw(body))


# Parts


async def test_parts_grow(real_store: MakeStore, bucket: str) -> None:
    """Whatever S3 can store fits the parts that it takes, and each is large enough for it."""
    upload = await real_store().open_upload(Location(bucket, "key"))
    sizes = [upload.part_size(number) for number in range(1, 10_001)]
    assert sum(sizes) >= 5 * TIB
    assert len(set(sizes[:1000])) == 1  # as some servers want it, up to 8 GB
    assert sizes == sorted(sizes)
    assert max(sizes) <= 5 * 2**30
    with pytest.raises(PayloadTooLarge, match="10000 parts"):
        upload.part_size(10_001)
    await upload.abort()


@pytest.mark.parametrize("size", [1, PART, 10_000 * PART, 10_000 * PART + 1, 5 * TIB])
async def test_parts_of_a_known_size(real_store: MakeStore, bucket: str, size: int) -> None:
    """They are all the same, and no more than S3 takes."""
    upload = await real_store(**PARTS).open_upload(Location(bucket, "key"), size=size)
    assert {upload.part_size(number) for number in (1, 5000, 10_000)} == {upload.part_size(1)}
    assert 10_000 * upload.part_size(1) >= size
    assert upload.part_size(1) >= PART
    await upload.abort()


async def test_a_size_that_s3_does_not_take(real_store: MakeStore, bucket: str) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(PayloadTooLarge, match="5 TiB"):
        await real_store().open_upload(Location(bucket, "key"), size=5 * TIB + 1)


async def test_digests_and_encryption(
    real_store: MakeStore, session: Any, bucket: str, client: Any
) -> None:
    """Each part goes out with its SHA-256, and the object is encrypted as the settings say."""
    digests: list[Any] = []
    session.events.register(
        "before-send.s3.UploadPart",
        lambda request, **kwargs: digests.append(request.headers["x-amz-checksum-sha256"]),
    )
    store = real_store(sse="aws:kms", sse_kms_key_id="the-key")
    upload = await store.open_upload(Location(bucket, "key"))
    await upload.part(1, b"part")
    await upload.finish()
    assert digests == [b64encode(sha256(b"part").digest())]
    assert client.head_object(Bucket=bucket, Key="key")["SSEKMSKeyId"] == "the-key"


class Part(bytearray):
    """Bytes that can be looked for."""


async def test_failed_parts_are_not_held(real_store: MakeStore, session: Any, bucket: str) -> None:
    """In an outage a part is sent over and over, and memory does not grow by it."""
    session.events.register(
        "before-send.s3.UploadPart", lambda request, **_: answer(request, 503, "SlowDown")
    )
    store = real_store()
    upload = await store.open_upload(Location(bucket, "key"))

    async def fail() -> weakref.ref[Part]:
        part = Part(b"part")
        with suppress(StoreUnavailable):  # pytest.raises would hold what it raises
            await upload.part(1, part)
        return weakref.ref(part)

    parts = [await fail() for _ in range(5)]
    await upload.abort()
    await store.close()  # a thread that has just answered may hold its part for a moment
    gc.collect()
    assert len([part for part in parts if part() is not None]) <= 1


# Ends


async def test_an_upload_that_somebody_ended(
    real_store: MakeStore, bucket: str, client: Any
) -> None:
    """A lifecycle rule, perhaps: to try again would not help, and the error says so."""
    upload = await real_store().open_upload(Location(bucket, "key"))
    await upload.part(1, b"part")
    (found,) = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    client.abort_multipart_upload(Bucket=bucket, Key="key", UploadId=found["UploadId"])
    for request in (upload.part(2, b"part"), upload.finish()):
        with pytest.raises(RequestRefused, match="the upload is gone"):
            await request


@pytest.mark.parametrize("code", ["NoSuchUpload", "InvalidPart"])
async def test_put_begins_anew(
    real_store: MakeStore, session: Any, bucket: str, client: Any, code: str
) -> None:
    """Who has all the bytes can try again from the beginning."""
    session.events.register(
        "before-send.s3.CompleteMultipartUpload", lambda request, **_: answer(request, 404, code)
    )
    store = real_store(multipart_threshold=PART, **PARTS)
    with pytest.raises(StoreUnavailable, match="the upload is gone"):
        await store.put(Location(bucket, "key"), bytes(PART + 1))
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize("size", [4, 5])
async def test_an_answer_that_got_lost(
    real_store: MakeStore, session: Any, bucket: str, client: Any, size: int
) -> None:
    """An upload that was finished is finished, though the store has forgotten about it."""
    tries: list[Any] = []

    def lose(request: Any, **kwargs: Any) -> AWSResponse:
        tries.append(request)
        if len(tries) == 1:
            client.put_object(Bucket=bucket, Key="key", Body=b"x" * size)
            return answer(request, 503, "SlowDown")
        return answer(request, 404, "NoSuchUpload")

    session.events.register("before-send.s3.CompleteMultipartUpload", lose)
    upload = await real_store().open_upload(Location(bucket, "key"))
    await upload.part(1, b"part")
    with pytest.raises(StoreUnavailable):
        await upload.finish()
    if size == len(b"part"):
        await upload.finish()
    else:
        with pytest.raises(RequestRefused, match="the upload is gone"):
            await upload.finish()
    await upload.abort()


async def test_an_object_that_was_there_is_no_answer(
    real_store: MakeStore, session: Any, bucket: str, client: Any
) -> None:
    """The first time that finishing fails, it has failed."""
    client.put_object(Bucket=bucket, Key="key", Body=b"same")
    upload = await real_store().open_upload(Location(bucket, "key"))
    await upload.part(1, b"part")
    (found,) = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    client.abort_multipart_upload(Bucket=bucket, Key="key", UploadId=found["UploadId"])
    with pytest.raises(RequestRefused, match="the upload is gone"):
        await upload.finish()


async def test_aborted_parts_are_gone(real_store: MakeStore, bucket: str, client: Any) -> None:
    """Nothing stays that somebody would pay for."""
    upload = await real_store().open_upload(Location(bucket, "key"))
    await asyncio.gather(*(upload.part(number, b"part") for number in range(1, 5)))
    assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
    await upload.abort()
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart"])
async def test_a_cancelled_upload(
    real_store: MakeStore, session: Any, bucket: str, client: Any, operation: str
) -> None:
    """Through the pipeline: neither an object nor parts of one are left."""
    arrived, go_on, aborted = threading.Event(), threading.Event(), threading.Event()

    def hold(**kwargs: Any) -> None:
        arrived.set()
        go_on.wait(30)

    session.events.register(f"before-send.s3.{operation}", hold)
    session.events.register("after-call.s3.AbortMultipartUpload", lambda **_: aborted.set())
    pipeline = Pipeline(Config(url=f"s3://{bucket}"), real_store())
    uploading = asyncio.ensure_future(pipeline.offload_from(source_of(chunks(5)), topic="t"))
    await asyncio.to_thread(arrived.wait, 30)
    uploading.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await uploading
    assert await asyncio.to_thread(aborted.wait, 30)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)


async def chunks(count: int) -> Any:
    for number in range(count):
        yield bytes([number]) * 3 * MIB


async def test_who_may_only_read(real_store: MakeStore, s3_server: Any, bucket: str) -> None:
    """An upload is denied when it begins."""
    keys = s3_server.reader_keys
    store = real_store(session=boto3.Session(keys.access_key, keys.secret_key))
    with pytest.raises(AccessDenied, match="403"):
        await store.open_upload(Location(bucket, "key"))


@pytest.mark.parametrize(
    "operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"]
)
async def test_a_page_is_no_upload(
    real_store: MakeStore, session: boto3.Session, bucket: str, client: Any, operation: str
) -> None:
    """A proxy that answers 200 with a page of its own has stored nothing; it is an outage."""

    def page_of_its_own(request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, 200, {}, _Raw(b"<html></html>"))

    session.events.register(f"before-send.s3.{operation}", page_of_its_own)
    store = real_store(multipart_threshold=PART, **PARTS)
    with pytest.raises(StoreUnavailable, match="what answers is not the store"):
        await store.put(Location(bucket, "key"), b"x" * (PART + 1))
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)


# Ranges


async def test_a_missing_range_is_no_missing_object(real_store: MakeStore, bucket: str) -> None:
    """The end of an object is not its absence."""
    store = real_store()
    with pytest.raises(ObjectMissing):
        await store.get_range(Location(bucket, "key"), 5, 6)
    await store.put(Location(bucket, "key"), b"12345")
    assert await store.get_range(Location(bucket, "key"), 5, 6) == b""


async def test_a_server_without_ranges(faulty_store: MakeStore) -> None:
    """The whole object is not taken for a part of it, unless it is one."""
    store = faulty_store(without_ranges)
    for start, stop in ((0, 6 * MIB - 1), (1, 6 * MIB + 1)):
        with pytest.raises(RequestRefused, match="no ranges"):
            await store.get_range(PLACE, start, stop)
    assert await store.get_range(PLACE, 0, 6 * MIB) == b"x" * (6 * MIB)


async def test_what_is_no_range(faulty_store: MakeStore) -> None:
    """An answer that is cut short or not the store's own is no part of an object."""
    for behaviour in (cut, without_length, page):
        with pytest.raises(StoreUnavailable):
            await faulty_store(behaviour).get_range(PLACE, 0, 1000)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(503, "SlowDown", StoreUnavailable), (403, "AccessDenied", AccessDenied)],
)
async def test_refusals(
    faulty_store: MakeStore, status: int, code: str, kind: type[Exception]
) -> None:
    """They mean what they mean for other requests."""
    store = faulty_store(refuse(status, code))
    for request in (store.get_range(PLACE, 0, 1), store.open_upload(PLACE)):
        with pytest.raises(kind, match=code):
            await request


# Through the pipeline


async def test_up_and_down(real_store: MakeStore, bucket: str, session: Any) -> None:
    """A payload of many parts, with a connection that breaks now and then."""
    requests: dict[str, int] = {"UploadPart": 0, "GetObject": 0}

    def break_off(request: Any, event_name: str, **kwargs: Any) -> None:
        operation = event_name.rpartition(".")[2]
        requests[operation] += 1
        if requests[operation] % 3 == 2:
            raise ConnectionResetError("by peer")

    for operation in requests:
        session.events.register(f"before-send.s3.{operation}", break_off)
    config = Config(url=f"s3://{bucket}", retry_base=0.001, retry_cap=0.001)
    pipeline = Pipeline(config, real_store())
    wire = await pipeline.offload_from(source_of(chunks(15)), topic="t")
    claim: Any = pipeline.read(wire)
    digest = sha256()
    async for chunk in pipeline.stream(claim):
        digest.update(chunk)
    assert digest.digest() == claim.sha256
    assert claim.payload_size == 45 * MIB
    assert requests == {"UploadPart": 9, "GetObject": 9}  # six parts each, and three again


async def test_nothing_blocks_the_loop(real_store: MakeStore, bucket: str) -> None:
    """Neither does reading a file, nor uploading, nor streaming it."""
    pipeline = Pipeline(Config(url=f"s3://{bucket}"), real_store())
    with blockbuster_ctx():
        for given in (chunks(5), __file__):
            async with aclosing(source_of(given)) as source:
                wire = await pipeline.offload_from(source, topic="t")
            found = pipeline.read(wire)
            if not isinstance(found, bytes):
                assert sum([len(chunk) async for chunk in pipeline.stream(found)]) == 15 * MIB
        await pipeline.store.close()
