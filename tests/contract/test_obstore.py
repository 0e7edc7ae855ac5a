"""What only the stores of obstore do: the other schemes, and mapping of what goes wrong."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import traceback
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3
import pytest
from blockbuster import blockbuster_ctx
from botocore.exceptions import CredentialRetrievalError
from faults import (
    Behaviour,
    Connection,
    FaultServer,
    cut,
    done,
    page,
    refuse,
    trickle,
    trickle_head,
    without_ranges,
)

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
from faust_s3.stores import Location
from faust_s3.stores.obstore import ObstoreStore
from faust_s3.stores.obstore import store as module
from faust_s3.stores.obstore.clients import _endpoint

# They look at the server with a blocking client; test_nothing_blocks_the_loop does not.
pytestmark = pytest.mark.may_block

MIB = 2**20
PART = 5 * MIB
PARTS = {"multipart_threshold": PART, "part_size": PART}
PLACE = Location("bucket", "key")
KEYS = boto3.Session("key-id", "secret")

MakeStore = Callable[..., ObstoreStore]


@pytest.fixture(scope="module")
def large() -> bytes:
    """Two whole parts and a bit, no two MiB of them the same."""
    return b"".join(bytes([n]) * MIB for n in range(10)) + b"the bit"


@pytest.fixture
def faulty(make_obstore: MakeStore, faults: Callable[[Behaviour], FaultServer]) -> MakeStore:
    """Make stores over a server that misbehaves."""

    def make(behaviour: Behaviour | FaultServer, **settings: Any) -> ObstoreStore:
        server = behaviour if isinstance(behaviour, FaultServer) else faults(behaviour)
        settings = {"session": KEYS, "region": "us-east-1", **settings}
        return make_obstore(path_style=True, endpoint_url=server.url, **settings)

    return make


# Large objects


@pytest.mark.parametrize("kind", ["s3", "file", "memory"])
async def test_parts(
    kind: str, make_obstore: MakeStore, real_obstore: MakeStore, request: Any, large: bytes
) -> None:
    """A large object goes up and down in parts and is whole, of every kind of store."""
    tmp_path: Path = request.getfixturevalue("tmp_path")
    (tmp_path / "bucket").mkdir()
    bucket = request.getfixturevalue("bucket") if kind == "s3" else "bucket"
    if kind == "s3":
        store = real_obstore(**PARTS)
    else:
        store = make_obstore(kind, root=str(tmp_path), buckets=["bucket"], **PARTS)
    location = Location(bucket, "large")
    for size in (PART - 1, PART, PART + 1, len(large)):
        data = large[:size]
        await store.put(location, data, sha256=sha256(data).digest())
        assert await store.get(location, max_size=size) == data
        with pytest.raises(PayloadTooLarge):
            await store.get(location, max_size=size - 1)
    with pytest.raises(RequestRefused):
        await store.put(location, large, sha256=sha256(b"other").digest())


async def test_uploads_to_a_directory(make_obstore: MakeStore, tmp_path: Path) -> None:
    """Parts lie in a file without a name until the upload is finished."""
    (tmp_path / "bucket").mkdir()
    store = make_obstore("file", root=str(tmp_path), **PARTS)
    upload = await store.open_upload(PLACE)
    size = upload.part_size(1)
    await upload.part(2, b"the end")
    await upload.part(1, b"x" * size)
    assert os.listdir(tmp_path / "bucket") == []
    await upload.finish()
    assert (tmp_path / "bucket" / "key").read_bytes() == b"x" * size + b"the end"


async def test_object_replaced_between_ranges(
    real_obstore: MakeStore, bucket: str, client: Any, large: bytes, monkeypatch: Any
) -> None:
    """Parts of two objects are never put together."""
    store, location = real_obstore(**PARTS), Location(bucket, "large")
    await store.put(location, large)
    parts = store._get_parts

    async def replaced(*args: Any) -> bytes:
        client.put_object(Bucket=bucket, Key="large", Body=b"other")
        return await parts(*args)

    monkeypatch.setattr(store, "_get_parts", replaced)
    with pytest.raises(StoreUnavailable, match="412"):
        await store.get(location, max_size=len(large))


# Encryption and access


async def test_sse_s3(real_obstore: MakeStore, bucket: str, client: Any) -> None:
    """SSE-S3 is asked for, and reading needs nothing more."""
    store, location = real_obstore(sse="AES256"), Location(bucket, "key")
    await store.put(location, b"payload", sha256=sha256(b"payload").digest())
    assert client.head_object(Bucket=bucket, Key="key")["ServerSideEncryption"] == "AES256"
    assert await store.get(location, max_size=7) == b"payload"


async def test_sse_kms(real_obstore: MakeStore, bucket: str, client: Any, large: bytes) -> None:
    """SSE-KMS is asked for with its key, for objects in parts too."""
    store = real_obstore(sse="aws:kms", sse_kms_key_id="the-key", **PARTS)
    for key, data in (("small", b"payload"), ("large", large)):
        await store.put(Location(bucket, key), data)
        head = client.head_object(Bucket=bucket, Key=key)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "the-key")
        assert await store.get(Location(bucket, key), max_size=len(data)) == data


@pytest.mark.parametrize("size", [1, 6 * MIB])
async def test_denied(real_obstore: MakeStore, s3_server: Any, bucket: str, size: int) -> None:
    """Who may only read is denied a put, however large it is."""
    keys = s3_server.reader_keys
    store = real_obstore(session=boto3.Session(keys.access_key, keys.secret_key), **PARTS)
    with pytest.raises(AccessDenied, match=r"AccessDenied|403"):
        await store.put(Location(bucket, "key"), b"x" * size)
    assert [info async for info in store.list(bucket)] == []


@pytest.mark.parametrize("wrong", ["key", "secret"])
async def test_wrong_credentials(
    real_obstore: MakeStore, s3_server: Any, bucket: str, wrong: str
) -> None:
    """Wrong credentials are said to be wrong and are not told to anybody."""
    key = s3_server.keys.access_key if wrong == "secret" else "wrong-key"
    store = real_obstore(session=boto3.Session(key, "wrong-secret"))
    location = Location(bucket, "k")
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


async def test_no_credentials(aws: Any, make_obstore: MakeStore) -> None:
    """Without any credentials the error says so."""
    with pytest.raises(AccessDenied, match="boto3 finds no credentials"):
        await make_obstore(endpoint_url="http://127.0.0.1:9").head(PLACE)


async def test_credentials_that_cannot_be_had_now(faulty: MakeStore, monkeypatch: Any) -> None:
    """A source of credentials that fails for a while is waited for."""
    session = boto3.Session("key-id", "secret")
    credentials = session.get_credentials()

    def fail() -> Any:
        raise CredentialRetrievalError(provider="sso", error_msg="it is away")

    monkeypatch.setattr(credentials, "get_frozen_credentials", fail)
    with pytest.raises(StoreUnavailable, match="it is away"):
        await faulty(done, session=session).head(PLACE)


async def test_profile_and_region(aws: Any, make_obstore: MakeStore, faults: Any) -> None:
    """A profile brings its own keys and region; a region that is set stands."""
    (aws / "config").write_text("[profile other]\nregion = eu-west-3\n")
    (aws / "credentials").write_text(
        "[other]\naws_access_key_id = other-key\naws_secret_access_key = other-secret\n"
    )
    for more, region in (({}, "eu-west-3"), ({"region": "eu-north-1"}, "eu-north-1")):
        server = faults(done)
        store = make_obstore(profile="other", endpoint_url=server.url, **more)
        await store.delete(PLACE)
        method, path, headers = server.requests[0]
        sent = {name.lower(): value for name, value in headers.items()}
        assert (method, path) == ("DELETE", "/bucket/key")
        assert "Credential=other-key/" in sent["authorization"]
        assert f"/{region}/s3/" in sent["authorization"]


async def test_unknown_profile(aws: Any, make_obstore: MakeStore) -> None:
    """A profile that is nowhere is a wrong setting, found by the first request."""
    with pytest.raises(ConfigError, match="nobody"):
        await make_obstore(profile="nobody").head(PLACE)


@pytest.mark.parametrize(
    ("bucket", "url", "path_style", "endpoint", "virtual"),
    [
        ("bucket", None, False, None, None),
        ("my.bucket", None, False, None, False),
        ("bucket", "http://127.0.0.1:9", False, "http://127.0.0.1:9", False),
        ("bucket", "https://s3.example.org", True, "https://s3.example.org", None),
        ("bucket", "https://s3.example.org:9/", False, "https://bucket.s3.example.org:9/", None),
        ("my.bucket", "https://s3.example.org", False, "https://s3.example.org", False),
    ],
)
def test_endpoints(
    bucket: str, url: str | None, path_style: bool, endpoint: str | None, virtual: bool | None
) -> None:
    """Requests go where boto3's would go."""
    found = _endpoint(bucket, url, path_style=path_style)
    assert found.get("endpoint") == endpoint
    assert found.get("virtual_hosted_style_request") is virtual


