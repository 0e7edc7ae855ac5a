"""Faust's transport, without Kafka: a group of one member on a broker in memory.

As ``faust/transport/drivers/aiokafka.py`` of 0.15.3, but in one thread. Whatever is not said
here is Faust's own: acknowledgements, commits, recovery, transactions that are none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, ClassVar, cast

import faust
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from faust.exceptions import ProducerSendError
from faust.transport import base
from faust.types import TP, ConsumerMessage, HeadersArg, Message, RecordMetadata
from mode import Service
from yarl import URL

from faust_s3.internals import commit_twice
from faust_s3.testing.broker import Broker, Record

__all__ = ["Consumer", "Producer", "Transport", "message_of"]

_MEMBER = "the only one"


class Consumer(base.Consumer):
    """Reads records in the order in which they were published, over all partitions.

    Attributes:
        subscription: Names of the topics that are read; ``None`` before there is one.
        positions: The next offset to be read of each assigned partition.
    """

    app: faust.App
    transport: Transport

    def __post_init__(self) -> None:
        super().__post_init__()
        self.subscription: frozenset[str] | None = None
        self.positions: dict[TP, int] = {}
        self._began: dict[TP, int] = {}
        self._broker = self.transport.broker
        self._changed = asyncio.Event()

    async def on_start(self) -> None:
        await super().on_start()
        self._broker.listeners.add(self._changed.set)

    async def on_task_error(self, exc: BaseException) -> None:
        self.transport.failed(exc)
        await super().on_task_error(exc)

    # -- the group

    async def subscribe(self, topics: Iterable[str]) -> None:
        wanted = frozenset(topics)
        if wanted != self.subscription:
            self.subscription = wanted
            self.app.on_rebalance_start()
            self.add_future(self._rebalance(wanted))

    async def _rebalance(self, topics: Iterable[str]) -> None:
        if self.positions:
            # Consumer.on_partitions_revoked forgets what is acknowledged and not committed.
            await commit_twice(self)
        await self.on_partitions_revoked(self.assignment())
        assignor: Any = self.app.assignor
        members = {_MEMBER: assignor.metadata(set(topics))}
        assigned = assignor.assign(_Cluster(self._broker), members)[_MEMBER]
        assignor.on_assignment(assigned)
        tps = {TP(topic, number) for topic, numbers in assigned.assignment for number in numbers}
        # Where Faust does not seek to what is committed, as it does before it reads.
        earliest = self.app.conf.consumer_auto_offset_reset == "earliest"
        self._began = {tp: 0 if earliest else self.highwater(tp) for tp in sorted(tps)}
        self.positions = dict(self._began)
        self.app.consumer_generation_id += 1
        await self.on_partitions_assigned(tps, self.app.consumer_generation_id)

    def assignment(self) -> set[TP]:
        return set(self.positions)

    def topic_partitions(self, topic: str) -> int | None:
        return len(self._broker.partitions(topic))

    def key_partition(
        self, topic: str, key: bytes | None, partition: int | None = None
    ) -> int | None:
        return self._broker.partition(topic, key) if partition is None else partition

    async def create_topic(self, topic: str, partitions: int, *_: Any, **__: Any) -> None:
        self._broker.create(topic, partitions)

    # -- reading

    def getmany(self, timeout: float) -> Any:
        return _Incoming(self)

    async def next_message(self) -> tuple[TP, Message]:
        """Wait for the next message of the partitions that are not paused."""
        while True:
            self._changed.clear()
            if not self.flow_active:
                await self.can_resume_flow.wait()
            active = self._get_active_partitions()
            record = self._broker.first(
                {tp: offset for tp, offset in self.positions.items() if tp in active}
            )
            if record is not None:
                tp = TP(record.topic, record.partition)
                self.positions[tp] = record.offset + 1
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                return tp, self._to_message(tp, record)
            await self._changed.wait()

    def _to_message(self, tp: TP, record: Record) -> ConsumerMessage:
        return message_of(record, generation_id=self.app.consumer_generation_id)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        super().resume_partitions(tps)
        self._changed.set()

    def on_buffer_drop(self, tp: TP) -> None:
        super().on_buffer_drop(tp)
        self._changed.set()

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        raise NotImplementedError  # getmany does without

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    # -- offsets

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        self._broker.committed[self.app.conf.id].update(offsets)
        return True

    def committed(self) -> dict[TP, int]:
        """Return where each assigned partition is committed, or began to be read."""
        return {tp: self._committed(tp) or began for tp, began in self._began.items()}

    def _committed(self, tp: TP) -> int | None:
        return self._broker.committed[self.app.conf.id].get(tp)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        found = {tp: self._committed(tp) for tp in self.positions}
        self._go_to({tp: offset for tp, offset in found.items() if offset})
        return cast("Mapping[TP, int]", found)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        for tp, offset in partitions.items():
            await self.seek(tp, offset)

    async def _seek(self, partition: TP, offset: int) -> None:
        self._go_to({partition: offset})

    def _go_to(self, positions: Mapping[TP, int]) -> None:
        self.positions.update(positions)
        self._changed.set()

    async def position(self, tp: TP) -> int | None:
        return self.positions.get(tp)

    def highwater(self, tp: TP) -> int:
        return self._broker.end(tp)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        return dict.fromkeys(partitions, 0)


class Producer(base.Producer):
    """Publishes at once, and refuses what Kafka's client would refuse."""

    app: faust.App
    transport: Transport

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers or ())
        self.app.on_produce_message.send(
            key=key, value=value, partition=partition, timestamp=timestamp, headers=pairs
        )
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(key, value, pairs)
        if size > self.max_request_size:
            exc = MessageSizeTooLargeError(
                f"the message has {size} bytes, more than producer_max_request_size "
                f"{self.max_request_size}"
            )
            raise ProducerSendError(f"Error while sending: {exc!r}") from exc
        record = self.transport.broker.append(topic, partition, key, value, pairs, timestamp)
        tp = TP(topic, record.partition)
        done: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        done.set_result(RecordMetadata(*tp, tp, record.offset, record.timestamp, 0))
        return done

    async def send_and_wait(self, *args: Any, **kwargs: Any) -> RecordMetadata:
        return await (await self.send(*args, **kwargs))

    async def flush(self) -> None:
        await self.buffer.flush()

    async def create_topic(self, topic: str, partitions: int, *_: Any, **__: Any) -> None:
        self.transport.broker.create(topic, partitions)

    def key_partition(self, topic: str, key: bytes) -> TP:
        return TP(topic, self.transport.broker.partition(topic, key))

    def supports_headers(self) -> bool:
        return True

    def create_threaded_producer(self) -> Service:
        """Be there for ``producer_threaded=True``, which ``S3`` refuses when it starts."""
        return _Idle()

    # What internals.wait_for_metadata asks aiokafka's producer for.

    def _ensure_producer(self) -> Producer:
        return self

    async def partitions_for(self, topic: str) -> range:
        """Return the partitions of a topic."""
        return self.transport.broker.partitions(topic)


class Transport(base.Transport):
    """Connects an app with a broker in memory.

    Args:
        app: The app.
        broker: The broker.
        failed: Told what agents raise.
    """

    Consumer: ClassVar[Any] = Consumer
    Producer: ClassVar[Any] = Producer
    driver_version = "in memory"

    def __init__(
        self, app: faust.App, broker: Broker, *, failed: Callable[[BaseException], None]
    ) -> None:
        super().__init__([URL("memory://")], app)
        self.broker = broker
        self.failed = failed


def message_of(record: Record, *, generation_id: int | None = None) -> ConsumerMessage:
    """Return the message that Faust makes of a record."""
    return ConsumerMessage(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        0,
        list(record.headers),
        record.key,
        record.value,
        None,
        generation_id=generation_id,
    )


class _Incoming:
    # Not a generator: one that is abandoned leaves a task behind, which closes it.

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def __aiter__(self) -> AsyncIterator[tuple[TP, Message]]:
        return self

    async def __anext__(self) -> tuple[TP, Message]:
        return await self._consumer.next_message()


class _Cluster:
    """What Faust's assignor asks of aiokafka's metadata."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(self._broker.partitions(topic))


class _Idle(Service):
    pass
