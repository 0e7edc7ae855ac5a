"""Receiving: agents see whole values, in order, whatever the store does."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import faust
import faust.streams
import pytest
from faust.exceptions import KeyDecodeError, ValueDecodeError
from faust.transport.conductor import ConductorCompiler, ConductorHandler
from faust.types import TP, Message
from mode.utils.queues import ThrowableQueue
from stores import BarrierStore, CountingStore, DistantStore, FailingStore
from worlds import (
    THRESHOLD,
    FakeConsumer,
    GatedStore,
    Photo,
    claim_in,
    connect,
    consumer_of,
    ended,
    make_app,
    make_s3,
    message,
    settle,
    stored,
)

from faust_s3 import AccessDenied, ClaimError, Config, IntegrityError, ObjectMissing
from faust_s3.claim import MAGIC, Claim, Envelope, Inline
from faust_s3.pipeline import Pipeline
from faust_s3.prefetch import Pending, PrefetchQueue
from faust_s3.stores import Location, Store

PHOTOS = TP("photos", 0)
MALFORMED = MAGIC + b"\x09nonsense"
FOREIGN = Claim("others", "prefix/x", 101, 101, bytes(32)).dumps()


class World:
    """An app, a topic that offloads, and what Faust puts between Kafka and a stream.

    Args:
        store: The store.
        compiled: Faust's compiled loops, or its pure-Python ones.
        settings: Of the ``S3`` object.
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        compiled: bool = ConductorHandler is not None,
        **settings: Any,
    ) -> None:
        conf = {"cython_optimizations": settings.pop("cython_optimizations", False)}
        self.app = make_app(**conf)
        self.compiled = compiled
        self.store: Any = store if store is not None else CountingStore()
        self.s3 = make_s3(self.app, self.store, **settings)
        connect(self.app)
        self.topic: Any = self.app.topic("photos", value_serializer="json|s3")

    @property
    def consumer(self) -> FakeConsumer:
        return consumer_of(self.app)

    def reader(self, topic: Any = None) -> Any:
        """Return a topic as a stream has it."""
        return (self.topic if topic is None else topic).clone(is_iterator=True)

    def handler(self, *readers: Any) -> Any:
        """Return what Faust's conductor calls for each message."""
        if self.compiled:
            return ConductorHandler(self.app.topics, PHOTOS, set(readers))
        return ConductorCompiler().build(self.app.topics, PHOTOS, set(readers))

    async def large(self, value: Any, offset: int = 0, **more: Any) -> Message:
        """Return a message whose value is in the store."""
        claim = await stored(json.dumps(value).encode(), getattr(self.store, "inner", self.store))
        return message(claim, offset=offset, **more)

    async def read(self, reader: Any, count: int) -> list[Any]:
        """Return events, as a stream gets them."""
        stream = self.app.stream(reader)
        events: list[Any] = []
        values = aiter(stream) if self.compiled else stream._py_aiter()
        try:
            while len(events) < count:
                await anext(values)
                events.append(stream.current_event)
        finally:
            await values.aclose()  # acknowledges the last one
            await stream.stop()
        return events


@pytest.fixture(params=["compiled", "pure"])
def compiled(request: pytest.FixtureRequest) -> bool:
    """Faust's compiled loops and its pure-Python ones."""
    if request.param == "compiled" and ConductorHandler is None:
        pytest.skip("this Faust was built without its compiled loops")
    return bool(request.param == "compiled")


def small(value: Any, offset: int = 0) -> Message:
    return message(json.dumps(value).encode(), offset=offset)


def text(number: int) -> str:
    return f"{number}" * THRESHOLD


# -- whole and in order


async def test_values_are_whole_and_in_order(compiled: bool) -> None:
    """Large and small ones together, through the conductor, the queue and a stream."""
    world = World(compiled=compiled)
    reader = world.reader()
    handle = world.handler(reader)
    for number in range(6):
        value = text(number) if number % 2 else number
        await handle(await world.large(value, number) if number % 2 else small(value, number))
    events = await world.read(reader, 6)
    assert [event.value for event in events] == [0, text(1), 2, text(3), 4, text(5)]
    assert [event.message.offset for event in events] == list(range(6))
    assert world.consumer.acked == list(range(6))


