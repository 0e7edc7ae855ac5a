"""The testing kit: whole apps in memory."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import faust
import pytest
from faust.exceptions import ImproperlyConfigured, ProducerSendError, ValueDecodeError
from faust.types import TP
from worlds import LARGE, SMALL, THRESHOLD, Photo, make_app, make_s3

from faust_s3 import (
    AccessDenied,
    ClaimError,
    ConfigError,
    IntegrityError,
    ObjectMissing,
    StoreUnavailable,
)
from faust_s3.claim import MAGIC, is_envelope
from faust_s3.stores import Location, MemoryStore
from faust_s3.testing import in_memory
from faust_s3.testing.memento import Memento
from faust_s3.testing.seams import RELIED_ON

ROOT = Path(__file__).parents[2]
PIXELS = "x" * THRESHOLD
BIG = Photo("cat", PIXELS)


class Gallery:
    """A small app, and what its agent saw."""

    def __init__(self, **settings: Any) -> None:
        self.app = app = make_app(**settings)
        self.s3 = make_s3(app)
        self.photos = app.topic(
            "photos", key_type=str, value_type=Photo, value_serializer="json|s3"
        )
        self.thumbnails = app.topic("thumbnails", key_type=str, value_serializer="json|s3")
        self.seen: list[Any] = []

        @app.agent(self.photos)
        async def shrink(stream: Any) -> None:
            async for name, photo in stream.items():
                self.seen.append(photo)
                await self.thumbnails.send(key=name, value=photo.pixels[:3])

        self.agent = shrink


@pytest.fixture
def gallery() -> Gallery:
    return Gallery()


@pytest.fixture(autouse=True)
def no_discovery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust looks at source files when an agent is declared; here that is on an event loop."""
    monkeypatch.setattr("faust.app.base.venusian.attach", lambda *args, **kwargs: None)


@pytest.fixture(autouse=True, scope="module")
def warm_up() -> None:
    """Faust reads entry points when it first starts a table."""

    async def run() -> None:
        app = make_app()
        app.Table("table")
        async with in_memory(app):
            pass

    asyncio.run(run())


# -- running


async def test_large_values(gallery: Gallery) -> None:
    """The agent sees the value, the topic carries a claim, the store has the payload."""
    async with in_memory(gallery.app) as world:
        await gallery.photos.send(key="a", value=BIG)
        await world.settled()
        (record,) = world.published(gallery.photos)
        (payload,) = world.store.objects.values()
        assert is_envelope(record.value)
        assert gallery.seen == [BIG]
        assert payload == BIG.dumps(serializer="json")
        assert world.sent(gallery.thumbnails) == [("a", "xxx", {})]
        assert world.committed(gallery.photos) == {record.partition: 1}


async def test_small_values(gallery: Gallery) -> None:
    """What is below the threshold is on the topic as it is."""
    async with in_memory(gallery.app) as world:
        await gallery.photos.send(key="a", value=Photo("cat"))
        await world.settled()
        (record,) = world.published(gallery.photos)
        assert record.value == Photo("cat").dumps(serializer="json")
        assert world.store.requests == []


async def test_order(gallery: Gallery) -> None:
    """Records are read in the order in which they were sent, over all partitions."""
    sent = [Photo(str(number), PIXELS * (number % 3)) for number in range(30)]
    async with in_memory(gallery.app) as world:
        for photo in sent:
            await gallery.photos.send(key=photo.name, value=photo)
        await world.settled()
        assert len(world.committed(gallery.photos)) > 1
        assert gallery.seen == sent


def test_one_app_many_runs(gallery: Gallery) -> None:
    """An app runs any number of times, on any event loop, and remembers nothing."""
    table = gallery.app.Table("counts", default=int)

    @gallery.app.agent(gallery.thumbnails)
    async def count(stream: Any) -> None:
        async for name, _ in stream.items():
            table[name] += 1

    async def run() -> None:
        async with in_memory(gallery.app) as world:
            assert len(table) == 0
            await gallery.photos.send(key="a", value=BIG)
            await world.settled()
            assert dict(table) == {"a": 1}
            assert len(world.sent("photos")) == 1

    for _ in range(3):
        asyncio.run(run())
    assert len(gallery.seen) == 3


async def test_nothing_is_left(gallery: Gallery) -> None:
    """After the block, each object of the app has the attributes that it had before."""
    table = gallery.app.Table("table", store="rocksdb://table")
    async with in_memory(gallery.app):
        pass  # Faust notes which settings were read
    before = _attributes(gallery.app)
    async with in_memory(gallery.app, partitions=1, threshold=7) as world:
        await gallery.photos.send(key="a", value=BIG)
        await gallery.agent.cast(BIG, key="b")
        await world.settled()
        assert gallery.s3.store is world.store
        assert _attributes(gallery.app) != before
    assert _attributes(gallery.app) == before
    assert isinstance(gallery.s3.store, MemoryStore)
    assert gallery.app.conf.topic_partitions == 8
    assert str(table._store) == "rocksdb://table"


def _attributes(app: faust.App) -> list[Any]:
    found = []
    for part in Memento(app)._found:
        if isinstance(part, dict):
            found.append({id(key): id(value) for key, value in part.items()})
        elif hasattr(part, "__dict__"):
            found.append({key: id(value) for key, value in vars(part).items()})
        else:
            found.append([id(value) for value in part])
    return found


def test_app_that_is_bound_to_a_loop(gallery: Gallery) -> None:
    """What was bound to another event loop, as Faust does when asked too early, is not then."""
    app = gallery.app
    events: list[Any] = []

    async def declare() -> None:
        assert app.loop is asyncio.get_running_loop()
        assert app.flow_control.loop is app.loop
        stream = gallery.thumbnails.stream()

        @app.task
        async def watch() -> None:
            async for value in stream:
                events.append(value)

    async def run() -> None:
        async with in_memory(app) as world:
            await gallery.photos.send(key="a", value=BIG)
            await world.settled()

    asyncio.run(declare())
    asyncio.run(run())
    assert events == ["xxx"]


