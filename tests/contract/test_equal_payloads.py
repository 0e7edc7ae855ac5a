"""Payloads that are stored a second time, on the real server."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from faust_s3.config import Config
from faust_s3.exceptions import ObjectMissing
from faust_s3.pipeline import Pipeline
from faust_s3.stores import Store

# They look at the server with a blocking client.
pytestmark = pytest.mark.may_block

PHOTO = Random(1).randbytes(1_000_000)

MakeStore = Callable[..., Store]


def writer(store: Store, bucket: str, **settings: Any) -> Pipeline:
    return Pipeline(Config(url=f"s3://{bucket}/photos", cache_bytes=0, **settings), store)


def versions(client: Any, bucket: str) -> int:
    """Return how often objects were put."""
    return len(client.list_object_versions(Bucket=bucket).get("Versions", ()))


@pytest.fixture
def versioned(client: Any, bucket: str) -> Any:
    """A bucket that keeps whatever is put."""
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    yield bucket
    for version in client.list_object_versions(Bucket=bucket).get("Versions", ()):
        client.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])


async def test_stored_once(real_store: MakeStore, versioned: str, client: Any) -> None:
    """There is one version of an object that was sent three times."""
    pipeline = writer(real_store(), versioned)
    claims = {await pipeline.offload(PHOTO, topic="photos") for _ in range(3)}
    assert versions(client, versioned) == 1
    assert await pipeline.rehydrate(claims.pop()) == PHOTO
    assert not claims


async def test_another_process(real_store: MakeStore, versioned: str, client: Any) -> None:
    """What somebody else stored is stored again, and whole: nothing is taken for granted."""
    store = real_store()
    first, second = writer(store, versioned), writer(store, versioned)
    claim = await first.offload(PHOTO, topic="photos")
    place: Any = first.read(claim)
    client.put_object(Bucket=versioned, Key=place.key, Body=b"other bytes")
    assert await second.offload(PHOTO, topic="photos") == claim
    assert await second.rehydrate(claim) == PHOTO
    assert versions(client, versioned) == 3


@pytest.mark.parametrize("window", [60, 1e-9])
async def test_removed_by_hand(
    real_store: MakeStore, bucket: str, client: Any, window: float
) -> None:
    """An object that somebody removes is missed within the window, and not after it."""
    pipeline = writer(real_store(), bucket, dedup_window=window)
    claim = await pipeline.offload(PHOTO, topic="photos")
    place: Any = pipeline.read(claim)
    client.delete_object(Bucket=bucket, Key=place.key)
    assert await pipeline.offload(PHOTO, topic="photos") == claim
    if window == 60:
        with pytest.raises(ObjectMissing):
            await pipeline.rehydrate(claim)
    else:
        assert await pipeline.rehydrate(claim) == PHOTO