async def test_order_does_not_depend_on_downloads(compiled: bool) -> None:
    """The last download may end first; its event still leaves last."""
    world = World(GatedStore(), compiled=compiled)
    reader = world.reader()
    handle = world.handler(reader)
    messages = []
    for number in range(3):
        payload = json.dumps(text(number)).encode()
        world.store.open(payload)
        messages.append(message(await stored(payload, world.store), offset=number))
    for each in messages:
        await handle(each)
    reading = asyncio.ensure_future(world.read(reader, 3))
    await settle()
    assert len(world.store.waiting) == 3
    for each in reversed(messages):
        assert not reading.done()
        world.store.open(claim_in(each.value))
        await settle()
    assert [event.value for event in await reading] == [text(number) for number in range(3)]


async def test_downloads_overlap() -> None:
    """The conductor does not wait for the store: downloads run ahead of the stream."""
    world = World(BarrierStore(4), prefetch=4)
    reader = world.reader()
    handle = world.handler(reader)
    for number in range(4):
        await handle(await world.large(text(number), number))
    events = await world.read(reader, 4)
    assert world.store.most == 4
    assert len(events) == 4


async def test_cython_optimizations() -> None:
    """Faust's setting for its compiled loops changes nothing of it."""
    world = World(cython_optimizations=True)
    reader = world.reader()
    handle = world.handler(reader)
    for number in range(3):
        await handle(await world.large(text(number), number))
    events = await world.read(reader, 3)
    assert [event.value for event in events] == [text(number) for number in range(3)]


async def test_what_is_only_prefetched_is_not_acknowledged() -> None:
    """A message counts as taken when the stream takes it, as in Faust."""
    world = World()
    reader = world.reader()
    await world.handler(reader)(await world.large(text(1)))
    await settle(lambda: not reader.queue.empty())
    assert not reader.queue.empty()
    assert not world.consumer.unacked
    assert not world.consumer.acked


async def test_the_event_keeps_its_message() -> None:
    """``event.message`` is the consumer's message, with its claim; ``event.value`` is whole."""
    world = World()
    reader = world.reader()
    came = await world.large(text(1), 7, headers={"h": b"1"})
    claim = came.value
    await world.handler(reader)(came)
    event = await reader.get()
    assert event.message is came
    assert event.message.value == claim
    assert type(event.message.value) is Envelope
    assert event.value == text(1)
    assert event.headers == {"h": b"1"}


async def test_models_are_rebuilt() -> None:
    """What reads a payload is the topic's own schema."""
    world = World()
    topic = world.app.topic("photos", value_type=Photo, value_serializer="json|s3")
    reader = world.reader(topic)
    photo = Photo("a", "x" * THRESHOLD)
    await world.handler(reader)(await world.large(photo.to_representation()))
    assert (await reader.get()).value == photo


async def test_keys_are_rehydrated() -> None:
    """A claim on a key is redeemed like one on a value, and both together."""
    world = World()
    topic = world.s3.offload(world.app.topic("photos"), keys=True)
    reader = world.reader(topic)
    key, value = b"k" * THRESHOLD, json.dumps(text(1)).encode()
    claims = {payload: await stored(payload, world.store) for payload in (key, value)}
    handle = world.handler(reader)
    await handle(message(b'"v"', key=claims[key]))
    await handle(message(claims[value], key=claims[key]))
    await handle(message(claims[value], key=b"small"))
    events = [await reader.get() for _ in range(3)]
    assert [(event.key, event.value) for event in events] == [
        (key, "v"),
        (key, text(1)),
        (b"small", text(1)),
    ]


async def test_key_claims_stay_keys_where_nobody_asked() -> None:
    """A topic that offloads values only hands out the key's bytes as they came."""
    world = World()
    claim = await stored(b"k" * THRESHOLD, world.store)
    event = await world.topic.decode(message(b'"v"', key=claim), propagate=True)
    assert event.key == claim


async def test_a_wrapped_payload_waits_for_nothing() -> None:
    """An inline envelope holds its payload: no request, no place in the queue to fill."""
    world = World()
    topic = world.s3.offload(world.app.topic("photos", value_serializer="raw"))
    reader = world.reader(topic)
    event = await reader.decode(message(Inline(4, MAGIC).dumps()), propagate=True)
    assert event.value == MAGIC
    assert not world.store.requests


