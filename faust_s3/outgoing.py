"""A message on its way to the store and to Kafka, and what it waits for there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from faust.agents import current_agent
from faust.types import TP, EventT, RecordMetadata
from faust.types.tuples import FutureMessage, PendingMessage

from faust_s3.claim import is_envelope
from faust_s3.exceptions import StoreUnavailable
from faust_s3.hub import Hub, OptIn
from faust_s3.internals import record_room, wait_for_metadata
from faust_s3.window import Ticket

__all__ = ["Outgoing", "inline", "is_large", "offloaded"]


class Outgoing(FutureMessage):
    """A message on its way to the store first.

    Args:
        message: The message.
        opt_in: Which side is offloaded.
        source: The event that was being processed when it was sent.
        events: Partitions and offsets of all that may have been; of an agent that takes many
            events at once, those that it has not acknowledged.
        forwarded_key: What the key stands for, if it is a claim that came in.

    Attributes:
        patient: Whether it waits for the store while the worker lives, because an agent sent it.
        stored: What stores it ahead of its turn, if it is published in a commit.
        task: What sends it, if nobody waits.
        ticket: Its place in the window.
    """

    def __init__(
        self,
        message: PendingMessage,
        opt_in: OptIn,
        source: EventT[Any] | None,
        events: Sequence[tuple[TP, int]],
        forwarded_key: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.opt_in = opt_in
        self.source = source
        self.events = events
        self.forwarded_key = forwarded_key
        self.patient = source is not None or current_agent() is not None
        self._arrived: asyncio.Future[None] | None = None
        self.stored: asyncio.Task[PendingMessage] | None = None
        self.task: asyncio.Task[Any] | None = None
        self.ticket: Ticket | None = None

    @property
    def size(self) -> int:
        """Bytes of key and value, before they are offloaded."""
        key, value = _sides(self.message)
        return len(key or b"") + len(value or b"")

    @property
    def arrived(self) -> asyncio.Future[None]:
        """Done when Kafka has it. Unlike the promise, nobody else can cancel it."""
        if self._arrived is None:  # nobody waits for most of what is small
            self._arrived = asyncio.get_running_loop().create_future()
        return self._arrived

    # Whoever waits for the promise may stop to, and Faust fulfils it all the same.

    def set_result(self, result: RecordMetadata) -> None:
        """Fulfil the promise."""
        if not self.done():
            super().set_result(result)

    def set_exception(self, exception: type | BaseException) -> None:
        """Break the promise. Whoever awaits it is told; nobody has to."""
        if not self.done():
            super().set_exception(exception)
            self.exception()

    def settled(self) -> None:
        """Note that Kafka has it, or that whoever sent it does not want it sent any more."""
        if not self.arrived.done():
            self.arrived.set_result(None)

    def failed(self, exc: BaseException) -> None:
        """Note that it was not sent."""
        self.set_exception(exc)
        if not self.arrived.done():
            self.arrived.set_exception(exc)
            self.arrived.exception()

    def abandon(self, exc: StoreUnavailable) -> None:
        """Send it no more; the events that it was sent for are delivered again."""
        self.failed(exc)
        for task in (self.task, self.stored):
            if task is not None:
                task.cancel()


def _sides(message: Any) -> tuple[bytes | None, bytes | None]:
    return message.key, message.value


def is_large(fut: Outgoing, hub: Hub) -> bool:
    """Tell whether anything of a message has to go to the store."""
    message, opt_in = fut.message, fut.opt_in
    key, value = _sides(message)
    if opt_in.key is not None and key and opt_in.key.pipeline.is_large(key):
        return True
    return bool(
        opt_in.value is not None
        and value
        and opt_in.value.pipeline.is_large(value, room=_room(hub, key, message))
    )


def _room(hub: Hub, key: bytes | None, message: PendingMessage) -> int:
    return record_room(hub.max_request_size, key, message.headers)


def inline(fut: Outgoing, hub: Hub) -> PendingMessage | None:
    """Return the message as it goes on the topic, or None if more is to be done for that."""
    message, opt_in = fut.message, fut.opt_in
    key, value = _sides(message)
    forwarded = fut.forwarded_key is not None or (opt_in.key is not None and is_envelope(key))
    if forwarded or is_large(fut, hub):
        return None
    if opt_in.value is not None and value and is_envelope(value):
        return message._replace(value=opt_in.value.pipeline.wrap(value))
    return message


async def offloaded(fut: Outgoing, topic: str, hub: Hub) -> PendingMessage:
    """Store what is large, and return the message with claims in its place.

    A value that the store does not take for too long may stay; see :class:`Fallback`.

    Args:
        fut: The message.
        topic: Name of the Kafka topic.
        hub: Of the app.

    Raises:
        S3Error: As :meth:`Pipeline.offload`.
    """
    message, opt_in = fut.message, fut.opt_in
    key, value, partition = message.key, message.value, message.partition
    original_key = fut.forwarded_key or cast(bytes, key)
    if opt_in.key is not None and key:
        pipeline = opt_in.key.pipeline
        if pipeline.is_large(key):
            patience = hub.patience(pipeline, forever=fut.patient)
            key = await pipeline.offload(key, topic=topic, is_key=True, patience=patience)
        else:
            key = pipeline.wrap(key)
    if key is not original_key and partition is None:
        # The record goes where its key would have gone.
        await wait_for_metadata(hub.app, topic)
        partition = hub.app.producer.key_partition(topic, original_key).partition
    if opt_in.value is not None and value:
        pipeline = opt_in.value.pipeline
        room = _room(hub, key, message)
        if pipeline.is_large(value, room=room):
            offload = partial(
                pipeline.offload,
                value,
                topic=topic,
                partition=partition,
                key=original_key,
                room=room,
            )
            value = await hub.fallback.store(
                value,
                pipeline,
                lambda patience: offload(patience=patience),
                room=room,
                forever=fut.patient,
                topic=topic,
            )
        else:
            value = pipeline.wrap(value)
    return message._replace(key=key, value=value, partition=partition)
