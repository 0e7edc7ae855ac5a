"""Stores over the servers of a test run, and over servers that misbehave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import boto3
import pytest
from faults import Behaviour, FaultServer

from faust_s3.stores import MemoryStore, Store
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
def real_store(
    make_store: Callable[..., S3Store], session: boto3.Session, s3_server: Any
) -> Callable[..., S3Store]:
    """Make stores over the real server, with settings to choose."""

    def make(**settings: Any) -> S3Store:
        settings = {"session": session, "region": s3_server.region, **settings}
        return make_store(endpoint_url=s3_server.endpoint_url, **settings)

    return make


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


@pytest.fixture
def faulty_store(
    make_store: Callable[..., S3Store], faults: Callable[[Behaviour], FaultServer]
) -> Callable[..., S3Store]:
    """Make stores over a server that misbehaves."""

    def make(behaviour: Behaviour | FaultServer, **settings: Any) -> S3Store:
        server = behaviour if isinstance(behaviour, FaultServer) else faults(behaviour)
        settings.setdefault("session", boto3.Session("key-id", "secret"))
        settings.setdefault("region", "us-east-1")
        return make_store(endpoint_url=server.url, **settings)

    return make


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each store in turn; ``place`` is its bucket."""
    if request.param == "memory":
        return MemoryStore(buckets=["bucket"])
    made: Store = request.getfixturevalue("real_store")()
    return made


@pytest.fixture
def place(request: pytest.FixtureRequest, store: Store) -> str:
    """The store's bucket, which is empty."""
    if isinstance(store, MemoryStore):
        return "bucket"
    name: str = request.getfixturevalue("bucket")
    return name
