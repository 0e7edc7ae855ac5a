"""Lazy values: an agent gets handles, and loads what it wants."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from itertools import repeat
from typing import Any, cast

import faust
import faust.streams
import pytest
from faust.exceptions import ValueDecodeError
from faust.serializers import codecs
from faust.transport.conductor import ConductorCompiler, ConductorHandler
from faust.types import TP
from stores import BarrierStore, CountingStore, DistantStore, FailingStore
from worlds import (
    THRESHOLD,
    GatedStore,
    Photo,
    claim_in,
    commit,
    connect,
    consumer_of,
    make_app,
    make_s3,
    message,
    producer_of,
    settle,
    stored,
)

from faust_s3 import (
    ConfigError,
    IntegrityError,
    ObjectMissing,
    Payload,
    StoreUnavailable,
    pipeline,
    streaming,
)
from faust_s3.claim import MAGIC, Claim, Encoding, Inline, parse
from faust_s3.compression import compress
from faust_s3.hub import Policy
from faust_s3.stores import Location, Store
from faust_s3.upload import PARTS_AT_ONCE

PHOTOS = TP("photos", 0)
PIXELS = "x" * THRESHOLD
LARGE = json.dumps({"name": "cat", "pixels": PIXELS}).encode()
SMALL = b'{"name":"cat","pixels":""}'
LIKE_A_CLAIM = Inline(len(SMALL), SMALL).dumps()
AWAY = repeat(StoreUnavailable("the store is away"))
MALFORMED = MAGIC + b"\x09nonsense"
FOREIGN = Claim("others", "prefix/x", 101, 101, bytes(32)).dumps()


@pytest.fixture(autouse=True)
def no_autodiscovery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust looks for the agent's source on disk, which is for modules, not for a loop."""
    monkeypatch.setattr("faust.app.base.venusian.attach", lambda *args, **kwargs: None)


