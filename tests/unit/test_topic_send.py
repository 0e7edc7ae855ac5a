"""Sending: what is large goes to the store first, and nothing else changes."""

from __future__ import annotations

import asyncio
from random import Random
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.exceptions import ProducerSendError
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st
from stores import BarrierStore, CountingStore, FailingStore
from worlds import (
    LARGE,
    SMALL,
    THRESHOLD,
    FakeProducer,
    GatedStore,
    Photo,
    Sent,
    claim_in,
    commit,
    connect,
    consumer_of,
    ended,
    make_app,
    make_s3,
    message,
    partition_of,
    processing,
    producer_of,
    settle,
)

from faust_s3 import AccessDenied, PayloadTooLarge, StoreUnavailable, commits, hub
from faust_s3.claim import MAGIC, Envelope, Inline, is_envelope
from faust_s3.internals import producer_of as producer_of_app
from faust_s3.prefetch import Pending
from faust_s3.stores import Location, Store


class World:
    """An app with a topic of bytes that offloads, and what can be seen of it."""

    def __init__(self, store: Store | None = None, **settings: Any) -> None:
        conf = {name: settings.pop(name) for name in list(settings) if name in CONF}
        self.app = make_app(**conf)
        self.store: Any = store if store is not None else CountingStore()
        self.s3 = make_s3(self.app, self.store, **settings)
        connect(self.app)
        self.photos: Any = self.s3.offload(self.app.topic("photos", value_serializer="raw"))

    @property
    def producer(self) -> FakeProducer:
        return producer_of(self.app)

    @property
    def sent(self) -> Sent:
        """The one message that was sent."""
        (sent,) = self.producer.sent
        return sent

    async def received(self, topic: Any, sent: Sent, offset: int = 0) -> Any:
        """Return the event of a message that was sent, as its message holds it."""
        event = await topic.decode(
            message(sent.value, key=sent.key, offset=offset, topic=sent.topic), propagate=True
        )
        return await event.resolve() if isinstance(event, Pending) else event


CONF = {"producer_max_request_size", "stream_publish_on_commit", "value_serializer", "Topic"}


def payloads(count: int) -> list[bytes]:
    return [bytes([number]) * (THRESHOLD + 1) for number in range(1, count + 1)]


class Source:
    """An event that an agent processes."""

    def __init__(self, world: World, offset: int = 5) -> None:
        self.world = world
        self.message = message(b"source", topic="source", offset=offset)
        self.event = world.app.create_event(None, "source", None, self.message)

    async def commit(self) -> bool:
        """Acknowledge the event and commit, and tell whether it is committed."""
        offset = self.message.offset
        return await commit(self.world.app, self.message.tp, offset) == offset + 1


# -- what goes out


@pytest.mark.parametrize("value", [SMALL, b"{}", b"null", b"\xff\x00", b"x" * THRESHOLD])
async def test_small_values_are_untouched(value: bytes) -> None:
    """Up to and with the threshold, a payload is published byte for byte."""
    world = World()
    await world.photos.send(value=value)
    assert world.sent.value == value
    assert not world.store.requests


async def test_one_byte_above_the_threshold() -> None:
    """It is in the store, and a claim on it is published."""
    world = World()
    await world.photos.send(value=LARGE)
    claim = claim_in(world.sent.value)
    assert claim.payload_size == len(LARGE) == THRESHOLD + 1
    assert await world.store.get(Location(claim.bucket, claim.key), max_size=1000) == LARGE


async def test_threshold_zero_offloads_one_byte() -> None:
    """The smallest threshold leaves nothing but the empty payload inline."""
    world = World(threshold=0)
    await world.photos.send(value=b"x")
    claim_in(world.sent.value)


async def test_tombstones_and_empty_values() -> None:
    """``None`` and ``b""`` mean something to Kafka, and cost no request."""
    world = World(threshold=0)
    raw = world.app.topic("photos", value_serializer="raw|s3")
    for topic in (world.photos, raw):
        for value in (None, b""):
            # Faust's default serializer would make JSON of None.
            await topic.send(value=value, value_serializer="raw" if topic is not raw else None)
    assert world.producer.values == [None, b"", None, b""]
    assert not world.store.requests


async def test_a_value_like_a_claim_is_wrapped() -> None:
    """A payload that begins with the magic arrives as what it is."""
    world = World()
    value = MAGIC + b"looks like one"
    await world.photos.send(value=value)
    assert world.sent.value == Inline(len(value), value).dumps()
    assert (await world.received(world.photos, world.sent)).value == value


async def test_a_models_own_serializer() -> None:
    """A model's serializer wins over the topic's in Faust; the topic still offloads."""

    class Document(faust.Record, serializer="json"):
        text: str

    world = World()
    topic = world.app.topic("docs", value_type=Document, value_serializer="json|s3")
    document = Document(text="x" * THRESHOLD)
    await topic.send(value=document)
    claim_in(world.sent.value)
    assert (await world.received(topic, world.sent)).value == document


async def test_offload_makes_any_topic_offload() -> None:
    """``s3.offload`` needs no serializer to name the codec."""
    world = World()
    topic = world.s3.offload(world.app.topic("docs", value_type=Photo))
    photo = Photo("a", "x" * THRESHOLD)
    await topic.send(value=photo)
    claim_in(world.sent.value)
    assert (await world.received(topic, world.sent)).value == photo


async def test_a_serializer_of_one_send() -> None:
    """``send(value_serializer="json|s3")`` offloads on a topic that did not opt in."""
    world = World()
    topic: Any = world.app.topic("plain")
    await topic.send(value="x" * THRESHOLD, value_serializer="json|s3")
    await world.app.send("plain", value="y" * THRESHOLD, value_serializer="json|s3")
    for sent in world.producer.sent:
        claim_in(sent.value)


async def test_a_serializer_of_the_app() -> None:
    """``App(value_serializer="json|s3")`` makes every topic offload."""
    world = World(value_serializer="json|s3")
    topic = world.app.topic("docs")
    await topic.send(value="x" * THRESHOLD)
    claim_in(world.sent.value)
    assert (await world.received(topic, world.sent)).value == "x" * THRESHOLD