async def test_tombstones(compiled: bool) -> None:
    """``None`` is ``None``."""
    world = World(compiled=compiled)
    reader = world.reader()
    await world.handler(reader)(message(None, key=b"k"))
    (event,) = await world.read(reader, 1)
    assert (event.key, event.value) == (b"k", None)


async def test_a_topic_that_did_not_opt_in() -> None:
    """Claims on it are bytes like any others, in Faust's own queue."""
    world = World()
    topic: Any = world.app.topic("photos", value_serializer="raw")
    reader = world.reader(topic)
    came = await world.large(text(1))
    await world.handler(reader)(came)
    event = await reader.get()
    assert event.value == came.value
    assert type(event.message.value) is bytes
    assert type(reader.queue) is ThrowableQueue


async def test_a_small_event_is_fausts_own() -> None:
    """Without an envelope the event is made by Faust's decode, with no task and no request."""
    world = World()
    reader = world.reader()
    before = asyncio.all_tasks()
    event = await reader.decode(small("v"), propagate=True)
    assert isinstance(event, faust.Event)
    assert asyncio.all_tasks() == before


async def test_foreign_queues_get_whole_events() -> None:
    """Table recovery reads several topics from one queue of its own."""
    world = World()
    queue = ThrowableQueue(flow_control=world.app.flow_control)
    reader = world.topic.clone_using_queue(queue)
    await world.handler(reader)(await world.large(text(1)))
    assert queue.get_nowait().value == text(1)


async def test_decode_without_a_queue() -> None:
    """A topic that nobody iterates over, as in a script, is decoded on the spot."""
    world = World()
    event = await world.topic.decode(await world.large(text(1)))
    assert event.value == text(1)


async def test_claims_of_another_s3_of_the_app() -> None:
    """Readers accept the claims of every ``S3`` object of the app."""
    world = World()
    cold_store = CountingStore()
    make_s3(world.app, cold_store, name="cold", url="s3://cold")
    reader = world.reader()
    payload = json.dumps(text(1)).encode()
    claim = await Pipeline(Config(url="s3://cold"), cold_store).offload(payload, topic="photos")
    await world.handler(reader)(message(claim))
    assert (await reader.get()).value == text(1)
    assert not world.store.count("get")


# -- several readers of one topic


@pytest.mark.parametrize("keys", [False, True], ids=["value", "key-and-value"])
async def test_two_agents_make_one_request(compiled: bool, keys: bool) -> None:
    """Two channels on one topic share the download, with either conductor."""
    world = World(DistantStore(), compiled=compiled, cache_bytes=0)
    topic = world.s3.offload(world.app.topic("photos"), keys=keys)
    readers = [world.reader(topic), world.reader(topic)]
    value, key = json.dumps(text(1)).encode(), b"k" * (THRESHOLD + 1)
    handle = world.handler(*readers)
    came = message(
        await stored(value, world.store.inner),
        key=await stored(key, world.store.inner) if keys else b"k",
    )
    await handle(came)
    events = await asyncio.gather(*(reader.get() for reader in readers))
    assert [event.value for event in events] == [text(1), text(1)]
    assert [event.key for event in events] == [key if keys else b"k"] * 2
    assert world.store.count("get") == (2 if keys else 1)
    assert came.refcount == 2


async def test_two_agents_one_after_the_other(compiled: bool) -> None:
    """An agent that lags behind gets the payload as well."""
    world = World(compiled=compiled, prefetch=1, cache_bytes=0)
    readers = [world.reader(), world.reader()]
    handle = world.handler(*readers)
    for number in range(2):
        await handle(await world.large(text(number), number))
    for reader in readers:
        values = [(await reader.get()).value for _ in range(2)]
        assert values == [text(0), text(1)]


async def test_agents_that_read_different_types(compiled: bool) -> None:
    """Each channel decodes for itself, and still one request is made."""
    world = World(compiled=compiled)
    typed = world.app.topic("photos", value_type=Photo, value_serializer="json|s3")
    readers = [world.reader(), world.reader(typed)]
    photo = Photo("a", "x" * THRESHOLD)
    await world.handler(*readers)(await world.large(photo.to_representation()))
    events = await asyncio.gather(*(reader.get() for reader in readers))
    assert events[1].value == photo
    assert world.store.count("get") == 1


