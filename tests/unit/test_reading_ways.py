"""Every way in which Faust reads, on its compiled loops and on its pure-Python ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import faust
import faust.streams
import pytest
from faust.agents.agent import _current_agent
from faust.exceptions import ValueDecodeError
from faust.transport.conductor import Conductor, ConductorCompiler, ConductorHandler
from faust.types import TP, Message
from stores import CountingStore, FailingStore
from worlds import (
    LARGE,
    SMALL,
    THRESHOLD,
    FakeConsumer,
    GatedStore,
    Photo,
    commit,
    connect,
    consumer_of,
    ended,
    make_app,
    make_s3,
    message,
    processing,
    producer_of,
    settle,
    stored,
)

from faust_s3 import AccessDenied, ConfigError, StoreUnavailable
from faust_s3.claim import MAGIC, Inline
from faust_s3.stores import Store

PHOTOS = TP("photos", 0)
BAD = MAGIC + b"\x09nonsense"


@pytest.fixture(params=["compiled", "optimized", "pure"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Faust's compiled loops, the same with ``cython_optimizations``, its pure-Python ones."""
    if request.param == "pure":
        monkeypatch.setattr(faust.streams, "_CStreamIterator", None)
    elif ConductorHandler is None:
        pytest.skip("this Faust was built without its compiled loops")
    return str(request.param)


class World:
    """An app whose streams are fed by hand.

    Args:
        loops: Which of Faust's.
        store: The store.
        settings: Of the ``S3`` object.
    """

    def __init__(self, loops: str = "pure", store: Store | None = None, **settings: Any) -> None:
        self.loops = loops
        self.app = connect(make_app(cython_optimizations=loops == "optimized"))
        self.store: Any = store if store is not None else CountingStore()
        self.s3 = make_s3(self.app, self.store, **settings)
        self.topic: Any = self.app.topic("photos", value_serializer="json|s3")

    @property
    def consumer(self) -> FakeConsumer:
        return consumer_of(self.app)

    def conductor(self, *streams: Any) -> Callable[[Message], Awaitable[None]]:
        """Return what the conductor calls for each message on the streams' topic."""
        channels = {stream.channel for stream in streams}
        if self.loops != "pure":
            handler: Any = ConductorHandler(self.app.topics, PHOTOS, channels)
        else:
            handler = ConductorCompiler().build(self.app.topics, PHOTOS, channels)
        return handler  # type: ignore[no-any-return]

    async def large(self, number: int, offset: int | None = None, **more: Any) -> Message:
        """Return a message whose value, a dictionary, is in the store."""
        payload = json.dumps({"n": number, "pixels": "x" * THRESHOLD}).encode()
        claim = await stored(payload, getattr(self.store, "inner", self.store))
        return message(claim, offset=number if offset is None else offset, **more)

    async def feed(self, *streams: Any, count: int) -> None:
        """Deliver large values and small ones, in turn."""
        deliver = self.conductor(*streams)
        for number in range(count):
            await deliver(await self.large(number) if number % 2 else small(number))


def small(number: int) -> Message:
    return message(json.dumps({"n": number}).encode(), offset=number)


def numbers(values: list[Any]) -> list[int]:
    """Return which values these are, all of which are whole."""
    for value in values:
        assert len(value.get("pixels", "")) == (THRESHOLD if value["n"] % 2 else 0)
    return [value["n"] for value in values]


async def first(values: AsyncIterator[Any], count: int) -> list[Any]:
    """Return what an iteration yields first, and end it."""
    found = []
    try:
        while len(found) < count:
            found.append(await anext(values))
    finally:
        await values.aclose()  # type: ignore[attr-defined]
    return found


@asynccontextmanager
async def stopping(stream: Any) -> AsyncIterator[Any]:
    """Stop a stream in the end."""
    try:
        yield stream
    finally:
        await stream.stop()


# -- one stream, every way of iterating over it


async def items(stream: Any, count: int) -> list[Any]:
    return [value for _, value in await first(stream.items(), count)]


async def events(stream: Any, count: int) -> list[Any]:
    return [event.value for event in await first(stream.events(), count)]


async def enumerated(stream: Any, count: int) -> list[Any]:
    pairs = await first(aiter(stream.enumerate(start=1)), count)
    assert [index for index, _ in pairs] == list(range(1, count + 1))
    return [value for _, value in pairs]


async def take(stream: Any, count: int) -> list[Any]:
    return list((await first(stream.take(count, within=10), 1))[0])


