"""Putting dead letters back on the topics that they come from.

What was replayed is remembered on the dead letter topic itself, by a receipt in the partition
of the letter: a committed offset could not tell letters that were chosen from those between
them, and Kafka forgets the offsets of a group that nobody uses after a week.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from faust_s3.connection import partitions
from faust_s3.exceptions import ConfigError
from faust_s3.hub import Hub
from faust_s3.letters import Letter, receipt, replayed_offset, whole
from faust_s3.pipeline import reader_of

__all__ = ["DeadLetters", "Found", "Selection"]

logger = logging.getLogger(__name__)

#: Milliseconds that one look at Kafka takes at most.
_LOOK = 1000


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant; ``None`` is any.

    Attributes:
        topic: Topic of the record.
        partition: Its partition.
        offset: Its offset.
        error: Name of the error's class.
        since: Not before this time.
    """

    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    error: str | None = None
    since: datetime | None = None

    def __contains__(self, letter: Letter) -> bool:
        return (
            self.topic in (None, letter.topic)
            and self.partition in (None, letter.partition)
            and self.offset in (None, letter.offset)
            and self.error in (None, letter.error)
            and (self.since is None or letter.at >= self.since)
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter, and where it lies.

    Attributes:
        place: Partition of the dead letter topic.
        offset: Offset there.
        letter: The letter; without key, value and headers, once it is only listed.
        replayed: Whether it has been put back already.
    """

    place: TopicPartition
    offset: int
    letter: Letter
    replayed: bool = False


class DeadLetters:
    """The dead letters of an app, up to where its topic ended when they were listed.

    Args:
        hub: Of the app.
        topic: The dead letter topic.
        consumer: Reads it; started, and in no group.
    """

    def __init__(self, hub: Hub, topic: str, consumer: AIOKafkaConsumer) -> None:
        self._hub = hub
        self._topic = topic
        self._consumer = consumer
        self._ends: dict[TopicPartition, int] = {}

    async def listed(self, selection: Selection) -> list[Found]:
        """Return the letters that are meant, by partition and in the order in which they came.

        Changes nothing.
        """
        known = await partitions(self._consumer)
        places = [TopicPartition(self._topic, number) for number in known.get(self._topic, ())]
        if not places:
            return []
        self._consumer.assign(places)
        self._ends = await self._consumer.end_offsets(places)
        listed: list[Found] = []
        done: set[tuple[TopicPartition, int]] = set()
        async with aclosing(self._records(await self._consumer.beginning_offsets(places))) as found:
            async for place, record in found:
                if (offset := replayed_offset(record.headers)) is not None:
                    done.add((place, offset))
                elif (letter := _letter_in(record)) is not None and letter in selection:
                    bare = replace(letter, key=None, value=None, headers=())
                    listed.append(Found(place, record.offset, bare))
        return sorted(
            (replace(each, replayed=(each.place, each.offset) in done) for each in listed),
            key=lambda each: (each.place.partition, each.offset),
        )

    async def replayed(self, listed: list[Found]) -> AsyncGenerator[Found, None]:
        """Put letters back on the topics that they come from, and yield each that Kafka has.

        Letters of one partition keep their order. A letter whose receipt could not be written
        will be put back once more.

        Args:
            listed: What :meth:`listed` returned, or some of it.

        Raises:
            ConfigError: If a topic or partition is gone; nothing has been put back then.
            S3Error: If what was too much for a record of Kafka is not to be had from the store.
            KafkaError: If Kafka does not take a record.
        """
        known = await partitions(self._consumer)
        for each in listed:
            letter = each.letter
            if letter.partition not in known.get(letter.topic, ()):
                raise ConfigError(
                    f"the dead letter at offset {each.offset} of {each.place.topic}-"
                    f"{each.place.partition} comes from partition {letter.partition} of topic "
                    f"{letter.topic!r}, which is not there"
                )
        wanted = {(each.place, each.offset): each for each in listed}
        first = {each.place: each.offset for each in reversed(listed)}
        async with aclosing(self._records(first)) as found:
            async for place, record in found:
                each_wanted = wanted.get((place, record.offset))
                letter_found = _letter_in(record) if each_wanted else None
                if each_wanted is not None and letter_found is not None:
                    await self._put_back(place, record.offset, letter_found)
                    yield each_wanted

    async def _put_back(self, place: TopicPartition, offset: int, letter: Letter) -> None:
        producer: Any = self._hub.app.producer
        letter = await whole(letter, self._load)
        # Faust cuts what is left of a millisecond (faust/transport/drivers/aiokafka.py of 0.15.3).
        timestamp = None if letter.timestamp is None else (letter.timestamp + 0.5) / 1000
        await producer.send_and_wait(
            letter.topic, letter.key, letter.value, letter.partition, timestamp, [*letter.headers]
        )
        await producer.send_and_wait(
            place.topic, None, b"", place.partition, None, [*receipt(offset)]
        )

    async def _load(self, claim: bytes) -> bytes:
        pipeline, found = reader_of(self._hub.pipelines, claim)
        if isinstance(found, bytes):
            return found
        return await pipeline.redeem(found, patience=self._hub.patience(pipeline, forever=False))

    async def _records(
        self, starts: dict[TopicPartition, int]
    ) -> AsyncGenerator[tuple[TopicPartition, ConsumerRecord], None]:
        consumer = self._consumer
        left = {place for place, start in starts.items() if start < self._ends[place]}
        for place in left:
            consumer.seek(place, starts[place])
        while left:
            batches = await consumer.getmany(*left, timeout_ms=_LOOK)
            for place, records in batches.items():
                for record in records:
                    if record.offset < self._ends[place]:
                        yield place, record
            for place in list(left):
                # Beyond what was there, too: not every offset is a record's.
                if await consumer.position(place) >= self._ends[place]:
                    left.discard(place)


def _letter_in(record: ConsumerRecord) -> Letter | None:
    try:
        return Letter.loads(record.key, record.value, record.headers)
    except ValueError as exc:
        logger.warning(
            "offset %s of %s-%s holds a dead letter that cannot be read: %s",
            record.offset, record.topic, record.partition, exc,
        )  # fmt: skip
        return None
