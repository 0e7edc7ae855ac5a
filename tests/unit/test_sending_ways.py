"""What Faust sends beside ``topic.send(value)``: bytes past the codec, replies, keys passed on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faust
import pytest
from faust.agents.agent import _current_agent
from faust.agents.models import ModelReqRepResponse, ReqRepRequest, ReqRepResponse
from stores import CountingStore
from worlds import (
    LARGE,
    SMALL,
    THRESHOLD,
    GatedStore,
    claim_in,
    connect,
    ended,
    make_app,
    make_s3,
    message,
    partition_of,
    processing,
    producer_of,
    settle,
)

from faust_s3 import ConfigError
from faust_s3.claim import MAGIC, is_envelope
from faust_s3.prefetch import Pending
from faust_s3.stores import Store

TEXT = "x" * THRESHOLD


class World:
    """An app, and what its producer was given."""

    def __init__(self, store: Store | None = None, **conf: Any) -> None:
        self.app = make_app(**conf)
        self.store: Any = CountingStore() if store is None else store
        self.s3 = make_s3(self.app, self.store)
        connect(self.app)
        self.producer = producer_of(self.app)

    def source(self) -> Any:
        """Return an event that an agent may be processing."""
        return faust.Event(self.app, None, "source", None, message(b"source", topic="source"))


# -- bytes, which Faust gives to no codec


@pytest.mark.parametrize("serializer", ["s3", "raw|s3"])
async def test_bytes_with_a_serializer_of_one_send(serializer: str) -> None:
    """Who names the codec gets it."""
    world = World()
    topic: Any = world.app.topic("plain", value_serializer="raw")
    await topic.send(key=LARGE, value=LARGE, value_serializer=serializer)
    await topic.send(key=LARGE, value=LARGE, key_serializer=serializer)
    await topic.send(key=LARGE, value=LARGE)
    sides = [(is_envelope(sent.key), is_envelope(sent.value)) for sent in world.producer.sent]
    assert sides == [(False, True), (True, False), (False, False)]


async def test_bytes_with_a_schema_of_one_send() -> None:
    """A schema names it as well, and a serializer beats it, as in Faust."""
    world = World()
    topic: Any = world.app.topic("plain", value_serializer="raw")
    schema = faust.Schema(key_serializer="raw|s3", value_serializer="raw|s3")
    await topic.send(key=LARGE, value=LARGE, schema=schema)
    await topic.send(key=LARGE, value=LARGE, schema=schema, value_serializer="raw")
    sides = [(is_envelope(sent.key), is_envelope(sent.value)) for sent in world.producer.sent]
    assert sides == [(True, True), (True, False)]


async def test_bytes_with_the_codec_in_the_wrong_place() -> None:
    """The sentence is the same as for other values."""
    world = World()
    topic: Any = world.app.topic("plain")
    with pytest.raises(ConfigError, match="in the wrong place"):
        await topic.send(value=LARGE, value_serializer="s3|raw")


async def test_channels_in_memory() -> None:
    """What does not go to Kafka stays as it is, and costs no request."""
    world = World(value_serializer="json|s3")
    channel = world.app.channel()
    reader = channel.clone(is_iterator=True)
    await channel.send(key=LARGE, value=TEXT, value_serializer="json|s3")
    event = reader.queue.get_nowait()
    assert (event.key, event.value) == (LARGE, TEXT)
    assert not world.store.requests


# -- asking agents


@contextmanager
def running(agent: Any) -> Iterator[None]:
    token = _current_agent.set(agent)
    try:
        yield
    finally:
        _current_agent.reset(token)


def agent_on(world: World, topic: Any) -> Any:
    async def answer(stream: Any) -> Any:
        async for value in stream:
            yield value

    return faust.Agent(answer, app=world.app, channel=topic)  # @app.agent reads the source file


@pytest.mark.parametrize("response", [ReqRepResponse, ModelReqRepResponse])
async def test_replies_do_as_the_agents_topic(response: Any) -> None:
    """Its model names a serializer and its topic is made by name: the agent decides."""
    world = World()
    large = response(key=None, value=TEXT, correlation_id="1")
    for topic in (
        world.app.topic("named", value_serializer="json|s3"),
        world.s3.offload(world.app.topic("chosen")),
        world.app.topic("plain"),
        world.s3.offload(world.app.topic("keys only"), keys=True, values=False),
        world.app.channel(),
    ):
        with running(agent_on(world, topic)):
            await world.app.send("replies", value=large)
    await world.app.send("replies", value=large)
    await settle(lambda: len(world.producer.sent) == 6)
    sides = [is_envelope(sent.value) for sent in world.producer.sent]
    assert sides == [True, True, False, False, False, False]


async def test_other_messages_of_an_agent_do_as_their_topic() -> None:
    """Only replies have no topic of their own."""
    world = World()
    agent = agent_on(world, world.app.topic("named", value_serializer="json|s3"))
    with running(agent):
        await world.app.send("plain", value=TEXT)
        await world.app.send("plain", value=ReqRepRequest(TEXT, "replies", "1"))
    assert not any(map(is_envelope, world.producer.values))


async def test_small_replies_are_plain() -> None:
    """Who asks needs no plugin for them."""
    world = World()
    with running(agent_on(world, world.app.topic("named", value_serializer="json|s3"))):
        await world.app.send("replies", value=ReqRepResponse(None, "small", "1"))
    (value,) = world.producer.values
    assert json.loads(value or b"")["value"] == "small"


async def test_requests_are_offloaded_though_their_model_has_a_serializer() -> None:
    """``ask`` wraps what it is given in a model that says ``json``."""
    world = World()
    agent = agent_on(world, world.app.topic("named", value_serializer="json|s3"))
    await agent.ask_nowait(TEXT, reply_to="replies")
    claim_in(world.producer.values[0])


@pytest.mark.parametrize("conf", [{}, {"value_serializer": "json|s3"}])
async def test_who_asks_reads_claims(conf: dict[str, Any]) -> None:
    """The topic that the reply consumer makes names no codec, whatever the app's default is."""
    world = World(**conf)
    reply = ReqRepResponse(None, TEXT, "1")
    with running(agent_on(world, world.app.topic("named", value_serializer="json|s3"))):
        await (await world.app.send("replies", value=reply))
    topic = world.app._reply_consumer._reply_topic("replies").clone(is_iterator=True)
    pending: Any = await topic.decode(message(world.producer.values[0], topic="replies"))
    assert (await pending.resolve()).value == reply