async def take_events(stream: Any, count: int) -> list[Any]:
    (batch,) = await first(stream.take_events(count, within=10), 1)
    assert all(event.message.value is not event.value for event in batch)
    return [event.value for event in batch]


async def take_with_timestamp(stream: Any, count: int) -> list[Any]:
    (batch,) = await first(stream.take_with_timestamp(count, 10, "sent"), 1)
    assert [value.pop("sent") for value in batch] == [1.0] * count
    return list(batch)


async def noack(stream: Any, count: int) -> list[Any]:
    found = await first(stream.noack().events(), count)
    for event in found:
        event.ack()
    return [event.value for event in found]


async def noack_take(stream: Any, count: int) -> list[Any]:
    (batch,) = await first(stream.noack_take(count, within=10), 1)
    for event in batch:
        event.ack()
    return [event.value for event in batch]


WAYS = [items, events, enumerated, take, take_events, take_with_timestamp, noack, noack_take]


@pytest.mark.parametrize("way", WAYS)
async def test_ways_of_iterating(loops: str, way: Any) -> None:
    """Values are whole, in order, and acknowledged once the agent has had them."""
    world = World(loops)
    async with stopping(world.app.stream(world.topic)) as stream:
        await world.feed(stream, count=4)
        assert numbers(await way(stream, 4)) == [0, 1, 2, 3]
        await settle()  # Python closes what an iteration iterates over a little later
    assert sorted(world.consumer.acked) == [0, 1, 2, 3]


async def test_processors_and_filter(loops: str) -> None:
    """Processors get whole values, one after the other; what is filtered is acknowledged."""
    world = World(loops)
    seen: list[Any] = []

    async def note(value: Any) -> Any:
        seen.append(value)
        return {**value, "noted": True}

    async with stopping(world.app.stream(world.topic)) as stream:
        stream.add_processor(note)
        stream.filter(lambda value: value["noted"] and "pixels" in value)
        await world.feed(stream, count=4)
        assert numbers(await first(aiter(stream), 2)) == [1, 3]
    assert numbers(seen) == [0, 1, 2, 3]
    assert world.consumer.acked == [0, 1, 2, 3]


async def test_what_group_by_and_through_pass_on(loops: str) -> None:
    """The key function sees the value; the repartition topic gets the claim."""
    world = World(loops)
    keys: list[Any] = []

    def key(value: Any) -> bytes:
        keys.append(value)
        return b"k"

    async with stopping(world.app.stream(world.topic)) as stream:
        grouped = stream.group_by(key, name="n")
        came = await world.large(1)
        claim = came.value
        reading = asyncio.ensure_future(first(aiter(grouped), 1))
        await world.conductor(stream)(came)
        await settle(lambda: producer_of(world.app).sent)
        (sent,) = producer_of(world.app).sent
        assert (sent.topic, sent.key, sent.value) == ("photos-n-repartition", b"k", claim)
        assert numbers(keys) == [1]
        await world.conductor(grouped)(message(sent.value, key=sent.key))
        assert numbers(await reading) == [1]
    assert world.store.count("put") == 0


@pytest.mark.parametrize("kind", ["claim", "inline", "small"])
async def test_through_a_channel_in_memory(loops: str, kind: str) -> None:
    """Faust forwards the bytes of the message: those of the payload, not of a claim."""
    world = World(loops)
    topic: Any = world.s3.offload(world.app.topic("photos", value_serializer="raw"), keys=True)
    payload = {"claim": LARGE, "inline": BAD, "small": SMALL}[kind]
    wire = {
        "claim": await stored(LARGE, world.store),
        "inline": Inline(len(BAD), BAD).dumps(),
        "small": SMALL,
    }[kind]
    async with stopping(world.app.stream(topic)) as stream:
        passed_on = stream.through(world.app.channel())
        reading = asyncio.ensure_future(first(passed_on.events(), 1))
        await world.conductor(stream)(message(wire, key=wire))
        (event,) = await reading
        assert (event.key, event.value) == (payload, payload)
        await passed_on.stop()


async def test_what_else_is_forwarded_to_a_channel_in_memory() -> None:
    """A key and a value of the agent's stand."""
    world = World()
    event = await world.topic.decode(await world.large(1), propagate=True)
    channel: Any = world.app.channel()
    reader = aiter(channel)
    await event.forward(channel, key="k", value={"v": 1}, headers={"h": b"1"})
    found = await reader.get()
    assert (found.key, found.value, found.headers) == ("k", {"v": 1}, {"h": b"1"})


