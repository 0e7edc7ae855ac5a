"""What one record costs, in counts: they depend on no machine, and none of them may rise."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest
from counts import copies_of, counting_tasks
from stores import CountingStore
from worlds import (
    connect,
    consumer_of,
    make_app,
    make_s3,
    message,
    processing,
    producer_of,
    settle,
)

from faust_s3.prefetch import Pending
from faust_s3.stores import Location

SMALL = b"small"
LARGE = b"x" * 1000
MIB = 2**20
#: Large enough that nothing else that is allocated meanwhile counts.
PHOTO = Random(1).randbytes(8 * MIB)
TEXT = PHOTO[: 4 * MIB].hex().encode()


class SpyStore(CountingStore):
    """Keeps the very objects that went in and came out."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes] = []

    async def put(self, location: Location, data: bytes, *, sha256: bytes | None = None) -> None:
        self.seen.append(data)
        await super().put(location, data, sha256=sha256)

    async def get(self, location: Location, *, max_size: int) -> bytes:
        data = await super().get(location, max_size=max_size)
        await asyncio.sleep(0)  # a real one takes a while
        # A real store makes the bytes anew.
        self.seen.append(bytes(bytearray(data)))
        return self.seen[-1]

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.requests]


class World:
    """An app whose topic offloads bytes."""

    def __init__(self, **settings: Any) -> None:
        self.app = make_app()
        self.store = SpyStore()
        self.s3 = make_s3(self.app, self.store, **settings)
        connect(self.app)
        self.topic: Any = self.app.topic("photos", value_serializer="raw|s3")
        self.agents: list[Any] = []

    def readers(self, count: int) -> list[Any]:
        """Return the topic as the streams of so many agents have it, by way of their own."""
        self.agents = [self.topic.clone(is_iterator=False) for _ in range(count)]
        return [topic.clone(is_iterator=True) for topic in self.agents]

    async def sent(self, payload: bytes) -> bytes:
        """Send a payload, and return what is on the topic for it."""
        await self.topic.send(value=payload)
        value = producer_of(self.app).sent[-1].value
        assert value is not None
        return value

    async def receive(
        self, data: bytes, *readers: Any, offset: int = 0, shared_by: int = 0
    ) -> list[Any]:
        """Pass a record to streams, as the conductor does, and return what they take.

        Args:
            data: Its value.
            *readers: The topic as these streams have it.
            offset: Its offset.
            shared_by: Streams that get it, if those are not all of them.
        """
        for reader in readers:
            record = message(data, offset=offset)
            record.incref(shared_by or len(readers))
            await reader.put(await reader.decode(record, propagate=True))
        return [event.value for event in [await reader.queue.get() for reader in readers]]


# -- turns of the event loop for each record


async def test_turns_of_small_records() -> None:
    """The producer gets what is sent at once in one turn, and can make a batch of it."""
    world = World()
    await world.sent(SMALL)  # finds the producer
    sends = [asyncio.ensure_future(world.topic.send(value=SMALL)) for _ in range(100)]
    await asyncio.sleep(0)
    assert len(producer_of(world.app).sent) == 101
    await asyncio.gather(*sends)


async def test_sending_gives_way() -> None:
    """Whoever sends small records in a loop leaves others their turns."""
    world, turns = World(), 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.ensure_future(other())
    for _ in range(100):
        await world.topic.send(value=SMALL)
    others.cancel()
    assert turns >= 100


# -- requests for each record


@pytest.mark.parametrize("settings", [{}, {"compression": "gzip"}, {"cache_bytes": 0}])
async def test_requests(settings: dict[str, Any]) -> None:
    """A large record costs one put and one get, and nothing else."""
    world = World(**settings)
    data = await world.sent(Random(1).randbytes(1000))
    assert world.store.methods == ["put"]
    await world.receive(data, *world.readers(1))
    assert world.store.methods == ["put", "get"]


