"""Apps without Kafka: a producer that records, a consumer that counts, messages by hand."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast
from weakref import ref

import faust
from faust.serializers import codecs
from faust.streams import _current_event
from faust.transport.consumer import Consumer
from faust.types import TP, Message, RecordMetadata
from faust.types.tuples import ConsumerMessage
from stores import CountingStore

from faust_s3 import S3, Config
from faust_s3.claim import Claim, parse
from faust_s3.pipeline import Pipeline
from faust_s3.stores import Location, MemoryStore, Store

URL = "s3://bucket/prefix"
THRESHOLD = 100
SMALL = b"small"
LARGE = b"x" * (THRESHOLD + 1)
PARTITIONS = 7


class Photo(faust.Record):
    name: str
    pixels: str = ""


class Sent(NamedTuple):
    """A message as the producer got it."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None
    timestamp: float | None
    headers: Any


class FakeBuffer:
    """The producer's buffer; ``flush`` does what Faust's does in the background."""

    def __init__(self) -> None:
        self.pending: deque[Any] = deque()

    async def flush(self) -> None:
        while self.pending:
            fut = self.pending.popleft()
            await fut.message.channel.publish_message(fut, wait=False)

    async def wait_until_ebb(self) -> None:
        pass


class FakeProducer:
    """Records what it is given, and acknowledges it at once."""

    started = True

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.buffer = FakeBuffer()
        self.acks: list[asyncio.Future[RecordMetadata]] = []
        self.acknowledge = True
        self.error: Exception | None = None
        self.metadata: set[str] = set()

    async def maybe_start(self) -> None:
        pass

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
    ) -> asyncio.Future[RecordMetadata]:
        if self.error is not None:
            raise self.error
        self.sent.append(Sent(topic, key, value, partition, timestamp, headers))
        ack: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        self.acks.append(ack)
        if self.acknowledge:
            offset = len(self.sent) - 1
            tp = TP(topic, partition or 0)
            ack.set_result(RecordMetadata(topic, tp.partition, tp, offset, timestamp, 1))
        return ack

    async def wait_many(self, futures: Any) -> None:
        await asyncio.wait(futures)

    async def send_and_wait(self, *args: Any, **kwargs: Any) -> RecordMetadata:
        return await (await self.send(*args, **kwargs))

    def send_soon(self, fut: Any) -> None:
        self.buffer.pending.append(fut)

    async def flush(self) -> None:
        await self.buffer.flush()

    async def create_topic(self, **kwargs: Any) -> None:
        pass

    def key_partition(self, topic: str, key: bytes) -> TP:
        assert topic in self.metadata, "aiokafka does not ask for the partitions by itself"
        return TP(topic, partition_of(key))

    def _ensure_producer(self) -> FakeProducer:
        return self

    async def partitions_for(self, topic: str) -> None:
        self.metadata.add(topic)

    @property
    def values(self) -> list[bytes | None]:
        """The values that were sent."""
        return [sent.value for sent in self.sent]


class FakeConsumer:
    """Keeps what was acknowledged, and commits it as Faust does, without Kafka.

    Faust's compiled streams reach into it.
    """

    _new_offset = Consumer._new_offset
    _should_commit = Consumer._should_commit
    _filter_committable_offsets = Consumer._filter_committable_offsets
    _filter_tps_with_pending_acks = Consumer._filter_tps_with_pending_acks
    _handle_attached = Consumer._handle_attached

    def __init__(self, app: faust.App) -> None:
        self.app = app
        self._gap: dict[TP, list[Any]]
        self._unacked_messages: set[Message] = set()
        self._committed_offset: dict[TP, int | None] = defaultdict(lambda: None)
        self._acked_index: dict[TP, set[int]] = defaultdict(set)
        self._acked: dict[TP, list[int]] = defaultdict(list)
        self._n_acked = 0
        self._waiting_for_ack = None
        self.pressure: list[str] = []
        self.transactions = None
        self._gap = defaultdict(list)
        self.commits = 0

    @property
    def unacked(self) -> set[Message]:
        return self._unacked_messages

    async def commit(self) -> bool:
        self.commits += 1
        for child in self.app._children:
            if isinstance(child, S3):
                child._hub.commits.guard(cast(Any, self))
        offsets = self._filter_committable_offsets(list(self._acked))  # type: ignore[arg-type]
        if offsets:
            await self._handle_attached(offsets)  # type: ignore[arg-type]
            self._committed_offset.update(offsets)
        return bool(offsets)

    async def commit_and_end_transactions(self) -> None:
        await self.commit()

    def assignment(self) -> set[TP]:
        return {TP("assigned", 0)}

    @property
    def acked(self) -> list[int]:
        """Offsets, in the order in which they were acknowledged."""
        return [offset for offsets in self._acked.values() for offset in offsets]

    def ack(self, message: Message) -> bool:
        message.acked = True
        self._unacked_messages.discard(message)
        self._acked[message.tp].append(message.offset)
        self._acked_index[message.tp].add(message.offset)
        return True

    def on_buffer_full(self, tp: TP) -> None:
        self.pressure.append("full")

    def on_buffer_drop(self, tp: TP) -> None:
        self.pressure.append("drop")


