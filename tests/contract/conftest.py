"""Stores over the servers of a test run, and over servers that misbehave."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
from faults import Behaviour, FaultServer
from interoperable import service_account, without_signature

from faust_s3.stores import MemoryStore, Store
from faust_s3.stores.obstore import ObstoreStore
from faust_s3.stores.s3 import S3Store


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """Nothing of AWS comes from the environment. The path of the files of profiles."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


@pytest.fixture
async def make_store() -> AsyncIterator[Callable[..., S3Store]]:
    """Make stores that are closed at the end."""
    made: list[S3Store] = []

    def make(**settings: Any) -> S3Store:
        made.append(S3Store(path_style=True, **settings))
        return made[-1]

    yield make
    for store in made:
        await store.close()


@pytest.fixture
async def make_obstore() -> AsyncIterator[Callable[..., ObstoreStore]]:
    """Make stores of obstore's that are closed at the end."""
    made: list[ObstoreStore] = []

    def make(*args: Any, **settings: Any) -> ObstoreStore:
        made.append(ObstoreStore(*args, **settings))
        return made[-1]

    yield make
    for store in made:
        await store.close()


@pytest.fixture
def make_s3_obstore(make_obstore: Callable[..., ObstoreStore]) -> Callable[..., ObstoreStore]:
    """The same, of S3."""
    return partial(make_obstore, "s3", path_style=True)


@pytest.fixture(params=["make_store", "make_s3_obstore"], ids=["boto3", "obstore"])
def make_s3(request: pytest.FixtureRequest) -> Any:
    """Make stores of S3 by either engine."""
    return request.getfixturevalue(request.param)


def _real(make: Any, session: boto3.Session, server: Any) -> Any:
    """Make stores over the real server, with settings to choose."""

    def real(**settings: Any) -> Any:
        settings = {"session": session, "region": server.region, **settings}
        return make(endpoint_url=server.endpoint_url, **settings)

    return real


@pytest.fixture
def real_store(make_store: Any, session: boto3.Session, s3_server: Any) -> Callable[..., S3Store]:
    """Make stores of boto3 over the real server."""
    return cast("Callable[..., S3Store]", _real(make_store, session, s3_server))


@pytest.fixture
def real_obstore(
    make_s3_obstore: Any, session: boto3.Session, s3_server: Any
) -> Callable[..., ObstoreStore]:
    """Make stores of obstore's over the real server."""
    return cast("Callable[..., ObstoreStore]", _real(make_s3_obstore, session, s3_server))


@pytest.fixture
def real_s3(make_s3: Any, session: boto3.Session, s3_server: Any) -> Callable[..., Store]:
    """Make stores of either engine over the real server."""
    return cast("Callable[..., Store]", _real(make_s3, session, s3_server))


@pytest.fixture
def faults() -> Iterator[Callable[[Behaviour], FaultServer]]:
    """Start servers that misbehave."""
    started: list[FaultServer] = []

    def start(behaviour: Behaviour) -> FaultServer:
        started.append(FaultServer(behaviour))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def _faulty(make: Any, faults: Callable[[Behaviour], FaultServer]) -> Any:
    """Make stores over a server that misbehaves."""

    def faulty(behaviour: Behaviour | FaultServer, **settings: Any) -> Any:
        server = behaviour if isinstance(behaviour, FaultServer) else faults(behaviour)
        settings = {"session": boto3.Session("key-id", "secret"), "region": "us-east-1", **settings}
        return make(endpoint_url=server.url, **settings)

    return faulty


@pytest.fixture
def faulty_store(make_store: Any, faults: Any) -> Callable[..., S3Store]:
    """Make stores of boto3 over a server that misbehaves."""
    return cast("Callable[..., S3Store]", _faulty(make_store, faults))


@pytest.fixture
def faulty_obstore(make_s3_obstore: Any, faults: Any) -> Callable[..., ObstoreStore]:
    """Make stores of obstore's over a server that misbehaves."""
    return cast("Callable[..., ObstoreStore]", _faulty(make_s3_obstore, faults))


@pytest.fixture
def faulty_s3(make_s3: Any, faults: Any) -> Callable[..., Store]:
    """Make stores of either engine over a server that misbehaves."""
    return cast("Callable[..., Store]", _faulty(make_s3, faults))


@pytest.fixture(scope="session")
def large() -> bytes:
    """Two whole parts of 5 MiB and a bit, no two MiB of them the same."""
    return b"".join(bytes([n]) * 2**20 for n in range(10)) + b"the bit"


#: Servers that run elsewhere: the name of a container of Azure's, or of a bucket of Google's.
#: What else they need, obstore takes from its own variables.
ELSEWHERE = {
    kind: name
    for kind in ("az", "gs")
    if (name := os.environ.get(f"FAUST_S3_TEST_{kind.upper()}")) is not None
}
OURS = ["memory", "s3", "obstore-s3", "obstore-gs", "obstore-file", "obstore-memory"]
STORES = [*OURS, *ELSEWHERE]


@pytest.fixture
def google_elsewhere(
    monkeypatch: pytest.MonkeyPatch, session: boto3.Session, s3_server: Any, faults: Any
) -> None:
    """Requests to Google are answered by the S3 server."""
    credentials = session.get_credentials()
    door = faults(without_signature(s3_server.endpoint_url, s3_server.region, credentials))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", service_account(door.url))


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each store in turn; ``place`` is its bucket."""
    kind = request.param
    if kind == "memory":
        return MemoryStore(buckets=["bucket"])
    if kind == "obstore-memory":
        return ObstoreStore("memory", buckets=["bucket"])
    if kind in ELSEWHERE:
        endpoint_url = os.environ.get("FAUST_S3_TEST_AZ_ENDPOINT") if kind == "az" else None
        return ObstoreStore(kind, endpoint_url=endpoint_url)
    if kind == "obstore-file":
        (tmp_path / "bucket").mkdir()
        return ObstoreStore("file", root=str(tmp_path))
    if kind == "obstore-gs":
        request.getfixturevalue("google_elsewhere")
        return ObstoreStore("gs")
    made: Store = request.getfixturevalue("real_store" if kind == "s3" else "real_obstore")()
    return made


@pytest.fixture
def place(request: pytest.FixtureRequest, store: Store) -> str:
    """The store's bucket, which is empty."""
    kind = request.node.callspec.params["store"]
    if kind in ELSEWHERE:
        name = ELSEWHERE[kind]
        asyncio.run(_empty(store, name))
        return name
    if kind not in ("s3", "obstore-s3", "obstore-gs"):
        return "bucket"
    bucket: str = request.getfixturevalue("bucket")
    return bucket


async def _empty(store: Store, bucket: str) -> None:
    for found in [found async for found in store.list(bucket)]:
        await store.delete(found.location)
