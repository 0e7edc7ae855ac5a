"""Sending: a message's payloads go to the store before it goes to Kafka."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import faust
from faust.agents import current_agent
from faust.exceptions import ProducerSendError
from faust.types import EventT
from faust.types.tuples import FutureMessage, PendingMessage

from faust_s3.exceptions import S3Error, StoreUnavailable
from faust_s3.hub import Hub, OptIn
from faust_s3.internals import record_room, wait_for_metadata
from faust_s3.order import Place

__all__ = ["Outgoing", "flushed", "offloaded", "published", "report_failure", "settled"]

logger = logging.getLogger(__name__)


class Outgoing(FutureMessage):
    """A message on its way to the store first.

    Args:
        message: The message.
        opt_in: Which side is offloaded.
        source: The event that was processed when it was sent.
        forwarded_key: What the key stands for, if it is a claim that came in.

    Attributes:
        in_batch: Whether an agent sent it that takes many events at once: it has no current one.
        patient: Whether it waits for the store for as long as the worker lives.
        failed: Why the store does not have it.
        background: The task that sends it, if nobody waits.
    """

    def __init__(
        self,
        message: PendingMessage,
        opt_in: OptIn,
        source: EventT[Any] | None,
        forwarded_key: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.opt_in = opt_in
        self.source = source
        self.forwarded_key = forwarded_key
        self.in_batch = source is None and current_agent() is not None
        self.patient = source is not None or self.in_batch
        self.failed: S3Error | None = None
        self.background: asyncio.Task[None] | None = None


async def offloaded(
    fut: Outgoing, topic: str, hub: Hub, uploading: Callable[[], None]
) -> PendingMessage:
    """Store what is large, and return the message with claims in its place.

    Args:
        fut: The message.
        topic: Name of the Kafka topic.
        hub: Of the app.
        uploading: Called before each upload.

    Raises:
        S3Error: As :meth:`Pipeline.offload`.
    """
    message, opt_in = fut.message, fut.opt_in
    key, value, partition = message.key, message.value, message.partition
    original_key = fut.forwarded_key or cast(bytes, key)
    if opt_in.key is not None and key:
        pipeline = opt_in.key.pipeline
        if pipeline.is_large(key):
            uploading()
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
        room = record_room(hub.app.conf.producer_max_request_size, key, message.headers)
        if pipeline.is_large(value, room=room):
            uploading()
            value = await pipeline.offload(
                value,
                topic=topic,
                partition=partition,
                key=original_key,
                patience=hub.patience(pipeline, forever=fut.patient),
            )
        else:
            value = pipeline.wrap(value)
    return message._replace(key=key, value=value, partition=partition)


def report_failure(fut: Outgoing, task: asyncio.Task[Any]) -> None:
    """Pass a failure in the background on to the promise, and to the log."""
    exc = StoreUnavailable("the app stopped") if task.cancelled() else task.exception()
    if exc is not None and not fut.done():
        fut.set_exception(exc)
        fut.exception()  # whoever awaits it still gets it; nobody has to
        logger.error("a message for %s was not sent: %s", fut.message.channel, exc)


async def published(fut: Outgoing) -> FutureMessage:
    """Wait until Kafka has a message.

    Raises:
        ProducerSendError: If it will not have it.
    """
    await asyncio.wait({fut})
    if (exc := fut.exception()) is not None:
        raise ProducerSendError(f"Error while sending: {exc!r}") from exc
    return fut


async def settled(fut: Outgoing, place: Place) -> None:
    """Wait until a message is on its way to Kafka, or given up by whoever sent it.

    Raises:
        ProducerSendError: If the store does not have it.
    """
    await place.left()
    if fut.failed is not None:
        raise ProducerSendError(str(fut.failed)) from fut.failed


async def flushed(hub: Hub) -> None:
    """Wait for what was sent in the background, before the producer is flushed.

    Not for what an agent sent, unless it is that agent that asks: commits and rebalances
    flush as well, and must not wait for a store that is away for as long as agents do.
    """
    event = faust.current_event()
    in_agent = event is not None or current_agent() is not None
    waited_for = {
        fut
        for fut in cast("set[Outgoing]", hub.soon)
        if not fut.patient or (in_agent and fut.source is event)
    }
    if waited_for and not hub.app.rebalancing:
        await asyncio.wait(waited_for)