@pytest.mark.parametrize(("agents", "requests"), [(1, 2), (2, 1)])
async def test_one_payload_on_two_topics(compiled: bool, agents: int, requests: int) -> None:
    """It is kept for an agent on another topic; if there is none, for nobody."""
    world = World(compiled=compiled)
    topics = [world.topic, world.app.topic("prints", value_serializer="json|s3")]
    readers = [world.reader(topic) for topic in topics[:agents]]
    assert all(reader.queue.empty() for reader in readers)
    came = await world.large(text(1))
    for reader in (readers[0], readers[-1]):
        await world.handler(reader)(copy.copy(came))
        assert (await reader.get()).value == text(1)
    assert world.store.count("get") == requests


# -- bounds


async def test_prefetch_bounds_downloads(compiled: bool) -> None:
    """The setting ``prefetch`` is the most that run ahead of a stream."""
    world = World(GatedStore(), compiled=compiled, prefetch=2)
    reader = world.reader()
    handle = world.handler(reader)
    for number in range(4):
        payload = json.dumps(text(number)).encode()
        world.store.open(payload)
        await handle(message(await stored(payload, world.store), offset=number))
    await settle()
    assert len(world.store.waiting) == 2
    reader.queue.clear()
    await settle()
    assert not world.store.waiting


async def test_prefetch_bytes_bounds_downloads() -> None:
    """The setting ``prefetch_bytes`` counts payloads before they are there."""
    world = World(GatedStore(), prefetch_bytes=2 * THRESHOLD + 10)
    reader = world.reader()
    handle = world.handler(reader)
    for number in range(4):
        payload = json.dumps(text(number)).encode()
        world.store.open(payload)
        await handle(message(await stored(payload, world.store), offset=number))
    await settle()
    assert len(world.store.waiting) == 2
    reader.queue.clear()
    await settle()


async def test_a_full_queue_does_not_hold_the_conductor(compiled: bool) -> None:
    """Backpressure: beyond ``stream_buffer_maxsize`` nothing is fetched; others are served."""
    world = World(compiled=compiled)
    world.topic.maxsize = 2
    reader = world.reader()
    handle = world.handler(reader)
    for number in range(2):
        await handle(await world.large(text(number), number))
    await handle(await world.large(text(2), 2))
    assert "full" in world.consumer.pressure
    values = [(await reader.get()).value for _ in range(3)]
    assert values == [text(number) for number in range(3)]


async def test_a_rebalance_drops_what_was_ahead() -> None:
    """Flow control clears the queue: downloads end, and later events come through."""
    world = World(GatedStore())
    reader = world.reader()
    handle = world.handler(reader)
    payload = json.dumps(text(1)).encode()
    world.store.open(payload)
    came = await stored(payload, world.store)
    await handle(message(came))
    await settle()
    assert world.store.waiting
    world.app.flow_control.suspend()
    world.app.flow_control.resume()
    await settle()
    assert not world.store.waiting
    assert reader.queue.qsize() == 0
    await handle(small("after", 1))
    assert (await reader.get()).value == "after"


# -- claims beyond redemption


async def _bad(world: World, kind: str, offset: int) -> Message:
    if kind == "malformed":
        return message(MALFORMED, offset=offset)
    if kind == "foreign":
        return message(FOREIGN, offset=offset)
    came = await world.large(text(8), offset)
    claim = claim_in(came.value)
    store = getattr(world.store, "inner", world.store)
    place = Location(claim.bucket, claim.key)
    if kind == "missing":
        await store.delete(place)
    else:
        await store.put(place, b"y" * claim.stored_size)
    return came


ERRORS = {
    "missing": ObjectMissing,
    "changed": IntegrityError,
    "malformed": ClaimError,
    "foreign": ClaimError,
}


@pytest.fixture(params=list(ERRORS))
def bad(request: pytest.FixtureRequest) -> str:
    """How a claim can be beyond redemption."""
    return str(request.param)


