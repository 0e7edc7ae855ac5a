"""Uploading what is read piece by piece: files, and what somebody makes."""

from __future__ import annotations

import asyncio
import os
import re
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import faust
import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st
from stores import BarrierStore, CountingStore, FailingStore
from worlds import (
    SMALL,
    THRESHOLD,
    Photo,
    claim_in,
    commit,
    connect,
    make_app,
    make_s3,
    message,
    processing,
    producer_of,
    settle,
)

from faust_s3 import (
    AccessDenied,
    ConfigError,
    IntegrityError,
    Payload,
    PayloadTooLarge,
    StoreUnavailable,
    pipeline,
    upload,
)
from faust_s3.claim import MAGIC, Inline, parse
from faust_s3.prefetch import Pending
from faust_s3.stores import Location, Store, memory
from faust_s3.upload import PARTS_AT_ONCE

PART = 1000
MANY = 10 * PART + 7
AWAY = repeat(StoreUnavailable("the store is away"))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "PIECE", PART)
    monkeypatch.setattr(memory, "_PART_SIZE", PART)
    monkeypatch.setattr(upload, "_READ", PART // 4)


class World:
    """An app with a topic of bytes that offloads."""

    def __init__(self, store: Store | None = None, **settings: Any) -> None:
        self.app = make_app()
        self.store: Any = CountingStore() if store is None else store
        self.s3 = make_s3(self.app, self.store, **settings)
        connect(self.app)
        raw = self.app.topic("photos", value_type=bytes, value_serializer="raw")
        self.photos: Any = self.s3.offload(raw)

    async def upload(self, source: Any, **more: Any) -> Payload[Any]:
        return await self.s3.upload(source, **{"topic": self.photos, **more})

    @property
    def objects(self) -> dict[Location, Any]:
        objects: dict[Location, Any] = self.store.inner._objects
        return objects

    def methods(self) -> list[str]:
        return [method for method, _ in self.store.requests]


def payload_of(size: int) -> bytes:
    return bytes(n % 251 for n in range(size))


async def chunks_of(payload: bytes, size: int = 300) -> AsyncIterator[bytes]:
    for at in range(0, len(payload), size):
        yield payload[at : at + size]


async def each(chunks: Iterable[Any]) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    """Make a file of some bytes."""

    def make(payload: bytes) -> Path:
        path = tmp_path / "payload"
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.pwrite(fd, payload, 0)
        os.close(fd)
        return path

    return make


@pytest.fixture(params=["path", "text", "iterator"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], Any]:
    """Make a source of each kind."""
    if request.param == "iterator":
        return chunks_of
    make = request.getfixturevalue("file")
    return make if request.param == "path" else lambda payload: str(make(payload))


# -- what is uploaded


@pytest.mark.may_block  # the test itself writes files
@pytest.mark.parametrize(
    "size", [THRESHOLD + 1, PART - 1, PART, PART + 1, 4 * PART, MANY, 50 * PART]
)
async def test_large_sources_are_stored(source: Callable[[bytes], Any], size: int) -> None:
    """The payload is in the store, the handle says where, and loading verifies it."""
    world = World()
    payload = await world.upload(source(payload_of(size)))
    claim = cast(Any, payload.claim)
    assert world.objects[Location(claim.bucket, claim.key)][0] == payload_of(size)
    assert (payload.size, payload.digest) == (size, sha256(payload_of(size)).digest())
    assert claim == parse(payload.wire)
    assert len(payload.wire) <= 128
    assert await payload.load() == payload_of(size)
    assert b"".join([chunk async for chunk in payload.stream()]) == payload_of(size)
    assert len(world.objects) == 1


@pytest.mark.may_block
@pytest.mark.parametrize("size", [0, 1, THRESHOLD])
async def test_small_sources_are_not(source: Callable[[bytes], Any], size: int) -> None:
    """They travel in the handle, and on the topic as if they had been sent."""
    world = World()
    payload = await world.upload(source(payload_of(size)))
    assert (payload.claim, payload.size, payload.wire) == (None, size, payload_of(size))
    await world.photos.send(value=payload)
    assert producer_of(world.app).values == [payload_of(size)]
    assert not world.store.requests


async def test_a_small_source_that_looks_like_a_claim() -> None:
    """It is wrapped, once."""
    world = World()
    payload = await world.upload(each([MAGIC, b"!"]))
    assert await payload.load() == MAGIC + b"!"
    await world.photos.send(value=payload)
    assert producer_of(world.app).values == [Inline(5, MAGIC + b"!").dumps()]


@pytest.mark.may_block
async def test_files_have_their_ordinary_place(file: Callable[[bytes], Path]) -> None:
    """A file is read once for its digest: its object is that of the same bytes, sent."""
    world = World()
    payload = await world.upload(file(payload_of(MANY)))
    await world.photos.send(value=payload_of(MANY))
    assert producer_of(world.app).values == [payload.wire]
    assert len(world.objects) == 1


async def test_iterators_have_a_place_of_their_own() -> None:
    """A digest that is not known yet cannot be in the object's key; a short UUID is."""
    world = World()
    one, other = [await world.upload(chunks_of(payload_of(MANY))) for _ in range(2)]
    for payload in (one, other):
        head, _, last = cast(Any, payload.claim).key.rpartition("/")
        assert re.fullmatch(r"[A-Za-z0-9_-]{22}", last)
        assert head.startswith("prefix/photos/20")
    assert one.wire != other.wire
    assert one.digest == other.digest
    assert len(world.objects) == 2


async def test_the_longest_names_of_a_short_claim() -> None:
    """docs/object-keys.md says how long they may be."""
    world = World(url=f"s3://{'b' * 20}/{'p' * 15}", max_payload=2**34)
    payload = await world.upload(chunks_of(payload_of(MANY)))
    claim = cast(Any, payload.claim)
    huge = replace(claim, payload_size=2**35 - 1, stored_size=2**35 - 1)
    assert len(claim.bucket + "p" * 15 + "photos") == 41
    assert len(huge.dumps()) == 128


async def test_short_iterators_have_their_ordinary_place() -> None:
    """What ends within one part is stored like anything else."""
    world = World()
    payload = await world.upload(chunks_of(payload_of(PART - 1)))
    assert cast(Any, payload.claim).key.endswith(payload.digest.hex())
    assert world.methods() == ["put"]


async def test_key_template() -> None:
    """Key and partition are in the object's key, as when the same is sent."""
    world = World(key_template="{topic}/{partition}/{key}/{digest}/{uuid}")
    payload = await world.upload(chunks_of(payload_of(MANY)), key="a/b", partition=3)
    path = cast(Any, payload.claim).key.split("/")
    assert path[:4] == ["prefix", "photos", "3", "a%2Fb"]
    assert urlsafe_b64decode(path[4] + "==") == UUID(path[5]).bytes
    assert payload.key == "a/b"


@given(cuts=st.lists(st.integers(0, 3 * PART), max_size=8))
def test_any_chunks(cuts: list[int]) -> None:
    """However the bytes come, they are the same."""
    payload = payload_of(sum(cuts))
    bounds = [sum(cuts[:n]) for n in range(len(cuts) + 1)]
    kinds: list[Any] = [bytes, bytearray, memoryview]
    chunks = [kinds[n % 3](payload[a:b]) for n, (a, b) in enumerate(pairwise(bounds))]

    async def uploaded() -> Any:
        world = World()
        return await (await world.upload(each(chunks))).load()

    assert asyncio.run(uploaded()) == payload


async def test_through_a_topic_of_models() -> None:
    """The bytes are the value as the topic's serializers write it."""
    world = World()
    topic = world.app.topic("models", value_type=Photo, value_serializer="json|s3")
    pixels = "x" * MANY
    chunks = [b'{"name":"cat",', b'"pixels":"', pixels.encode(), b'"}']
    payload = await world.upload(each(chunks), topic=topic)
    assert await payload.load() == Photo("cat", pixels)
    await topic.send(key="cat", value=payload)
    (sent,) = producer_of(world.app).sent
    assert (sent.topic, sent.key, sent.value) == ("models", b"cat", payload.wire)
    event = await topic.decode(message(sent.value), propagate=True)
    assert isinstance(event, Pending) or event.value == Photo("cat", pixels)


async def test_a_key_type() -> None:
    """Keys are what the topic says."""
    world = World()
    topic = world.app.topic("keys", key_type=int, key_serializer="json", value_serializer="raw|s3")
    payload = await world.upload(each([SMALL]), topic=topic, key=7)
    assert (payload.key, await payload.load()) == (7, SMALL)


# -- what memory holds


class LongParts(CountingStore):
    """Every part takes far longer than it takes to read one.

    Attributes:
        inside: Parts under way.
        most: The most that ever were.
        arrived: Parts that are through.
    """

    inside = most = arrived = 0

    async def enter(self, method: Any, location: Location) -> None:
        await super().enter(method, location)
        if method == "part":
            self.inside += 1
            self.most = max(self.most, self.inside)
            for _ in range(30):
                await asyncio.to_thread(lambda: None)

    async def leave(self, method: Any, location: Location) -> None:
        if method == "part":
            self.inside -= 1
            self.arrived += 1


async def test_a_source_is_read_as_parts_arrive() -> None:
    """A few parts are under way at once, and no more is read before one has arrived."""
    store = LongParts()
    pulled = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal pulled
        for _ in range(20 * 4):
            pulled += PART // 4
            assert pulled <= (store.arrived + PARTS_AT_ONCE + 1) * PART
            yield bytes(PART // 4)

    payload = await World(store).upload(chunks())
    assert (payload.size, store.arrived) == (20 * PART, 20)
    assert store.most == PARTS_AT_ONCE
    assert await payload.load() == bytes(20 * PART)


# -- when something goes wrong


async def test_a_part_that_fails_is_sent_again() -> None:
    """Only that one: what has arrived has arrived."""

    class Broken(CountingStore):
        async def enter(self, method: Any, location: Location) -> None:
            await super().enter(method, location)
            if 3 <= self.count("part") < 6 and method == "part":
                raise StoreUnavailable("the connection is broken")

    world = World(Broken())
    payload = await world.upload(chunks_of(payload_of(MANY)))
    assert await payload.load() == payload_of(MANY)
    assert world.methods().count("part") == 11 + 3
    assert (world.methods().count("open_upload"), world.methods().count("finish")) == (1, 1)


@pytest.mark.parametrize("number", range(1, 4))
async def test_beginning_and_finishing_are_tried_again(number: int) -> None:
    """As every request is."""
    world = World(FailingStore(number))
    payload = await world.upload(chunks_of(payload_of(3 * PART)))
    assert await payload.load() == payload_of(3 * PART)


async def failing(payload: bytes) -> AsyncIterator[bytes]:
    async for chunk in chunks_of(payload):
        yield chunk
    raise OSError("the camera is gone")


async def test_a_source_that_fails() -> None:
    """Its error is the caller's, and nothing is left in the store."""
    world = World()
    with pytest.raises(OSError, match="the camera is gone"):
        await world.upload(failing(payload_of(MANY)))
    assert not world.objects
    assert world.methods()[-1] == "abort"


@pytest.mark.parametrize("method", ["open_upload", "part", "finish"])
async def test_a_store_that_refuses(method: str) -> None:
    """The first refusal ends it, and nothing is left in the store."""

    class Refusing(CountingStore):
        async def enter(self, entered: Any, location: Location) -> None:
            await super().enter(entered, location)
            if entered == method:
                raise AccessDenied("access is denied")

    world = World(Refusing())
    with pytest.raises(AccessDenied) as raised:
        await world.upload(chunks_of(payload_of(MANY)))
    assert raised.value.topic == "photos"
    assert not world.objects
    assert (world.methods()[-1] == "abort") is (method != "open_upload")
    assert world.methods().count("part") <= 11


@pytest.mark.parametrize("method", ["part", "finish"])
async def test_a_cancelled_upload(method: str) -> None:
    """It is aborted, and what was under way ends."""

    class Stuck(CountingStore):
        async def enter(self, entered: Any, location: Location) -> None:
            await super().enter(entered, location)
            if entered == method:
                stuck.set()
                await asyncio.Event().wait()

    stuck = asyncio.Event()
    world = World(Stuck())
    uploading = asyncio.ensure_future(world.upload(chunks_of(payload_of(MANY))))
    await stuck.wait()
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading
    assert not world.objects
    assert world.methods()[-1] == "abort"


async def test_who_is_cancelled_does_not_wait_for_a_store_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker has to stop some time."""

    class Stuck(CountingStore):
        async def enter(self, entered: Any, location: Location) -> None:
            await super().enter(entered, location)
            if entered in ("part", "abort"):
                stuck.set()
                await asyncio.Event().wait()

    monkeypatch.setattr("faust_s3.upload._ABORT_GRACE", 0.01)
    stuck = asyncio.Event()
    world = World(Stuck())
    uploading = asyncio.ensure_future(world.upload(chunks_of(payload_of(MANY))))
    await stuck.wait()
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading
    assert world.methods()[-1] == "abort"


async def test_more_than_the_cap() -> None:
    """An iterator is read as far as the cap and no further."""
    world, pulled = World(max_payload=3 * PART), 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pulled
        while True:
            pulled += 100
            yield bytes(100)

    with pytest.raises(PayloadTooLarge, match="max_payload=3000") as raised:
        await world.upload(endless())
    assert raised.value.topic == "photos"
    assert pulled <= 5 * PART
    assert not world.objects


@pytest.mark.may_block
async def test_a_file_over_the_cap(file: Callable[[bytes], Path]) -> None:
    """It is refused before a byte is sent."""
    world = World(max_payload=3 * PART)
    with pytest.raises(PayloadTooLarge, match="max_payload=3000"):
        await world.upload(file(payload_of(3 * PART + 1)))
    assert not world.store.requests
    assert (await world.upload(file(payload_of(3 * PART)))).size == 3 * PART


@pytest.mark.may_block
@pytest.mark.parametrize("change", [b"", b"?", payload_of(PART)])
async def test_a_file_that_changes(file: Callable[[bytes], Path], change: bytes) -> None:
    """What is uploaded is what was measured, or nothing."""

    class Changing(CountingStore):
        async def enter(self, entered: Any, location: Location) -> None:
            await super().enter(entered, location)
            if entered == "open_upload":
                file(change or payload_of(MANY)[:-1])

    world = World(Changing())
    path = file(payload_of(MANY))
    with pytest.raises(IntegrityError, match="changed while it was read"):
        await world.upload(path)
    assert not world.objects


@pytest.mark.may_block
async def test_what_is_no_source(tmp_path: Path) -> None:
    """The error says what one is."""
    world = World()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe):
        with pytest.raises(ValueError, match="must be a file, or an async iterator"):
            await world.upload(path)
    with pytest.raises(FileNotFoundError):
        await world.upload(tmp_path / "missing")
    for wrong in (b"bytes", 7, [b"chunks"], None):
        with pytest.raises(TypeError, match="must be the path of a file, or an async iterator"):
            await world.upload(wrong)
    with pytest.raises(TypeError, match="source yields 'str'; it must yield bytes"):
        await world.upload(each([b"bytes", "text"]))
    assert not world.store.requests


async def test_what_is_no_topic() -> None:
    """A payload is uploaded for a topic of this app that offloads its values."""
    world, other = World(), World()
    keys = world.s3.offload(world.app.topic("keys"), keys=True, values=False)
    for topic in (world.app.topic("plain"), keys):
        with pytest.raises(ConfigError, match=f"the topic {topic}, which does not offload"):
            await world.upload(each([SMALL]), topic=topic)
    for topic in (other.photos, "photos", None, faust.Topic(make_app(), topics=["photos"])):
        with pytest.raises(ConfigError, match="a topic of the app of this S3"):
            await world.upload(each([SMALL]), topic=topic)


# -- in agents, and elsewhere


async def test_outside_an_agent_waiting_ends() -> None:
    """A part that is not stored for ``send_timeout`` seconds is the caller's problem."""
    world = World(FailingStore(AWAY), send_timeout=0.01)
    with pytest.raises(StoreUnavailable) as raised:
        await world.upload(chunks_of(payload_of(MANY)))
    assert raised.value.attempts


def source_event(world: World) -> faust.Event:
    return faust.Event(
        world.app, None, "source", None, message(b"source", topic="source", offset=5)
    )


async def test_in_an_agent_waiting_does_not_end() -> None:
    """The event is held instead."""
    world = World(FailingStore(100), send_timeout=0.001)
    with processing(source_event(world)):
        payload = await world.upload(chunks_of(payload_of(MANY)))
    assert await payload.load() == payload_of(MANY)


async def test_in_an_agent_a_failure_forbids_the_commit() -> None:
    """The event is delivered again, as after a failed send."""
    world = World(FailingStore(repeat(AccessDenied("access is denied"))))
    with processing(source_event(world)), pytest.raises(AccessDenied):
        await world.upload(chunks_of(payload_of(MANY)))
    await settle(lambda: world.app.crashed)
    assert world.app.crashed
    assert await commit(world.app, TP("source", 0), 4, 5, 6) is None


async def test_uploads_side_by_side() -> None:
    """Several may be under way at once."""
    world = World(BarrierStore(4))
    payloads = await asyncio.gather(
        *(world.upload(chunks_of(payload_of(MANY + n))) for n in range(4))
    )
    assert [payload.size for payload in payloads] == [MANY + n for n in range(4)]
    for n, payload in enumerate(payloads):
        await world.photos.send(value=payload)
        assert await payload.load() == payload_of(MANY + n)
    assert [claim_in(value).payload_size for value in producer_of(world.app).values] == [
        MANY + n for n in range(4)
    ]