@pytest.fixture(params=["compiled", "sharing", "pure"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Faust's compiled loops, the same with what is optional in them, and the pure ones."""
    if request.param == "pure":
        monkeypatch.setattr(faust.streams, "_CStreamIterator", None)
    elif ConductorHandler is None:
        pytest.skip("this Faust was built without its compiled loops")
    return str(request.param)


class World:
    """An app with agents that run, fed by hand."""

    def __init__(self, store: Store | None = None, *, loops: str = "", **settings: Any) -> None:
        self.app = make_app(cython_optimizations=loops == "sharing")
        self.loops = loops
        self.store: Any = CountingStore() if store is None else store
        self.s3 = make_s3(self.app, self.store, **settings)
        connect(self.app)
        self.topic: Any = self.app.topic("photos", value_type=Photo, value_serializer="json|s3")
        self.offset = 0
        self.seen: list[Any] = []

    async def claim(self, payload: bytes = LARGE, **more: Any) -> bytes:
        return await stored(payload, getattr(self.store, "inner", self.store), **more)

    def agent(self, read: Callable[[Any], Any], /, topic: Any = None, **policy: Any) -> Any:
        """Return an agent whose function awaits ``read`` for each value, and keeps the result."""

        async def fun(stream: Any) -> None:
            async for value in stream:
                self.seen.append(await read(value))

        fun.__name__ = f"agent{len(self.app.agents)}"
        lazily = self.s3.rehydrate(**{"lazy": True, **policy})(fun)
        return self.app.agent(self.topic if topic is None else topic)(lazily)

    @asynccontextmanager
    async def running(self, *agents: Any) -> AsyncIterator[Callable[..., Any]]:
        """Start agents, and yield what puts a record on their topic."""
        for agent in agents:
            await agent.start()
        await settle()
        channels = {channel_of(agent) for agent in agents}
        if self.loops in ("compiled", "sharing"):
            handler = ConductorHandler(self.app.topics, PHOTOS, channels)
        else:
            handler = ConductorCompiler().build(self.app.topics, PHOTOS, channels)

        async def put(value: bytes | None, **more: Any) -> None:
            await handler(message(value, offset=self.offset, **more))
            self.offset += 1

        try:
            yield put
        finally:
            for agent in agents:
                agent.cancel()
                await agent.stop()

    async def handle(self, value: bytes | None, *, topic: Any = None, **more: Any) -> Any:
        """Return what a lazy agent gets for a record."""
        topic = (self.topic if topic is None else topic).clone(is_iterator=True)
        topic.policy = Policy(1, 1, "raise", lazy=True)
        event = await topic.decode(message(value, **more), propagate=True)
        return event.value

    async def commit(self, *offsets: int) -> int | None:
        """Acknowledge events and return what is committed then."""
        return await commit(self.app, PHOTOS, *offsets)


def channel_of(agent: Any) -> Any:
    (channel,) = {actor.stream.channel for actor in agent._actors}
    return channel


async def as_it_is(value: Any) -> Any:
    return value


async def loaded(payload: Payload[Any]) -> Any:
    return await payload.load()


# -- what an agent gets


async def test_every_value_is_a_handle(loops: str) -> None:
    """Stored, wrapped, small and old large ones alike; and nothing is downloaded for it."""
    world = World(loops=loops, prefetch=1)
    claim = await world.claim()
    async with world.running(world.agent(as_it_is)) as put:
        for value in (claim, LIKE_A_CLAIM, SMALL, LARGE, claim, claim):
            await put(value, key=b"key", headers={"a": b"b"})
        await settle(lambda: len(world.seen) == 6)
    assert {type(payload) for payload in world.seen} == {Payload}
    assert [payload.size for payload in world.seen] == [
        len(LARGE), len(SMALL), len(SMALL), len(LARGE), len(LARGE), len(LARGE)
    ]  # fmt: skip
    assert {(payload.key, payload.headers["a"]) for payload in world.seen} == {(b"key", b"b")}
    assert [payload.digest for payload in world.seen[:2]] == [
        sha256(LARGE).digest(),
        sha256(SMALL).digest(),
    ]
    assert [payload.claim for payload in world.seen[:3]] == [parse(claim), None, None]
    assert not world.store.requests


async def test_tombstones_stay_none(loops: str) -> None:
    """``None`` has nothing to load, and an empty value is one."""
    world = World(loops=loops)
    topic = world.s3.offload(world.app.topic("photos", value_serializer="raw"))
    async with world.running(world.agent(as_it_is, topic)) as put:
        await put(None)
        await put(b"")
        await settle(lambda: len(world.seen) == 2)
    assert world.seen[0] is None
    assert (world.seen[1].size, await world.seen[1].load()) == (0, b"")
    assert [chunk async for chunk in world.seen[1].stream()] == []


async def test_load(loops: str) -> None:
    """A handle has the value that another agent would have got."""
    world = World(loops=loops)
    claim = await world.claim()
    async with world.running(world.agent(loaded)) as put:
        for value in (claim, LIKE_A_CLAIM, SMALL):
            await put(value)
        await settle(lambda: len(world.seen) == 3)
    assert world.seen == [Photo("cat", PIXELS), Photo("cat"), Photo("cat")]
    assert {type(value) for value in world.seen} == {Photo}
    assert world.store.count("get") == 1
    assert consumer_of(world.app).acked == [0, 1, 2]


@pytest.mark.parametrize(("cache_bytes", "requests"), [(0, 3), (2**20, 1)])
async def test_load_again(cache_bytes: int, requests: int) -> None:
    """A handle keeps nothing: what is not in the cache is downloaded again."""
    world = World(cache_bytes=cache_bytes)
    payload = await world.handle(await world.claim())
    for _ in range(3):
        assert await payload.load() == Photo("cat", PIXELS)
    assert world.store.count("get") == requests


async def test_loads_of_one_object_share_a_request() -> None:
    """As downloads ahead of several agents do."""
    world = World(GatedStore(), cache_bytes=0)
    claim = await world.claim()
    handles = [await world.handle(claim, offset=offset) for offset in range(3)]
    loads = [asyncio.ensure_future(handle.load()) for handle in handles]
    await settle(lambda: world.store.waiting)
    world.store.open(claim_in(claim))
    assert await asyncio.gather(*loads) == [Photo("cat", PIXELS)] * 3
    assert world.store.count("get") == 1


async def test_an_offloaded_key_is_downloaded() -> None:
    """The key is there before the handle is; its value is not."""
    world = World()
    topic = world.s3.offload(world.topic, keys=True)
    key = b"k" * (THRESHOLD + 1)
    async with world.running(world.agent(as_it_is, topic)) as put:
        await put(await world.claim(), key=await world.claim(key, is_key=True))
        await settle(lambda: world.seen)
    (payload,) = world.seen
    assert payload.key == key
    assert [method for method, _ in world.store.requests] == ["get"]
    assert await payload.load() == Photo("cat", PIXELS)


async def test_on_a_topic_of_keys() -> None:
    """Where values are not offloaded, bytes are what they are, and handles all the same."""
    world = World()
    topic = world.s3.offload(
        world.app.topic("photos", value_serializer="raw"), keys=True, values=False
    )
    payload = await world.handle(MALFORMED, topic=topic)
    assert (payload.claim, await payload.load()) == (None, MALFORMED)


async def test_a_key_that_cannot_be_decoded(loops: str) -> None:
    """It is Faust's own case, as without handles."""
    world = World(loops=loops)
    topic = world.app.topic("photos", key_type=int, value_serializer="json|s3")
    errors: list[Exception] = []

    async def fun(stream: Any) -> None:
        values = aiter(stream)
        while True:
            try:
                world.seen.append((await anext(values)).key)
            except faust.exceptions.KeyDecodeError as exc:
                errors.append(exc)
                values = aiter(stream)

    agent = world.app.agent(topic)(world.s3.rehydrate(lazy=True)(fun))
    async with world.running(agent) as put:
        await put(SMALL, key=b"no number")
        await settle(lambda: errors)
        await put(SMALL, key=b"7")
        await settle(lambda: world.seen)
    assert (len(errors), world.seen) == (1, [7])
    assert 0 in consumer_of(world.app).acked


async def test_a_value_that_cannot_be_decoded() -> None:
    """It is raised by ``load``, as Faust calls it; the bytes are there."""
    payload = await World().handle(b"no json")
    with pytest.raises(ValueDecodeError):
        await payload.load()
    assert b"".join([chunk async for chunk in payload.stream()]) == b"no json"


async def test_what_it_looks_like() -> None:
    """A handle in a log says what it stands for, and nothing secret or long."""
    world = World()
    claim = await world.claim()
    place = claim_in(claim)
    assert repr(await world.handle(SMALL)) == f"<Payload: {len(SMALL)} bytes, inline>"
    assert repr(await world.handle(claim)) == (
        f"<Payload: {len(LARGE)} bytes, s3://{place.bucket}/{place.key}>"
    )


# -- one agent's own


@pytest.mark.parametrize("lazy_first", [True, False])
async def test_beside_an_agent_that_is_not_lazy(loops: str, lazy_first: bool) -> None:
    """Each gets its own, though the conductor may share events between channels."""
    world = World(loops=loops)
    lazy, eager = world.agent(as_it_is), world.agent(as_it_is, lazy=False)
    agents = (lazy, eager) if lazy_first else (eager, lazy)
    async with world.running(*agents) as put:
        for value in (await world.claim(), SMALL):
            await put(value)
            await settle(lambda: len(world.seen) == 2 * world.offset)
    kinds = [sorted(type(value).__name__ for value in world.seen[n : n + 2]) for n in (0, 2)]
    assert kinds == [["Payload", "Photo"]] * 2


async def test_two_lazy_agents(loops: str) -> None:
    """They share what can be shared."""
    world = World(loops=loops)
    async with world.running(world.agent(loaded), world.agent(loaded)) as put:
        await put(await world.claim())
        await settle(lambda: len(world.seen) == 2)
    assert world.seen == [Photo("cat", PIXELS)] * 2
    assert world.store.count("get") == 1


async def test_other_readers_of_the_topic_are_not_lazy() -> None:
    """The topic itself, its other copies and what sends to it stay as they were."""
    world = World()
    async with world.running(agent := world.agent(as_it_is)):
        assert channel_of(agent).policy.lazy
        assert channel_of(agent).value_type == Payload[Photo]
        assert channel_of(agent).schema.value_type is Photo
        for topic in (world.topic, world.topic.clone(), world.topic.derive(suffix="-x")):
            assert not topic.policy.lazy
            assert topic.value_type is Photo


async def test_copies_of_a_lazy_stream_are_lazy() -> None:
    """``group_by`` and ``through`` derive topics and clone them; the agent reads these."""
    world = World()
    async with world.running(agent := world.agent(as_it_is)):
        derived = channel_of(agent).derive(suffix="-repartition")
        for topic in (derived, aiter(derived), channel_of(agent).clone()):
            assert topic.policy.lazy
            assert topic.value_type == Payload[Photo]
            assert topic.schema.value_type is Photo
            event = await topic.decode(message(SMALL), propagate=True)
            assert await event.value.load() == Photo("cat")
        assert channel_of(agent).clone(value_serializer="json").value_type is Photo


async def test_an_agent_that_restarts_is_lazy() -> None:
    """Whatever an agent raises, it goes on with handles."""
    world = World()

    async def read(payload: Any) -> Any:
        if payload.size == len(LARGE):
            raise ValueError("not this one")
        return payload

    async with world.running(world.agent(read)) as put:
        await put(LARGE)
        await settle(lambda: consumer_of(world.app).acked)
        await put(SMALL)
        await settle(lambda: world.seen)
    assert [payload.size for payload in world.seen] == [len(SMALL)]


async def test_lazy_is_off_by_default() -> None:
    """Who says nothing gets values."""
    world = World()

    @world.app.agent(world.topic)
    @world.s3.rehydrate
    async def agent(stream: Any) -> None:
        async for value in stream:
            world.seen.append(value)

    async with world.running(agent) as put:
        await put(await world.claim())
        await settle(lambda: world.seen)
    assert world.seen == [Photo("cat", PIXELS)]


# -- passing it on


async def test_sending_a_handle() -> None:
    """What stood on the topic stands on the next one, and nothing is uploaded or downloaded."""
    world = World()
    other = world.app.topic("other", value_serializer="json|s3")
    values = [await world.claim(), LIKE_A_CLAIM, SMALL]
    for value in values:
        payload = await world.handle(value)
        await other.send(value=payload)
        await other.send_soon(value=payload)
        await world.app.send(other, value=payload)
    sent = producer_of(world.app).values
    assert [sent.count(value) for value in values] == [3, 3, 3]
    assert not world.store.requests


async def test_a_large_one_that_lay_on_the_topic_is_offloaded() -> None:
    """A record from before the topic offloaded is treated as if it were sent anew."""
    world = World()
    await world.topic.send(value=await world.handle(LARGE))
    assert claim_in(producer_of(world.app).values[0]).payload_size == len(LARGE)


async def test_bytes_that_look_like_a_claim_are_wrapped() -> None:
    """Where values are not offloaded, a payload may begin as a claim does."""
    world = World()
    raw = world.app.topic("photos", value_serializer="raw")
    payload = await world.handle(MALFORMED, topic=world.s3.offload(raw, keys=True, values=False))
    await world.s3.offload(raw).send(value=payload)
    assert parse(cast(bytes, producer_of(world.app).values[0])) == Inline(len(MALFORMED), MALFORMED)


async def test_forward_sink_and_group_by() -> None:
    """Everything that forwards events forwards claims, and sinks get handles."""
    world = World()
    claim = await world.claim()
    sink = world.app.topic("sink", value_serializer="json|s3")
    forwarded = world.app.topic("forwarded", value_serializer="json|s3")

    async def fun(stream: Any) -> AsyncIterator[Any]:
        async for event in stream.events():
            await event.forward(forwarded)
            await event.send(forwarded)
            yield event.value

    agent = world.app.agent(world.topic, sink=[sink])(world.s3.rehydrate(lazy=True)(fun))
    async with world.running(agent) as put:
        await put(claim)
        await settle(lambda: len(producer_of(world.app).sent) == 3)
    assert [(sent.topic, sent.value) for sent in producer_of(world.app).sent] == [
        ("forwarded", claim), ("forwarded", claim), ("sink", claim)
    ]  # fmt: skip
    assert not world.store.requests


async def test_a_serializer_of_one_send() -> None:
    """A topic offloads what names the codec, also for a single send."""
    world = World()
    claim = await world.claim()
    await world.app.topic("plain").send(value=await world.handle(claim), value_serializer="json|s3")
    assert producer_of(world.app).values == [claim]


@pytest.mark.parametrize("small", [True, False])
async def test_to_a_topic_that_does_not_offload(small: bool) -> None:
    """Nobody could read it there, whatever its size; the error says what to do."""
    world = World()
    payload = await world.handle(SMALL if small else await world.claim())
    keys = world.s3.offload(world.app.topic("keys"), keys=True, values=False)
    for topic in (world.app.topic("plain"), keys):
        with pytest.raises(ConfigError, match=rf"topic {topic} does not offload .* load\(\)"):
            await topic.send(value=payload)
    assert not producer_of(world.app).sent


async def test_it_is_no_value_to_serialize() -> None:
    """Other topics, tables, caches and processes are told so."""
    payload = await World().handle(SMALL)
    for serialize in (pickle.dumps, lambda value: codecs.dumps("json", {"a": value})):
        with pytest.raises(TypeError) as raised:
            serialize(payload)
        assert r"send what load() returns" in str(raised.value.__cause__ or raised.value)


# -- when it cannot be loaded


async def test_an_envelope_that_cannot_be_read(loops: str) -> None:
    """Without a claim there is no handle: the agent's policy decides."""
    world = World(loops=loops)
    async with world.running(world.agent(as_it_is, on_bad_claim="skip")) as put:
        for value in (MALFORMED, FOREIGN, SMALL):
            await put(value)
        await settle(lambda: world.seen)
    assert [payload.size for payload in world.seen] == [len(SMALL)]
    assert consumer_of(world.app).acked[:2] == [0, 1]


async def test_the_agent_may_deal_with_it(loops: str) -> None:
    """A permanent error is raised in the agent, with the record's coordinates."""
    world = World(loops=loops)
    claim = await world.claim()
    await world.store.inner.delete(Location(claim_in(claim).bucket, claim_in(claim).key))

    async def read(payload: Any) -> Any:
        try:
            return await payload.load()
        except ObjectMissing as exc:
            return exc.topic, exc.partition, exc.offset

    async with world.running(world.agent(read)) as put:
        await put(claim)
        await put(SMALL)
        await settle(lambda: len(world.seen) == 2)
    assert world.seen == [("photos", 0, 0), Photo("cat")]
    assert consumer_of(world.app).acked == [0, 1]
    assert not world.app.crashed
    await world.commit(2)


async def fails_as_a_coroutine(stream: Any) -> None:
    async for payload in stream:
        await payload.load()


async def fails_as_a_generator(stream: Any) -> AsyncIterator[Any]:
    async for payload in stream:
        yield await payload.load()


async def fails_in_a_batch(stream: Any) -> None:
    async for payloads in stream.take(2, within=10):
        for payload in payloads:
            await payload.load()


async def fails_while_it_streams(stream: Any) -> None:
    async for payload in stream:
        async for _ in payload.stream():
            pass


@pytest.mark.parametrize(
    "fun",
    [fails_as_a_coroutine, fails_as_a_generator, fails_in_a_batch, fails_while_it_streams],
)
async def test_what_the_agent_does_not_catch(loops: str, fun: Any) -> None:
    """The worker stops rather than commits, as without handles."""
    world = World(loops=loops)
    agent = world.app.agent(world.topic)(world.s3.rehydrate(lazy=True)(fun))
    claim = Claim("bucket", "prefix/missing", 101, 101, bytes(32)).dumps()
    async with world.running(agent) as put:
        await put(claim)
        await put(SMALL)
        await settle(lambda: world.app.crashed)
        assert world.app.crashed
        assert await world.commit(0) is None


async def test_what_the_agent_does_not_catch_may_be_skipped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With that policy it is logged, and Faust goes on as after any failure of an agent."""
    world = World()
    async with world.running(world.agent(loaded, on_bad_claim="skip")) as put:
        await put(Claim("bucket", "prefix/missing", 101, 101, bytes(32)).dumps())
        await settle(lambda: consumer_of(world.app).acked)
        await put(SMALL)
        await settle(lambda: world.seen)
    assert world.seen == [Photo("cat")]
    assert "skipped a record whose claim cannot be redeemed: there is no such object" in caplog.text
    assert not world.app.crashed
    await world.commit(2)


async def test_other_failures_of_the_agent_are_its_own() -> None:
    """An agent that fails for another reason is Faust's to restart."""
    world = World()

    async def read(payload: Any) -> Any:
        raise StoreUnavailable("another store, of the agent's own")

    async with world.running(world.agent(read)) as put:
        await put(SMALL)
        await settle(lambda: consumer_of(world.app).acked)
    assert not world.app.crashed
    await world.commit(1)


async def test_load_waits_for_the_store() -> None:
    """It is repeated for as long as it takes, whatever senders' patience is."""
    world = World(FailingStore(20), send_timeout=0.001)
    payload = await world.handle(await world.claim())
    assert await payload.load() == Photo("cat", PIXELS)
    assert world.store.count("get") == 21


@pytest.mark.parametrize("on_bad_claim", ["raise", "skip"])
async def test_waiting_ends_with_the_app(loops: str, on_bad_claim: str) -> None:
    """The worker can stop, and the record is delivered again: its claim is not a bad one."""
    world = World(FailingStore(AWAY), loops=loops)
    agent = world.agent(loaded, on_bad_claim=on_bad_claim)
    async with world.running(agent) as put:
        await put(await world.claim())
        await settle(lambda: world.store.count("get") > 3)
        world.app._stopped.set()
        await settle(lambda: consumer_of(world.app).acked, turns=2000)
        assert await world.commit(1) is None


# -- compressed


@pytest.mark.parametrize("inline", [True, False])
async def test_compressed(inline: bool, loops: str) -> None:
    """A compressed payload is a handle like any other, and a value for agents that are eager."""
    world = World(loops=loops)
    data = compress(LARGE, Encoding.GZIP)
    assert data is not None
    digest = sha256(LARGE).digest()
    wire = Inline(len(LARGE), data, Encoding.GZIP).dumps()
    if not inline:
        await world.store.put(Location("bucket", "prefix/x"), data)
        wire = Claim("bucket", "prefix/x", len(LARGE), len(data), digest, Encoding.GZIP).dumps()
    payload = await world.handle(wire)
    assert (payload.size, payload.digest, payload.wire) == (len(LARGE), digest, wire)
    assert (payload.claim is None) is inline
    assert await payload.load() == Photo("cat", PIXELS)
    assert b"".join([chunk async for chunk in payload.stream()]) == LARGE

    async def seen(value: Any) -> Any:
        return await value.load() if isinstance(value, Payload) else value

    async with world.running(world.agent(seen), world.agent(seen, lazy=False)) as put:
        await put(wire)
        await settle(lambda: len(world.seen) == 2, turns=5000)
    assert world.seen == [Photo("cat", PIXELS)] * 2


# -- streaming


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make parts small."""
    monkeypatch.setattr(pipeline, "PIECE", 100)
    monkeypatch.setattr(streaming, "PIECE", 100)
    return 100


def payload_of(size: int) -> bytes:
    return bytes(n % 251 for n in range(size))


@pytest.mark.parametrize("size", [101, 199, 200, 201, 300, 1000, 1001])
async def test_stream(parts: int, size: int) -> None:
    """Chunks are the payload, one after the other, each requested once."""
    world = World()
    payload = await world.handle(await world.claim(payload_of(size)))
    chunks = [chunk async for chunk in payload.stream()]
    assert b"".join(chunks) == payload_of(size)
    assert [len(chunk) for chunk in chunks[:-1]] == [parts] * (len(chunks) - 1)
    assert world.store.count("get_range") == len(world.store.requests) == len(chunks)


async def test_stream_without_a_request() -> None:
    """What lay on the topic is at hand."""
    world = World()
    payload = await world.handle(SMALL)
    assert [chunk async for chunk in payload.stream()] == [SMALL]
    assert not world.store.requests


async def test_a_stream_is_downloaded_a_few_chunks_ahead(parts: int) -> None:
    """What memory holds does not grow with the payload."""
    world = World(BarrierStore(PARTS_AT_ONCE))
    payload = await world.handle(await world.claim(payload_of(20 * parts)))
    taken = 0
    async for _ in payload.stream():
        taken += 1
        await settle()
        assert world.store.count("get_range") <= taken + PARTS_AT_ONCE
    assert taken == 20
    assert world.store.most == PARTS_AT_ONCE


async def test_a_broken_connection_is_taken_up_where_it_broke(parts: int) -> None:
    """Only the chunk that failed is requested again."""
    world = World(FailingStore(3))
    payload = await world.handle(await world.claim(payload_of(10 * parts)))
    assert b"".join([chunk async for chunk in payload.stream()]) == payload_of(10 * parts)
    assert world.store.count("get_range") == 10 + 3


async def replaced(world: World, payload: bytes, other: bytes) -> Payload[Any]:
    claim = await world.claim(payload)
    await world.store.inner.put(Location(claim_in(claim).bucket, claim_in(claim).key), other)
    return cast("Payload[Any]", await world.handle(claim))


@pytest.mark.parametrize(
    "other",
    [
        payload_of(999) + b"?",
        b"?" + payload_of(1000)[1:],
        payload_of(1001),
        payload_of(1100),
        payload_of(999),
        payload_of(500),
        b"",
    ],
)
async def test_a_stream_is_verified_before_it_ends(parts: int, other: bytes) -> None:
    """Who got the last chunk got the payload; who did not gets an error."""
    world = World()
    payload = await replaced(world, payload_of(1000), other)
    got: list[bytes] = []

    async def stream() -> None:
        async for chunk in payload.stream():
            got.append(chunk)

    with pytest.raises(IntegrityError) as raised:
        await stream()
    assert len(got) <= 9
    assert (raised.value.topic, raised.value.offset) == ("photos", 0)


async def test_a_wrong_size_of_one_chunk(parts: int) -> None:
    """There is nothing before the last chunk, and so nothing comes."""
    payload = await replaced(World(), payload_of(150), payload_of(201))
    with pytest.raises(IntegrityError):
        await payload.load()


async def test_a_stream_may_be_left(parts: int) -> None:
    """Downloads ahead end with the loop that wanted them."""
    world = World(BarrierStore(2 * PARTS_AT_ONCE))
    payload = await world.handle(await world.claim(payload_of(1000)))
    first = asyncio.ensure_future(anext(payload.stream()))
    await settle()
    assert world.store.inside == PARTS_AT_ONCE
    first.cancel()
    await settle(first.done)
    assert first.cancelled()
    assert not world.store.inside


async def test_records_with_one_object_have_errors_of_their_own() -> None:
    """Loads of one object share a request, and each tells of its own record."""
    world = World(DistantStore())
    claim = Claim("bucket", "prefix/missing", 101, 101, bytes(32)).dumps()
    handles = [await world.handle(claim, offset=offset) for offset in range(3)]
    errors = await asyncio.gather(*(one.load() for one in handles), return_exceptions=True)
    assert [(type(exc), cast(Any, exc).offset) for exc in errors] == [
        (ObjectMissing, 0), (ObjectMissing, 1), (ObjectMissing, 2)
    ]  # fmt: skip
    assert world.store.count("get") == 1


class FirstChunkOnly(CountingStore):
    """All but the first bytes of an object take for ever."""

    waiting = 0

    async def get_range(self, location: Location, start: int, stop: int) -> bytes:
        if not start:
            return await super().get_range(location, start, stop)
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            self.waiting -= 1


async def test_a_stream_may_be_broken_off(parts: int) -> None:
    """Who leaves the loop leaves nothing behind, at once or when the loop has a turn."""
    world = World(FirstChunkOnly())
    payload = await world.handle(await world.claim(payload_of(1000)))
    chunks = payload.stream()
    await anext(chunks)
    await settle(lambda: world.store.waiting == PARTS_AT_ONCE)
    assert world.store.waiting == PARTS_AT_ONCE
    await chunks.aclose()
    assert not world.store.waiting
    async for _ in payload.stream():
        await settle(lambda: world.store.waiting == PARTS_AT_ONCE)
        break
    await settle(lambda: not world.store.waiting)
    assert not world.store.waiting


async def test_a_stream_waits_for_the_store_until_the_app_stops(parts: int) -> None:
    """As ``load`` does."""
    world = World(FailingStore(AWAY))
    payload = await world.handle(await world.claim(payload_of(1000)))
    chunks = payload.stream()
    first = asyncio.ensure_future(anext(chunks))
    await settle(lambda: world.store.count("get_range") > 20)
    assert not first.done()
    world.app._stopped.set()
    with pytest.raises(StoreUnavailable) as raised:
        await first
    assert raised.value.offset == 0