async def test_skip_acknowledges_in_turn(
    compiled: bool, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream goes on with the next event; the log says where the record lay."""
    world = World(compiled=compiled, on_bad_claim="skip")
    reader = world.reader()
    handle = world.handler(reader)
    await handle(small("before", 0))
    await handle(await _bad(world, bad, 1))
    await handle(await world.large(text(2), 2))
    await settle()
    assert world.consumer.acked == []  # not before what is before it has been taken
    events = await world.read(reader, 2)
    assert [event.value for event in events] == ["before", text(2)]
    assert sorted(world.consumer.acked) == [0, 1, 2]
    assert not world.app.crashed
    assert "skipped a record" in caplog.text
    assert "topic='photos', partition=0, offset=1" in caplog.text


async def test_raise_crashes_the_worker(
    compiled: bool, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Loudly, without acknowledging, and without the next event."""
    world = World(compiled=compiled)
    reader = world.reader()
    handle = world.handler(reader)
    await handle(await _bad(world, bad, 5))
    await handle(small("next", 6))
    reading = asyncio.ensure_future(world.read(reader, 1))
    await settle(lambda: world.app.crashed)
    await settle()
    assert type(world.app.crash_reason) is ERRORS[bad]
    assert world.app.crash_reason.offset == 5
    (line,) = [entry.message for entry in caplog.records if "the worker stops" in entry.message]
    assert "partition=0) offset 5, " in line
    assert world.consumer.acked == []
    assert not reading.done()
    await ended(reading)


async def test_nothing_happens_before_its_turn(bad: str) -> None:
    """While the stream works on the event before, the worker does not crash."""
    world = World()
    reader = world.reader()
    handle = world.handler(reader)
    await handle(small("before", 0))
    await handle(await _bad(world, bad, 1))
    await settle()
    assert (await reader.get()).value == "before"
    await settle()
    assert not world.app.crashed


async def test_bad_claims_in_keys() -> None:
    """A key's claim is as much a part of the record as the value's."""
    world = World(on_bad_claim="skip")
    reader = world.reader(world.s3.offload(world.topic, keys=True))
    handle = world.handler(reader)
    await handle(message(b'"v"', key=MALFORMED, offset=0))
    await handle(small("next", 1))
    assert (await reader.get()).value == "next"
    assert world.consumer.acked == [0]


async def test_a_refusal_is_permanent() -> None:
    """Access denied does not heal by waiting: the worker says so and stops."""
    world = World(FailingStore([AccessDenied("no")]))
    reader = world.reader()
    came = await world.large(text(1))
    await world.handler(reader)(came)
    reading = asyncio.ensure_future(reader.get())
    await settle(lambda: world.app.crashed)
    assert isinstance(world.app.crash_reason, AccessDenied)
    await ended(reading)


async def test_an_error_of_ours_is_not_skipped() -> None:
    """``"skip"`` is for claims; a bug crashes the worker instead of losing records."""
    world = World(FailingStore([RuntimeError("a bug")]), on_bad_claim="skip")  # type: ignore[list-item]
    reader = world.reader()
    await world.handler(reader)(await world.large(text(1)))
    reading = asyncio.ensure_future(reader.get())
    await settle(lambda: world.app.crashed)
    assert str(world.app.crash_reason) == "a bug"
    assert world.consumer.acked == []
    await ended(reading)


async def test_without_a_queue_errors_are_raised() -> None:
    """In a foreign queue or none, decode raises, and Faust does not acknowledge."""
    world = World()
    for kind in ERRORS:
        with pytest.raises(ERRORS[kind]):
            await world.topic.decode(await _bad(world, kind, 0), propagate=True)


async def test_malformed_envelopes_take_their_turn_too() -> None:
    """Decode leaves the error to the queue: it would overtake the events before."""
    world = World()
    reader = world.reader()
    pending = await reader.decode(message(MALFORMED), propagate=True)
    assert isinstance(pending, Pending)
    assert pending.size == 0


# -- payloads that cannot be decoded


class Seen:
    """What a topic was told of decode errors."""

    def __init__(self, topic: Any) -> None:
        self.errors: list[tuple[Any, int]] = []

        async def on_decode_error(exc: Exception, message: Message) -> None:
            self.errors.append((type(exc), message.offset))

        topic.on_decode_error = on_decode_error


@pytest.mark.parametrize("size", [1, THRESHOLD + 1], ids=["small", "large"])
async def test_decode_errors_are_fausts(compiled: bool, size: int) -> None:
    """A payload that is no JSON is acknowledged, told, and thrown into the stream."""
    world = World(compiled=compiled)
    reader = world.reader()
    seen = Seen(reader)
    handle = world.handler(reader)
    payload = b"{" * size
    value = await stored(payload, world.store) if size > THRESHOLD else payload
    await handle(message(value, offset=3))
    with pytest.raises(ValueDecodeError):
        await world.read(reader, 1)
    assert seen.errors == [(ValueDecodeError, 3)]
    assert world.consumer.acked == [3]
    assert not world.app.crashed


async def test_decode_errors_take_their_turn(compiled: bool) -> None:
    """Events before it are seen first, events behind it afterwards."""
    world = World(compiled=compiled)
    reader = world.reader()
    handle = world.handler(reader)
    await handle(await world.large(text(0), 0))
    await handle(message(await stored(b"{" * 200, world.store), offset=1))
    await handle(await world.large(text(2), 2))
    await settle()
    assert (await reader.get()).value == text(0)
    with pytest.raises(ValueDecodeError):
        await reader.get()
    assert (await reader.get()).value == text(2)


async def test_key_decode_errors(compiled: bool) -> None:
    """The same for keys."""
    world = World(compiled=compiled)
    topic = world.app.topic("photos", key_serializer="json|s3", value_serializer="json")
    reader = world.reader(topic)
    seen = Seen(reader)
    await world.handler(reader)(message(b"1", key=await stored(b"{" * 200, world.store), offset=3))
    with pytest.raises(KeyDecodeError):
        await reader.get()
    assert seen.errors == [(KeyDecodeError, 3)]
    assert world.consumer.acked == [3]


# -- a store that is away


async def test_the_stream_waits_for_the_store(compiled: bool) -> None:
    """Nothing is acknowledged, nothing crashes, and it goes on by itself."""
    world = World(FailingStore(20), compiled=compiled)
    reader = world.reader()
    handle = world.handler(reader)
    await handle(await world.large(text(0), 0))
    await handle(small("next", 1))
    events = await world.read(reader, 2)
    assert [event.value for event in events] == [text(0), "next"]
    assert world.store.count("get") == 21
    assert not world.app.crashed


async def test_waiting_for_the_store_ends_with_the_queue() -> None:
    """A stop clears the queues, and with them the tries."""
    world = World(FailingStore(10_000))
    reader = world.reader()
    await world.handler(reader)(await world.large(text(0)))
    await settle(lambda: world.store.count("get") > 2)
    await world.s3.on_stop()
    await settle()
    tries = world.store.count("get")
    await settle()
    assert world.store.count("get") == tries


# -- streams of streams


async def test_group_by_sees_whole_values() -> None:
    """The key function gets the value, and the repartition topic the claim."""
    world = World()
    world.topic.partitions = 1
    keys: list[Any] = []

    def key_of(value: Any) -> Any:
        keys.append(value)
        return "key"

    stream = world.app.stream(world.reader())
    repartitioned: Any = stream.group_by(key_of, name="by-key", topic=world.topic.derive_topic())
    await world.handler(stream.channel)(await world.large(text(1)))
    producer: Any = world.app.producer
    reading = asyncio.ensure_future(_first(repartitioned))
    await settle(lambda: producer.sent, turns=1000)
    assert keys == [text(1)]
    (sent,) = producer.sent
    assert claim_in(sent.value).payload_size == len(text(1)) + 2
    assert not world.store.count("put")
    await ended(reading)
    await stream.stop()


async def _first(stream: Any) -> Any:
    async for value in stream:
        return value
    return None


async def test_take_and_items() -> None:
    """Faust's other ways to read a stream get whole values as well."""
    world = World()
    reader = world.reader()
    handle = world.handler(reader)
    for number in range(2):
        await handle(await world.large(text(number), number))
    stream = world.app.stream(reader)
    taken: AsyncIterator[Any] = stream.take(2, within=10)
    assert await taken.__anext__() == [text(0), text(1)]
    await taken.aclose()  # type: ignore[attr-defined]
    await stream.stop()


# -- the queue itself


async def test_the_queue_is_made_by_the_settings() -> None:
    """Size from Faust, budget from ours, clearing by Faust's flow control."""
    world = World(prefetch=3, prefetch_bytes=1000)
    queue = world.reader().queue
    assert isinstance(queue, PrefetchQueue)
    assert (queue.prefetch, queue.prefetch_bytes) == (3, 1000)
    assert queue.maxsize == world.app.conf.stream_buffer_maxsize
    world.topic.maxsize = 0
    assert world.reader().queue.maxsize == 0