async def test_a_topic_that_did_not_opt_in() -> None:
    """It is plain Faust: same bytes, straight to the producer, decoded by Faust's closure."""
    world = World()
    ours: Any = world.app.topic("plain", value_serializer="raw")
    await ours.send(value=LARGE)
    await ours.send(value=MAGIC)
    assert world.producer.values == [LARGE, MAGIC]
    assert not world.store.requests
    assert ours.decode.__module__ == "faust.serializers.schemas"
    assert (await ours.decode(message(MAGIC))).value == MAGIC


async def test_headers_timestamp_and_partition() -> None:
    """What else belongs to a message passes untouched."""
    world = World()
    for value in (SMALL, LARGE):
        await world.photos.send(
            key=b"key", value=value, headers={"h": b"1"}, timestamp=12.5, partition=3
        )
    for sent in world.producer.sent:
        assert sent[3:] == (3, 12.5, {"h": b"1"})
        assert (sent.topic, sent.key) == ("photos", b"key")


async def test_where_the_object_lies() -> None:
    """The key template sees topic, partition and message key."""
    world = World(key_template="{topic}/{partition}/{key}/{digest}")
    await world.photos.send(key=b"k", value=LARGE, partition=3)
    assert claim_in(world.sent.value).key.startswith("prefix/photos/3/k/")


async def test_the_future_and_the_callback() -> None:
    """They tell where the message is, as in Faust."""
    world = World()
    called: list[Any] = []
    future = await world.photos.send(value=LARGE, callback=called.append)
    assert (await future).topic == "photos"
    await settle(lambda: called)
    assert called[0].result().topic == "photos"


async def test_sensors_see_the_claim() -> None:
    """Faust's sensors measure what goes to Kafka."""
    world = World()
    sizes: list[int] = []

    class Sensor(faust.Sensor):
        def on_send_initiated(self, *args: Any) -> Any:
            sizes.append(args[-1])

    world.app.sensors.add(Sensor())
    await world.photos.send(value=LARGE)
    assert sizes == [len(world.sent.value or b"")]


# -- keys


async def test_keys_are_left_alone() -> None:
    """A large key is published as it is unless it was asked for."""
    world = World()
    await world.photos.send(key=LARGE, value=SMALL)
    assert world.sent.key == LARGE


async def test_a_large_key_keeps_its_partition() -> None:
    """The record goes where its key would have gone, not where the claim would."""
    world = World()
    topic = world.s3.offload(world.app.topic("photos"), keys=True, values=False)
    for key in payloads(5):
        await topic.send(key=key, value=LARGE)
    for key, sent in zip(payloads(5), world.producer.sent, strict=True):
        claim_in(sent.key)
        assert sent.partition == partition_of(key)
        assert sent.value == LARGE


async def test_an_explicit_partition_stays() -> None:
    """Who chose a partition gets it, with a large key as well."""
    world = World()
    topic = world.s3.offload(world.app.topic("photos"), keys=True)
    await topic.send(key=LARGE, value=SMALL, partition=0)
    assert world.sent.partition == 0


async def test_a_small_key_is_untouched() -> None:
    """And Kafka's own partitioner is left to choose."""
    world = World()
    topic = world.s3.offload(world.app.topic("photos"), keys=True)
    for key in (None, b"", b"key", b"x" * THRESHOLD):
        await topic.send(key=key, value=SMALL)
    assert [sent.key for sent in world.producer.sent] == [None, b"", b"key", b"x" * THRESHOLD]
    assert {sent.partition for sent in world.producer.sent} == {None}


async def test_a_small_key_like_a_claim_keeps_its_partition() -> None:
    """A key that has to be wrapped still hashes as itself."""
    world = World()
    topic = world.s3.offload(world.app.topic("photos", key_type=bytes), keys=True)
    key = MAGIC + b"key"
    await topic.send(key=key, value=b'"small"')
    assert world.sent.key == Inline(len(key), key).dumps()
    assert world.sent.partition == partition_of(key)
    assert (await world.received(topic, world.sent)).key == key


async def test_one_key_has_one_claim_for_ever() -> None:
    """Compaction needs it: no date, no random part, whatever the template says."""
    claims = set()
    for template in ("{topic}/{date}/{digest}", "{topic}/{uuid}"):
        world = World(key_template=template)
        topic = world.s3.offload(world.app.topic("photos"), keys=True)
        for value in payloads(2):
            await topic.send(key=LARGE, value=value)
        claims |= {sent.key for sent in world.producer.sent}
    (claim,) = claims
    assert "/photos/keys/" in claim_in(claim).key


async def test_keys_by_name() -> None:
    """A key serializer that names the codec asks for it, too."""
    world = World()
    topic = world.app.topic("photos", key_serializer="json|s3")
    await topic.send(key="x" * THRESHOLD, value="small")
    claim_in(world.sent.key)
    assert (await world.received(topic, world.sent)).key == "x" * THRESHOLD


async def test_the_values_object_is_named_after_the_original_key() -> None:
    """``{key}`` in a template is the message's key, not the claim on it."""
    world = World(key_template="{key}/{digest}")
    topic = world.s3.offload(world.app.topic("photos"), keys=True)
    await topic.send(key=LARGE, value=LARGE)
    assert claim_in(world.sent.value).key.startswith(f"prefix/{LARGE.decode()}/")


# -- the producer's limit

ROOM = 60_000


async def test_too_large_beside_its_headers() -> None:
    """A value below the threshold that Kafka would refuse with its headers is offloaded."""
    world = World(threshold=ROOM, producer_max_request_size=ROOM + 1000)
    headers = {"h": b"x" * 900}
    await world.photos.send(value=b"x" * ROOM)
    await world.photos.send(value=b"x" * ROOM, headers=headers)
    assert [is_envelope(value) for value in world.producer.values] == [False, True]


