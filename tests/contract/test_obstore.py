"""What only the stores of obstore do: the other kinds of stores, and how it asks for parts."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import CredentialRetrievalError
from faults import (
    done,
    without_ranges,
)

from faust_s3.exceptions import (
    ConfigError,
    PayloadTooLarge,
    RequestRefused,
    StoreUnavailable,
)
from faust_s3.stores import Location
from faust_s3.stores.obstore import ObstoreStore
from faust_s3.stores.obstore.clients import _endpoint
from faust_s3.stores.obstore.store import PARTS_AT_ONCE

# They look at the server with a blocking client; test_nothing_blocks_the_loop does not.
pytestmark = pytest.mark.may_block

MIB = 2**20
PART = 5 * MIB
PARTS = {"multipart_threshold": PART, "part_size": PART}
PLACE = Location("bucket", "key")
KEYS = boto3.Session("key-id", "secret")

MakeStore = Callable[..., ObstoreStore]


# Large objects


@pytest.mark.parametrize("kind", ["s3", "gs", "file", "memory"])
async def test_parts(
    kind: str, make_obstore: MakeStore, real_obstore: MakeStore, request: Any, large: bytes
) -> None:
    """A large object goes up and down in parts and is whole, of every kind of store."""
    tmp_path: Path = request.getfixturevalue("tmp_path")
    (tmp_path / "bucket").mkdir()
    bucket = request.getfixturevalue("bucket") if kind in ("s3", "gs") else "bucket"
    if kind == "gs":
        request.getfixturevalue("google_elsewhere")
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


async def test_credentials_that_cannot_be_had_now(
    faulty_obstore: MakeStore, monkeypatch: Any
) -> None:
    """A source of credentials that fails for a while is waited for."""
    session = boto3.Session("key-id", "secret")
    credentials = session.get_credentials()

    def fail() -> Any:
        raise CredentialRetrievalError(provider="sso", error_msg="it is away")

    monkeypatch.setattr(credentials, "get_frozen_credentials", fail)
    with pytest.raises(StoreUnavailable, match="it is away"):
        await faulty_obstore(done, session=session).head(PLACE)


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


async def test_server_without_ranges(faulty_obstore: MakeStore) -> None:
    """The whole object is not taken for a part of it, and even small ones are asked for so."""
    store = faulty_obstore(without_ranges, **PARTS)
    with pytest.raises((RequestRefused, StoreUnavailable)):
        await store.get(PLACE, max_size=10 * MIB)
    with pytest.raises(StoreUnavailable, match="non-partial"):
        await store.get(PLACE, max_size=MIB)
    with pytest.raises((RequestRefused, StoreUnavailable)):
        await store.get_range(PLACE, 5, 10)


# The event loop, and settings


@pytest.mark.parametrize(
    ("size", "decoded_size", "at_once"),
    [(1, 0, True), (1, MIB, False), (MIB, 0, False), (3 * PART, 0, False)],
)
async def test_what_takes_long_is_done_in_threads(
    make_obstore: MakeStore, size: int, decoded_size: int, at_once: bool
) -> None:
    """What comes is copied and decoded off the event loop, unless it is little."""

    def decode(data: bytes) -> tuple[int, bool]:
        return len(data), threading.current_thread() is threading.main_thread()

    store = make_obstore("memory", buckets=["bucket"], **PARTS)
    await store.put(PLACE, b"x" * size)
    made = await store.fetch(PLACE, max_size=size, decode=decode, decoded_size=decoded_size)
    assert made == (size, at_once)


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


async def test_places_outside_a_directory(make_obstore: MakeStore, tmp_path: Path) -> None:
    """Directions in keys are refused; what cannot be made now is not available."""
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "file").write_bytes(b"")
    store = make_obstore("file", root=str(tmp_path))
    with pytest.raises(StoreUnavailable, match="Not a directory"):
        await store.put(Location("bucket", "file/below"), b"payload")
    with pytest.raises(RequestRefused):
        await store.put(Location("bucket", "../outside"), b"payload")
    with pytest.raises(RequestRefused):
        await store.get(Location("bucket", "../../etc/passwd"), max_size=100)


async def test_cancelled_large_get(make_obstore: MakeStore, large: bytes, monkeypatch: Any) -> None:
    """Parts of a get that is cancelled are given up, and no more of them are asked for."""
    store = make_obstore("memory", buckets=["bucket"], multipart_threshold=MIB, part_size=MIB)
    await store.put(PLACE, large)
    asked, given_up, busy = [], [], asyncio.Event()

    async def held(_: Location, start: int, *args: Any) -> bytes:
        asked.append(start)
        if len(asked) == PARTS_AT_ONCE:
            busy.set()
        try:
            return await asyncio.Future()
        finally:
            given_up.append(start)

    monkeypatch.setattr(store, "_range", held)
    reading = asyncio.ensure_future(store.get(PLACE, max_size=len(large)))
    await busy.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert asked == given_up == [number * MIB for number in range(PARTS_AT_ONCE)]
