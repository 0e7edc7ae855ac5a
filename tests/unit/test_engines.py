"""Engines: which store the settings ask for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from worlds import make_app

from faust_s3 import S3
from faust_s3.claim import Claim
from faust_s3.config import Config
from faust_s3.engines import open_store
from faust_s3.exceptions import ClaimError, ConfigError, ObjectMissing
from faust_s3.places import Prefix
from faust_s3.stores import Location
from faust_s3.stores.obstore import ObstoreStore
from faust_s3.stores.s3 import S3Store


def config(url: str = "s3://my-bucket/photos", **settings: Any) -> Config:
    return Config(url=url, **settings)


def test_boto3_is_the_default() -> None:
    """Nothing has to be installed for S3."""
    assert type(open_store(config(), None)) is S3Store


@pytest.mark.parametrize(
    "url", ["s3://bucket/prefix", "gs://bucket", "az://container", "memory://bucket", "file:///srv"]
)
def test_obstore(url: str) -> None:
    """The same engine opens every kind of store; nothing is asked for yet."""
    assert type(open_store(config(url, engine="obstore"), None)) is ObstoreStore


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    for name in [name for name in sys.modules if name.startswith("faust_s3.stores.obstore")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("obstore", "obstore.store", "obstore.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"pip install 'faust-s3\[obstore\]'"):
        S3(make_app(), "s3://bucket", engine="obstore")


def test_what_a_store_cannot_do() -> None:
    """A setting that the store cannot honour is refused when the app is made."""
    with pytest.raises(ConfigError, match="sse 'AES256' cannot be set for gs://"):
        open_store(config("gs://bucket", engine="obstore", sse="AES256"), None)
    with pytest.raises(ConfigError, match=r"session .* cannot be set for memory://"):
        open_store(config("memory://bucket", engine="obstore"), boto3.Session())


@pytest.mark.parametrize(
    ("url", "place", "text"),
    [
        ("s3://bucket/a/b/", Prefix("bucket", "a/b"), "s3://bucket/a/b"),
        ("gs://bucket", Prefix("bucket", "", "gs"), "gs://bucket"),
        ("az://container/a", Prefix("container", "a", "az"), "az://container/a"),
        ("memory://bucket", Prefix("bucket", "", "memory"), "memory://bucket"),
        ("file:///srv/payloads/", Prefix("payloads", "", "file", "/srv/"), "file:///srv/payloads"),
        ("file:///srv", Prefix("srv", "", "file", "/"), "file:///srv"),
    ],
)
def test_places(url: str, place: Prefix, text: str) -> None:
    """Each kind of URL names a bucket; of a directory, the bucket is its last part."""
    assert Prefix.parse("url", url) == place
    assert str(place) == text


@pytest.mark.parametrize(
    "url", ["file://srv/payloads", "file:///", "file:payloads", "http://bucket", "gs:///a", "az://"]
)
def test_no_places(url: str) -> None:
    """Other URLs are refused, with their text."""
    with pytest.raises(ConfigError, match="must be like s3://bucket/prefix"):
        Prefix.parse("url", url)


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_offloading(kind: str, tmp_path: Path) -> None:
    """The pipeline works on any kind of store."""
    url = f"file://{tmp_path}" if kind == "file" else "memory://bucket"
    s3 = S3(None, url, name=f"engine_{kind}", engine="obstore", threshold=10, cache_bytes=0)
    data = await s3.pipeline.offload(b"payload" * 100, topic="photos")
    assert await s3.pipeline.rehydrate(data) == b"payload" * 100
    claim = s3.pipeline.read(data)
    assert isinstance(claim, Claim)
    assert claim.bucket == s3.config.home.bucket
    await s3.store.delete(Location(claim.bucket, claim.key))
    with pytest.raises(ObjectMissing):
        await s3.pipeline.redeem(claim)
    with pytest.raises(ClaimError):
        s3.config.check_trusted("other", "photos/x")
    await s3.close()