async def test_too_large_beside_its_key() -> None:
    """The key takes room as well."""
    world = World(threshold=ROOM, producer_max_request_size=ROOM + 1000)
    await world.photos.send(key=b"k" * 900, value=b"x" * ROOM)
    claim_in(world.sent.value)


async def test_a_large_key_leaves_room_by_going_first() -> None:
    """An offloaded key takes the room of its claim only."""
    world = World(threshold=ROOM, producer_max_request_size=ROOM + 1000)
    topic = world.s3.offload(world.app.topic("photos"), keys=True)
    await topic.send(key=b"k" * (ROOM + 1), value=b"x" * ROOM)
    claim_in(world.sent.key)
    assert world.sent.value == b"x" * ROOM


async def test_no_room_at_all() -> None:
    """A key that fills the request alone makes even a small value a claim; Kafka decides."""
    world = World(producer_max_request_size=1000)
    await world.photos.send(key=b"k" * 1000, value=SMALL)
    claim_in(world.sent.value)


async def test_more_than_the_cap() -> None:
    """Above ``max_payload`` nothing is stored, nothing published, and the caller knows."""
    world = World(max_payload=200)
    with pytest.raises(PayloadTooLarge, match="max_payload=200") as raised:
        await world.photos.send(value=b"x" * 201)
    assert raised.value.topic == "photos"
    assert not world.producer.sent
    assert not world.store.requests


# -- order


async def test_uploads_overlap() -> None:
    """Senders at the same time upload at the same time."""
    world = World(BarrierStore(5))
    await asyncio.gather(*(world.photos.send(value=value) for value in payloads(5)))
    assert world.store.most == 5


async def test_published_in_the_order_of_sending() -> None:
    """Whatever upload ends first, and small messages stay behind large ones."""
    world = World(GatedStore())
    first, third = payloads(2)
    sends = [
        asyncio.ensure_future(world.photos.send(key=b"%d" % number, value=value))
        for number, value in enumerate((first, SMALL, third, SMALL))
    ]
    await settle()
    world.store.open(third)
    await settle()
    assert not world.producer.sent
    world.store.open(first)
    await asyncio.gather(*sends)
    assert [sent.key for sent in world.producer.sent] == [b"0", b"1", b"2", b"3"]
    assert [is_envelope(value) for value in world.producer.values] == [True, False, True, False]


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(0, 1000))
def test_any_order_of_uploads(large: list[bool], seed: int) -> None:
    """Publishing follows sending for every mix of sizes and every order of uploads."""
    values = [
        bytes([number + 1]) * (THRESHOLD + 1 if is_large else 2)
        for number, is_large in enumerate(large)
    ]
    order = list(values)
    Random(seed).shuffle(order)

    async def check() -> None:
        world = World(GatedStore(), key_template="{key}/{digest}")
        sends = [
            asyncio.ensure_future(world.photos.send(key=value[:1], value=value)) for value in values
        ]
        for value in order:
            world.store.open(value)
            await settle(turns=3)
        await asyncio.gather(*sends)
        assert [sent.key for sent in world.producer.sent] == [value[:1] for value in values]

    asyncio.run(check())


async def test_different_topics_do_not_wait_for_each_other() -> None:
    """Order is a topic's own; a slow upload holds up nobody else."""
    world = World(GatedStore())
    others: Any = world.s3.offload(world.app.topic("others"))
    slow = asyncio.ensure_future(world.photos.send(value=LARGE))
    await settle()
    await others.send(value=SMALL)
    assert world.sent.topic == "others"
    world.store.open(LARGE)
    await slow


async def test_copies_of_a_topic_share_the_order() -> None:
    """Two topic objects of one name are one topic to Kafka."""
    world = World(GatedStore())
    copy = world.photos.clone()
    slow = asyncio.ensure_future(world.photos.send(value=LARGE))
    await settle()
    fast = asyncio.ensure_future(copy.send(value=SMALL))
    await settle()
    assert not world.producer.sent
    world.store.open(LARGE)
    await asyncio.gather(slow, fast)
    assert world.producer.values[1] == SMALL


async def test_a_failed_upload_lets_others_go_on() -> None:
    """The first one's failure is its own, and those behind it keep their order."""
    world = World(GatedStore())
    first, second = payloads(2)
    world.store.errors.append(AccessDenied("no"))
    sends = [
        asyncio.ensure_future(world.photos.send(value=value)) for value in (first, second, SMALL)
    ]
    await settle()
    world.store.open(first)
    await settle()
    assert isinstance(sends[0].exception(), AccessDenied)
    assert not world.producer.sent
    world.store.open(second)
    await asyncio.gather(*sends[1:])
    assert len(world.producer.sent) == 2
    assert world.producer.values[1] == SMALL


async def test_a_cancelled_sender_lets_others_go_on() -> None:
    """Its message is not published, and those behind it do not pass those before it."""
    world = World(GatedStore())
    first, second = payloads(2)
    sends = [
        asyncio.ensure_future(world.photos.send(value=value)) for value in (first, second, SMALL)
    ]
    await settle()
    await ended(sends[1])
    await settle()
    assert not world.producer.sent
    world.store.open(first)
    await asyncio.gather(sends[0], sends[2])
    assert len(world.producer.sent) == 2
    assert world.producer.values[1] == SMALL


async def test_a_producers_failure_lets_others_go_on() -> None:
    """An error of Kafka's reaches its sender, and nobody waits for that message."""
    world = World()
    world.producer.error = RuntimeError("Kafka said no")
    with pytest.raises(RuntimeError, match="Kafka said no"):
        await world.photos.send(value=LARGE)
    world.producer.error = None
    await world.photos.send(value=SMALL)
    assert world.producer.values == [SMALL]


def test_an_order_from_another_loop_is_no_order() -> None:
    """An app that runs again on a new event loop waits for nobody of the old one."""
    world: list[World] = []

    async def leave_one_behind() -> None:
        world.append(World(GatedStore()))
        sending = asyncio.ensure_future(world[0].photos.send(value=LARGE))
        await settle()
        sending.cancel()

    async def send_again() -> None:
        connect(world[0].app)
        await world[0].photos.send(value=SMALL)
        assert world[0].producer.values == [SMALL]

    asyncio.run(leave_one_behind())
    asyncio.run(send_again())


