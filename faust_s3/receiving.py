"""Receiving: what a claim becomes on its way from the conductor to the stream."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable
from functools import partial
from time import time
from typing import Any, cast

import faust
from faust.exceptions import KeyDecodeError, ValueDecodeError
from faust.types import EventT, Message

from faust_s3.claim import Claim, Envelope, Inline, is_envelope
from faust_s3.codec import within_topic
from faust_s3.disposal import disposed_of
from faust_s3.exceptions import PermanentError
from faust_s3.hub import Hub, OptIn, Policy
from faust_s3.payload import Payload
from faust_s3.pipeline import Pipeline, reader_of
from faust_s3.prefetch import Pending, PrefetchQueue

__all__ = ["Receiver"]

logger = logging.getLogger(__name__)


class Receiver:
    """What one topic does with the claims that come in.

    Args:
        topic: The topic.
        plain: Faust's own ``decode`` of this topic.
        hub: Of its app.
        opt_in: Which sides of its messages may be claims.
        policy: Asked how its stream reads.

    Attributes:
        lazy: Values become handles.
    """

    def __init__(
        self,
        topic: faust.Topic,
        plain: Any,
        *,
        hub: Hub,
        opt_in: OptIn,
        policy: Callable[[], Policy],
    ) -> None:
        self.topic = topic
        self.plain = plain
        self.hub = hub
        self.opt_in = opt_in
        self.policy = policy
        self.lazy = False

    async def decode(self, message: Message, *, propagate: bool = False) -> Any:
        """Return the event of a message, or what will be the event once it is downloaded."""
        wrapped_key = self.opt_in.key is not None and is_envelope(message.key)
        wrapped_value = self.opt_in.value is not None and is_envelope(message.value)
        if not (wrapped_key or wrapped_value or self.lazy):
            return await self.plain(message, propagate=propagate)
        # Content unchanged: forward() sends these bytes on.
        if wrapped_key and type(message.key) is not Envelope:
            message.key = Envelope(cast(bytes, message.key))
        if wrapped_value:
            message.value = Envelope(cast(bytes, message.value))
        return await self._decode_envelopes(message, propagate)

    async def _decode_envelopes(self, message: Message, propagate: bool) -> Any:
        arrival = self._read(message)
        if arrival.is_pending and isinstance(self.topic._queue, PrefetchQueue):
            return arrival
        return await arrival.resolve(propagate=propagate)

    def _read(self, message: Message) -> _Arrival:
        """Read the envelopes of a message."""
        arrival = _Arrival(self, message)
        if self.lazy and message.value is not None:
            arrival.handled = self.hub.default_owner.pipeline, message.value
        for side in ("key", "value"):
            data = getattr(message, side)
            if type(data) is not Envelope:
                continue
            try:
                pipeline, found = reader_of(self.hub.pipelines, data)
            except PermanentError as exc:
                arrival.wrong = arrival.wrong or exc
                continue
            if side == "value" and arrival.handled is not None:
                arrival.handled = pipeline, found
            elif isinstance(found, bytes):
                arrival.inline += ((side, found),)
            else:
                arrival.claims += ((side, pipeline, found),)
                arrival.size += found.payload_size
        return arrival

    async def event_of(self, arrival: _Arrival, *, propagate: bool) -> EventT[Any]:
        """Return the event of a message whose envelopes were read, with its payload.

        Raises:
            S3Error: If there is none.
            DecodeError: If it is whole and cannot be decoded, and ``propagate`` is set.
        """
        if arrival.wrong is not None:
            raise arrival.wrong
        message = arrival.message
        whole = copy.copy(message)  # the message itself keeps its claims
        for side, payload in arrival.inline:
            setattr(whole, side, payload)
        for side, pipeline, claim in arrival.claims:
            # Another topic's stream may get the same claim, from through() or group_by().
            setattr(
                whole,
                side,
                await pipeline.redeem(claim, keep=arrival.is_shared or len(self.hub.readers) > 1),
            )
        if isinstance(message.key, Envelope):
            message.key.payload = whole.key
        with within_topic():
            if arrival.handled is None:
                event = await self.plain(whole, propagate=propagate)
            else:
                event = await self._event_of_handle(whole, *arrival.handled, propagate)
        if event is not None:
            event.message = message
            if self._recovers:
                event.whole = whole  # what the table's store gets
        return cast("EventT[Any]", event)

    async def _event_of_handle(
        self, message: Message, pipeline: Pipeline, content: Claim | Inline | bytes, propagate: bool
    ) -> Any:
        topic = self.topic
        try:
            key = topic.schema.loads_key(topic.app, message)
        except KeyDecodeError as exc:
            if propagate:
                raise
            await topic.on_key_decode_error(exc, message)
            return None
        headers = dict(message.headers or {})
        payload: Payload[Any] = Payload(
            cast(bytes, message.value),
            content,
            key=key,
            headers=headers,
            pipeline=pipeline,
            patience=self.hub.patience(pipeline, forever=True),
            decode=partial(self._value_of, message),
            record=message,
        )
        return topic.app.create_event(key, payload, headers, message)

    async def _value_of(self, message: Message, payload: bytes) -> Any:
        whole = copy.copy(message)
        whole.value = payload
        with within_topic():
            return (await self.plain(whole, propagate=True)).value

    def uploaded(
        self, wire: bytes, pipeline: Pipeline, *, key: Any, raw_key: bytes | None
    ) -> Payload[Any]:
        """Return the handle of a payload that is to be sent to the topic.

        Args:
            wire: What stands for it.
            pipeline: What stored it.
            key: Key of the record that it will be in.
            raw_key: The same, serialized.
        """
        if is_envelope(wire):
            wire = Envelope(wire)
        name = self.topic.get_topic_name()
        message = Message(name, -1, -1, time(), 0, None, raw_key, wire, None)
        return Payload(
            wire,
            pipeline.read(wire),
            key=key,
            headers={},
            pipeline=pipeline,
            patience=self.hub.patience(pipeline, forever=True),
            decode=partial(self._value_of, message),
        )

    @property
    def _recovers(self) -> bool:
        """Whether a table recovers through this."""
        return self.topic._queue is not None and self.topic._queue is self.hub.changelogs

    async def dispose(self, message: Message, exc: BaseException) -> None:
        """Deal with a record that cannot be made whole, when its turn has come.

        Returns when the next event may follow; if it may not, only when cancelled.
        """
        topic = self.topic
        if isinstance(exc, (KeyDecodeError, ValueDecodeError)):
            # As faust/transport/conductor.py of 0.15.3 treats them; the payload is whole.
            self.hub.ack(message)
            if isinstance(exc, KeyDecodeError):
                await topic.on_key_decode_error(exc, message)
            else:
                await topic.on_value_decode_error(exc, message)
            return
        if isinstance(exc, PermanentError):
            exc.at(topic=message.topic, partition=message.partition, offset=message.offset)
            if not self._recovers:  # a table is not to be wrong in silence
                failure = await disposed_of(self.hub, self.policy().on_bad_claim, message, exc)
                if failure is None:
                    self.hub.ack(message)
                    return
                exc = failure
        logger.error(
            "the worker stops at %s offset %s, which it does not acknowledge: %s",
            message.tp,
            message.offset,
            exc,
        )
        await self.hub.crash(exc)
        # The stream must not go on to the next event: Faust would commit past this one.
        await asyncio.get_running_loop().create_future()


class _Arrival(Pending):
    """A message whose envelopes were read.

    Thousands of them may wait, as Faust reads ahead, and Python's garbage collector looks at
    each object that they hold. So there are few: no closures, no lists.

    Attributes:
        is_shared: Whether several streams get it; the conductor has counted them.
        claims: Sides, and what is to be redeemed for them.
        inline: Sides, and their payloads.
        handled: What the value is a handle of.
        wrong: Why there can be no event.
    """

    __slots__ = ("_receiver", "claims", "handled", "inline", "is_shared", "wrong")

    def __init__(self, receiver: Receiver, message: Message) -> None:
        super().__init__(message)
        self._receiver = receiver
        self.is_shared = message.refcount > 1
        self.claims: tuple[tuple[str, Pipeline, Claim | Inline], ...] = ()
        self.inline: tuple[tuple[str, bytes], ...] = ()
        self.handled: tuple[Pipeline, Claim | Inline | bytes] | None = None
        self.wrong: PermanentError | None = None

    @property
    def is_pending(self) -> bool:
        """Whether there is something to wait for, or to tell when its turn comes."""
        return bool(self.claims) or self.wrong is not None

    async def resolve(self, *, propagate: bool = True) -> EventT[Any]:
        return await self._receiver.event_of(self, propagate=propagate)

    async def dispose(self, exc: BaseException) -> None:
        await self._receiver.dispose(self.message, exc)
