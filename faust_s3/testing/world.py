"""The world of an app that runs in memory: what is around it, and how to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import faust
from faust.types import AgentT, CollectionT, TopicT

from faust_s3.blocking import BlockingPipeline
from faust_s3.exceptions import ConfigError
from faust_s3.extension import S3
from faust_s3.pipeline import Pipeline
from faust_s3.testing import seams
from faust_s3.testing.broker import Broker, Record
from faust_s3.testing.memento import Memento
from faust_s3.testing.records import Offloaded, Sent, claims_in, decoded
from faust_s3.testing.store import FakeStore
from faust_s3.testing.transport import Transport

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from faust_s3.config import Settings

__all__ = ["World", "in_memory"]

#: Seconds between two looks at whether it is so far.
_PAUSE: Final = 0.001
#: Seconds between two tries of a request, at most: there is nobody to be spared.
_RETRY: Final = 0.005

Topic: TypeAlias = "TopicT | AgentT[Any] | CollectionT | str"


@asynccontextmanager
async def in_memory(
    app: faust.App,
    *,
    partitions: int | None = None,
    timeout: float = 5.0,
    **settings: Unpack[Settings],
) -> AsyncIterator[World]:
    """Run an app in memory for the time of an ``async with`` block.

    The app is started as ``faust worker`` would start it, on a broker in memory, and all of
    its ``S3`` objects get a store in memory. When the block ends, the app is stopped and is as
    it was before. Records, objects and what tables hold are gone then.

    Args:
        app: The app, with everything declared. It must not have been started.
        partitions: Of topics that name no number of their own. Default: the app's
            ``topic_partitions``.
        timeout: Seconds after which waiting is a failure.
        **settings: Of the app's ``S3`` objects, for the time of the block.

    Raises:
        ConfigError: If the app runs already, or a setting is wrong.
        TimeoutError: If the app does not start or stop in time.
        Exception: Whatever crashed the app or an agent, and was not raised before.
    """
    world = World(app, partitions=partitions, timeout=timeout, settings=settings)
    await world._start()
    try:
        yield world
        world._raise_failure(again=False)
    finally:
        await world._stop()


class World:
    """What is around an app that runs in memory; :func:`in_memory` makes it.

    Attributes:
        app: The app.
        store: Where payloads lie, those of all ``S3`` objects of the app.
    """

    def __init__(
        self, app: faust.App, *, partitions: int | None, timeout: float, settings: Settings
    ) -> None:
        app.finalize()
        self.app = app
        self.store = FakeStore()
        self._partitions = partitions
        self._timeout = timeout
        self._settings = settings
        self._broker = Broker(self._partitions_of, cast(Any, app.conf).producer_partitioner)
        self._failures: list[BaseException] = []  # that were not raised yet
        self._raised: list[BaseException] = []
        self._commit: asyncio.Future[Any] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._broker.records)} records, {self.store!r}>"

    # -- waiting

    async def settled(self, *, timeout: float | None = None) -> None:
        """Wait until everything sent so far has been processed and committed.

        So has what the app sent meanwhile.

        Args:
            timeout: Seconds. Default: that of :func:`in_memory`.

        Raises:
            TimeoutError: If it takes longer; it says what is missing.
            Exception: Whatever crashed the app or an agent.
        """
        sending = asyncio.ensure_future(self._drained())
        try:
            await self._wait(lambda: self._missing(sending), "the app is not settled", timeout)
        finally:
            await _ended(sending)

    async def until(self, condition: Callable[[], object], *, timeout: float | None = None) -> None:
        """Wait until a condition is true.

        Args:
            condition: Asked again and again; returns something true in the end.
            timeout: Seconds. Default: that of :func:`in_memory`.

        Raises:
            TimeoutError: If it takes longer; it says what the app has not done.
            Exception: Whatever crashed the app or an agent.
        """

        def missing() -> list[str]:
            return [] if condition() else self._unprocessed() or ["the app has nothing to do"]

        await self._wait(missing, "the condition is not true", timeout)

    async def restart(self) -> None:
        """Stop the app, and start it again on the same topics and objects.

        As when a worker is replaced: tables recover, and what is not committed comes again.

        Raises:
            TimeoutError: If the app does not stop or start in time.
            Exception: Whatever crashed the app or an agent, and was not raised before.
        """
        self._raise_failure(again=False)
        await self._stop()
        await self._start()

    # -- looking

    def sent(self, topic: Topic) -> list[Sent]:
        """Return what lies on a topic, decoded and whole, in the order of sending.

        Raises:
            ClaimError: If an envelope is malformed.
            ObjectMissing: If a payload is not in the store.
            KeyDecodeError: If a key is not what the topic's serializers write.
            ValueDecodeError: If a value is not.
        """
        found = self._topic(topic)
        objects = self.store.objects
        return [decoded(record, found, objects) for record in self.published(found)]

    def published(self, topic: Topic) -> list[Record]:
        """Return what lies on a topic, as Kafka has it, in the order of sending."""
        names = self._topic(topic).topics
        return [record for record in self._broker.records if record.topic in names]

    def offloaded(self, topic: Topic | None = None) -> list[Offloaded]:
        """Return the payloads whose claims lie on a topic, or on any, in the order of sending."""
        records = self._broker.records if topic is None else self.published(topic)
        return [found for record in records for found in claims_in(record)]

    def committed(self, topic: Topic) -> dict[int, int]:
        """Return the offsets that the app has committed, by partition: the next ones to read."""
        names = self._topic(topic).topics
        offsets = self._broker.committed[self.app.conf.id]
        return {tp.partition: offset for tp, offset in offsets.items() if tp.topic in names}

    def publish(
        self,
        topic: Topic,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> Record:
        """Put bytes on a topic as they are, like another client of Kafka.

        Args:
            topic: The topic.
            value: The bytes of the value; ``None`` for a tombstone.
            key: The bytes of the key.
            partition: Partition. Default: that of the key.
            headers: Headers, by name.
        """
        name = self._topic(topic).get_topic_name()
        return self._broker.append(name, partition, key, value, (headers or {}).items())

    # -- our own

    async def _start(self) -> None:
        app = self.app
        if app.started:
            raise ConfigError(f"the app {app.conf.id!r} runs already; in_memory(app) starts it")
        self._memento = Memento(app)
        self._memento.release()
        try:
            transport = Transport(app, self._broker, failed=self._failed)
            seams.run_in_memory(app, transport, partitions=self._partitions)
            for s3 in _stores_of(app):
                quick = {"retry_base": _RETRY, "retry_cap": _RETRY, **self._settings}
                s3.config = replace(s3.config, **cast(Any, quick))
                s3.store = self.store
                s3.pipeline = Pipeline(s3.config, self.store)
                s3.blocking = BlockingPipeline(s3.pipeline)
            await self._in_time(app.start(), "start")
            self._raise_failure()
        except BaseException:
            await self._stop()
            raise

    async def _stop(self) -> None:
        app = self.app
        try:
            if app.started:
                seams.stop_at_once(app)
                await self._in_time(app.stop(), "stop")
        finally:
            if self._commit is not None:
                await _ended(self._commit)
            self._memento.restore()

    async def _in_time(self, doing: Coroutine[Any, Any, None], what: str) -> None:
        task = asyncio.ensure_future(doing)
        await asyncio.wait({task}, timeout=self._timeout)
        if not task.done():
            await _ended(task)
            raise TimeoutError(f"after {self._timeout:g} s the app still did not {what}")
        await task

    async def _wait(
        self, missing: Callable[[], list[str]], what: str, timeout: float | None
    ) -> None:
        timeout = self._timeout if timeout is None else timeout
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        while True:
            self._raise_failure()
            if not (found := missing()):
                return
            if clock() > deadline:
                if failed := self.store.failures:
                    found.append(f"failed requests: {len(failed)}, the last: {failed[-1].error}")
                raise TimeoutError(f"after {timeout:g} s {what}: {'; '.join(found)}")
            await asyncio.sleep(_PAUSE)

    def _missing(self, sending: asyncio.Future[None]) -> list[str]:
        missing = self._unprocessed()
        if sending.done():
            sending.result()
        else:
            missing.append("not everything that was sent is stored and published")
        consumer = seams.reading(self.app)
        if missing and consumer is not None and (self._commit is None or self._commit.done()):
            self._commit = asyncio.ensure_future(consumer.commit())
            self._commit.add_done_callback(self._committed)
        return missing

    def _committed(self, commit: asyncio.Future[Any]) -> None:
        if not commit.cancelled() and (exc := commit.exception()) is not None:
            self._failed(exc)

    def _unprocessed(self) -> list[str]:
        app = self.app
        consumer = seams.reading(app)
        if consumer is None:
            return []
        if not seams.subscribed(app, consumer):
            return ["the app waits for its partitions"]
        found = [
            f"{tp.topic}-{tp.partition} is committed up to offset {offset} of {end}"
            for tp, offset in consumer.committed().items()
            if offset < (end := self._broker.end(tp)) and app.topics.acks_enabled_for(tp.topic)
        ]
        if working := [message for message in consumer.unacked if not message.acked]:
            found.append(f"events with agents: {len(working)}")
        return found

    def _failed(self, exc: BaseException) -> None:
        if not any(exc is known for known in (*self._failures, *self._raised)):
            self._failures.append(exc)

    def _note_crash(self) -> BaseException | None:
        reason = self.app.crash_reason if self.app.crashed else None
        if reason is not None:
            self._failed(reason)
        return reason

    def _raise_failure(self, *, again: bool = True) -> None:
        crash = self._note_crash()
        if self._failures:
            self._raised.append(failure := self._failures.pop(0))
        elif crash is None or not again:
            return
        else:
            failure = crash
        if isinstance(failure, Exception):
            raise failure
        raise RuntimeError(f"the app ended with {failure!r}") from failure

    async def _drained(self) -> None:
        for s3 in _stores_of(self.app):
            await s3._hub.drain(self._timeout)
        await self.app.producer.flush()

    def _partitions_of(self, topic: str) -> int:
        known = self._known(topic)
        return (known.partitions if known else None) or self.app.conf.topic_partitions

    def _known(self, name: str) -> faust.Topic | None:
        app = self.app
        channels = [
            *(agent.channel for agent in app.agents.values()),
            *(table.changelog_topic for table in app.tables.values()),
            *app.topics,
        ]
        return next(
            (
                found
                for found in channels
                if isinstance(found, faust.Topic) and name in found.topics
            ),
            None,
        )

    def _topic(self, topic: Topic) -> faust.Topic:
        found: Any = topic
        if isinstance(topic, str):
            found = self._known(topic) or self.app.topic(topic)
        elif isinstance(topic, AgentT):
            found = topic.channel
        elif isinstance(topic, CollectionT):
            found = topic.changelog_topic
        if not isinstance(found, faust.Topic):
            raise TypeError(f"topic {topic!r} must be a topic, an agent on one, a table or a name")
        return found


def _stores_of(app: faust.App) -> list[S3]:
    return [child for child in app._children if isinstance(child, S3)]


async def _ended(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