# -- send_soon


async def test_send_soon_returns_at_once() -> None:
    """It takes its turn when called, and publishes when the upload is through."""
    world = World(GatedStore())
    soon = world.photos.send_soon(value=LARGE)
    later = asyncio.ensure_future(world.photos.send(value=SMALL))
    await settle()
    assert not world.producer.sent
    world.store.open(LARGE)
    assert (await soon).topic == "photos"
    await later
    assert world.producer.values[1] == SMALL


async def test_send_soon_overlaps_and_keeps_order() -> None:
    """A loop of ``send_soon`` uploads at full concurrency and publishes in order."""
    world = World(BarrierStore(4), key_template="{key}/{digest}")
    soon = [world.photos.send_soon(key=value[:1], value=value) for value in payloads(4)]
    await asyncio.gather(*soon)
    assert world.store.most == 4
    assert [sent.key for sent in world.producer.sent] == [value[:1] for value in payloads(4)]


async def test_send_soon_publishes_once() -> None:
    """The producer's buffer comes to the message as well, and leaves it alone."""
    world = World()
    soon = world.photos.send_soon(value=LARGE)
    await world.producer.buffer.flush()
    await soon
    await world.producer.buffer.flush()
    assert len(world.producer.sent) == 1


async def test_the_producers_buffer_does_not_wait_for_uploads() -> None:
    """One loop serves all topics and table changelogs: a slow upload must not hold it up."""
    world = World(GatedStore())
    soon = world.photos.send_soon(value=LARGE)
    plain: Any = world.app.topic("plain")
    plain.send_soon(value=SMALL)
    await world.producer.buffer.flush()
    assert world.producer.values == [SMALL]
    world.store.open(LARGE)
    await soon


async def test_send_soon_fails_through_its_future() -> None:
    """The error is the future's, it is logged, and nobody has to await it."""
    world = World(FailingStore([AccessDenied("no")]))
    soon = world.photos.send_soon(value=LARGE)
    await world.producer.buffer.flush()
    with pytest.raises(AccessDenied):
        await soon
    assert not world.producer.sent


async def test_send_soon_tells_of_kafkas_failure() -> None:
    """What the producer's future says, this one says."""
    world = World()
    world.producer.acknowledge = False
    soon = world.photos.send_soon(value=LARGE)
    await settle(lambda: world.producer.acks)
    world.producer.acks[0].set_exception(RuntimeError("Kafka said no"))
    with pytest.raises(RuntimeError, match="Kafka said no"):
        await soon


async def test_an_unseen_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A failure that nobody awaits is still seen."""
    world = World(FailingStore([AccessDenied("no")]))
    soon = world.photos.send_soon(value=LARGE)
    await settle()
    assert soon.done()
    assert "was not sent: no (topic='photos')" in caplog.text


async def test_messages_wait_for_a_producer_that_starts() -> None:
    """As with Faust: who sends before the app has started waits until its producer is ready."""
    world, ready = World(), asyncio.Event()
    producer = world.producer
    producer.started = False
    other = world.s3.offload(world.app.topic("others", value_serializer="raw"))

    async def start() -> None:
        producer.started = True  # mode says so before it begins
        await ready.wait()

    producer.maybe_start = start  # type: ignore[method-assign]
    sends = []
    for topic in (world.photos, other):
        sends.append(asyncio.ensure_future(topic.send(value=SMALL)))
        await settle()
    assert (producer.started, producer.sent) == (True, [])
    ready.set()
    await asyncio.gather(*sends)
    assert {sent.topic for sent in producer.sent} == {"photos", "others"}


async def test_messages_of_transactions() -> None:
    """With exactly-once the consumer's transactions take them."""
    app: Any = SimpleNamespace(in_transaction=True, consumer=SimpleNamespace(transactions="them"))
    assert producer_of_app(app) == "them"


async def test_eager_partitioning() -> None:
    """``send_soon(eager_partitioning=True)`` decides by the original key, as Faust does."""
    world = World()
    world.producer.metadata.add("photos")
    topic = world.s3.offload(world.app.topic("photos"), keys=True)
    await topic.send_soon(key=LARGE, value=SMALL, eager_partitioning=True)
    assert world.sent.partition == partition_of(LARGE)


async def test_draining() -> None:
    """Before it stops the app waits for what was sent in the background."""
    world = World(GatedStore())
    world.photos.send_soon(value=LARGE)
    draining = asyncio.ensure_future(world.app.on_before_shutdown.send())
    await settle()
    assert not draining.done()
    world.store.open(LARGE)
    await draining
    assert len(world.producer.sent) == 1


async def test_draining_holds_nobody_up() -> None:
    """What is sent while the app drains, by agents that finish, is published as well."""
    world = World(GatedStore())
    first = asyncio.ensure_future(world.photos.send(value=LARGE))
    await settle()
    draining = asyncio.ensure_future(world.app.on_before_shutdown.send())
    await settle()
    second = asyncio.ensure_future(world.photos.send(value=SMALL))
    world.store.open(LARGE)
    await asyncio.gather(first, draining, second)
    assert world.producer.values[1] == SMALL


async def test_draining_may_be_cut_short() -> None:
    """A drain that is cancelled stands in nobody's way."""
    world = World(GatedStore())
    first = asyncio.ensure_future(world.photos.send(value=LARGE))
    await settle()
    draining = asyncio.ensure_future(world.app.on_before_shutdown.send())
    await settle()
    await ended(draining)
    second = asyncio.ensure_future(world.photos.send(value=SMALL))
    world.store.open(LARGE)
    await first
    await settle(second.done)
    try:
        assert second.done()
    finally:
        await ended(second)


async def test_stopping_abandons_what_is_left() -> None:
    """What could not be drained fails, rather than outlive the app."""
    world = World(GatedStore())
    soon = world.photos.send_soon(value=LARGE)
    await settle()
    await world.s3.on_stop()
    with pytest.raises(StoreUnavailable, match="the app stopped"):
        await soon