# A server that is away


async def test_refused_port(make_obstore: MakeStore) -> None:
    """Nobody listens: try again later."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        store = make_obstore(session=KEYS, region="us-east-1", endpoint_url=url)
        with pytest.raises(StoreUnavailable) as raised:
            await store.put(PLACE, b"payload")
    assert (raised.value.bucket, raised.value.key) == PLACE


async def test_black_hole(make_obstore: MakeStore) -> None:
    """A server that takes a connection and says nothing: try again later."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        url = f"http://127.0.0.1:{hole.getsockname()[1]}"
        store = make_obstore(session=KEYS, endpoint_url=url, read_timeout=0.3, request_timeout=0.4)
        for request in (
            store.put(PLACE, b"x" * MIB),
            store.get(PLACE, max_size=7),
            store.get_range(PLACE, 0, 1),
            store.head(PLACE),
            store.delete(PLACE),
            anext(store.list("bucket")),
        ):
            with pytest.raises(StoreUnavailable):
                await request


@pytest.mark.parametrize("behaviour", [trickle, trickle_head])
async def test_trickle(faulty: MakeStore, behaviour: Behaviour) -> None:
    """A byte now and then does not hold a request beyond its deadline."""
    store = faulty(behaviour, request_timeout=0.3, read_timeout=5.0)
    with pytest.raises(StoreUnavailable):
        await store.get(PLACE, max_size=100_000)


