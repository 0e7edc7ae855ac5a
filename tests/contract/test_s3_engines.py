"""What stores of S3's do by either engine: encryption, access, and what goes wrong."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import boto3
import pytest
from blockbuster import blockbuster_ctx
from faults import (
    Behaviour,
    FaultServer,
    answering,
    cut,
    done,
    page,
    refuse,
    trickle,
    trickle_head,
)

from faust_s3.exceptions import (
    AccessDenied,
    BucketMissing,
    ConfigError,
    PayloadTooLarge,
    RequestRefused,
    S3Error,
    StoreUnavailable,
)
from faust_s3.stores import Location, Store
from faust_s3.stores.obstore import ObstoreStore
from faust_s3.stores.s3 import S3Store

# They look at the server with a blocking client; test_nothing_blocks_the_loop does not.
pytestmark = pytest.mark.may_block

MIB = 2**20
PARTS = {"multipart_threshold": 5 * MIB, "part_size": 5 * MIB}
PLACE = Location("bucket", "key")
KEYS = boto3.Session("key-id", "secret")

MakeStore = Callable[..., Store]


# Encryption


async def test_sse_s3(real_s3: MakeStore, bucket: str, client: Any) -> None:
    """SSE-S3 is asked for, and reading needs nothing more."""
    store, location = real_s3(sse="AES256"), Location(bucket, "key")
    await store.put(location, b"payload", sha256=sha256(b"payload").digest())
    assert client.head_object(Bucket=bucket, Key="key")["ServerSideEncryption"] == "AES256"
    assert await store.get(location, max_size=7) == b"payload"


async def test_sse_kms(real_s3: MakeStore, bucket: str, client: Any, large: bytes) -> None:
    """SSE-KMS is asked for with its key, for objects in parts too."""
    store = real_s3(sse="aws:kms", sse_kms_key_id="the-key", **PARTS)
    for key, data in (("small", b"payload"), ("large", large)):
        await store.put(Location(bucket, key), data)
        head = client.head_object(Bucket=bucket, Key=key)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "the-key")
        assert await store.get(Location(bucket, key), max_size=len(data)) == data


# Access


@pytest.mark.parametrize("size", [1, MIB, 2 * MIB, 6 * MIB])
async def test_denied(real_s3: MakeStore, s3_server: Any, bucket: str, size: int) -> None:
    """Who may only read is denied a put, however large it is."""
    keys = s3_server.reader_keys
    store = real_s3(session=boto3.Session(keys.access_key, keys.secret_key), **PARTS)
    with pytest.raises(AccessDenied, match=r"AccessDenied|403"):
        await store.put(Location(bucket, "key"), b"x" * size)
    assert [info async for info in store.list(bucket)] == []


@pytest.mark.parametrize("wrong", ["key", "secret"])
async def test_wrong_credentials(
    real_s3: MakeStore, s3_server: Any, bucket: str, wrong: str
) -> None:
    """Wrong credentials are said to be wrong and are not told to anybody."""
    key = s3_server.keys.access_key if wrong == "secret" else "wrong-key"
    store, location = real_s3(session=boto3.Session(key, "wrong-secret")), Location(bucket, "k")
    for request in (
        store.put(location, b"payload"),
        store.get(location, max_size=7),
        store.get_range(location, 0, 1),
        store.head(location),
        store.delete(location),
        anext(store.list(bucket)),
    ):
        with pytest.raises(AccessDenied) as raised:
            await request
        told = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + repr(store)
        assert "wrong-secret" not in told
        assert "wrong-key" not in told


async def test_no_credentials(aws: Any, make_s3: MakeStore) -> None:
    """Without any credentials the error says so."""
    with pytest.raises(AccessDenied, match=r"NoCredentialsError|boto3 finds no credentials"):
        await make_s3(endpoint_url="http://127.0.0.1:9").head(PLACE)


async def test_profile_and_region(aws: Any, make_s3: MakeStore, faults: Any) -> None:
    """A profile brings its own keys and region; a region that is set stands."""
    (aws / "config").write_text("[profile other]\nregion = eu-west-3\n")
    (aws / "credentials").write_text(
        "[other]\naws_access_key_id = other-key\naws_secret_access_key = other-secret\n"
    )
    for more, region in (({}, "eu-west-3"), ({"region": "eu-north-1"}, "eu-north-1")):
        server = faults(done)
        await make_s3(profile="other", endpoint_url=server.url, **more).delete(PLACE)
        method, path, headers = server.requests[0]
        sent = {name.lower(): value for name, value in headers.items()}
        assert (method, path) == ("DELETE", "/bucket/key")
        assert "Credential=other-key/" in sent["authorization"]
        assert f"/{region}/s3/" in sent["authorization"]


async def test_unknown_profile(aws: Any, make_s3: MakeStore) -> None:
    """A profile that is nowhere is a wrong setting, found by the first request."""
    with pytest.raises(ConfigError, match="nobody"):
        await make_s3(profile="nobody").head(PLACE)


# A server that is away


async def test_refused_port(make_s3: MakeStore) -> None:
    """Nobody listens: try again later."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        store = make_s3(session=KEYS, region="us-east-1", endpoint_url=url)
        with pytest.raises(StoreUnavailable) as raised:
            await store.put(PLACE, b"payload")
    assert (raised.value.bucket, raised.value.key) == PLACE