# -- failures outside of agents


async def test_a_hiccup_is_not_noticed() -> None:
    """A store that is away for a moment costs a moment."""
    world = World(FailingStore(3))
    await world.photos.send(value=LARGE)
    claim_in(world.sent.value)
    assert world.store.count("put") == 4


async def test_outside_an_agent_waiting_ends() -> None:
    """After ``send_timeout`` the caller gets ``StoreUnavailable`` with its coordinates."""
    world = World(FailingStore(10_000), send_timeout=0.01)
    with pytest.raises(StoreUnavailable, match="the store is away") as raised:
        await world.photos.send(value=LARGE)
    assert raised.value.topic == "photos"
    assert (raised.value.attempts or 0) > 1
    assert not world.producer.sent


async def test_a_permanent_error_is_the_callers() -> None:
    """It is raised at once, and the app goes on."""
    world = World(FailingStore([AccessDenied("no")]))
    with pytest.raises(AccessDenied) as raised:
        await world.photos.send(value=LARGE)
    assert raised.value.topic == "photos"
    assert world.store.count("put") == 1
    assert not world.app.crashed


# -- in an agent


async def test_in_an_agent_waiting_does_not_end() -> None:
    """The source event is held, so ``send_timeout`` has no say."""
    world = World(FailingStore(50), send_timeout=1e-9)
    with processing(Source(world).event):
        await (await world.photos.send(value=LARGE))
    claim_in(world.sent.value)


async def test_in_an_agent_waiting_ends_with_the_app() -> None:
    """An app that stops does not wait for the store, and does not commit either."""
    world = World(FailingStore(10_000))
    source = Source(world)
    with processing(source.event):
        sent = await world.photos.send(value=LARGE)
        await settle(lambda: world.store.count("put") > 1)
        await world.app.crash(RuntimeError("another reason"))
        with pytest.raises(StoreUnavailable):
            await sent
    assert not await source.commit()


async def test_a_failed_send_forbids_the_commit() -> None:
    """Though the agent may catch the error: the worker crashes rather than commits."""
    world = World(FailingStore([AccessDenied("no")]))
    source = Source(world)
    with processing(source.event), pytest.raises(AccessDenied):
        await (await world.photos.send(value=LARGE))
    await settle(lambda: world.app.crashed)
    assert isinstance(world.app.crash_reason, AccessDenied)
    for _ in range(3):  # however often Faust tries
        assert not await source.commit()


async def test_a_failed_send_allows_commits_before_it() -> None:
    """Offsets before the source event's are none of its business."""
    world = World(FailingStore([AccessDenied("no")]))
    source = Source(world, offset=5)
    await commit(world.app, source.message.tp)
    consumer_of(world.app).ack(message(b"before", topic="source", offset=4))
    with processing(source.event), pytest.raises(AccessDenied):
        await (await world.photos.send(value=LARGE))
    await settle(lambda: world.app.crashed)
    assert consumer_of(world.app)._committed_offset[source.message.tp] == 5


async def test_nothing_is_committed_after_a_crash() -> None:
    """What was acknowledged before is committed first; then Faust is not to try."""
    world = World(FailingStore([AccessDenied("no")]))
    source = Source(world)
    with processing(source.event):
        await world.photos.send(value=LARGE)
    await settle(lambda: world.app.crashed)
    assert consumer_of(world.app).commits == 2
    assert await commit(world.app, TP("assigned", 0), 0) is None


async def test_a_crash_does_not_wait_for_ever_for_a_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A commit that waits for a store that is away is given up."""
    monkeypatch.setattr(hub, "_LAST_COMMIT", 0)
    world = World(FailingStore([AccessDenied("no")]))
    never = asyncio.Event()
    monkeypatch.setattr(consumer_of(world.app), "commit", never.wait)
    with processing(Source(world).event):
        await world.photos.send(value=LARGE)
    await settle(lambda: world.app.crashed)
    assert isinstance(world.app.crash_reason, AccessDenied)
    never.set()
    await settle()


async def test_revoked_partitions_are_forgotten() -> None:
    """What another worker reads now keeps no commit of ours, and no memory."""
    world = World(GatedStore())
    source = Source(world)
    with processing(source.event):
        soon = world.photos.send_soon(value=LARGE)
    assert not await source.commit()
    await world.app.on_partitions_revoked.send({source.message.tp, TP("never seen", 0)})
    with pytest.raises(StoreUnavailable, match="revoked"):
        await soon
    assert consumer_of(world.app).acked == []  # the event will be delivered again
    assert await source.commit()
    assert not world.producer.sent


@pytest.mark.parametrize("why", ["the app stops", "refused"])
async def test_nothing_passes_a_message_that_was_given_up(why: str) -> None:
    """What agents sent for later events comes again with it, and nobody sees it before."""
    world = World(GatedStore())
    first, second, third = values = payloads(3)
    for offset, value in enumerate([*values, SMALL], start=5):
        with processing(Source(world, offset).event):
            await world.photos.send(value=value)
    elsewhere = message(b"", topic="elsewhere", offset=9)
    with processing(world.app.create_event(None, "", None, elsewhere)):
        await world.photos.send(value=b"for an event elsewhere")
    world.photos.send_soon(value=b"for no event")
    world.store.open(third)
    world.store.open(first)
    await settle()
    assert claim_in(world.sent.value)
    if why == "the app stops":
        await world.app.crash(RuntimeError("another reason"))
    world.store.errors.append(AccessDenied("no") if why == "refused" else StoreUnavailable("away"))
    world.store.open(second)
    await settle()
    assert world.producer.values[1:] == [b"for an event elsewhere", b"for no event"]


async def test_a_failed_send_tells_where(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the source's coordinates, and not its bytes."""
    world = World(FailingStore([AccessDenied("no")]))
    with processing(Source(world, offset=77).event):
        await world.photos.send(value=LARGE)
    await settle(lambda: world.app.crashed)
    assert "offset 77 was not sent" in caplog.text
    assert LARGE.decode() not in caplog.text