async def test_cut_body(faulty: MakeStore) -> None:
    """A body that ends early is not an object."""
    with pytest.raises(StoreUnavailable):
        await faulty(_modified(cut)).get(PLACE, max_size=1000)


async def test_page_instead_of_an_object(faulty: MakeStore) -> None:
    """A page of a proxy is not an object, nor does it say that there is one."""
    with pytest.raises(StoreUnavailable):
        await faulty(_modified(page)).get(PLACE, max_size=1000)
    with pytest.raises(StoreUnavailable):
        await faulty(page).put(PLACE, b"payload")


async def test_page_instead_of_a_listing(faulty: MakeStore) -> None:
    """A page of a proxy is not a listing."""
    with pytest.raises(StoreUnavailable):
        await anext(faulty(page).list("bucket"))


async def test_server_without_ranges(faulty: MakeStore) -> None:
    """The whole object is not taken for a part of it."""
    store = faulty(_modified(without_ranges), **PARTS)
    with pytest.raises((RequestRefused, StoreUnavailable)):
        await store.get(PLACE, max_size=10 * MIB)
    with pytest.raises((RequestRefused, StoreUnavailable)):
        await store.get_range(PLACE, 5, 10)


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
        (404, "ContainerNotFound", BucketMissing),
    ],
)
async def test_refusals(
    faulty: MakeStore, faults: Any, status: int, code: str, kind: type[S3Error]
) -> None:
    """The store's code decides, and the store asks once: the pipeline asks again."""
    server = faults(refuse(status, code))
    store = faulty(server)
    requests = (
        store.put(PLACE, b"payload"),
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


async def test_nothing_blocks_the_loop(real_obstore: MakeStore, bucket: str, large: bytes) -> None:
    """Opening, requests, parts and closing leave the event loop free."""
    store, location = real_obstore(**PARTS), Location(bucket, "key")
    with blockbuster_ctx():
        for data in (b"payload", large):
            await store.put(location, data, sha256=sha256(data).digest())
            assert await store.get(location, max_size=len(data)) == data
        await store.head(location)
        assert [info.location async for info in store.list(bucket)] == [location]
        await store.delete(location)
        await store.close()


async def test_large_bodies_are_hashed_and_copied_in_threads(
    make_obstore: MakeStore, monkeypatch: Any
) -> None:
    """What takes long is not done on the event loop."""
    threads: list[threading.Thread] = []

    def hashing(data: bytes) -> Any:
        threads.append(threading.current_thread())
        return sha256(data)

    monkeypatch.setattr(module, "_sha256", hashing)
    store = make_obstore("memory", buckets=["bucket"])
    await store.put(PLACE, bytes(MIB), sha256=sha256(bytes(MIB)).digest())
    await store.put(PLACE, b"x", sha256=sha256(b"x").digest())
    assert [thread is threading.main_thread() for thread in threads] == [False, True]


def test_no_io_to_make_one(aws: Any) -> None:
    """Making a store reads no file and starts no thread."""
    before = threading.active_count()
    with blockbuster_ctx():
        ObstoreStore(profile="nobody", region="eu-west-3")
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("scheme", "settings", "says"),
    [
        ("ftp", {}, "scheme 'ftp' must be one of s3, gs, az, file, memory"),
        ("s3", {"sse": "rot13"}, "sse: 'rot13'"),
        ("s3", {"endpoint_url": "http://key:secret@example.org"}, "endpoint_url: credentials"),
        ("gs", {"region": "eu"}, "region 'eu' cannot be set for gs://"),
        ("gs", {"endpoint_url": "http://x"}, "endpoint_url 'http://x' cannot be set for gs://"),
        ("az", {"sse": "AES256"}, "sse 'AES256' cannot be set for az://"),
        ("file", {"profile": "other"}, "profile 'other' cannot be set for file://"),
        ("memory", {"path_style": True}, "path_style True cannot be set for memory://"),
    ],
)
def test_impossible_settings(scheme: str, settings: dict[str, Any], says: str) -> None:
    """What a kind of store cannot honour is refused, with a sentence."""
    with pytest.raises(ConfigError, match=says):
        ObstoreStore(scheme, **settings)


