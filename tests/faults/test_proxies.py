"""What proxies inject is seen by the store as the errors that the documentation promises."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from hashlib import sha256
from typing import Any

import boto3
import pytest
from broker_proxy import BrokerProxy
from injected import (
    ACCESS_DENIED,
    INTERNAL_ERROR,
    NO_FAULT,
    NO_SUCH_KEY,
    SLOW_DOWN,
    THROTTLED,
    BlackHole,
    Fault,
    Refused,
    Reset,
    Slow,
    Trickle,
    Truncated,
    WrongBytes,
)
from s3_proxy import S3Proxy

from faust_s3.claim import Claim
from faust_s3.config import Config
from faust_s3.exceptions import (
    AccessDenied,
    IntegrityError,
    ObjectMissing,
    S3Error,
    StoreUnavailable,
)
from faust_s3.local.ports import free_ports
from faust_s3.pipeline import Pipeline
from faust_s3.retry import Patience
from faust_s3.stores import Location
from faust_s3.stores.s3 import S3Store

pytestmark = pytest.mark.may_block  # the proxy's switch waits for the proxy

#: More than sockets hold, so that half of it is not all of it.
PAYLOAD = os.urandom(3 * 2**20)
DIGEST = sha256(PAYLOAD).digest()


@pytest.fixture
def proxy(s3_server: Any) -> Iterator[S3Proxy]:
    """A proxy that does as it should until it is told otherwise."""
    with S3Proxy(s3_server.endpoint_url) as running:
        yield running


@pytest.fixture
async def store(proxy: S3Proxy, session: boto3.Session) -> AsyncIterator[S3Store]:
    """A store behind the proxy, which gives up soon."""
    made = S3Store(
        session=session,
        region="us-east-1",
        endpoint_url=proxy.endpoint_url,
        path_style=True,
        connect_timeout=1,
        read_timeout=1,
        request_timeout=2,
    )
    yield made
    await made.close()


@pytest.fixture
async def place(store: S3Store, bucket: str) -> Location:
    """Where an object lies."""
    location = Location(bucket, "object")
    await store.put(location, PAYLOAD, sha256=DIGEST)
    return location


async def get(store: S3Store, place: Location) -> bytes:
    return await store.get(place, max_size=len(PAYLOAD))


UNAVAILABLE = [
    Refused(),
    BlackHole(),
    Reset(),
    Truncated(),
    Trickle(),
    INTERNAL_ERROR,
    SLOW_DOWN,
    Slow(latency=5),
]


@pytest.mark.parametrize("fault", UNAVAILABLE, ids=repr)
async def test_an_object_is_not_available(
    proxy: S3Proxy, store: S3Store, place: Location, fault: Fault
) -> None:
    """Downloads and uploads fail in a way that waiting helps against, and it does."""
    with proxy.suffering(fault):
        with pytest.raises(StoreUnavailable):
            await get(store, place)
        with pytest.raises(StoreUnavailable):
            await store.put(place, PAYLOAD, sha256=DIGEST)
    assert await get(store, place) == PAYLOAD
    await store.put(place, PAYLOAD, sha256=DIGEST)


@pytest.mark.parametrize(
    ("fault", "error"), [(ACCESS_DENIED, AccessDenied), (NO_SUCH_KEY, ObjectMissing)], ids=repr
)
async def test_an_object_is_refused(
    proxy: S3Proxy, store: S3Store, place: Location, fault: Fault, error: type[S3Error]
) -> None:
    """Answers that will be the same tomorrow are no matter of waiting."""
    with proxy.suffering(fault), pytest.raises(error):
        await get(store, place)
    with proxy.suffering(fault), pytest.raises(error):
        await store.put(place, PAYLOAD, sha256=DIGEST)


async def test_wrong_bytes_are_noticed(proxy: S3Proxy, store: S3Store, place: Location) -> None:
    """A claim leads to its payload or to an error; the server notices an upload by itself."""
    claim = Claim(*place, len(PAYLOAD), len(PAYLOAD), DIGEST)
    pipeline = Pipeline(Config(url=f"s3://{place.bucket}"), store)
    with proxy.suffering(WrongBytes()):
        with pytest.raises(IntegrityError):
            await pipeline.rehydrate(claim.dumps(), patience=Patience(timeout=0.1))
        with pytest.raises(S3Error):
            await store.put(place, PAYLOAD, sha256=DIGEST)
    assert await pipeline.rehydrate(claim.dumps()) == PAYLOAD


async def test_a_share_is_throttled(proxy: S3Proxy, store: S3Store, place: Location) -> None:
    """Half of the requests fail, and the others do not."""
    before = proxy.requests
    with proxy.suffering(THROTTLED):
        results = await asyncio.gather(
            *(get(store, place) for _ in range(40)), return_exceptions=True
        )
    failures = [result for result in results if isinstance(result, StoreUnavailable)]
    assert len(failures) == proxy.injected
    assert 10 <= proxy.injected <= 30
    assert proxy.requests - before == len(results)


async def test_latency_and_jitter(proxy: S3Proxy, store: S3Store, place: Location) -> None:
    """An answer comes later, and is the same."""
    with proxy.suffering(Slow(latency=0.3, jitter=0.2)):
        began = time.monotonic()
        assert await get(store, place) == PAYLOAD
    assert time.monotonic() - began >= 0.3


async def test_a_black_hole_takes_what_is_under_way(
    proxy: S3Proxy, store: S3Store, place: Location
) -> None:
    """A fault befalls transfers that have begun."""
    proxy.fault = Trickle(interval=0.01)
    under_way = asyncio.ensure_future(get(store, place))
    while not proxy.injected:  # noqa: ASYNC110 - it is counted in another thread
        await asyncio.sleep(0.01)
    proxy.fault = BlackHole()
    with pytest.raises(StoreUnavailable):
        await under_way


def has_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_nothing_is_left(s3_server: Any) -> None:
    """A proxy that has stopped has no thread, and its port is free."""
    before = threading.active_count()
    with S3Proxy(s3_server.endpoint_url) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.listen)) as connection:
            connection.sendall(b"GET /")
        proxy.fault = Refused()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.listen))
        proxy.fault = NO_FAULT
        open_one = socket.create_connection(("127.0.0.1", proxy.listen))
    with closing(open_one):
        open_one.settimeout(5)
        assert has_ended(open_one)
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.listen))


# The broker's


@pytest.fixture
def echo() -> Iterator[int]:
    """Port of a server that says what it is told."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer(connection: socket.socket) -> None:
            with connection:
                while data := connection.recv(1024):
                    connection.sendall(data)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    answer(connection)
                except ConnectionError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.fixture
