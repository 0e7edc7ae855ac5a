"""What the topics of one app share."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import faust
from faust.exceptions import ProducerSendError
from faust.types import TP, EventT, Message
from faust.types.tuples import FutureMessage

from faust_s3.codec import CodecOwner
from faust_s3.exceptions import ConfigError, S3Error
from faust_s3.internals import CommitGate, commit_twice, consumer_of, in_order
from faust_s3.order import Line
from faust_s3.pipeline import Pipeline
from faust_s3.policy import OnBadClaim
from faust_s3.prefetch import Hold, PrefetchQueue
from faust_s3.retry import Patience

__all__ = ["Hub", "OptIn", "Policy"]

logger = logging.getLogger(__name__)

#: Seconds. A commit that waits for a store that is away may take for ever.
_LAST_COMMIT = 5.0
#: Seconds between looks at what is still being processed.
_ACK_INTERVAL = 0.5


@dataclass(frozen=True, slots=True)
class OptIn:
    """Which side of a topic's messages is offloaded, and by whom.

    Attributes:
        key: For keys.
        value: For values.
    """

    key: CodecOwner | None = None
    value: CodecOwner | None = None

    def __bool__(self) -> bool:
        return self.key is not None or self.value is not None


@dataclass(frozen=True, slots=True)
class Policy:
    """How one agent reads.

    Attributes:
        prefetch: Downloads ahead of the stream.
        prefetch_bytes: Their bytes.
        on_bad_claim: What becomes of a record whose claim can never be redeemed.
        lazy: Values are handles.
    """

    prefetch: int
    prefetch_bytes: int
    on_bad_claim: OnBadClaim
    lazy: bool = False


class Hub:
    """What the topics of one app share.

    Attributes:
        app: The app.
        owners: Its ``S3`` objects by name; the first one's settings are the topics' defaults.
        gate: What commits wait for.
        receivers: What the app's signals lead to; kept here for as long as the app.
        changelogs: What tables recover through, once the app has started.
        changes: What tables changed and Kafka has not yet.
        soon: What was sent in the background and Kafka has not yet.
        hold: On the streams of an app whose tables change faster than the store takes it.
        holds_streams: Whether the app has such tables.
        batches: The same, of agents that take many events at once.
        declared: Topics for dead letters that are there.
    """

    def __init__(self, app: faust.App) -> None:
        self.app = app
        self.owners: dict[str, CodecOwner] = {}
        self.gate = CommitGate(app)
        self.receivers: object = None
        self.changelogs: PrefetchQueue | None = None
        self.changes: set[FutureMessage] = set()
        self.soon: set[FutureMessage] = set()
        self.batches: set[FutureMessage] = set()
        self.declared: set[str] = set()
        self.hold = Hold()
        self.holds_streams = False
        self._lines: dict[str, Line] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._backlog = 0
        self._crash: asyncio.Task[None] | None = None

    @property
    def pipelines(self) -> list[Pipeline]:
        """All that may redeem a claim."""
        return [owner.pipeline for owner in self.owners.values()]

    @property
    def default_owner(self) -> CodecOwner:
        """The first one."""
        return next(iter(self.owners.values()))

    def default_policy(self) -> Policy:
        """Return how agents read that have no policy of their own."""
        config = self.default_owner.pipeline.config
        return Policy(config.prefetch, config.prefetch_bytes, config.on_bad_claim)

    def check_producer(self) -> None:
        """Refuse an app whose producer would pass by its topics.

        Raises:
            ConfigError: If it does.
        """
        if self.app.conf.producer_threaded:
            raise ConfigError(
                "producer_threaded=True is set on the app: send_soon would then pass by the "
                "topic and offload nothing; S3 needs producer_threaded=False"
            )

    def line(self, topic: str) -> Line:
        """Return the line of senders to a topic."""
        return self._lines.setdefault(topic, Line())

    def patience(self, pipeline: Pipeline, *, forever: bool) -> Patience:
        """Return how long a sender waits: ``send_timeout``, or while the worker lives."""
        return Patience(
            timeout=None if forever else pipeline.config.send_timeout,
            stopping=lambda: self.app.should_stop,
            sleep=self.app.sleep,
        )

    def in_background(self, send: Any, size: int = 0) -> asyncio.Task[None]:
        """Run a send that nobody awaits, with so many bytes."""
        task: asyncio.Task[None] = asyncio.ensure_future(send)
        self._background.add(task)
        self._grow(size)
        task.add_done_callback(partial(self._sent, size))
        return task

    def sent_soon(self, fut: FutureMessage) -> None:
        """Remember what was sent in the background for as long as it takes."""
        self.soon.add(fut)
        fut.add_done_callback(lambda _: self.soon.discard(fut))

    def sent_in_batch(self, fut: FutureMessage) -> None:
        """Have every commit wait for what an agent sent that takes many events at once.

        Which of them it belongs to is not known, nor when they will be acknowledged.
        """
        self.batches.add(fut)
        fut.add_done_callback(self._batch_arrived)
        if (consumer := consumer_of(self.app)) is not None:
            self.gate.before_any_commit(consumer.assignment(), self._batches_arrived)

    def _batch_arrived(self, fut: FutureMessage) -> None:
        if not fut.cancelled() and fut.exception() is None:
            self.batches.discard(fut)  # one that failed forbids commits for ever

    async def _batches_arrived(self) -> None:
        if sent := set(self.batches):
            await asyncio.wait(sent)
        for fut in sent:
            if (exc := fut.exception()) is not None:
                raise ProducerSendError(f"Error while sending: {exc!r}") from exc

    def ack_in_turn(self, message: Message) -> None:
        """Acknowledge a message that no agent gets, after everything before it.

        Faust would commit past what is still being processed, see :func:`in_order`.
        """
        if message.generation_id != self.app.consumer_generation_id:
            return  # its partition was revoked: it will be delivered again
        if self._turn_has_come(message):
            message.ack(self.app.consumer)
        else:
            self.in_background(self._ack_later(message))

    def _turn_has_come(self, message: Message) -> bool:
        return all(
            other.tp != message.tp or other.offset >= message.offset
            for other in self.app.consumer.unacked
        )

    async def _ack_later(self, message: Message) -> None:
        while not self._turn_has_come(message):
            await self.app.sleep(_ACK_INTERVAL)
            if self.app.should_stop or message.generation_id != self.app.consumer_generation_id:
                return  # it will be delivered again
        message.ack(self.app.consumer)

    def _sent(self, size: int, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        self._grow(-size)

    def _grow(self, size: int) -> None:
        # A table is changed, and send_soon called, by code that cannot wait.
        self._backlog += size
        self.hold.set(self._backlog > self.default_policy().prefetch_bytes)

    async def drain(self) -> None:
        """Wait until everything sent so far is published or has failed."""
        for line in list(self._lines.values()):
            place = line.join()
            try:
                await place.reached()
            finally:
                place.leave()

    def cancel(self) -> None:
        """Abandon what was sent in the background."""
        for task in self._background:
            task.cancel()

    async def refuse_commit(self, source: EventT[Any] | None, exc: S3Error) -> None:
        """See to it that the source of a message that was not sent is delivered again.

        Args:
            source: The event. None: one of many that an agent took at once, and that are not
                acknowledged as long as it does not take more.
            exc: Why the message was not sent.
        """
        if source is None:
            logger.error(
                "a message sent while processing many events was not stored, so the worker "
                "stops and does not acknowledge them: %s",
                exc,
            )
            try:
                await self.crash(exc)
            finally:
                if (consumer := consumer_of(self.app)) is not None:
                    self.gate.close(consumer.assignment(), str(exc))
            return
        message = source.message
        logger.error(
            "a message sent while processing %s offset %s was not stored, so the worker "
            "stops and does not acknowledge that event: %s",
            message.tp,
            message.offset,
            exc,
        )
        self.gate.refuse(message.tp, message.offset, exc)
        await self.crash(exc)

    async def not_loaded(self, tp: TP, offset: int, exc: BaseException) -> None:
        """See to it that a record is delivered again whose payload an agent could not load."""
        logger.error(
            "the payload of %s offset %s was not loaded, so the worker stops and does not "
            "acknowledge that event: %s",
            tp,
            offset,
            exc,
        )
        self.gate.refuse(tp, offset, exc)
        await self.crash(exc)

    async def crash(self, exc: BaseException) -> None:
        """Crash the app, after what was acknowledged before has been committed.

        A consumer whose thread has crashed answers no commit any more, and Faust would wait
        for the answer when it stops the worker. So there is one commit before the crash, if
        Faust would not commit past what is being processed, and none after it. Who calls may
        be cancelled, or not be the only one.
        """
        if self._crash is None or self._crash.done():
            self._crash = self.in_background(self._crash_once(exc))
        await asyncio.shield(self._crash)

    async def _crash_once(self, exc: BaseException) -> None:
        consumer = consumer_of(self.app)
        if consumer is not None and not self.app.should_stop:
            if in_order(consumer) and not self.batches:
                commits = self.in_background(commit_twice(consumer))
                await asyncio.wait({commits}, timeout=_LAST_COMMIT)
            self.gate.close(consumer.assignment(), str(exc))
        try:
            raise exc  # Faust logs the exception that is being handled
        except type(exc):
            await self.app.crash(exc)