async def test_requests_of_small_records() -> None:
    """A small one costs none."""
    world = World()
    await world.receive(await world.sent(SMALL), *world.readers(1))
    assert world.store.methods == []


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_requests_of_equal_records(compression: str | None) -> None:
    """What is sent again costs none, one after the other or all at once."""
    world = World(compression=compression, threshold=10)
    first = await world.sent(LARGE)
    assert await world.sent(LARGE) == first
    await asyncio.gather(*(world.sent(LARGE) for _ in range(10)))
    await asyncio.gather(*(world.sent(LARGE * 2) for _ in range(10)))
    assert world.store.methods == ["put", "put"]


async def test_requests_of_equal_keys() -> None:
    """The large key of many records is stored once."""
    world = World()
    topic = world.s3.offload(world.app.topic("photos", value_serializer="raw"), keys=True)
    for number in range(5):
        await topic.send(key=LARGE, value=b"%d" % number)
    assert world.store.methods == ["put"]


@pytest.mark.may_block  # to make the file
async def test_requests_of_equal_files(tmp_path: Path) -> None:
    """A file is not uploaded again."""
    world = World()
    (tmp_path / "film").write_bytes(PHOTO + SMALL)
    for _ in range(2):
        payload = await world.s3.upload(tmp_path / "film", topic=world.topic)
        assert payload.size == len(PHOTO) + len(SMALL)
    assert world.store.count("open_upload") == world.store.count("finish") == 1


@pytest.mark.may_block
def test_requests_of_the_codec() -> None:
    """By itself, the codec makes the same."""
    world = World()
    assert world.s3.codec.loads(world.s3.codec.dumps(LARGE)) == LARGE
    assert world.store.methods == ["put", "get"]
    world.s3.blocking.close()


# -- downloads for several claims


@pytest.mark.parametrize("agents", [2, 5])
async def test_gets_of_several_agents(agents: int) -> None:
    """All agents on a topic share one download, one at the same time by being there."""
    world = World(cache_bytes=0)
    data = await world.sent(LARGE)
    assert await world.receive(data, *world.readers(agents)) == [LARGE] * agents
    assert world.store.methods == ["put", "get"]


async def test_gets_of_agents_that_come_later() -> None:
    """One that comes later finds it in the cache."""
    world = World(cache_bytes=4 * len(LARGE))
    data = await world.sent(LARGE)
    for reader in world.readers(3):
        assert await world.receive(data, reader, shared_by=3) == [LARGE]
    assert world.store.methods == ["put", "get"]


async def test_nothing_is_kept_for_nobody() -> None:
    """What only one agent gets does not stay in memory: what is in the cache is cold."""
    world = World(cache_bytes=4 * len(LARGE))
    data = await world.sent(LARGE)
    (reader,) = world.readers(1)
    for offset in range(2):
        assert await world.receive(data, reader, offset=offset) == [LARGE]
    assert world.store.methods == ["put", "get", "get"]


# -- copies of each payload


async def test_copies_when_sent() -> None:
    """The store gets the very bytes that were sent."""
    world = World()
    copies, _ = await copies_of(len(PHOTO), world.sent(PHOTO))
    assert world.store.seen[0] is PHOTO
    assert copies == 0


async def test_copies_when_received() -> None:
    """The agent gets the very bytes that the store returned."""
    world = World(cache_bytes=0)
    data = await world.sent(LARGE)
    (value,) = await world.receive(data, *world.readers(1))
    assert value is world.store.seen[-1]
    assert world.store.methods == ["put", "get"]


@pytest.mark.parametrize("payload", [PHOTO, TEXT], ids=["photo", "text"])
@pytest.mark.parametrize("name", ["gzip", "zstd"])
async def test_copies_when_compressed(name: str, payload: bytes) -> None:
    """What is compressed is there once more, if it gets no smaller, and in part if it does."""
    world = World(compression=name)
    copies, _ = await copies_of(len(payload), world.sent(payload))
    assert copies == (1 if payload is PHOTO else 0)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