async def test_several_names(loops: str) -> None:
    """One topic object for several topics reads claims from each."""
    world = World(loops)
    topic: Any = world.app.topic("photos", "others", value_serializer="json|s3")
    async with stopping(world.app.stream(topic)) as stream:
        deliver = world.conductor(stream)
        await deliver(await world.large(1))
        await deliver(await world.large(3, topic="others"))
        found = await first(stream.events(), 2)
    assert numbers([event.value for event in found]) == [1, 3]
    assert [event.message.topic for event in found] == ["photos", "others"]


async def test_allow_empty(loops: str) -> None:
    """Tombstones of a model are events without a value, between claims."""
    world = World(loops)
    topic: Any = world.app.topic(
        "photos", value_type=Photo, value_serializer="json|s3", allow_empty=True
    )
    photo = json.dumps({"name": "a", "pixels": "x" * THRESHOLD}).encode()
    async with stopping(world.app.stream(topic)) as stream:
        deliver = world.conductor(stream)
        await deliver(message(await stored(photo, world.store)))
        await deliver(message(None, key=b"k", offset=1))
        found = [event.value for event in await first(stream.events(), 2)]
    assert found == [Photo("a", "x" * THRESHOLD), None]


# -- schemas


class Shouting(faust.Schema[Any, Any]):
    """Makes something of each value."""

    def loads_value(self, app: Any, message: Message, **more: Any) -> Any:
        return super().loads_value(app, message, **more)["name"].upper()


@pytest.mark.parametrize("where", ["schema", "topic", "model", "offload", "app"])
async def test_schemas(where: str) -> None:
    """A schema of the user's gets whole messages, whoever names the codec."""

    class Named(faust.Record, serializer="json|s3"):
        name: str

    world = World()
    codec = {"value_serializer": "json|s3"}
    if where == "app":
        world.app = connect(make_app(**codec))
        world.s3 = make_s3(world.app, world.store)
    schema = Shouting(
        value_serializer="json|s3" if where == "schema" else None,
        value_type=Named if where == "model" else None,
    )
    if where == "model":
        schema.loads_value = (  # type: ignore[method-assign]
            lambda app, message, **more: faust.Schema.loads_value(schema, app, message, **more).name
        )
    topic: Any = world.app.topic("photos", schema=schema, **(codec if where == "topic" else {}))
    if where == "offload":
        topic = world.s3.offload(topic)
    claim = await stored(json.dumps({"name": "x" * THRESHOLD}).encode(), world.store)
    event = await topic.decode(message(claim), propagate=True)
    assert event.value == ("x" if where == "model" else "X") * THRESHOLD


# -- what Faust 0.15.3 has by name only


@pytest.mark.parametrize("way", ["join", "left_join", "inner_join", "outer_join"])
async def test_joins_are_not_there(loops: str, way: str) -> None:
    """Every strategy raises ``NotImplementedError`` for the first event, with us and without."""
    world = World(loops)
    async with stopping(world.app.stream(world.topic)) as stream:
        joined = getattr(stream, way)()
        await world.conductor(joined)(await world.large(1))
        with pytest.raises(NotImplementedError):
            await first(aiter(joined), 1)
    assert not world.consumer.acked


async def test_combined_streams_read_the_first_one(loops: str) -> None:
    """``a & b`` yields whole values of ``a``; nothing in Faust reads what ``b`` gets."""
    world = World(loops)
    streams = [world.app.stream(world.topic), world.app.stream(world.topic.derive())]
    async with stopping(streams[0]), stopping(streams[1]):
        combined = streams[0] & streams[1]
        assert combined.combined == streams
        await world.feed(*streams, count=4)
        assert numbers(await first(aiter(combined), 4)) == [0, 1, 2, 3]
        assert streams[1].channel.queue.qsize() == 4


async def test_pattern_topics_are_not_subscribed_to() -> None:
    """Faust's conductor asks for names only; what it would deliver would be whole."""
    world = World()
    topic: Any = world.app.topic(pattern="photos.*", value_serializer="json|s3")
    async with stopping(world.app.stream(topic)) as stream:
        assert stream.channel in world.app.topics
        assert not list(await world.app.topics._update_indices())  # type: ignore[attr-defined]
        await world.conductor(stream)(await world.large(1))
        assert numbers(await first(aiter(stream), 1)) == [1]


def test_late_streams_are_subscribed_to_late() -> None:
    """What ``docs/faust-support.md`` says of streams that are made while the worker runs."""
    assert Conductor._resubscribe_sleep_lock_seconds == 45