def broker(echo: int) -> Iterator[BrokerProxy]:
    """A proxy in front of it."""
    with BrokerProxy("127.0.0.1", echo) as running:
        yield running


def ask(proxy: BrokerProxy, timeout: float = 5) -> bytes:
    with socket.create_connection(("127.0.0.1", proxy.listen), timeout) as connection:
        connection.sendall(b"hello")
        return connection.recv(5)


def test_a_slow_broker(broker: BrokerProxy) -> None:
    """Both ways take their time."""
    with broker.suffering(Slow(latency=0.1)):
        began = time.monotonic()
        assert ask(broker) == b"hello"
    assert time.monotonic() - began >= 0.2


def test_a_broker_that_is_away(broker: BrokerProxy) -> None:
    """It does not listen, or does not answer, and then does."""
    with broker.suffering(Refused()), pytest.raises(ConnectionRefusedError):
        ask(broker)
    with broker.suffering(BlackHole()), pytest.raises(TimeoutError):
        ask(broker, timeout=0.2)
    assert ask(broker) == b"hello"


def test_connections_to_the_broker_are_reset(broker: BrokerProxy) -> None:
    """New ones, and those that were there."""
    with socket.create_connection(("127.0.0.1", broker.listen), 5) as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"hello"
        with broker.suffering(Reset()):
            with pytest.raises(ConnectionError):
                connection.recv(5)
            with pytest.raises(ConnectionError):
                ask(broker)
    assert ask(broker) == b"hello"


@pytest.mark.parametrize("fault", [Slow(), BlackHole(), Refused(), Reset()])
def test_what_suffers_at_the_broker_is_counted(broker: BrokerProxy, fault: Fault) -> None:
    """Connections that are there, or what is on its way in them; nothing before and after."""
    with socket.create_connection(("127.0.0.1", broker.listen), 5) as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"hello"
        assert broker.injected == 0
        with broker.suffering(fault):
            connection.settimeout(0.2)
            with contextlib.suppress(OSError):
                connection.sendall(b"again")
                connection.recv(5)
    suffered = broker.injected
    assert suffered
    assert ask(broker) == b"hello"
    assert broker.injected == suffered


def test_a_broker_that_is_not_there_is_counted() -> None:
    """The proxy listens, and leads nowhere."""
    with BrokerProxy("127.0.0.1", free_ports(1)[0]) as proxy:
        assert ask(proxy) == b""
        assert proxy.injected == 1
