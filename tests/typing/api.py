"""The public API as type checkers see it: checked by ``mypy --strict``, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import faust
from faust.serializers import codecs
from faust.types import Message, StreamT
from typing_extensions import assert_type

import faust_s3
from faust_s3 import (
    S3,
    AccessDenied,
    BucketMissing,
    ClaimError,
    Config,
    ConfigError,
    IntegrityError,
    ObjectMissing,
    Payload,
    PayloadTooLarge,
    PermanentError,
    RequestRefused,
    S3Error,
    StoreUnavailable,
)
from faust_s3.claim import Claim
from faust_s3.codec import BoundCodec
from faust_s3.policy import Verdict
from faust_s3.stores import Location, MemoryStore, ObjectInfo, Store, Upload

assert_type(faust_s3.__version__, str)

app = faust.App("typing")


class Photo(faust.Record, serializer="json|s3"):
    name: str


# -- S3


def making() -> None:
    """Every argument, with and without."""
    S3()
    S3(app)
    S3(app, "s3://bucket/prefix")
    S3(app, url="s3://bucket/prefix", name="cold", env_prefix="COLD_")
    S3(app, config=Config(url="s3://bucket"), session=boto3.Session(), store=MemoryStore())
    S3(app, config="settings.yaml")
    S3(config=Path("settings.json"))
    S3(None, "s3://bucket", threshold=1024, max_payload=2048, prefetch_bytes=1, cache_bytes=0)
    S3(
        app,
        "s3://bucket",
        threshold="256KiB",
        key_template="{topic}/{digest}",
        allow=["s3://other"],
        max_payload="1GiB",
        on_bad_claim="skip",
        dead_letter_topic="lost",
        prefetch=8,
        prefetch_bytes="64MiB",
        cache_bytes="16MiB",
        concurrency=16,
        send_timeout=60,
        connect_timeout=5.0,
        read_timeout=30.0,
        request_timeout=60.0,
        retry_base=0.1,
        retry_cap=5,
        region="eu-west-1",
        profile="profile",
        endpoint_url="http://localhost:8333",
        path_style=True,
        compression="zstd",
        engine="obstore",
        sse="aws:kms",
        sse_kms_key_id="key",
    )
    S3(app, threshhold=1)  # type: ignore[call-arg] # misspelt settings are found
    S3(app, prefetch="many")  # type: ignore[arg-type] # wrong types are found


s3 = S3(app)


async def attributes() -> None:
    """What an ``S3`` object has and does."""
    assert_type(s3.name, str)
    assert_type(s3.config, Config)
    assert_type(s3.store, Store)
    assert_type(s3.app, faust.App | None)
    assert_type(s3.codec, BoundCodec)
    assert_type(s3.codec_for("photos"), BoundCodec)
    s3.bind(app)
    await s3.start()
    await s3.stop()
    await s3.close()
    async with S3():
        pass


def the_codec() -> None:
    """It chains as Faust's do."""
    chain = codecs.get_codec("json") | s3.codec
    app.topic("photos", value_serializer=chain)
    app.topic("photos", value_serializer="json|s3")
    assert_type(s3.codec.dumps({"a": 1}), bytes)
    s3.codec_for("photos").loads(b"")


# -- topics

photos = app.topic("photos", value_type=Photo, value_serializer="json|s3")


def offloading() -> None:
    """A topic for a topic."""
    for topic in (
        s3.offload(photos),
        s3.offload(photos, keys=True),
        s3.offload(photos, keys=True, values=False),
    ):
        app.agent(topic)
    s3.offload(photos, True)  # type: ignore[call-arg] # no booleans by position


# -- agents


async def bare(stream: StreamT[Photo]) -> None:
    async for photo in stream:
        assert_type(photo, Photo)


async def yielding(stream: StreamT[Photo]) -> AsyncIterator[str]:
    async for photo in stream:
        yield photo.name


# Decorators keep the types of what they decorate.


def keeps(fun: Callable[[StreamT[Photo]], AsyncIterator[str]]) -> None:
    """Only what is a function of that type."""


keeps(s3.rehydrate(yielding))
keeps(s3.rehydrate()(yielding))
keeps(s3.rehydrate(prefetch=8)(yielding))
keeps(s3.rehydrate(prefetch=8, prefetch_bytes=1024, on_bad_claim="skip")(yielding))
keeps(s3.rehydrate(bare))  # type: ignore[arg-type] # it is still what it was
keeps(s3.rehydrate(prefetch=8)(bare))  # type: ignore[arg-type]


def judge(message: Message, error: PermanentError) -> Verdict:
    assert_type(error.bucket, str | None)
    return "skip" if message.key is None else "dead_letter"


async def judge_later(message: Message, error: PermanentError) -> Verdict:
    return judge(message, error)