async def test_repartition_topics_are_read_as_the_agent_reads() -> None:
    """Those that Faust derives; a topic that the agent passes is read by the settings."""
    world = World(prefetch=5)
    passed: Any = world.app.topic("passed", value_serializer="json|s3")
    for derived, prefetch in (
        (lambda stream: stream.group_by(lambda value: b"k", name="k"), 3),
        (lambda stream: stream.through("by-name"), 3),
        (lambda stream: stream.through(passed), 5),
        (lambda stream: stream.group_by(lambda value: b"k", name="k", topic=passed), 5),
    ):
        (stream,) = agents(world, {"prefetch": 3})
        async with stopping(stream):
            channel: Any = derived(stream).channel
            assert channel.policy.prefetch == channel.queue.prefetch == prefetch


# -- several readers of one topic


def agents(world: World, *policies: dict[str, Any]) -> list[Any]:
    """Return streams as agents with these policies have them."""
    streams = []
    for policy in policies:
        stream = world.app.stream(world.topic)

        @world.s3.rehydrate(**policy)
        def agent(stream: Any) -> None: ...

        agent(stream)
        streams.append(stream)
    return streams


async def test_each_agent_has_its_own_policy(loops: str) -> None:
    """Also where the conductor hands both the same thing: one skips, the other stops the app."""
    world = World(loops)
    skipping, raising = agents(world, {"on_bad_claim": "skip"}, {"on_bad_claim": "raise"})
    async with stopping(skipping), stopping(raising):
        deliver = world.conductor(skipping, raising)
        await deliver(message(BAD, offset=0))
        await deliver(await world.large(1))
        assert numbers(await first(aiter(skipping), 1)) == [1]
        assert not world.app.crashed
        reading = asyncio.ensure_future(first(aiter(raising), 1))
        await settle(lambda: world.app.crashed)
        assert world.app.crashed
        assert not reading.done()
        assert world.consumer.acked == []  # the other one is not done with either
        await ended(reading)


async def test_each_agent_is_told_of_decode_errors(loops: str) -> None:
    """A payload that is no JSON is thrown into every stream, once."""
    world = World(loops)
    streams = agents(world, {}, {})
    async with stopping(streams[0]), stopping(streams[1]):
        deliver = world.conductor(*streams)
        await deliver(message(await stored(b"{" * 200, world.store), offset=0))
        await deliver(await world.large(1))
        for stream in streams:
            with pytest.raises(ValueDecodeError):
                await first(aiter(stream), 1)
            assert numbers(await first(aiter(stream), 1)) == [1]
    assert world.consumer.acked == [0, 1]


# -- nothing is acknowledged past what is being processed


@pytest.mark.parametrize("bad", ["claim", "payload"])
async def test_what_is_skipped_is_not_passed_by(loops: str, bad: str) -> None:
    """Faust would commit past a single offset that is not acknowledged: none is left behind."""
    world = World(loops, on_bad_claim="skip")
    async with stopping(world.app.stream(world.topic)) as stream:
        stream.channel.on_value_decode_error = lambda exc, message: asyncio.sleep(0)
        deliver = world.conductor(stream)
        await deliver(await world.large(1, offset=10))
        wrong = BAD if bad == "claim" else await stored(b"{" * 200, world.store)
        await deliver(message(wrong, offset=11))
        await deliver(await world.large(3, offset=12))
        batches = stream.take(2, within=10)
        assert numbers(await anext(batches)) == [1, 3]
        await settle()
        assert world.consumer.acked == [11]
        assert await commit(world.app, PHOTOS) is None
        await batches.aclose()
        await settle(lambda: len(world.consumer.acked) == 3)
    assert await commit(world.app, PHOTOS) == 13


async def test_what_is_acknowledged_by_hand_is_not_passed_by(loops: str) -> None:
    """The same with ``noack()``, and with actors that share a channel."""
    world = World(loops, on_bad_claim="skip")
    async with stopping(world.app.stream(world.topic)) as stream:
        deliver = world.conductor(stream)
        await deliver(await world.large(1, offset=10))
        await deliver(message(BAD, offset=11))
        await deliver(await world.large(3, offset=12))
        first_event, last_event = await first(stream.noack().events(), 2)
        last_event.ack()
        assert await commit(world.app, PHOTOS) is None
        first_event.ack()
        assert await commit(world.app, PHOTOS) == 13