@pytest.mark.parametrize("way", ["send", "send_soon"])
async def test_commits_pass_by_no_event_whose_messages_are_under_way(way: str) -> None:
    """The source event is committed after everything sent for it was published."""
    world = World(GatedStore())
    world.producer.acknowledge = False
    source = Source(world)
    with processing(source.event):
        world.photos.send_soon(value=LARGE) if way == "send_soon" else await world.photos.send(
            value=LARGE
        )
    assert not await source.commit()
    world.store.open(LARGE)
    await settle(lambda: world.producer.acks)
    assert not await source.commit()
    world.producer.acks[0].set_result(faust.types.RecordMetadata("photos", 0, TP("photos", 0), 0))
    await settle()
    assert await source.commit()


async def test_what_has_just_arrived_holds_nothing() -> None:
    """Or the last commit before a rebalance would leave out an event that is done with."""
    world = World()
    source = Source(world)
    arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    world.s3._hub.commits.hold([(source.message.tp, source.message.offset)], arrived)
    assert not await source.commit()
    arrived.set_result(None)  # its callbacks run in the next turn of the event loop
    assert await source.commit()


async def test_what_is_before_is_committed_meanwhile() -> None:
    """So are other partitions: a store that is away holds up no more than it has to."""
    world = World(GatedStore())
    source = Source(world, offset=5)
    with processing(source.event):
        await world.photos.send(value=LARGE)
    assert await commit(world.app, source.message.tp, 3, 4, 5, 6) == 5
    assert await commit(world.app, TP("other", 0), 0, 1) == 2
    world.store.open(LARGE)
    await settle(lambda: world.producer.sent)
    await settle()
    assert await commit(world.app, source.message.tp) == 7


@pytest.mark.parametrize("what", [LARGE, SMALL])
async def test_kafka_has_the_last_word(what: bytes) -> None:
    """A message that its producer gives up stops the worker, a small one as well."""
    world = World()
    world.producer.acknowledge = False
    source = Source(world)
    with processing(source.event):
        sent = await world.photos.send(value=what)
    await settle(lambda: world.producer.acks)
    assert not await source.commit()
    world.producer.acks[0].set_exception(ProducerSendError("too late"))
    with pytest.raises(ProducerSendError, match="too late"):
        await sent
    await settle(lambda: world.app.crashed)
    assert isinstance(world.app.crash_reason, ProducerSendError)
    assert not await source.commit()


async def test_a_small_message_that_the_producer_refuses() -> None:
    """It is raised, and the event is not committed."""
    world = World()
    world.producer.error = ProducerSendError("no")
    source = Source(world)
    with processing(source.event), pytest.raises(ProducerSendError, match="no"):
        await world.photos.send(value=SMALL)
    assert isinstance(world.app.crash_reason, ProducerSendError)
    assert not await source.commit()


async def test_commit_fails_with_send_soon() -> None:
    """A message in the background that fails forbids the commit, too."""
    world = World(FailingStore([AccessDenied("no")]))
    source = Source(world)
    with processing(source.event):
        soon = world.photos.send_soon(value=LARGE)
    await settle(lambda: soon.done() and world.app.crashed)
    assert isinstance(world.app.crash_reason, AccessDenied)
    for _ in range(2):
        assert not await source.commit()


async def test_commit_fails_with_kafkas_refusal() -> None:
    """An error for a message in the background forbids the commit as well, whatever it is."""
    world = World()
    source = Source(world)
    world.producer.error = RuntimeError("Kafka said no")
    with processing(source.event):
        soon = world.photos.send_soon(value=LARGE)
    await settle(lambda: soon.done() and world.app.crashed)
    for _ in range(3):  # Faust commits once more when it stops
        assert not await source.commit()


async def test_whoever_stops_waiting_for_a_message_changes_nothing() -> None:
    """A promise that is cancelled is still kept, and its event held until then."""
    world = World(GatedStore())
    source = Source(world)
    with processing(source.event):
        sent: Any = await world.photos.send(value=LARGE)
    sent.cancel()
    assert not await source.commit()
    world.store.open(LARGE)
    await settle(lambda: world.producer.sent)
    await settle()
    assert await source.commit()


async def test_the_last_commit_waits_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before partitions are revoked, and at the end, what is under way may arrive."""
    world = World(GatedStore())
    source = Source(world)
    with processing(source.event):
        await world.photos.send(value=LARGE)
    assert not await source.commit()
    consumer = consumer_of(world.app)
    ending = asyncio.ensure_future(consumer.commit_and_end_transactions())
    await settle()
    assert not ending.done()
    world.store.open(LARGE)
    await ending
    assert consumer._committed_offset[source.message.tp] == 6
    for name in ("REVOKED", "STOPPED"):
        monkeypatch.setattr(commits, name, 0)
        with processing(source.event):
            await world.photos.send(value=LARGE + name.encode())
        await consumer.commit_and_end_transactions()  # not for ever
        world.app._stopped.set()
    await world.s3.on_stop()


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
async def test_no_commit_after_the_last_transaction(guarantee: str) -> None:
    """What is acknowledged once a worker's transactions have ended is delivered again."""
    world = World()
    app: Any = world.app
    app.in_transaction = guarantee == "exactly_once"  # which Faust finds out once
    source = Source(world)
    consumer = consumer_of(app)
    await consumer.commit()
    app._stopped.set()
    await consumer.commit_and_end_transactions()
    assert await source.commit() is (guarantee == "at_least_once")