def forgets(message: Message, error: PermanentError) -> None:
    """Return nothing."""


keeps(s3.rehydrate(on_bad_claim="dead_letter")(yielding))
keeps(s3.rehydrate(on_bad_claim=judge)(yielding))
keeps(s3.rehydrate(on_bad_claim=judge_later)(yielding))
S3(app, on_bad_claim=judge, dead_letter_topic="lost")
Config(url="s3://bucket", on_bad_claim=judge_later)
s3.rehydrate(on_bad_claim="ignore")  # type: ignore[call-overload] # no policy
s3.rehydrate(on_bad_claim=forgets)  # type: ignore[arg-type] # it has to say what
s3.rehydrate(1)  # type: ignore[call-overload] # no function
s3.rehydrate(prefetch="8")  # type: ignore[call-overload] # no number


@app.agent(photos)
@s3.rehydrate
async def without_arguments(stream: StreamT[Photo]) -> None:
    async for photo in stream:
        assert_type(photo, Photo)


@app.agent(photos)
@s3.rehydrate(prefetch=32, on_bad_claim="skip")
async def with_arguments(stream: StreamT[Photo]) -> AsyncIterator[str]:
    async for photo in stream:
        yield photo.name


# -- lazy values


@app.agent(photos)
@s3.rehydrate(lazy=True)
async def lazily(stream: StreamT[Payload[Photo]]) -> AsyncIterator[Payload[Photo]]:
    async for payload in stream:
        assert_type(payload.size, int)
        assert_type(payload.digest, bytes)
        assert_type(payload.headers, Mapping[str, bytes])
        assert_type(payload.claim, Claim | None)
        assert_type(payload.wire, bytes)
        assert_type(await payload.load(), Photo)
        async for chunk in payload.stream():
            assert_type(chunk, bytes)
        await payload.load(7)  # type: ignore[call-arg]
        yield payload


async def upload(chunks: AsyncIterator[bytes], texts: AsyncIterator[str]) -> None:
    """From a path or an iterator, for a topic."""
    uploaded = await s3.upload("photo.json", topic=photos)
    assert_type(uploaded, Payload[Any])
    await s3.upload(Path("photo.json"), topic=photos, key="key", partition=0)
    await photos.send(key="key", value=await s3.upload(chunks, topic=photos))
    await s3.upload(texts, topic=photos)  # type: ignore[arg-type] # no text
    await s3.upload(chunks)  # type: ignore[call-arg] # for which topic?
    await s3.upload(b"bytes", topic=photos)  # type: ignore[arg-type] # send these


s3.rehydrate(lazy=1)  # type: ignore[call-overload] # no boolean


# -- settings


def config() -> None:
    """Frozen, by keyword."""
    settings = Config(url="s3://bucket/prefix", threshold=1, allow=("s3://other",))
    assert_type(settings.threshold, int)
    assert_type(settings.region, str | None)
    assert_type(str(settings.home), str)
    settings.threshold = 2  # type: ignore[misc] # frozen
    Config("s3://bucket")  # type: ignore[call-arg] # by keyword only


# -- errors


def errors() -> None:
    """One base, with coordinates."""
    try:
        s3.codec.dumps(b"")
    except (AccessDenied, BucketMissing, ClaimError, IntegrityError, ObjectMissing) as exc:
        permanent: PermanentError = exc
        assert_type(permanent.bucket, str | None)
    except (PayloadTooLarge, RequestRefused) as refused:
        assert_type(refused.size, int | None)
    except StoreUnavailable as away:
        assert_type(away.attempts, int | None)
    except ConfigError as wrong:
        improperly: faust.exceptions.ImproperlyConfigured = wrong
        assert_type(str(improperly), str)
    except S3Error as exc:
        assert_type(exc.reason, str)
        assert_type(exc.key, str | None)
        assert_type(exc.topic, str | None)
        assert_type(exc.partition, int | None)
        assert_type(exc.offset, int | None)


# -- stores


async def stores() -> None:
    """The contract behind ``store=``."""
    store: Store = MemoryStore()
    MemoryStore(buckets=["bucket"])
    place = Location("bucket", "key")
    await store.put(place, b"payload")
    await store.put(place, b"payload", sha256=b"digest")
    assert_type(await store.get(place, max_size=10), bytes)
    assert_type(await store.get_range(place, 0, 10), bytes)
    assert_type(await store.open_upload(place), Upload)
    upload = await store.open_upload(place, size=10)
    assert_type(upload.part_size(1), int)
    await upload.part(1, b"part")
    await upload.finish()
    await upload.abort()
    assert_type(await store.head(place), ObjectInfo)
    async for info in store.list("bucket"):
        assert_type(info.location, Location)
        assert_type(info.size, int)
    async for _ in store.list("bucket", "prefix"):
        pass
    await store.delete(place)
    await store.close()
