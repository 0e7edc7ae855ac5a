"""What S3Store signs: over TLS not the bodies, whose checksum it signs already."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
import trustme
from tls import TLS

from faust_s3.exceptions import ObjectMissing, StoreUnavailable
from faust_s3.stores import Location
from faust_s3.stores.s3 import S3Store

PART = 5 * 2**20

MakeStore = Callable[..., S3Store]


@pytest.fixture
def https(s3_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of the S3 server behind TLS, which boto3 trusts."""
    server = urlsplit(s3_server.endpoint_url)
    if server.scheme == "https":
        yield s3_server.endpoint_url
        return
    authority, certificate = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(certificate)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    with TLS(server.port or 80, certificate) as proxy:
        yield f"https://127.0.0.1:{proxy.listen}"


@pytest.fixture
def signed(session: boto3.Session) -> list[str]:
    """What the signatures of requests with a body say of the body."""
    found: list[str] = []

    def look(request: Any, **kwargs: Any) -> None:
        if request.method == "PUT":
            said = request.headers["x-amz-content-sha256"]
            found.append(said if isinstance(said, str) else said.decode())

    session.events.register("before-send.s3", look)
    return found


async def test_put_over_tls(
    https: str, make_store: MakeStore, session: boto3.Session, bucket: str, signed: list[str]
) -> None:
    """Objects arrive whole, in parts too, and nobody hashed them for the signature."""
    store = make_store(
        session=session,
        region="us-east-1",
        endpoint_url=https,
        multipart_threshold=PART,
        part_size=PART,
    )
    for data in (b"", b"payload", b"x" * PART, b"y" * (PART + 1)):
        location = Location(bucket, str(len(data)))
        await store.put(location, data, sha256=sha256(data).digest())
        assert await store.get(location, max_size=len(data)) == data
    assert signed == ["UNSIGNED-PAYLOAD"] * 5


async def test_wrong_digest_over_tls(
    https: str, make_store: MakeStore, session: boto3.Session, bucket: str
) -> None:
    """The checksum still is what the server verifies."""
    store = make_store(session=session, region="us-east-1", endpoint_url=https)
    location = Location(bucket, "key")
    with pytest.raises(StoreUnavailable, match="BadDigest"):
        await store.put(location, b"payload", sha256=sha256(b"other").digest())
    with pytest.raises(ObjectMissing):
        await store.get(location, max_size=100)


async def test_certificate_that_nobody_vouches_for(
    https: str, make_store: MakeStore, session: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an outage, as any connection that cannot be made."""
    monkeypatch.delenv("AWS_CA_BUNDLE")
    store = make_store(session=session, region="us-east-1", endpoint_url=https)
    with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await store.put(Location("bucket", "key"), b"payload")


async def test_put_without_tls(
    s3_server: Any,
    make_store: MakeStore,
    session: boto3.Session,
    bucket: str,
    signed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There the body is signed, wherever the endpoint's URL comes from."""
    if urlsplit(s3_server.endpoint_url).scheme == "https":
        pytest.skip("the S3 server given has TLS")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint_url)
    digest = sha256(b"payload")
    store = make_store(session=session, region="us-east-1")
    await store.put(Location(bucket, "key"), b"payload", sha256=digest.digest())
    assert signed == [digest.hexdigest()]