async def test_directory_that_may_not_be_written(
    make_obstore: MakeStore, tmp_path: Path, monkeypatch: Any
) -> None:
    """What the system refuses is access denied, a place that is a file is not available."""
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "file").write_bytes(b"")
    store = make_obstore("file", root=str(tmp_path))
    with pytest.raises(S3Error):
        await store.put(Location("bucket", "file/below"), b"payload")
    with pytest.raises(RequestRefused):
        await store.put(Location("bucket", "../outside"), b"payload")
    with pytest.raises((ObjectMissing, S3Error)):
        await store.get(Location("bucket", "../../etc/passwd"), max_size=100)


async def test_cancelled_large_get(real_obstore: MakeStore, bucket: str, large: bytes) -> None:
    """Parts of a get that is cancelled are not downloaded any more."""
    store, location = real_obstore(**PARTS), Location(bucket, "key")
    await store.put(location, large)
    reading = asyncio.ensure_future(store.get(location, max_size=len(large)))
    await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert await store.get(location, max_size=len(large)) == large


def _modified(behaviour: Behaviour) -> Behaviour:
    """Give answers the time that obstore wants to see on every object."""

    def behave(connection: Connection) -> None:
        start = connection.start

        def with_time(status: int, length: int | None, **headers: str) -> None:
            start(status, length, Last_Modified="Tue, 03 Nov 2026 10:00:00 GMT", **headers)

        connection.start = with_time  # type: ignore[method-assign]
        behaviour(connection)

    return behave