async def test_a_queue_that_nobody_reads_downloads_nothing() -> None:
    """The conductor also fills that of the topic which the reply consumer clones."""
    world = World()
    topic: Any = world.app.topic("photos", value_serializer="json|s3")
    await topic.send(value=TEXT)
    for is_iterator, downloads in ((False, 0), (True, 1)):
        reader = topic.clone(is_iterator=is_iterator)
        pending = await reader.decode(message(world.producer.values[0]))
        assert isinstance(pending, Pending)
        reader.queue.force_put_nowait(pending)
        await settle()
        assert world.store.count("get") == downloads


# -- keys passed on


@pytest.mark.parametrize("key", [LARGE, MAGIC + b"small"])
@pytest.mark.parametrize("target", ["named", "plain", "by name"])
async def test_a_key_that_is_passed_on_keeps_its_partition(key: bytes, target: str) -> None:
    """A claim is not hashed in place of its key, on whatever topic, and costs no request."""
    world = World()
    topic: Any = world.s3.offload(
        world.app.topic("photos", key_type=bytes, value_serializer="raw"), keys=True
    )
    await topic.send(key=key, value=SMALL)
    (first,) = world.producer.sent
    pending = await topic.clone(is_iterator=True).decode(message(SMALL, key=first.key))
    event: Any = await pending.resolve() if isinstance(pending, Pending) else pending
    requests = len(world.store.requests)
    await event.forward(
        {
            "named": world.s3.offload(world.app.topic("others"), keys=True),
            "plain": world.app.topic("others"),
            "by name": "others",
        }[target]
    )
    forwarded = world.producer.sent[1]
    assert forwarded.key == first.key
    assert type(forwarded.key) is bytes
    assert forwarded.partition == first.partition == partition_of(key)
    assert len(world.store.requests) == requests