@pytest.mark.parametrize(("known", "told"), [([], 1), (["photos"], 0)])
async def test_what_is_in_no_transaction_is_told(
    known: list[str], told: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust leaves out topics that the app does not read; one line in the log says so."""
    world = World()
    app: Any = world.app

    def key_partition(topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        return 0 if topic in known else None

    monkeypatch.setattr(app.consumer, "key_partition", key_partition, raising=False)
    monkeypatch.setattr(app.consumer, "transactions", app.producer, raising=False)
    for guarantee in (False, True):
        app.in_transaction = guarantee
        for source in (Source(world, 5), Source(world, 6)):
            with processing(source.event):
                await (await world.photos.send(value=SMALL))
        lines = [entry for entry in caplog.records if "in no transaction" in entry.message]
        assert len(lines) == (told if guarantee else 0)


# -- the window


@pytest.mark.parametrize(
    "bounds", [{"send_window": 3}, {"send_window_bytes": 3 * (THRESHOLD + 1) + 5}]
)
async def test_sending_waits_while_the_window_is_full(bounds: dict[str, int]) -> None:
    """An agent that only awaits ``send`` has so much under way, and no more."""
    world = World(GatedStore(), **bounds)
    with processing(Source(world).event):
        for value in payloads(3):
            await world.photos.send(value=value)
        fourth = asyncio.ensure_future(world.photos.send(value=LARGE))
    await settle()
    assert not fourth.done()
    assert len(world.store.waiting) == 3
    world.store.open(payloads(3)[0])
    await settle(fourth.done)
    assert fourth.done()
    for value in (*payloads(3), LARGE):
        world.store.open(value)
    await (await fourth)
    assert len(world.producer.sent) == 4


async def test_small_messages_behind_large_ones_keep_their_order() -> None:
    """They wait in the background, count in the window, and hold their event."""
    world = World(GatedStore(), send_window=3)
    source = Source(world)
    with processing(source.event):
        await world.photos.send(value=LARGE)
        await world.photos.send(value=b"1")
        await world.photos.send(value=b"2")
        waiting = asyncio.ensure_future(world.photos.send(value=b"3"))
    await settle()
    assert not waiting.done()
    assert not world.producer.sent
    world.store.open(LARGE)
    await (await waiting)
    assert world.producer.values[1:] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("why", ["rebalancing", "_stopped"])
async def test_who_waits_for_room_gives_up(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While partitions are revoked: the event is not committed, and will come again."""
    monkeypatch.setattr(hub, "_TURN", 0.001)
    world = World(GatedStore(), send_window=1)
    source = Source(world)
    with processing(source.event):
        await world.photos.send(value=LARGE)
        waiting = asyncio.ensure_future(world.photos.send(value=LARGE + b"2"))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        if why == "rebalancing":
            world.app.rebalancing = True
        else:
            world.app._stopped.set()
        sent = await waiting
    with pytest.raises(StoreUnavailable, match="full for too long"):
        await sent
    world.store.open(LARGE)
    await settle(lambda: world.producer.sent)
    assert not await source.commit()
    assert len(world.producer.sent) == 1


async def test_who_stops_waiting_for_room_holds_nothing() -> None:
    """Whoever cancels a send has dealt with the event, and blocks nobody behind."""
    world = World(GatedStore(), send_window=1)
    source = Source(world)
    with processing(source.event):
        await world.photos.send(value=LARGE)
        waiting = asyncio.ensure_future(world.photos.send(value=LARGE + b"2"))
        await settle()
        await ended(waiting)
        last = asyncio.ensure_future(world.photos.send(value=b"3"))
    world.store.open(LARGE)
    await (await last)
    assert world.producer.values[1:] == [b"3"]
    await settle()
    assert await source.commit()


# -- published on commit


async def test_messages_published_on_commit() -> None:
    """With ``stream_publish_on_commit`` they are stored at once, and published in order."""
    world = World(GatedStore(), stream_publish_on_commit=True)
    source = Source(world)
    with processing(source.event):
        await world.photos.send(value=LARGE)
        sent = await world.photos.send(value=SMALL)
    await settle()
    assert world.store.waiting == [LARGE]
    assert not await source.commit()
    world.store.open(LARGE)
    await settle()
    assert not world.producer.sent
    assert await source.commit()
    assert list(map(is_envelope, world.producer.values)) == [True, False]
    assert await sent


async def test_what_belongs_to_the_next_event_is_not_published_yet() -> None:
    """Faust alone publishes what is attached to the offset that is committed: the next one."""
    world = World(stream_publish_on_commit=True)
    first, second = Source(world, 5), Source(world, 6)
    for source, value in ((first, b"first"), (second, b"second")):
        with processing(source.event):
            await world.photos.send(value=value)
    await settle()
    assert await first.commit()
    assert world.producer.values == [b"first"]
    assert await second.commit()
    assert world.producer.values == [b"first", b"second"]


@pytest.mark.parametrize("rejoined", [False, True])
async def test_what_belongs_to_an_event_of_another_generation(rejoined: bool) -> None:
    """An agent still processes what is delivered again: only one of both is published."""
    world = World(stream_publish_on_commit=True)
    app: Any = world.app
    old = Source(world)

    async def send_for_the_old_one() -> None:
        with processing(old.event):
            await world.photos.send(value=b"old")

    await app.on_partitions_revoked.send({old.message.tp})
    if not rejoined:
        await send_for_the_old_one()
    app.consumer_generation_id += 1
    await app.on_partitions_assigned.send({old.message.tp})
    if rejoined:
        await send_for_the_old_one()
    again = Source(world)
    again.message.generation_id = app.consumer_generation_id
    with processing(again.event):
        await world.photos.send(value=b"again")
    await settle()
    assert await again.commit()
    assert world.producer.values == [b"again"]
    assert not world.s3._hub.under_way


async def test_plain_messages_published_on_commit() -> None:
    """A topic that did not opt in is plain Faust."""
    world = World(stream_publish_on_commit=True)
    source = Source(world)
    with processing(source.event):
        await world.app.topic("plain").send(value="v")
    assert await source.commit()
    assert world.producer.values == [b'"v"']


async def test_what_cannot_be_published_on_commit() -> None:
    """Neither is the event committed, nor anything after it."""
    world = World(stream_publish_on_commit=True)
    source = Source(world)
    with processing(source.event):
        await world.photos.send(value=SMALL)
    await settle()
    world.producer.error = RuntimeError("no")
    with pytest.raises(ProducerSendError, match="no"):
        await source.commit()
    world.producer.error = None
    assert await commit(world.app, source.message.tp, 6, 7) is None


async def test_what_cannot_be_stored_for_a_commit() -> None:
    """The worker stops at once, and commits nothing."""
    world = World(FailingStore([AccessDenied("no")]), stream_publish_on_commit=True)
    source = Source(world)
    with processing(source.event):
        await world.photos.send(value=LARGE)
    await settle(lambda: world.app.crashed)
    assert isinstance(world.app.crash_reason, AccessDenied)
    assert not await source.commit()
    assert not world.producer.sent


# -- passing on


async def test_forward_passes_the_claim_on() -> None:
    """No second upload, no download, the same claim; on copies of the topic as well."""
    world = World()
    topic = world.app.topic("photos", value_serializer="json|s3")
    repartition: Any = topic.derive_topic(topics=["photos-by-name"], internal=True)
    others: Any = world.app.topic("others", value_serializer="json|s3")
    await topic.send(value="x" * THRESHOLD)
    event = await world.received(topic, world.sent)
    for target in (others, repartition, "by-name"):
        await event.forward(target)
    assert {sent.value for sent in world.producer.sent} == {world.producer.sent[0].value}
    assert world.store.count("put") == 1
    assert all(type(sent.value) is bytes for sent in world.producer.sent)


async def test_forward_of_a_key() -> None:
    """A claim on a key is passed on like one on a value."""
    world = World()
    topic = world.s3.offload(world.photos, keys=True)
    others = world.s3.offload(world.app.topic("others"), keys=True)
    await topic.send(key=LARGE, value=LARGE)
    event = await world.received(topic, world.sent)
    await event.forward(others)
    assert world.producer.sent[1][1:3] == world.producer.sent[0][1:3]
    assert world.store.count("put") == 2


async def test_forward_of_a_wrapped_payload() -> None:
    """An inline envelope is not wrapped again."""
    world = World()
    await world.photos.send(value=MAGIC)
    event = await world.received(world.photos, world.sent)
    await event.forward(world.photos)
    assert world.producer.values[0] == world.producer.values[1]


async def test_event_send_offloads_again() -> None:
    """``event.send`` serializes the value anew, which is whole: the object is the same."""
    world = World()
    topic = world.app.topic("photos", value_serializer="json|s3")
    await topic.send(value="x" * THRESHOLD)
    event = await world.received(topic, world.sent)
    await event.send(topic)
    assert world.producer.values[0] == world.producer.values[1]


async def test_what_only_looks_like_a_claim_is_not_passed_on() -> None:
    """Only an envelope that came in as one is: bytes of the user's are a payload."""
    world = World()
    await world.photos.send(value=LARGE)
    claim = world.sent.value
    assert claim is not None
    await world.photos.send(value=claim)
    await world.photos.send(value=Envelope(claim))
    assert world.producer.values[1] == Inline(len(claim), claim).dumps()
    assert world.producer.values[2] == claim


# -- copies


@pytest.mark.parametrize("opt_in", ["name", "offload"])
@pytest.mark.parametrize(
    "copy",
    [
        lambda topic: topic.clone(),
        lambda topic: topic.clone(is_iterator=True),
        lambda topic: topic.clone().clone(),
        lambda topic: topic.derive(),
        lambda topic: topic.derive_topic(topics=["photos"]),
        lambda topic: topic.derive_topic(suffix="-copy"),
        lambda topic: topic.derive_topic(key_type=str, prefix="app-", internal=True).clone(),
        lambda topic: topic.derive_topic().derive_topic(),
    ],
)
async def test_copies_keep_the_opt_in(opt_in: str, copy: Any) -> None:
    """Clones, and what ``group_by`` and ``through`` derive, offload as the original does."""
    world = World()
    named = opt_in == "name"
    topic = world.app.topic("photos", value_type=str, value_serializer="json|s3" if named else None)
    topic = copy(topic if named else world.s3.offload(topic, keys=True))
    assert topic.opt_in.value is world.s3
    assert topic.opt_in.key is (None if named else world.s3)
    await topic.send(key="k", value="x" * THRESHOLD)
    claim_in(world.sent.value)
    assert (await world.received(topic, world.sent)).value == "x" * THRESHOLD


async def test_copies_of_plain_topics_are_plain() -> None:
    """Nothing is opted in by copying."""
    world = World()
    topic: Any = world.app.topic("plain")
    assert not topic.clone().opt_in
    assert not topic.derive_topic(suffix="-copy").opt_in


async def test_copies_keep_what_they_copy() -> None:
    """``s3.offload`` returns the same topic in every other respect."""
    world = World()
    topic = world.app.topic(
        "a", "b", key_type=str, value_type=Photo, partitions=3, acks=False, config={"x": 1}
    )
    offloading = world.s3.offload(topic)
    assert offloading is not topic
    for name in ("topics", "key_type", "value_type", "partitions", "acks", "config", "schema"):
        assert getattr(offloading, name) == getattr(topic, name), name
    assert not topic.opt_in  # type: ignore[attr-defined]


async def test_a_topic_class_of_the_users() -> None:
    """The setting ``Topic`` is respected: ours is a subclass of it."""
    seen: list[Any] = []

    class MyTopic(faust.Topic):
        async def publish_message(self, fut: Any, wait: bool = False) -> Any:
            seen.append(fut.message.value)
            return await super().publish_message(fut, wait)

    world = World(Topic=MyTopic)
    topic = world.app.topic("photos", value_serializer="json|s3")
    assert isinstance(topic, MyTopic)
    assert isinstance(topic.derive_topic(), MyTopic)
    await topic.send(value="x" * THRESHOLD)
    claim_in(seen[0])


async def test_nothing_is_acknowledged_by_sending() -> None:
    """Acknowledging is the stream's business."""
    world = World()
    source = Source(world)
    with processing(source.event):
        await world.photos.send(value=LARGE)
    assert consumer_of(world.app).acked == []
