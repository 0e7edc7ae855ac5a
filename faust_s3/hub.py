"""What the topics of one app share."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakSet

import faust
from faust.types import TP, ConsumerT, Message
from faust.types.tuples import FutureMessage

from faust_s3.codec import CodecOwner
from faust_s3.commits import Commits
from faust_s3.exceptions import ConfigError, StoreUnavailable
from faust_s3.fallback import Fallback
from faust_s3.internals import commit_twice, consumer_of, first_in_process, has_transactions
from faust_s3.order import Line
from faust_s3.pipeline import Pipeline
from faust_s3.policy import OnBadClaim
from faust_s3.prefetch import Hold, PrefetchQueue
from faust_s3.rebalance import SteadyRebalances
from faust_s3.retry import Patience
from faust_s3.window import Ticket, Window

__all__ = ["Hub", "OptIn", "Policy"]

logger = logging.getLogger(__name__)

#: Seconds. Kafka may be away as well.
_LAST_COMMIT = 5.0
#: Seconds between two looks at whether a sender that waits should give up, and how many of
#: them in a row it waits on while partitions are revoked, or the worker stops.
_TURN = 1.0
_TURNS = 5


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
        commits: What is committed, and when.
        fallback: What is sent inline while a store is away.
        window: What agents' messages, and those sent in the background, take of memory.
        receivers: What the app's signals lead to; kept here for as long as the app.
        changelogs: What tables recover through, once the app has started.
        changes: What tables changed and Kafka has not yet.
        under_way: What was sent in the background and Kafka has not yet.
        hold: On the streams of an app whose tables change faster than the store takes it.
        holds_streams: Whether the app has such tables.
        steady: What rebalances are mended by, if they are.
        declared: Topics for dead letters that are there.
        readers: The topics as streams have them whose payloads come from stores.
        producer: What Faust had started when it was asked for it last.
    """

    def __init__(self, app: faust.App) -> None:
        self.app = app
        self.owners: dict[str, CodecOwner] = {}
        self.commits = Commits(app)
        self.fallback = Fallback(self.patience)
        self.window = Window(
            lambda: self.default_owner.pipeline.config.send_window,
            lambda: self.default_owner.pipeline.config.send_window_bytes,
        )
        self.receivers: object = None
        self.changelogs: PrefetchQueue | None = None
        self.changes: set[FutureMessage] = set()
        self.under_way: set[FutureMessage] = set()
        self.declared: set[str] = set()
        self.readers: WeakSet[faust.Topic] = WeakSet()
        self.hold = Hold()
        self.holds_streams = False
        self.steady: SteadyRebalances | None = None
        self._checked: set[str] = set()  # topics, whether they are in transactions
        self._producer_checked = False
        self.producer: Any = None
        self._lines: defaultdict[str, Line] = defaultdict(Line)
        self._background: set[asyncio.Task[Any]] = set()
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
        if self._producer_checked:
            return  # a look at Faust's settings goes through two functions, for each message
        if self.app.conf.producer_threaded:
            raise ConfigError(
                "producer_threaded=True is set on the app: send_soon would then pass by the "
                "topic and offload nothing; S3 needs producer_threaded=False"
            )
        self._producer_checked = True

    @cached_property
    def max_request_size(self) -> int:
        """Bytes of a record that the producer takes."""
        return int(self.app.conf.producer_max_request_size)

    def line(self, topic: str) -> Line:
        """Return the line of senders to a topic."""
        return self._lines[topic]

    def patience(self, pipeline: Pipeline, *, forever: bool) -> Patience:
        """Return how long a sender waits: ``send_timeout``, or while the worker lives."""
        return Patience(
            timeout=None if forever else pipeline.config.send_timeout,
            stopping=lambda: self.app.should_stop,
            sleep=self.app.sleep,
        )

    def check_transaction(self, topic: str) -> None:
        """Tell the log, once, that what agents send to a topic is in no transaction."""
        if not self.app.in_transaction or topic in self._checked:
            return
        self._checked.add(topic)
        if not has_transactions(self.app.consumer, topic):
            logger.warning(
                "what is sent to topic %s is in no transaction and may be seen more than once, "
                "as this app does not read that topic: an agent that does nothing is enough",
                topic,
            )

    # -- in the background

    def in_background(self, doing: Any) -> asyncio.Task[Any]:
        """Run what nobody awaits."""
        task: asyncio.Task[Any] = asyncio.ensure_future(doing)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def sent_in_background(self, fut: FutureMessage, arrived: asyncio.Future[None]) -> None:
        """Remember a message until it has arrived."""
        self.under_way.add(fut)
        arrived.add_done_callback(lambda _: self.under_way.discard(fut))

    def grow(self, size: int) -> None:
        """Count bytes that were sent by code that cannot wait: a table is changed by such."""
        self._backlog += size
        self.hold.set(self._backlog > self.default_policy().prefetch_bytes)

    async def room(self, ticket: Ticket) -> bool:
        """Wait until there is room in the window, and tell whether there is.

        There may be none for long while the store is away, and who waits is in the middle of
        an event, for which rebalances wait in turn, and the end of the worker.
        """
        turns = _TURNS
        while not await ticket.wait(_TURN):
            hurry = self.app.rebalancing or self.app.should_stop
            turns = turns - 1 if hurry else _TURNS
            if not turns:
                return False
        return True

    async def drain(self, timeout: float) -> None:
        """Wait until everything sent so far is published or has failed, or so many seconds."""
        places = [line.join() for line in self._lines.values()]
        try:
            if places:
                await asyncio.wait(
                    [asyncio.ensure_future(place.reached()) for place in places], timeout=timeout
                )
        finally:
            for place in places:
                place.leave()

    def cancel(self) -> None:
        """Abandon what was sent in the background."""
        for task in self._background:
            task.cancel()

    # -- what becomes of events

    def events_in_process(self) -> Sequence[tuple[TP, int]]:
        """Return the first event of each partition that was taken and not acknowledged."""
        consumer = consumer_of(self.app)
        return [] if consumer is None else list(first_in_process(consumer).items())

    def ack(self, message: Message) -> None:
        """Acknowledge a message that no agent gets, unless it will be delivered again."""
        if self.commits.is_current(message):
            message.ack(self.app.consumer)

    async def not_sent(self, events: Sequence[tuple[TP, int]], exc: BaseException) -> None:
        """See to it that the events are delivered again for which a message was not sent.

        Args:
            events: Partitions and offsets; commits hold them already.
            exc: Why the message was not sent.
        """
        where = ", ".join(f"{tp} offset {offset}" for tp, offset in events) or "events"
        if self.app.should_stop and isinstance(exc, StoreUnavailable):
            logger.warning(
                "a message sent while processing %s was not sent before the worker stopped; "
                "it is not acknowledged: %s",
                where,
                exc,
            )
            return
        logger.error(
            "a message sent while processing %s was not sent, so the worker stops and does not "
            "acknowledge that: %s",
            where,
            exc,
        )
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
        self.commits.refuse(tp, offset, exc)
        await self.crash(exc)

    async def crash(self, exc: BaseException) -> None:
        """Crash the app, after what was acknowledged before has been committed.

        A consumer whose thread has crashed answers no commit any more, and Faust would wait
        for the answer when it stops the worker. So there is one commit before the crash, and
        none after it. Who calls may be cancelled, or not be the only one.
        """
        if self._crash is None or self._crash.done():
            self._crash = self.in_background(self._crash_once(exc))
        await asyncio.shield(self._crash)

    async def _last_commit(self, consumer: ConsumerT) -> None:
        await self.commits.arrived(_LAST_COMMIT / 2)
        await commit_twice(consumer)

    async def _crash_once(self, exc: BaseException) -> None:
        consumer = consumer_of(self.app)
        if consumer is not None and not self.app.should_stop:
            commits = self.in_background(self._last_commit(consumer))
            await asyncio.wait({commits}, timeout=_LAST_COMMIT)
        self.commits.close()
        try:
            raise exc  # Faust logs the exception that is being handled
        except type(exc):
            await self.app.crash(exc)