async def test_what_is_acknowledged_after_a_rebalance_does_not_count(loops: str) -> None:
    """The event is delivered again, to this worker or another one."""
    world = World(loops)
    async with stopping(world.app.stream(world.topic)) as stream:
        deliver = world.conductor(stream)
        for number in (1, 2):
            await deliver(await world.large(number, offset=number))
        earlier, later = await first(stream.noack().events(), 2)
        earlier.ack()
        await world.app.on_partitions_revoked.send({PHOTOS})
        later.ack()
        assert await commit(world.app, PHOTOS) is None


async def test_no_last_commit_past_what_is_being_processed(loops: str) -> None:
    """Before a crash is committed what can be without passing by an event."""
    world = World(loops)
    async with stopping(world.app.stream(world.topic)) as stream:
        deliver = world.conductor(stream)
        for number in (1, 3):
            await deliver(await world.large(number, offset=number))
        await deliver(message(BAD, offset=4))
        await commit(world.app, PHOTOS)
        values = stream.noack().events()
        _, later = [await anext(values), await anext(values)]
        later.ack()
        reading = asyncio.ensure_future(anext(values))
        await settle(lambda: world.app.crashed)
        assert world.app.crashed
        assert world.consumer._committed_offset[PHOTOS] is None
        await ended(reading)


# -- sending while many events are taken at once


@contextmanager
def in_agent() -> Iterator[None]:
    """Be an agent that has no current event, as with ``stream.take``."""
    token = _current_agent.set(object())  # type: ignore[arg-type]
    try:
        yield
    finally:
        _current_agent.reset(token)


async def test_take_has_no_current_event(loops: str) -> None:
    """What the following tests are about."""
    world = World(loops)
    async with stopping(world.app.stream(world.topic)) as stream:
        await world.feed(stream, count=2)
        batches = stream.take(2, within=10)
        await anext(batches)
        assert faust.current_event() is None
        await batches.aclose()


def in_process(world: World, offset: int) -> Any:
    """Have an event taken from the photos that is not acknowledged, and return its message."""
    taken = message(b"taken", offset=offset)
    world.consumer.unacked.add(taken)
    return taken


async def test_batches_wait_for_the_store() -> None:
    """Longer than ``send_timeout``: the events of the batch are held."""
    world = World(store=FailingStore(50), send_timeout=1e-9)
    with in_agent():
        await (await world.topic.send(value="x" * THRESHOLD))
    assert len(producer_of(world.app).sent) == 1


@pytest.mark.parametrize("way", ["send", "send_soon"])
async def test_commits_wait_for_what_batches_sent(way: str) -> None:
    """It may belong to any event that the agent has not acknowledged."""
    world = World(store=GatedStore())
    topic = world.s3.offload(world.app.topic("copies", value_serializer="raw"))
    batch = [in_process(world, offset) for offset in (5, 6)]
    with in_agent():
        topic.send_soon(value=LARGE) if way == "send_soon" else await topic.send(value=LARGE)
    later = in_process(world, 7)
    for one in (*batch, later):
        world.consumer.ack(one)
    world.consumer._acked[PHOTOS].append(4)
    assert await commit(world.app, PHOTOS) == 5
    world.store.open(LARGE)
    await settle(lambda: producer_of(world.app).sent)
    await settle()
    assert await commit(world.app, PHOTOS) == 8


async def test_a_failed_send_of_a_batch_forbids_its_commit() -> None:
    """Which event it belongs to is not known: the app crashes and commits none of them."""
    world = World(store=FailingStore([AccessDenied("no")]))
    one = in_process(world, 5)
    with in_agent(), pytest.raises(AccessDenied):
        await (await world.topic.send(value="x" * THRESHOLD))
    await settle(lambda: world.app.crashed)
    assert isinstance(world.app.crash_reason, AccessDenied)
    world.consumer.ack(one)
    assert await commit(world.app, PHOTOS) is None


async def test_a_batch_that_is_cut_short_by_the_end_is_not_committed() -> None:
    """Faust commits once more when the app stops, and takes the batch for processed."""
    world = World(store=FailingStore(10_000))
    one = in_process(world, 5)
    with in_agent():
        sent = await world.topic.send(value="x" * THRESHOLD)
    await settle(lambda: world.store.count("put") > 1)
    world.app._stopped.set()
    with pytest.raises(StoreUnavailable):
        await sent
    world.consumer.ack(one)
    assert await commit(world.app, PHOTOS) is None