async def test_a_key_that_is_passed_on_with_a_partition() -> None:
    """Who chose a partition gets it."""
    world = World()
    topic: Any = world.s3.offload(world.app.topic("photos", key_type=bytes), keys=True)
    await topic.send(key=LARGE, value="small")
    sent = world.producer.sent[0]
    pending = await topic.clone(is_iterator=True).decode(message(sent.value, key=sent.key))
    event = await pending.resolve()
    await event.forward("others", partition=6)
    assert world.producer.sent[1].partition == 6


async def test_several_readers_of_a_large_key() -> None:
    """A later reader does not forget what an earlier one knows of the key."""
    world = World()
    topic: Any = world.s3.offload(world.app.topic("photos", key_type=bytes), keys=True)
    await topic.send(key=LARGE, value="small")
    sent = world.producer.sent[0]
    received = message(sent.value, key=sent.key)
    first = await topic.clone(is_iterator=True).decode(received)
    event = await first.resolve()
    await topic.clone(is_iterator=True).decode(received)
    await event.forward("others")
    assert world.producer.sent[1].partition == partition_of(LARGE)


# -- flushing, stopping


async def flushed(world: World, *, then: bytes) -> bool:
    """Tell whether a flush waited for a payload."""
    flushing = asyncio.ensure_future(world.producer.flush())
    await settle()
    waited = not flushing.done()
    world.store.open(then)
    await flushing
    return waited


def soon(world: World, value: bytes) -> Any:
    topic: Any = world.s3.offload(world.app.topic("photos", value_serializer="raw"))
    return topic.send_soon(value=value)


async def test_flushing_waits_for_what_was_sent_soon() -> None:
    """``app.producer.flush()`` means what it says."""
    world = World(GatedStore())
    fut = soon(world, LARGE)
    assert await flushed(world, then=LARGE)
    assert fut.done()
    assert not await flushed(world, then=LARGE)


async def test_flushing_waits_for_the_messages_of_the_agent_that_asks() -> None:
    """Nobody else flushes for an agent: its commit waits, and others must not."""
    world = World(GatedStore())
    mine, other = LARGE, LARGE + b"other"
    mine_event, other_event = world.source(), world.source()
    with processing(mine_event):
        mine_soon = soon(world, mine)
        with processing(other_event):
            other_soon = soon(world, other)
        assert await flushed(world, then=mine)
    assert mine_soon.done()
    assert not other_soon.done()
    assert not await flushed(world, then=other)
    await other_soon


async def test_flushing_in_a_rebalance_waits_for_nobody() -> None:
    """The group would not wait for a store that is away."""
    world = World(GatedStore())
    fut = soon(world, LARGE)
    world.app.rebalancing = True
    assert not await flushed(world, then=LARGE)
    await fut


async def test_flushing_goes_on_after_a_failure() -> None:
    """What could not be sent says so to its sender, and holds nobody up."""
    world = World(GatedStore())
    world.store.errors.append(RuntimeError("broken"))
    fut = soon(world, LARGE)
    assert await flushed(world, then=LARGE)
    with pytest.raises(RuntimeError, match="broken"):
        await fut


async def test_a_producer_in_a_thread() -> None:
    """It is refused where nothing was started as well; topics that did not opt in may have it."""
    world = World(producer_threaded=True)
    topic: Any = world.s3.offload(world.app.topic("photos", value_serializer="raw"))
    with pytest.raises(ConfigError, match="producer_threaded=True"):
        topic.send_soon(value=LARGE)
    with pytest.raises(ConfigError, match="producer_threaded=True"):
        await topic.send(value=SMALL)
    plain: Any = world.app.topic("plain", value_serializer="raw")
    await plain.send(value=LARGE)
    assert world.producer.values == [LARGE]
    assert not world.producer.buffer.pending
    await ended()