async def test_copies_when_decompressed(name: str) -> None:
    """Beside what the store returned there is the payload, once."""
    world = World(compression=name, cache_bytes=0)
    claim: Any = world.s3.pipeline.read(await world.sent(TEXT))
    assert claim.stored_size < 0.7 * len(TEXT)  # too little to make a copy of its own
    copies, payload = await copies_of(len(TEXT), world.s3.pipeline.redeem(claim))
    assert payload == TEXT
    assert copies == 1


@pytest.mark.may_block
def test_copies_of_the_codec() -> None:
    """By itself, the codec copies nothing either."""
    world = World(cache_bytes=0)
    data = world.s3.codec.dumps(PHOTO)
    assert world.store.seen[0] is PHOTO
    assert world.s3.codec.loads(data) is world.store.seen[-1]
    world.s3.blocking.close()


# -- tasks for each record


async def test_tasks_when_sent() -> None:
    """Outside agents none: whoever sends does the work."""
    world = World()
    with counting_tasks() as tasks:
        await world.sent(LARGE)
        await world.sent(SMALL)
    assert len(tasks) == 0


@pytest.mark.parametrize(("payload", "count"), [(SMALL, 0), (LARGE, 1)], ids=["small", "large"])
async def test_tasks_when_sent_by_an_agent(payload: bytes, count: int) -> None:
    """An agent does not wait for an upload, which is then a task; a small record needs none."""
    world = World()
    event = world.app.create_event(None, "source", None, message(b"source", topic="source"))
    with processing(event), counting_tasks() as tasks:
        await world.topic.send(value=payload)
        await settle(lambda: producer_of(world.app).sent)
    assert len(tasks) == count


@pytest.mark.parametrize(
    ("payload", "agents", "count"),
    [(SMALL, 1, 0), (SMALL, 3, 0), (LARGE, 1, 1), (LARGE, 3, 3)],
    ids=["small", "small, 3 agents", "large", "large, 3 agents"],
)
async def test_tasks_when_received(payload: bytes, agents: int, count: int) -> None:
    """One for a place in each queue, of which the first downloads; nothing for a small record."""
    world = World(cache_bytes=0)
    data = await world.sent(payload)
    with counting_tasks() as tasks:
        await world.receive(data, *world.readers(agents))
    assert len(tasks) == count


# -- bytes on the topic


async def test_bytes_of_a_claim() -> None:
    """The claim of the README has 85 bytes."""
    world = World(url="s3://my-bucket/photos")
    assert len(await world.sent(bytes(3_000_000))) == 85


@pytest.mark.parametrize("size", [1, 100])
async def test_bytes_of_a_small_record(size: int) -> None:
    """A small record has not one byte more than without us."""
    world = World()
    assert len(await world.sent(b"x" * size)) == size


async def test_bytes_of_what_is_small_once_compressed() -> None:
    """It has 8 bytes and its size in front of it."""
    world = World(compression="gzip")
    data = await world.sent(LARGE)
    content: Any = world.s3.pipeline.read(data)
    assert len(data) - len(content.stored) == 8 + 2


# -- what a stream holds


async def test_records_on_their_way() -> None:
    """As many downloads as ``prefetch`` are under way, and events are acknowledged once."""
    world = World(prefetch=3, cache_bytes=0)
    (reader,) = world.readers(1)
    claims = [await world.sent(bytes([number]) * 1000) for number in range(6)]
    with counting_tasks() as tasks:
        for offset, data in enumerate(claims):
            event = await reader.decode(message(data, offset=offset), propagate=True)
            assert isinstance(event, Pending)
            await reader.put(event)
        await settle(lambda: world.store.count("get") == 3)
        assert (len(tasks), world.store.count("get")) == (3, 3)
        events = [await asyncio.wait_for(reader.queue.get(), 5) for _ in claims]
    assert world.store.count("get") == len(claims)
    assert [event.message.offset for event in events] == list(range(6))
    assert consumer_of(world.app).acked == []
