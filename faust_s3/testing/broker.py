"""Topics in memory."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any, NamedTuple

from aiokafka.partitioner import DefaultPartitioner
from faust.types import TP

__all__ = ["Broker", "Record"]


class Record(NamedTuple):
    """A record as it lies on a topic.

    Attributes:
        topic: Topic name.
        partition: Partition.
        offset: Offset within the partition.
        timestamp: Seconds since 1970.
        key: The bytes of the key.
        value: The bytes of the value; a claim, where the value was offloaded.
        headers: Names and values.
    """

    topic: str
    partition: int
    offset: int
    timestamp: float
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Broker:
    """Partitions of records, and the offsets that groups have committed.

    Args:
        partitions: Asked for the number of partitions of a topic that comes into being
            because somebody uses it.
        partitioner: As ``producer_partitioner`` of Faust. Default: Kafka's, but that records
            without a key take turns.

    Attributes:
        records: All records of all topics, in the order in which they came.
        committed: The next offset to be read, by group and partition.
        listeners: Called when there is something to read.
    """

    def __init__(
        self, partitions: Callable[[str], int], partitioner: Callable[..., int] | None = None
    ) -> None:
        self.records: list[Record] = []
        self.committed: dict[str, dict[TP, int]] = defaultdict(dict)
        self.listeners: set[Callable[[], object]] = set()
        self._partitions = partitions
        self._partitioner = partitioner
        self._turns: dict[str, Any] = defaultdict(count)
        self._topics: dict[str, list[list[int]]] = {}  # partitions of places in ``records``

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic, unless it is there."""
        self._topics.setdefault(topic, [[] for _ in range(partitions)])

    def partitions(self, topic: str) -> range:
        """Return the partitions of a topic, after making it if necessary."""
        if topic not in self._topics:
            self.create(topic, self._partitions(topic))
        return range(len(self._topics[topic]))

    def partition(self, topic: str, key: bytes | None) -> int:
        """Return the partition for a key."""
        numbers = list(self.partitions(topic))
        if self._partitioner is not None:
            return self._partitioner(key, numbers, numbers)
        if key is None:
            return int(next(self._turns[topic])) % len(numbers)
        return int(DefaultPartitioner()(key, numbers, numbers))

    def append(
        self,
        topic: str,
        partition: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes]] = (),
        timestamp: float | None = None,
    ) -> Record:
        """Add a record to a topic, and return it.

        Raises:
            ValueError: If the topic has no such partition.
        """
        if partition is None:
            partition = self.partition(topic, key)
        if partition not in self.partitions(topic):
            raise ValueError(
                f"partition {partition} of {topic!r} must be below {len(self.partitions(topic))}"
            )
        log = self._topics[topic][partition]
        timestamp = time.time() if timestamp is None else timestamp
        record = Record(topic, partition, len(log), timestamp, key, value, tuple(headers))
        log.append(len(self.records))
        self.records.append(record)
        for listener in self.listeners:
            listener()
        return record

    def end(self, tp: TP) -> int:
        """Return the offset of the next record to come."""
        return len(self._topics[tp.topic][tp.partition]) if tp.topic in self._topics else 0

    def first(self, positions: Mapping[TP, int]) -> Record | None:
        """Return, of the records that are next in some partitions, the one that came first."""
        places = [
            log[offset]
            for tp, offset in positions.items()
            if offset < len(log := self._topics[tp.topic][tp.partition])
        ]
        return self.records[min(places)] if places else None