async def test_black_hole(make_s3: MakeStore) -> None:
    """A server that takes a connection and says nothing: try again later."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        url = f"http://127.0.0.1:{hole.getsockname()[1]}"
        store = make_s3(
            session=KEYS, region="us-east-1", endpoint_url=url,
            connect_timeout=0.5, read_timeout=0.3, request_timeout=0.4,
        )  # fmt: skip
        for request in (
            store.put(PLACE, b"x"),
            store.put(PLACE, b"x" * 3 * MIB),
            store.get(PLACE, max_size=7),
            store.get_range(PLACE, 0, 1),
            store.head(PLACE),
            store.delete(PLACE),
            anext(store.list("bucket")),
        ):
            with pytest.raises(StoreUnavailable):
                await request


@pytest.mark.parametrize("behaviour", [trickle, trickle_head])
async def test_trickle(faulty_s3: MakeStore, behaviour: Behaviour) -> None:
    """A byte now and then does not hold a request beyond its deadline."""
    store = faulty_s3(behaviour, request_timeout=0.3, connect_timeout=0.1, read_timeout=5.0)
    with pytest.raises(StoreUnavailable):
        await store.get(PLACE, max_size=100_000)


async def test_cut_body(faulty_s3: MakeStore) -> None:
    """A body that ends early is not an object."""
    with pytest.raises(StoreUnavailable):
        await faulty_s3(cut).get(PLACE, max_size=1000)


async def test_a_page_is_no_object(faulty_s3: MakeStore) -> None:
    """A page of a proxy is not an object."""
    with pytest.raises(StoreUnavailable):
        await faulty_s3(page).get(PLACE, max_size=1000)


@pytest.mark.parametrize("behaviour", [page, answering(200, b"<html></html>"), done])
async def test_a_page_stores_nothing(faulty_s3: MakeStore, behaviour: Behaviour) -> None:
    """An answer that is not the store's does not say that an object is stored."""
    with pytest.raises(StoreUnavailable):
        await faulty_s3(behaviour).put(PLACE, b"payload")


async def test_page_instead_of_a_listing(faulty_s3: MakeStore) -> None:
    """A page of a proxy is not a listing."""
    with pytest.raises(StoreUnavailable):
        await anext(faulty_s3(page).list("bucket"))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (503, "SlowDown", StoreUnavailable),
        (500, "InternalError", StoreUnavailable),
        (429, "TooManyRequests", StoreUnavailable),
        (400, "ExpiredToken", StoreUnavailable),
        (400, "InvalidRequest", RequestRefused),
        (400, "EntityTooLarge", PayloadTooLarge),
        (403, "RequestTimeTooSkewed", StoreUnavailable),
        (403, "AccessDenied", AccessDenied),
        (404, "NoSuchBucket", BucketMissing),
    ],
)
async def test_refusals(
    faulty_s3: MakeStore,
    faults: Callable[[Behaviour], FaultServer],
    status: int,
    code: str,
    kind: type[S3Error],
) -> None:
    """The store's code decides, and the store asks once: the pipeline asks again."""
    server = faults(refuse(status, code))
    store = faulty_s3(server)
    requests = (
        store.put(PLACE, b"payload"),
        store.put(PLACE, b"x" * 2 * MIB),
        store.get(PLACE, max_size=7),
        store.delete(PLACE),
        anext(store.list("bucket")),
    )
    for request in requests:
        with pytest.raises(kind, match=code) as raised:
            await request
        assert type(raised.value) is kind
        assert raised.value.__cause__ is not None
        assert "Debug" not in str(raised.value)
    assert len(server.requests) == len(requests)


# The event loop, and settings


async def test_nothing_blocks_the_loop(real_s3: MakeStore, bucket: str, large: bytes) -> None:
    """Opening, requests, parts and closing leave the event loop free."""
    store, location = real_s3(**PARTS), Location(bucket, "key")
    with blockbuster_ctx():
        for data in (b"payload", large):
            await store.put(location, data, sha256=sha256(data).digest())
            assert await store.get(location, max_size=len(data)) == data
        await store.head(location)
        assert [info.location async for info in store.list(bucket)] == [location]
        await store.delete(location)
        await store.close()


@pytest.mark.parametrize("kind", [S3Store, ObstoreStore])
def test_no_io_to_make_one(aws: Any, kind: MakeStore) -> None:
    """Making a store reads no file and starts no thread."""
    before = threading.active_count()
    with blockbuster_ctx():
        kind(profile="nobody", region="eu-west-3")
    assert threading.active_count() == before
