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
        handled: tuple[Pipeline, Claim | Inline | bytes] | None = None
        if self.lazy and message.value is not None:
            handled = self.hub.default_owner.pipeline, message.value
        size = 0
        wrong: PermanentError | None = None
        claims: list[tuple[str, Pipeline, Claim | Inline]] = []
        inline: dict[str, bytes] = {}
        for side in ("key", "value"):
            data = getattr(message, side)
            if type(data) is not Envelope:
                continue
            try:
                pipeline, found = reader_of(self.hub.pipelines, data)
            except PermanentError as exc:
                wrong = wrong or exc
                continue
            if side == "value" and handled is not None:
                handled = pipeline, found
            elif isinstance(found, bytes):
                inline[side] = found
            else:
                claims.append((side, pipeline, found))
                size += found.payload_size

        async def resolve(*, propagate: bool = True) -> EventT[Any]:
            if wrong is not None:
                raise wrong
            whole = copy.copy(message)  # the message itself keeps its claims
            for side, payload in inline.items():
                setattr(whole, side, payload)
            for side, pipeline, claim in claims:
                setattr(whole, side, await pipeline.redeem(claim))
            if isinstance(message.key, Envelope):
                message.key.payload = whole.key
            with within_topic():
                if handled is None:
                    event = await self.plain(whole, propagate=propagate)
                else:
                    event = await self._event_of_handle(whole, *handled, propagate)
            if event is not None:
                event.message = message
                if self._recovers:
                    event.whole = whole  # what the table's store gets
            return cast("EventT[Any]", event)

        if (claims or wrong) and isinstance(self.topic._queue, PrefetchQueue):
            return Pending(message, size, resolve, self.dispose)
        return await resolve(propagate=propagate)

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
