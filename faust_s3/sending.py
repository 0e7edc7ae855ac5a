"""Sending: a message's payloads go to the store before it goes to Kafka."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, cast

import faust
from faust.agents import current_agent
from faust.exceptions import FaustError
from faust.types import Message, RecordMetadata
from faust.types.tuples import FutureMessage

from faust_s3.exceptions import S3Error, StoreUnavailable
from faust_s3.hub import Hub
from faust_s3.order import Line, Place
from faust_s3.outgoing import Outgoing, inline, is_large, offloaded
from faust_s3.window import Ticket

__all__ = ["Sender", "flushed"]

logger = logging.getLogger(__name__)

Publish = Callable[[FutureMessage, bool], Coroutine[Any, Any, Awaitable[RecordMetadata]]]


class _Behind(StoreUnavailable):
    """A message that was sent before, and whose event comes again, was not published.

    The event of this one comes again, too. Published now, it would have passed the other.
    """


class Sender:
    """What one topic does with the messages that go out.

    Args:
        topic: The topic.
        plain: Faust's own ``publish_message`` of this topic.
        hub: Of its app.
    """

    def __init__(self, topic: faust.Topic, plain: Publish, *, hub: Hub) -> None:
        self.topic = topic
        self.plain = plain
        self.hub = hub

    async def publish(self, fut: Outgoing, wait: bool) -> Awaitable[RecordMetadata]:
        """Store what is large, wait for those who sent before, and publish.

        What an agent sent goes on in the background once there is room for it in the window:
        its event is held until the message has arrived.

        Args:
            fut: The message.
            wait: Return when Kafka has it.

        Raises:
            S3Error: As :func:`offloaded`.
            ProducerSendError: If the producer does not take it.
        """
        message = None if fut.patient else inline(fut, self.hub)
        place = self._line(fut).join()
        if message is not None:
            # Nothing to store, and no event that waits for it: as plain Faust, in its turn.
            try:
                await place.reached()
                fut.message = message
                return await self.plain(fut, wait)
            finally:
                place.leave()
        self.hub.commits.hold(fut.events, fut.arrived)
        if not fut.patient or wait or not (place.waits or is_large(fut, self.hub)):
            return await self._publish(fut, place, wait)
        ticket = self.hub.window.join(fut.size)
        room = False
        try:
            room = await self.hub.room(ticket)
        except asyncio.CancelledError:
            fut.settled()  # by whoever sent it
            raise
        finally:
            if not room:
                ticket.leave()
                place.leave()
        if room:
            self._start(fut, place, ticket)
        else:
            fut.abandon(StoreUnavailable("the window of messages under way was full for too long"))
        return fut

    def publish_soon(self, fut: Outgoing) -> None:
        """Do the same in the background, for code that cannot wait."""
        self.hub.commits.hold(fut.events, fut.arrived)
        self._start(fut, self._line(fut).join(), self.hub.window.intrude(fut.size))
        size = fut.size
        self.hub.grow(size)
        fut.add_done_callback(lambda _: self.hub.grow(-size))

    def attach(self, fut: Outgoing, event: Message) -> None:
        """Store a message now, and publish it when an event is committed."""
        if not self.hub.commits.is_current(event):
            fut.abandon(StoreUnavailable("the partition of the event was revoked"))
            return
        fut.ticket = ticket = self.hub.window.intrude(fut.size)
        fut.stored = stored = self.hub.in_background(offloaded(fut, self._name(fut), self.hub))
        stored.add_done_callback(partial(self._ended, fut, ticket))
        self.hub.commits.hold(fut.events, stored)
        self.hub.commits.attach((event.tp, event.offset), partial(self._publish_attached, fut))
        self.hub.sent_in_background(fut, fut.arrived)

    def _start(self, fut: Outgoing, place: Place, ticket: Ticket) -> None:
        fut.task = self.hub.in_background(self._publish(fut, place))
        fut.task.add_done_callback(lambda _: place.leave())  # also if it never began
        fut.task.add_done_callback(partial(self._ended, fut, ticket))
        self.hub.sent_in_background(fut, fut.arrived)

    def _ended(self, fut: Outgoing, ticket: Ticket, task: asyncio.Task[Any]) -> None:
        ticket.leave()
        if task.cancelled():
            fut.failed(StoreUnavailable("the app stopped"))
        elif (exc := task.exception()) is not None:
            self.hub.in_background(self._failed(fut, exc))

    async def _publish(
        self, fut: Outgoing, place: Place, wait: bool = False
    ) -> Awaitable[RecordMetadata]:
        try:
            if fut.stored is None:
                fut.message = await offloaded(fut, self._name(fut), self.hub)
            else:
                fut.message = fut.stored.result()
            await place.reached()
            if fut.stored is None and self.hub.commits.comes_again(fut.events, fut.arrived):
                raise _Behind("a message that was sent before was not published")
            if fut.patient:
                self.hub.check_transaction(self._name(fut))
            sent = await self.plain(fut, wait)
        except (S3Error, FaustError) as exc:
            self._broken(fut, exc)  # before the next one's turn
            if fut.task is None:
                await self._failed(fut, exc)
            raise
        except asyncio.CancelledError:
            if fut.task is None:
                fut.settled()  # by whoever sent it
            else:
                fut.failed(StoreUnavailable("the app stopped"))
            raise
        finally:
            place.leave()
        if wait:
            fut.settled()
        else:
            cast("asyncio.Future[Any]", sent).add_done_callback(partial(self._arrived, fut))
        return sent

    async def _publish_attached(self, fut: Outgoing) -> asyncio.Future[None]:
        await self._publish(fut, self._line(fut).join())
        return fut.arrived

    def _arrived(self, fut: Outgoing, sent: asyncio.Future[Any]) -> None:
        exc = StoreUnavailable("the app stopped") if sent.cancelled() else sent.exception()
        if exc is None:
            fut.settled()
        else:
            self.hub.in_background(self._failed(fut, exc))

    def _broken(self, fut: Outgoing, exc: BaseException) -> None:
        if isinstance(exc, S3Error):
            exc.at(topic=self._name(fut))
        fut.failed(exc)

    async def _failed(self, fut: Outgoing, exc: BaseException) -> None:
        self._broken(fut, exc)
        if isinstance(exc, _Behind):
            return  # the other one has been dealt with
        if fut.patient:
            await self.hub.not_sent(fut.events, exc)
        elif fut.task is not None:
            logger.error("a message for %s was not sent: %s", self._name(fut), exc)

    def _line(self, fut: Outgoing) -> Line:
        return self.hub.line(self._name(fut))

    def _name(self, fut: Outgoing) -> str:
        return self.topic._topic_name_or_default(fut.message.channel)


async def flushed(hub: Hub) -> None:
    """Wait for what was sent in the background, before the producer is flushed.

    Not for what an agent sent, unless it is that agent that asks: commits and rebalances
    flush as well, and must not wait for a store that is away for as long as agents do.
    """
    event = faust.current_event()
    in_agent = event is not None or current_agent() is not None
    waited_for = {
        fut
        for fut in cast("set[Outgoing]", hub.under_way)
        if not fut.patient or (in_agent and fut.source is event)
    }
    if waited_for and not hub.app.rebalancing:
        await asyncio.wait(waited_for)