class GatedStore(CountingStore):
    """Requests wait at a gate of their own until the test opens it.

    A put is known by its payload, a get by the payload's place.

    Attributes:
        errors: What requests raise once they are through, one after the other.
        waiting: Who stands at a gate.
    """

    def __init__(self) -> None:
        super().__init__()
        self.errors: deque[Exception] = deque()
        self.waiting: list[Any] = []
        self._gates: dict[Any, asyncio.Event] = {}

    def open(self, what: bytes | Claim) -> None:
        """Let the request for a payload, or for what a claim is for, go on."""
        place = Location(what.bucket, what.key) if isinstance(what, Claim) else what
        self._gates.setdefault(place, asyncio.Event()).set()

    async def put(self, location: Location, data: bytes, *, sha256: bytes | None = None) -> None:
        await self._pass(data)
        await super().put(location, data, sha256=sha256)

    async def get(self, location: Location, *, max_size: int) -> bytes:
        await self._pass(location)
        return await super().get(location, max_size=max_size)

    async def _pass(self, what: Any) -> None:
        self.waiting.append(what)
        try:
            await self._gates.setdefault(what, asyncio.Event()).wait()
        finally:
            self.waiting.remove(what)
        if self.errors:
            raise self.errors.popleft()


def make_app(**settings: Any) -> faust.App:
    """Return an app that never meets a broker."""
    settings = {"broker": "kafka://localhost:1", "store": "memory://", **settings}
    return faust.App("test", autodiscover=False, **settings)


def _warm_up() -> None:
    # Faust reads entry points from disk when it first makes an app, its topics and a
    # codec; that must not happen on the event loop of whatever test comes first.
    app = make_app()
    codecs.get_codec(app.conf.value_serializer)
    assert app.topics is not None


def connect(app: faust.App) -> faust.App:
    """Give an app a producer and a consumer; to be called on the event loop."""
    app.producer = cast(Any, FakeProducer())
    app.consumer = cast(Any, FakeConsumer(app))
    app.flow_control.resume()
    app.topics.acking_topics.add("photos")
    return app


def make_s3(app: faust.App | None = None, store: Store | None = None, **settings: Any) -> S3:
    """Return an ``S3`` with a store in memory and a small threshold."""
    settings = {"threshold": THRESHOLD, "retry_base": 0.001, "retry_cap": 0.001, **settings}
    url = settings.pop("url", URL)
    return S3(app, url, store=MemoryStore() if store is None else store, **settings)


def producer_of(app: faust.App) -> FakeProducer:
    return cast(FakeProducer, app.producer)


def consumer_of(app: faust.App) -> FakeConsumer:
    return cast(FakeConsumer, app.consumer)


async def commit(app: faust.App, tp: TP, *offsets: int) -> int | None:
    """Acknowledge events and commit what may be, and return what is committed of the partition."""
    consumer = consumer_of(app)
    for offset in offsets:
        if offset not in consumer._acked_index[tp]:
            consumer._acked_index[tp].add(offset)
            consumer._acked[tp].append(offset)
    await consumer.commit()
    return consumer._committed_offset[tp]


def partition_of(key: bytes) -> int:
    """Return the fake producer's partition of a key."""
    return sum(key) % PARTITIONS


def message(
    value: bytes | None,
    *,
    key: bytes | None = None,
    offset: int = 0,
    topic: str = "photos",
    headers: Mapping[str, bytes] | None = None,
) -> Message:
    """Return a message as the consumer has it."""
    return ConsumerMessage(
        topic,
        0,
        offset,
        timestamp=1.0,
        timestamp_type=0,
        headers=cast(Any, headers),
        key=key,
        value=value,
        checksum=None,
        tp=TP(topic, 0),
        generation_id=0,
    )


def claim_in(data: bytes | None) -> Claim:
    """Return the claim that was sent."""
    assert data is not None
    claim = parse(data)
    assert isinstance(claim, Claim), data
    return claim


async def stored(payload: bytes, store: Store, *, topic: str = "photos", **more: Any) -> bytes:
    """Put a payload into a store, and return its claim."""
    return await Pipeline(Config(url=URL), store).offload(payload, topic=topic, **more)


@contextmanager
def processing(event: Any) -> Iterator[Any]:
    """Be an agent that processes an event."""
    token = _current_event.set(ref(event))
    try:
        yield event
    finally:
        _current_event.reset(token)


async def settle(until: Callable[[], Any] = lambda: False, *, turns: int = 200) -> None:
    """Let everything run that can, or until something is true."""
    for _ in range(turns):
        if until():
            return
        await asyncio.sleep(0)


async def ended(*tasks: Awaitable[Any]) -> None:
    """Cancel tasks and wait for their end."""
    futures = [asyncio.ensure_future(task) for task in tasks]
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)


_warm_up()