@pytest.mark.parametrize("who", ["S3", "Kafka"])
async def test_a_failure_in_the_background_forbids_commits(who: str) -> None:
    """Though the batch was acknowledged long before."""
    world = World(store=FailingStore([AccessDenied("no")] if who == "S3" else 0))
    if who == "Kafka":
        producer_of(world.app).error = RuntimeError("no")
    one = in_process(world, 5)
    with in_agent():
        soon = world.topic.send_soon(value="x" * THRESHOLD)
    world.consumer.ack(one)
    await settle(lambda: soon.done() and world.app.crashed)
    assert await commit(world.app, PHOTOS) is None


async def test_batches_of_revoked_partitions_are_forgotten() -> None:
    """What another worker reads now keeps no commit of ours."""
    world = World(store=GatedStore())
    topic = world.s3.offload(world.app.topic("copies", value_serializer="raw"))
    one = in_process(world, 5)
    with in_agent():
        soon = topic.send_soon(value=LARGE)
    world.consumer.ack(one)
    assert await commit(world.app, PHOTOS) is None
    await world.app.on_partitions_revoked.send({PHOTOS})
    assert await commit(world.app, PHOTOS, 5) == 6
    with pytest.raises(StoreUnavailable, match="revoked"):
        await soon


async def test_outside_of_agents_nothing_is_held() -> None:
    """A web view or a timer sends for itself."""
    world = World(store=GatedStore())
    topic = world.s3.offload(world.app.topic("copies", value_serializer="raw"))
    one = in_process(world, 5)
    soon = topic.send_soon(value=LARGE)
    world.consumer.ack(one)
    assert await commit(world.app, PHOTOS) == 6
    world.store.open(LARGE)
    await soon


# -- sending while other actors go on


def event_of(world: World, offset: int) -> Any:
    """Return an event of the photos; Faust remembers it as long as somebody has it."""
    return faust.Event(world.app, None, "source", None, message(b"source", offset=offset))


async def test_commits_wait_for_sends_of_other_actors() -> None:
    """One actor awaits its upload, another acknowledges the next event."""
    world = World(store=GatedStore())
    topic = world.s3.offload(world.app.topic("copies", value_serializer="raw"))
    with processing(event_of(world, 7)):
        await topic.send(value=LARGE)
    with processing(event_of(world, 5)):
        await topic.send(value=SMALL)  # in line behind it
    assert await commit(world.app, PHOTOS, 4, 5, 6, 7, 8) == 5
    world.store.open(LARGE)
    await settle(lambda: len(producer_of(world.app).sent) == 2)
    await settle()
    assert await commit(world.app, PHOTOS) == 9
    assert producer_of(world.app).values[1] == SMALL


async def test_small_sends_hold_nothing_once_they_arrived() -> None:
    """Commits have nothing to look at."""
    world = World()
    with processing(event_of(world, 5)):
        await world.topic.send(value=1)
    await settle()
    assert not world.s3._hub.commits.under_way()
    assert await commit(world.app, PHOTOS, 5) == 6


# -- claims where they would be read as they lie


@pytest.mark.parametrize("way", ["through", "group_by", "forward"])
async def test_claims_are_not_passed_on_to_plain_readers(loops: str, way: str) -> None:
    """The app stops with one sentence; the event is neither lost nor acknowledged."""
    world = World(loops)
    plain: Any = world.app.topic("plain")
    sentence = "a claim would be passed on to topic plain, which this app reads without"
    async with stopping(world.app.stream(world.topic)) as stream:
        await_error: Any
        if way == "forward":
            reader = world.app.stream(plain)
            await world.conductor(stream)(await world.large(1))
            (event,) = await first(stream.noack().events(), 1)
            await_error = event.forward("plain")
        else:
            reader = (
                stream.through(plain)
                if way == "through"
                else stream.group_by(lambda value: b"k", name="k", topic=plain)
            )
            await_error = first(aiter(reader), 1)
            await world.conductor(stream)(await world.large(1))
        with pytest.raises(ConfigError, match=sentence):
            await await_error
        await settle(lambda: world.app.crashed)
        await reader.stop()
    assert isinstance(world.app.crash_reason, ConfigError)
    assert not world.consumer.acked
    assert not producer_of(world.app).sent


async def test_claims_are_passed_on_to_readers_elsewhere() -> None:
    """Another app may read the topic with offloading."""
    world = World()
    event = await world.topic.decode(await world.large(1), propagate=True)
    await event.forward("elsewhere")
    assert len(producer_of(world.app).sent) == 1