async def test_no_sockets(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """No web server is started, and nothing is connected to."""
    for method in ("bind", "connect"):
        monkeypatch.setattr(socket.socket, method, lambda *args: pytest.fail("a socket"))
    async with in_memory(gallery.app) as world:
        await gallery.photos.send(key="a", value=BIG)
        await world.settled()


def test_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are in memory, whatever store the app or they name."""
    monkeypatch.chdir(tmp_path)
    gallery = Gallery(store="rocksdb://")
    table, other = gallery.app.Table("table"), gallery.app.Table("other", store="rocksdb://other")

    @gallery.app.agent(gallery.thumbnails)
    async def keep(stream: Any) -> None:
        async for name, pixels in stream.items():
            table[name] = other[name] = pixels

    async def run() -> None:
        async with in_memory(gallery.app) as world:
            await gallery.photos.send(key="a", value=BIG)
            await world.settled()
            assert dict(table) == dict(other) == {"a": "xxx"}

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


async def test_running_app(gallery: Gallery) -> None:
    """An app that runs already is refused, and goes on."""
    async with in_memory(gallery.app) as world:
        with pytest.raises(ConfigError, match="'test' runs already"):
            async with in_memory(gallery.app):
                pass
        await gallery.photos.send(key="a", value=BIG)
        await world.settled()


@pytest.mark.parametrize(
    "settings",
    [{"producer_max_request_size": THRESHOLD}, {"producer_threaded": True}],
    ids=lambda settings: next(iter(settings)),
)
async def test_app_that_does_not_start(settings: dict[str, Any]) -> None:
    """What makes the start fail is raised, and the app is as it was."""
    gallery = Gallery(**settings)
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match=next(iter(settings))):
            async with in_memory(gallery.app):
                pytest.fail("it started")


async def test_wrong_setting(gallery: Gallery) -> None:
    """So is a setting that is none."""
    with pytest.raises(ConfigError, match="threshold -1 must not be negative"):
        async with in_memory(gallery.app, threshold=-1):
            pytest.fail("it started")


async def test_settings_hold_in_the_block(gallery: Gallery) -> None:
    """Settings of S3 can be others for the time of a test."""
    config = gallery.s3.config
    async with in_memory(gallery.app, threshold="1KiB") as world:
        await gallery.photos.send(key="a", value=BIG)
        await world.settled()
        assert world.offloaded() == []
    assert gallery.s3.config is config


async def test_app_without_s3() -> None:
    """An app needs no S3 to be run in memory."""
    app = make_app()
    topic = app.topic("plain")
    async with in_memory(app) as world:
        await topic.send(value={"a": 1})
        await world.settled()
        assert world.sent(topic) == [(None, {"a": 1}, {})]


async def test_app_that_only_sends(gallery: Gallery) -> None:
    """An app that has no consumer can be run in memory."""
    gallery.app.producer_only = True
    async with in_memory(gallery.app) as world:
        gallery.photos.send_soon(key="a", value=BIG)
        await world.settled()
        assert world.sent(gallery.photos) == [("a", BIG, {})]


# -- ways to send and to read


async def test_ways_to_send(gallery: Gallery) -> None:
    """All ways lead to the same topic."""
    app, photos = gallery.app, gallery.photos
    sent = [Photo(str(number), PIXELS) for number in range(6)]
    async with in_memory(app) as world:
        await photos.send(key="a", value=sent[0])
        photos.send_soon(key="a", value=sent[1])
        await world.settled()
        await app.send(photos, key="a", value=sent[2])
        await app.send("photos", "a", sent[3], value_serializer="json|s3")
        await gallery.agent.send(key="a", value=sent[4])
        await gallery.agent.cast(sent[5], key="a")
        await world.settled()
        assert [value for _, value, _ in world.sent("photos")] == sent == gallery.seen
        assert len(world.offloaded("photos")) == 6


async def test_plain_send_soon() -> None:
    """What is in the producer's buffer is waited for."""
    app = make_app()
    seen = []

    @app.agent(app.topic("plain"))
    async def see(stream: Any) -> None:
        async for value in stream:
            seen.append(value)

    async with in_memory(app) as world:
        for number in range(3):
            app.topic("plain").send_soon(value=number)
        await world.settled()
    assert seen == [0, 1, 2]


async def test_headers_partitions_timestamps(gallery: Gallery) -> None:
    """They arrive as they were sent."""
    async with in_memory(gallery.app) as world:
        await gallery.photos.send(
            key="a", value=BIG, headers={"kind": b"cat"}, partition=5, timestamp=1234.5
        )
        await world.settled()
        (record,) = world.published("photos")
        assert (record.partition, record.timestamp) == (5, 1234.5)
        assert world.sent("photos") == [("a", BIG, {"kind": b"cat"})]
        assert world.committed("photos") == {5: 1}
        with pytest.raises(ValueError, match="partition 8 of 'photos' must be below 8"):
            await gallery.photos.send(key="a", value=BIG, partition=8)


async def test_tombstones() -> None:
    """``None`` stays ``None``."""
    app = make_app()
    s3 = make_s3(app)
    topic = s3.offload(app.topic("raw", value_type=bytes, value_serializer="raw"))
    seen = []

    @app.agent(topic)
    async def see(stream: Any) -> None:
        async for key, value in stream.items():
            seen.append((key, value))

    async with in_memory(app) as world:
        await topic.send(key=b"a", value=None)
        await topic.send(key=b"a", value=LARGE)
        await world.settled()
        assert seen == [(b"a", None), (b"a", LARGE)]
        assert world.sent(topic) == [(b"a", None, {}), (b"a", LARGE, {})]


async def test_tombstones_of_models(gallery: Gallery) -> None:
    """A test can look at them, though agents cannot."""
    topic = gallery.app.topic("models", key_type=Photo, key_serializer="json", value_type=Photo)
    async with in_memory(gallery.app) as world:
        await topic.send(key=Photo("key"), value=BIG)
        world.publish(topic, None)
        assert world.sent(topic) == [(Photo("key"), BIG, {}), (None, None, {})]


async def test_payloads_that_look_like_claims() -> None:
    """They are not taken for claims."""
    app = make_app()
    make_s3(app)
    topic = app.topic("raw", value_type=bytes, value_serializer="raw|s3")
    seen = []

    @app.agent(topic)
    async def see(stream: Any) -> None:
        async for value in stream:
            seen.append(value)

    async with in_memory(app) as world:
        for value in (MAGIC, MAGIC + LARGE):
            await topic.send(value=value)
        await world.settled()
        assert seen == [value for _, value, _ in world.sent(topic)] == [MAGIC, MAGIC + LARGE]


async def test_keys() -> None:
    """Offloaded keys are whole again, and go where they would have gone."""
    app = make_app()
    s3 = make_s3(app)
    plain = app.topic("plain", key_type=bytes, value_serializer="raw")
    topic = s3.offload(app.topic("keys", key_type=bytes, value_serializer="raw"), keys=True)
    async with in_memory(app) as world:
        await plain.send(key=LARGE, value=SMALL)
        await topic.send(key=LARGE, value=LARGE)
        assert world.sent(topic) == [(LARGE, LARGE, {})]
        assert (
            len(
                {record.partition for name in ("plain", "keys") for record in world.published(name)}
            )
            == 1
        )
        assert [found.size for found in world.offloaded(topic)] == [len(LARGE)] * 2


async def test_group_by_and_through(gallery: Gallery) -> None:
    """Repartition topics carry the claim on, and are waited for."""
    app = gallery.app
    seen = []

    @app.agent(app.topic("in", value_type=Photo, value_serializer="json|s3"))
    async def regroup(stream: Any) -> None:
        async for key, value in stream.through("between").group_by(Photo.name).items():
            seen.append((key, value))

    async with in_memory(app) as world:
        await regroup.send(value=BIG)
        await world.settled()
        assert seen == [(b"cat", BIG)]
        assert app.rebalancing_count == 1
        assert [found.topic for found in world.offloaded()][1:2] == ["between"]
        assert len(world.offloaded()) == 3
        assert len(world.store.objects) == 1


async def test_sinks(gallery: Gallery) -> None:
    """Sinks get what agents yield."""
    app = gallery.app
    called = []

    @app.agent(app.topic("in", value_serializer="json|s3"), sink=[gallery.agent, called.append])
    async def develop(stream: Any) -> Any:
        async for pixels in stream:
            yield Photo("cat", pixels)

    async with in_memory(app) as world:
        await develop.send(value=PIXELS)
        await world.settled()
    assert called == gallery.seen == [BIG]


async def test_ask(gallery: Gallery) -> None:
    """Questions are answered, with large values too."""
    app = gallery.app

    @app.agent(app.topic("questions", value_serializer="json|s3"))
    async def double(stream: Any) -> Any:
        async for value in stream:
            yield value * 2

    async with in_memory(app) as world:
        assert await double.ask(PIXELS) == PIXELS * 2
        assert app.rebalancing_count == 1
        assert await double.join(["a", "b"]) == ["aa", "bb"]
        assert await double.ask("c", reply_to="replies-of-mine") == "cc"
        await world.settled()
        topics = [found.topic for found in world.offloaded()]
        assert topics[:2] == ["questions", app.conf.reply_to]
        assert topics[-1] == "replies-of-mine"


async def test_late_subscription(gallery: Gallery) -> None:
    """A stream that starts later gets what comes from then on, without the wait of Faust."""
    app = gallery.app
    begun = asyncio.Event()
    seen = []

    @app.task
    async def watch() -> None:
        await begun.wait()
        async for value in app.stream(gallery.thumbnails):
            seen.append(value)

    async with in_memory(app) as world:
        await gallery.photos.send(key="a", value=BIG)
        await world.settled()
        begun.set()
        await world.until(lambda: seen)
        await world.settled()
        assert seen == ["xxx"]
        assert len(gallery.seen) == 1, "nothing comes twice"


async def test_subscription_in_a_rebalance(gallery: Gallery) -> None:
    """So does one that starts while the app rebalances, which Faust would forget."""
    app = gallery.app
    seen = []

    async def watch() -> None:
        async for value in app.stream(gallery.thumbnails):
            seen.append(value)

    @app.on_rebalance_complete.connect
    async def rebalanced(app: Any, **kwargs: Any) -> None:
        if not seen:
            seen.append("rebalanced")
            app.add_future(watch())

    async with in_memory(app) as world:
        await gallery.photos.send(key="a", value=BIG)
        await world.settled()
        assert seen == ["rebalanced", "xxx"]


async def test_services_timers_and_signals(gallery: Gallery) -> None:
    """They do in each run what they do in a worker, leaders' timers included."""
    app = gallery.app
    happened: list[str] = []

    @app.service
    class Service(faust.Service):
        async def on_start(self) -> None:
            happened.append("start")

        async def on_stop(self) -> None:
            happened.append("stop")

    @app.timer(0.001)
    async def tick() -> None:
        happened.append("tick")

    @app.timer(0.001, on_leader=True)
    async def lead() -> None:
        happened.append("lead")

    @app.on_partitions_assigned.connect
    async def assigned(*args: Any, **kwargs: Any) -> None:
        happened.append("assigned")

    @app.on_produce_message.connect
    def produced(*args: Any, key: bytes, value: bytes, **kwargs: Any) -> None:
        happened.append(f"{key!r}: {value!r}")

    for _ in range(2):
        happened.clear()
        async with in_memory(app) as world:
            assert app.rebalancing_count == app.consumer_generation_id == 1
            await app.send("topic", "key", "value")
            await world.until(lambda: {"tick", "lead"} <= set(happened))
        once = ["assigned", "start", "b'key': b'\"value\"'", "stop"]
        assert [event for event in happened if event in once] == once


async def test_concurrency_and_isolated_partitions(gallery: Gallery) -> None:
    """Several actors of an agent share a topic, or have a partition each."""
    app = gallery.app
    seen: list[Any] = []

    async def see(stream: Any) -> None:
        async for value in stream:
            await asyncio.sleep(0)
            seen.append(value)

    ways: dict[str, Any] = {"together": {"concurrency": 3}, "each": {"isolated_partitions": True}}
    agents = [
        app.agent(app.topic(name, value_serializer="json|s3"), name=name, **way)(see)
        for name, way in ways.items()
    ]
    values = [str(number) * number * 20 for number in range(10)]
    for agent in agents:
        seen.clear()
        async with in_memory(app, partitions=3) as world:
            for value in values:
                await agent.send(value=value)
            await world.settled()
            assert sorted(seen) == sorted(values)


async def test_one_of_several_actors() -> None:
    """An event that one actor is busy with is waited for, though a later one is committed."""
    app = make_app()
    topic = app.topic("topic")
    go = asyncio.Event()

    @app.agent(topic, concurrency=2)
    async def work(stream: Any) -> None:
        async for value in stream:
            if value == 1:
                await go.wait()

    async with in_memory(app) as world:
        world.publish(topic, b"1", partition=0)
        world.publish(topic, b"2", partition=0)
        with pytest.raises(TimeoutError, match="events with agents: 1"):
            await world.settled(timeout=0.05)
        assert world.committed(topic) == {0: 2}, "Faust commits past it"
        go.set()
        await world.settled()


async def test_publishing_on_commit() -> None:
    """What is published on commit is waited for, and what comes of it."""
    app = make_app(stream_publish_on_commit=True)
    make_s3(app)
    first, second = (app.topic(name, value_serializer="json|s3") for name in ("first", "second"))
    seen = []

    @app.agent(first)
    async def double(stream: Any) -> None:
        async for value in stream:
            await second.send(value=value * 2)

    @app.agent(second)
    async def see(stream: Any) -> None:
        async for value in stream:
            seen.append(value)

    async with in_memory(app) as world:
        await first.send(value=PIXELS)
        await world.settled()
    assert seen == [PIXELS * 2]


async def test_full_buffers() -> None:
    """A stream that is slower than its topic is fed again when it has room."""
    app = make_app(stream_buffer_maxsize=4)
    topic = app.topic("topic")
    go = asyncio.Event()
    seen = []

    @app.agent(topic)
    async def see(stream: Any) -> None:
        async for value in stream:
            await go.wait()
            seen.append(value)

    async with in_memory(app, partitions=1) as world:
        for number in range(20):
            world.publish(topic, str(number).encode())
        consumer: Any = app.consumer
        await world.until(lambda: TP("topic", 0) in consumer._buffered_partitions)
        go.set()
        await world.settled()
    assert seen == list(range(20))


async def test_pausing_and_seeking(gallery: Gallery) -> None:
    """An app may hold partitions or all of them up, and read records again."""
    tp = TP("photos", 1)
    async with in_memory(gallery.app) as world:
        consumer: Any = gallery.app.consumer
        consumer.stop_flow()
        await gallery.photos.send(value=BIG, partition=3)
        with pytest.raises(TimeoutError):
            await world.settled(timeout=0.05)
        consumer.resume_flow()
        await world.settled()
        assert gallery.seen == [BIG]
        gallery.seen.clear()
        consumer.pause_partitions({tp})
        for partition in (1, 2):
            await gallery.photos.send(value=BIG, partition=partition)
        await world.until(lambda: gallery.seen)
        assert await consumer.position(tp) == 0
        consumer.resume_partitions({tp})
        await world.settled()
        assert await consumer.position(tp) == 1
        await consumer.seek(tp, 0)
        await world.until(lambda: len(gallery.seen) == 3)
        consumer.pause_partitions({tp})
        await consumer.seek(tp, 0)
        await consumer.perform_seek()
        assert await consumer.position(tp) == 1


async def test_lazy_values_and_uploads() -> None:
    """Handles are loaded from the store of the test, and uploads go there."""
    app = make_app()
    s3 = make_s3(app)
    topic = app.topic("photos", value_type=Photo, value_serializer="json|s3")
    seen = []

    @app.agent(topic)
    @s3.rehydrate(lazy=True)
    async def load(stream: Any) -> None:
        async for payload in stream:
            seen.append((payload.size, await payload.load(), [c async for c in payload.stream()]))

    async def chunks() -> AsyncIterator[bytes]:
        yield BIG.dumps(serializer="json")

    async with in_memory(app) as world:
        await topic.send(value=BIG)
        await topic.send(value=await s3.upload(chunks(), topic=topic))
        await world.settled()
        payload = BIG.dumps(serializer="json")
        assert seen == [(len(payload), BIG, [payload])] * 2
        assert world.sent(topic) == [(None, BIG, {})] * 2


async def test_buffered_events(gallery: Gallery) -> None:
    """Events that an agent takes together are waited for."""
    app = gallery.app
    taken = []

    @app.agent(gallery.thumbnails)
    async def take(stream: Any) -> None:
        async for values in stream.take(2, within=60):
            taken.append(values)

    async with in_memory(app) as world:
        await gallery.photos.send(key="a", value=BIG)
        await gallery.photos.send(key="a", value=BIG)
        await world.settled()
        assert taken == [["xxx", "xxx"]]
        await gallery.photos.send(key="a", value=BIG)
        await world.until(lambda: len(world.sent(gallery.thumbnails)) == 3)
        with pytest.raises(TimeoutError, match="thumbnails-4 is committed up to offset 2 of 3"):
            await world.settled(timeout=0.05)


async def test_channels(gallery: Gallery) -> None:
    """So are channels that are no topics."""
    app = gallery.app
    channel = app.channel()
    seen = []

    @app.agent(channel)
    async def see(stream: Any) -> None:
        async for value in stream:
            seen.append(value)

    @app.agent(gallery.thumbnails)
    async def forward(stream: Any) -> None:
        async for value in stream:
            await channel.send(value=value)

    async with in_memory(app) as world:
        await gallery.photos.send(key="a", value=BIG)
        await world.settled()
        assert seen == ["xxx"]


async def test_tables() -> None:
    """A table can be read, its changelog carries claims, and it recovers from them."""
    app = make_app()
    make_s3(app)
    table = app.Table(
        "table", value_type=Photo, value_serializer="json|s3", store="rocksdb://table"
    )
    globally = app.GlobalTable("globally", default=int)

    @app.agent(app.topic("photos", key_type=str, value_type=Photo, value_serializer="json|s3"))
    async def keep(stream: Any) -> None:
        async for name, photo in stream.items():
            table[name] = photo
            globally[name] += 1

    async with in_memory(app) as world:
        await keep.send(key="a", value=BIG)
        await world.settled()
        for _ in range(2):
            assert dict(table) == {"a": BIG}
            assert dict(globally) == {"a": 1}
            assert world.sent(table) == [("a", BIG, {})]
            assert {found.topic for found in world.offloaded()} == {
                "photos",
                "test-table-changelog",
            }
            await world.restart()
        assert world.committed(keep) == {4: 1}
        assert await app.consumer.position(TP("photos", 4)) == 1


async def test_partitions() -> None:
    """Topics have the partitions that they name, or those of the app, or of the test."""
    app = make_app()
    two = app.topic("two", partitions=2)
    other = app.topic("other")

    @app.agent(two)
    async def read(stream: Any) -> None:
        async for _ in stream:
            pass

    for given, expected in ((None, 8), (3, 3)):
        async with in_memory(app, partitions=given) as world:
            for _ in range(9):
                await two.send(value=1)
                await other.send(value=1)
            await world.settled()
            assert {record.partition for record in world.published(two)} == {0, 1}
            assert {record.partition for record in world.published(other)} == set(range(expected))


async def test_partitioner() -> None:
    """The app's own partitioner decides."""
    app = make_app(producer_partitioner=lambda key, every, available: every[len(key or b"")])
    async with in_memory(app) as world:
        await app.topic("any").send(key="four", value=1)
        assert [record.partition for record in world.published("any")] == [4]


async def test_producer_and_consumer(gallery: Gallery) -> None:
    """They answer what Faust may ask of any transport."""
    async with in_memory(gallery.app) as world:
        producer, consumer = gallery.app.producer, gallery.app.consumer
        await consumer.create_topic("two", 2, 1)
        await producer.create_topic("two", 3, 1)
        assert consumer.topic_partitions("two") == 2, "it was there already"
        assert producer.key_partition("two", b"a") == TP("two", 0)
        assert [consumer.key_partition("two", b"a", given) for given in (None, 1)] == [0, 1]
        assert producer.supports_headers()
        metadata = await producer.send_and_wait("two", b"a", b"1", None, 1.5, {"h": b"1"})
        (record,) = world.published("two")
        assert record == ("two", 0, 0, 1.5, b"a", b"1", (("h", b"1"),))
        assert metadata[:5] == ("two", 0, TP("two", 0), 0, 1.5)


async def test_latest() -> None:
    """With ``latest``, what came before the first assignment is nobody's."""
    app = make_app(consumer_auto_offset_reset="latest")
    begun = asyncio.Event()
    seen = []

    @app.task
    async def watch() -> None:
        await begun.wait()
        async for value in app.stream(app.topic("late")):
            seen.append(value)

    async with in_memory(app) as world:
        world.publish("late", b"1", partition=0)
        begun.set()
        await world.until(lambda: "late" in app.topics.acking_topics)
        await world.settled()
        world.publish("late", b"2", partition=0)
        await world.settled()
    assert seen == [2]


async def test_too_large_for_kafka(gallery: Gallery) -> None:
    """A record that no broker would take is refused as Kafka's client refuses it."""
    topic = gallery.app.topic("plain", value_serializer="json")
    async with in_memory(gallery.app):
        with pytest.raises(ProducerSendError, match=r"more than producer_max_request_size 1000000"):
            await topic.send(value="x" * 1_000_000)


async def test_several_stores(gallery: Gallery) -> None:
    """All S3 objects of an app have the one store of the test."""
    app = gallery.app
    make_s3(app, url="s3://archive", name="archive")
    archive = app.topic("archive", value_serializer="json|archive")
    async with in_memory(app) as world:
        await archive.send(value=PIXELS)
        await gallery.photos.send(key="a", value=BIG)
        await world.settled()
        assert [found.location.bucket for found in world.offloaded()] == ["archive", "bucket"]
        assert world.sent(archive) == [(None, PIXELS, {})]


async def test_codec_by_itself(gallery: Gallery) -> None:
    """The codec outside of topics has the store of the test, too."""
    codec = gallery.s3.codec_for("photos")
    async with in_memory(gallery.app) as world:
        data = await asyncio.to_thread(codec.dumps, BIG.dumps(serializer="json"))
        world.publish("photos", data, key=b"a")
        await world.settled()
        assert gallery.seen == [BIG]


# -- looking


async def test_topics_by_any_name(gallery: Gallery) -> None:
    """A topic is itself, its agent, or its name."""
    async with in_memory(gallery.app) as world:
        await gallery.photos.send(key="a", value=BIG)
        assert world.sent(gallery.photos) == world.sent(gallery.agent) == world.sent("photos")
        assert world.sent("no such topic") == []
        with pytest.raises(TypeError, match="must be a topic"):
            world.sent(gallery.app.channel())  # type: ignore[arg-type]


async def test_publishing_bytes(gallery: Gallery) -> None:
    """Bytes of other clients are read as they are."""
    async with in_memory(gallery.app) as world:
        value = b'{"name": "dog", "pixels": ""}'
        record = world.publish("photos", value, key=b"a", headers={"h": b"1"})
        await world.settled()
        assert gallery.seen == [Photo("dog")]
        assert world.sent("photos") == [("a", Photo("dog"), {"h": b"1"})]
        assert record == world.published("photos")[0]
        assert world.offloaded() == []


async def test_forged_claim(gallery: Gallery) -> None:
    """A claim for a place that is not ours crashes the app, with its own error."""
    async with in_memory(gallery.app) as world:
        await gallery.photos.send(key="a", value=BIG)
        await world.settled()
        forged = world.published("photos")[0].value.replace(b"bucket", b"others")
        world.publish("photos", forged, key=b"a")
        with pytest.raises(ClaimError, match="outside s3://bucket/prefix"):
            await world.settled()


async def test_garbage(gallery: Gallery) -> None:
    """What cannot be decoded raises when it is looked at."""
    async with in_memory(gallery.app) as world:
        world.publish("thumbnails", b"not JSON")
        world.publish("thumbnails", b"\xc1fS3 cut off")
        assert world.offloaded() == []
        with pytest.raises(ValueDecodeError):
            world.sent("thumbnails")


async def test_repr(gallery: Gallery) -> None:
    """The world says how much is in it."""
    async with in_memory(gallery.app) as world:
        await gallery.photos.send(key="a", value=BIG)
        assert repr(world) == "<World: 1 records, <FakeStore: 1 objects>>"


# -- failures


async def test_outage_of_reading(gallery: Gallery) -> None:
    """While the store is away nothing is committed; when it is back the app goes on."""
    async with in_memory(gallery.app) as world:
        with world.store.unavailable("get"):
            await gallery.photos.send(key="a", value=BIG)
            await world.until(lambda: len(world.store.failures) > 2)
            assert gallery.seen == []
            assert world.committed("photos") == {}
            assert {(request.method, type(request.error)) for request in world.store.failures} == {
                ("get", StoreUnavailable)
            }
        await world.settled()
        assert gallery.seen == [BIG]
        assert world.committed("photos") == {4: 1}


async def test_patience() -> None:
    """Tries are not as far apart as in production."""
    app = make_app()
    make_s3(app, retry_base=60.0, retry_cap=60.0)
    topic = app.topic("topic", value_serializer="json|s3")
    async with in_memory(app) as world:
        world.store.fail_next(3)
        await topic.send(value=PIXELS)
        assert len(world.store.requests) == 4


async def test_outage_of_sending(gallery: Gallery) -> None:
    """An agent that sends waits; its event is not committed meanwhile."""
    app = gallery.app
    copies = app.topic("copies", value_serializer="json|s3")

    @app.agent(gallery.thumbnails)
    async def enlarge(stream: Any) -> None:
        async for value in stream:
            await copies.send(value=value * THRESHOLD)

    async with in_memory(app) as world:
        await gallery.photos.send(key="a", value=BIG)
        with world.store.unavailable("put"):
            await world.until(lambda: world.store.failures)
            with pytest.raises(TimeoutError, match="thumbnails-4") as timeout:
                await world.settled(timeout=0.05)
            assert re.search(r"failed requests: \d+, the last: the store is", str(timeout.value))
            assert world.committed(gallery.thumbnails) == {}
            assert world.sent(copies) == []
        await world.settled()
        assert len(world.sent(copies)) == 1
        assert world.committed(gallery.thumbnails) == {4: 1}


async def test_outage_of_sending_soon(gallery: Gallery) -> None:
    """Messages that nobody awaits are waited for, in agents and elsewhere."""
    app = gallery.app
    copies = app.topic("copies", value_serializer="json|s3")

    @app.agent(gallery.thumbnails)
    async def enlarge(stream: Any) -> None:
        async for value in stream:
            copies.send_soon(value=value * THRESHOLD)

    async with in_memory(app) as world:
        await gallery.photos.send(key="a", value=BIG)
        with world.store.unavailable("put"):
            await world.until(lambda: world.store.failures)
            with pytest.raises(TimeoutError, match="thumbnails-4"):
                await world.settled(timeout=0.05)
            assert world.committed(gallery.thumbnails) == {}
        await world.settled()
        assert len(world.sent(copies)) == 1
        with world.store.unavailable("put"):
            copies.send_soon(value=PIXELS)
            with pytest.raises(TimeoutError, match="not everything that was sent is stored"):
                await world.settled(timeout=0.05)
        await world.settled()
        assert len(world.sent(copies)) == 2


async def test_outage_outside_agents(gallery: Gallery) -> None:
    """Senders outside agents get the error after ``send_timeout``."""
    async with in_memory(gallery.app, send_timeout=0.01) as world:
        with world.store.unavailable(), pytest.raises(StoreUnavailable, match="is away"):
            await gallery.photos.send(key="a", value=BIG)


async def test_stopping_in_an_outage(gallery: Gallery) -> None:
    """A block may end while the store is away, in whatever the app was busy with."""
    app = gallery.app

    @app.agent(gallery.thumbnails)
    async def enlarge(stream: Any) -> None:
        async for value in stream:
            gallery.thumbnails.send_soon(value=value * THRESHOLD)
            await gallery.thumbnails.send(value=value * THRESHOLD)

    async with in_memory(app) as world:
        await gallery.photos.send(key="a", value=BIG)
        store = world.store
        store.fail_next(1_000_000, on="put")
        await world.until(lambda: store.failures)
    async with in_memory(app) as world:
        store = world.store
        store.fail_next(1_000_000, on="get")
        await gallery.photos.send(key="a", value=BIG)
        await world.until(lambda: store.failures)


async def test_planned_failures(gallery: Gallery) -> None:
    """So many requests fail, of a kind, in the order of planning."""
    async with in_memory(gallery.app) as world:
        world.store.fail_next(2, on="get")
        world.store.fail_next(1, AccessDenied("not you"), on="put")
        with pytest.raises(AccessDenied) as denied:
            await gallery.photos.send(key="a", value=BIG)
        assert (denied.value.bucket, denied.value.topic) == ("bucket", "photos")
        await gallery.photos.send(key="a", value=BIG)
        await world.settled()
        methods = [request.method for request in world.store.requests]
        assert methods == ["put", "put", "get", "get", "get"]
        assert len({id(failed.error) for failed in world.store.failures}) == 3
        assert gallery.seen == [BIG]


async def test_lost_object(gallery: Gallery) -> None:
    """A lost object crashes the app, which the test gets to know; the event comes again."""
    async with in_memory(gallery.app) as world:
        with world.store.unavailable("get"):
            await gallery.photos.send(key="a", value=BIG)
            world.store.lose(world.offloaded("photos")[0].location)
        for _ in range(2):
            with pytest.raises(ObjectMissing) as missing:
                await world.settled()
            assert (missing.value.topic, missing.value.offset) == ("photos", 0)
            await world.restart()
        with pytest.raises(ObjectMissing):
            await world.until(lambda: False)
        assert world.committed("photos") == {}
        with pytest.raises(ObjectMissing):
            world.sent("photos")


async def test_lost_object_skipped(gallery: Gallery) -> None:
    """With ``skip`` it is acknowledged, and what follows is read."""
    async with in_memory(gallery.app, on_bad_claim="skip") as world:
        with world.store.unavailable("get"):
            await gallery.photos.send(key="a", value=Photo("lost", PIXELS))
            await gallery.photos.send(key="a", value=BIG)
            world.store.lose(world.offloaded()[0].location)
        await world.settled()
        assert gallery.seen == [BIG]
        assert world.committed("photos") == {4: 2}


async def test_corrupt_object(gallery: Gallery) -> None:
    """Bytes that are not those that were stored are noticed."""
    async with in_memory(gallery.app) as world:
        with world.store.unavailable("get"):
            await gallery.photos.send(key="a", value=BIG)
            world.store.corrupt(world.offloaded("photos")[0].location)
        with pytest.raises(IntegrityError, match="SHA-256"):
            await world.settled()


async def test_no_such_object(gallery: Gallery) -> None:
    """Only an object that is there can be lost or corrupted."""
    async with in_memory(gallery.app) as world:
        for spoil in (world.store.lose, world.store.corrupt):
            with pytest.raises(ObjectMissing):
                spoil(Location("bucket", "key"))


async def test_latency(gallery: Gallery) -> None:
    """Requests take the time that the test gives them."""
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with in_memory(gallery.app) as world:
        world.store.latency = 0.001
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("faust_s3.testing.store.asyncio.sleep", sleep)
            await gallery.photos.send(key="a", value=BIG)
        assert slept[0] == 0.001


async def test_other_requests(gallery: Gallery) -> None:
    """The store of the test is a whole store, and each kind of request may fail."""
    place = Location("bucket", "key")
    async with in_memory(gallery.app) as world:
        store = world.store
        await store.put(place, SMALL)
        assert (await store.head(place)).size == len(SMALL)
        assert [info.location async for info in store.list("bucket")] == [place]
        with store.unavailable():
            for request in (store.head(place), store.delete(place), store.get(place, max_size=9)):
                with pytest.raises(StoreUnavailable):
                    await request
            with pytest.raises(StoreUnavailable):
                await anext(store.list("bucket"))
        await store.delete(place)
        assert store.objects == {}


async def test_parts(gallery: Gallery) -> None:
    """Uploads in parts and downloads of ranges are requests like others."""
    place = Location("bucket", "key")
    async with in_memory(gallery.app) as world:
        store = world.store
        upload = await store.open_upload(place)
        store.fail_next(on="put")
        with pytest.raises(StoreUnavailable):
            await upload.part(1, b"ab")
        await upload.part(1, b"ab"[: upload.part_size(1)])
        await upload.part(2, b"c")
        await upload.finish()
        await upload.abort()
        assert await store.get_range(place, 1, 9) == b"bc"
        assert [request.method for request in store.requests] == ["put"] * 5 + ["get"]


async def test_recovery_in_an_outage() -> None:
    """Tables recover when the store is back; from a lost object they do not."""
    app = make_app()
    make_s3(app)
    table = app.Table("table", value_type=Photo, value_serializer="json|s3")

    @app.agent(app.topic("photos", key_type=str, value_type=Photo, value_serializer="json|s3"))
    async def keep(stream: Any) -> None:
        async for name, photo in stream.items():
            table[name] = photo

    async with in_memory(app) as world:
        for name in "abc":
            await keep.send(key=name, value=Photo(name, PIXELS))
        await world.settled()
        world.store.fail_next(5, on="get")
        await world.restart()
        assert set(table) == set("abc")
        assert len(world.store.failures) == 5
        world.store.lose(world.offloaded(table)[0].location)
        with pytest.raises(ObjectMissing):
            await world.restart()
        assert not app.started


async def test_agent_error(gallery: Gallery) -> None:
    """What an agent raises the test gets, once; the agent is restarted behind that event."""
    app = gallery.app
    seen = []

    @app.agent(gallery.thumbnails)
    async def fail(stream: Any) -> None:
        async for value in stream:
            if not seen:
                seen.append("failed")
                raise KeyError(value)
            seen.append(value)

    async with in_memory(app) as world:
        await gallery.photos.send(key="a", value=BIG)
        await gallery.photos.send(key="a", value=BIG)
        with pytest.raises(KeyError, match="xxx"):
            await world.settled()
        await world.settled()
        assert seen == ["failed", "xxx"]


async def test_restart_after_a_crash(gallery: Gallery) -> None:
    """A restart does not hide what happened before."""
    async with in_memory(gallery.app) as world:
        await gallery.app.crash(KeyError("before"))
        with pytest.raises(KeyError, match="before"):
            await world.restart()
        with pytest.raises(KeyError, match="before"):
            await world.settled()
        await world.restart()
        await gallery.photos.send(key="a", value=BIG)
        await world.settled()


async def test_agent_error_at_the_end(gallery: Gallery) -> None:
    """If the test does not wait for it, it is raised when the block ends."""

    @gallery.app.agent(gallery.thumbnails)
    async def fail(stream: Any) -> None:
        async for _ in stream:
            failed.set()
            raise KeyError("unseen")

    async def run() -> None:
        async with in_memory(gallery.app):
            await gallery.photos.send(key="a", value=BIG)
            await failed.wait()
            await asyncio.sleep(0)

    failed = asyncio.Event()
    with pytest.raises(KeyError, match="unseen"):
        await run()


async def test_crash_while_sending(gallery: Gallery) -> None:
    """An upload that is refused is raised once, though both the agent and the app fail by it."""
    app = gallery.app

    @app.agent(gallery.thumbnails)
    async def enlarge(stream: Any) -> None:
        async for value in stream:
            await app.topic("copies", value_serializer="json|s3").send(value=value * THRESHOLD)

    async with in_memory(app) as world:
        await gallery.photos.send(key="a", value=BIG)
        world.store.fail_next(1, AccessDenied("no"), on="put")
        with pytest.raises(AccessDenied):
            await world.settled()
        assert world.committed(gallery.thumbnails) == {}
        await world.restart()
        await world.settled()
        assert world.committed(gallery.thumbnails) == {4: 1}


@pytest.mark.parametrize(
    ("exc", "raised"), [(KeyError("task"), KeyError), (SystemExit(1), RuntimeError)]
)
async def test_crash_of_a_task(exc: BaseException, raised: type[Exception]) -> None:
    """So is what a task raises; what would end the process is wrapped."""
    app = make_app()
    begun = asyncio.Event()

    @app.task
    async def crash() -> None:
        await begun.wait()
        raise exc

    async with in_memory(app) as world:
        begun.set()
        with pytest.raises(raised) as seen:
            await world.until(lambda: False)
        assert exc in (seen.value, seen.value.__cause__)


async def test_commit_that_fails(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a commit raises is raised as well."""

    async def fail(offsets: Any) -> bool:
        raise KeyError("commit")

    async with in_memory(gallery.app) as world:
        monkeypatch.setattr(gallery.app.consumer, "_commit", fail)
        await gallery.photos.send(key="a", value=BIG)
        with pytest.raises(KeyError, match="commit"):
            await world.settled()


async def test_failing_test(gallery: Gallery) -> None:
    """A failure of the test itself is what the test gets."""

    async def run() -> None:
        async with in_memory(gallery.app) as world:
            with world.store.unavailable("get"):
                await gallery.photos.send(key="a", value=BIG)
                world.store.lose(world.offloaded("photos")[0].location)
            with pytest.raises(ObjectMissing):
                await world.settled()
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        await run()


async def test_timeout_of_until(gallery: Gallery) -> None:
    """A condition that stays false ends the wait, with a sentence."""
    async with in_memory(gallery.app) as world:
        with pytest.raises(TimeoutError, match=r"after 0\.05 s the condition is not true: the app"):
            await world.until(lambda: False, timeout=0.05)


async def test_app_that_does_not_stop(gallery: Gallery) -> None:
    """An app that does not come to its end is abandoned, with a sentence."""
    over = asyncio.Event()

    class Stubborn(faust.Service):
        async def on_stop(self) -> None:
            await over.wait()

    gallery.app.add_dependency(Stubborn())
    with pytest.raises(TimeoutError, match=r"after 0\.05 s the app still did not stop"):
        async with in_memory(gallery.app) as world:
            world._timeout = 0.05
    over.set()


# -- the kit itself


@pytest.mark.parametrize("no_cython", ["", "1"])
def test_examples(no_cython: str, tmp_path: Path) -> None:
    """The example's tests pass, and those of the documentation, on both kinds of Faust."""
    text = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    documented = tmp_path / "test_documented.py"
    documented.write_text("\n".join(blocks), encoding="utf-8")
    environ = {**os.environ, "NO_CYTHON": no_cython, "PYTHONPATH": "examples/testing"}
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, "examples/testing", documented],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    tests = len(re.findall(r"^async def test_", "\n".join(blocks), re.MULTILINE))
    assert f"= {tests + 6} passed in" in run.stdout, run.stdout


def test_no_runner() -> None:
    """The kit needs no pytest, and no boto3."""
    script = (
        "import sys, faust_s3.testing; "
        "sys.exit(' '.join({'pytest', 'boto3', 'botocore'} & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


#: Digests of the source of what the kit relies on, in the versions that we know.
KNOWN = {
    "faust.agents.replies:ReplyConsumer._start_fetcher": {"04d686ef89c42d83"},
    "faust.app.base:App._on_agent_error": {"bdd12f286de64429"},
    "faust.app.base:App._on_partitions_assigned": {"de932b7927db85b3"},
    "faust.app.base:App._on_partitions_revoked": {"d5c895bbe57dc73a"},
    "faust.app.base:App.consumer": {"354b140caceca03c"},
    "faust.app.base:App.on_first_start": {"ec655d9c223403cc"},
    "faust.app.base:App.producer": {"941456f64f7b7b1d"},
    "faust.tables.base:Collection._new_store": {"914a2bda605d38f5"},
    "faust.tables.base:Collection.data": {"ade4a02ddd5582cb"},
    "faust.tables.manager:TableManager.on_start": {"365dd25fbc0e0684"},
    "faust.transport.conductor:Conductor._flag_changes": {"43eb94e0048312fc"},
    "faust.transport.conductor:Conductor._subscriber": {"2a79085834048049"},
    "faust.transport.consumer:Consumer._drain_messages": {"44a2500309e83c63"},
    "faust.transport.consumer:Consumer._get_active_partitions": {"b24897f3c7afdb5d"},
    "faust.transport.consumer:Consumer.on_partitions_revoked": {"d04b7ae72c6fc206"},
    "faust.transport.consumer:Consumer.perform_seek": {"0e8c130ff4b0afd8"},
    "faust.transport.drivers.aiokafka:ConsumerRebalanceListener": {"f3d04f29dfb3f716"},
    "faust.transport.drivers.aiokafka:Producer.send": {"0b5bd08f52e5e2a9"},
    "faust.transport.producer:Producer.__init__": {"5c53a4b47aa1372b"},
    "mode.services:Service._actually_start": {"def664241401b666"},
}


@pytest.mark.parametrize("name", KNOWN)
def test_faust_has_not_changed(name: str) -> None:
    """A new Faust is looked at where the kit depends on it, before users do."""
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = inspect.getattr_static(found, part)
    source = inspect.getsource(getattr(found, "fun", getattr(found, "fget", found)))
    digest = sha256(source.encode()).hexdigest()[:16]
    assert digest in KNOWN[name], (
        f"{name} has changed in Faust {faust.__version__}; the testing kit relies on this: "
        f"{RELIED_ON[name]}. Read it, mend what no longer holds, and add {digest!r} to KNOWN"
    )


def test_all_of_it_is_watched() -> None:
    """What is written down has a digest, and no digest is left over."""
    assert set(KNOWN) == set(RELIED_ON)
