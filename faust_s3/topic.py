"""Topics that know about claims.

``offloading_class(base)`` makes a subclass of the app's own ``Topic`` class. A topic of it
is plain Faust in both directions until it opts in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

import faust
from faust.agents import current_agent
from faust.agents.models import ReqRepResponse
from faust.types import TP, ProducerT, RecordMetadata
from faust.types.tuples import FutureMessage
from mode.utils.queues import ThrowableQueue

from faust_s3.claim import Envelope
from faust_s3.codec import (
    BoundCodec,
    CodecOwner,
    S3Codec,
    find_codec,
    name_codec,
    now_the_value,
    within_topic,
)
from faust_s3.exceptions import ConfigError, S3Error
from faust_s3.hub import Hub, OptIn, Policy
from faust_s3.internals import flush_after, producer_of
from faust_s3.outgoing import Outgoing
from faust_s3.payload import Payload
from faust_s3.pipeline import Pipeline
from faust_s3.prefetch import PrefetchQueue
from faust_s3.receiving import Receiver
from faust_s3.sending import Sender, flushed
from faust_s3.upload import Source

if TYPE_CHECKING:
    _Base = faust.Topic
else:
    _Base = object

__all__ = ["OffloadingTopic", "offloading_class"]


class OffloadingTopic(_Base):
    """Mixed into the app's ``Topic`` class; ``hub`` is set in the subclass.

    Args:
        opt_in: Set by ``s3.offload``; else the serializers decide.
        policy: How an agent reads from it.
    """

    hub: ClassVar[Hub]

    def __init__(
        self,
        app: Any,
        *args: Any,
        opt_in: OptIn | None = None,
        policy: Policy | None = None,
        **kwargs: Any,
    ) -> None:
        self._policy: Policy | None = None
        self._chosen = opt_in or OptIn()
        self.opt_in = self._chosen
        super().__init__(app, *args, **kwargs)
        self.sender = Sender(self, super().publish_message, hub=self.hub)
        if opt_in is None or not (opt_in.key and opt_in.value):
            self.opt_in = self._opt_in_by_name()
            self._compile_decode()
        if policy is not None and self.opt_in:
            self.policy = policy

    def _opt_in_by_name(self) -> OptIn:
        conf = self.app.conf
        value = self._chosen.value or self._named_in(
            self.value_serializer or conf.value_serializer, self.value_type
        )
        if value is None and self.value_type is ReqRepResponse:
            value = self.hub.default_owner  # whoever asks reads what agents may reply
        return OptIn(
            key=self._chosen.key
            or self._named_in(self.key_serializer or conf.key_serializer, self.key_type),
            value=value,
        )

    def _named_in(self, serializer: Any, model: Any) -> CodecOwner | None:
        options = getattr(model, "_options", None)
        return self._owner(
            find_codec(serializer) or find_codec(getattr(options, "serializer", None))
        )

    def _owner(self, codec: S3Codec | None) -> CodecOwner | None:
        return None if codec is None else codec.owner(self.hub.owners)

    # -- copies keep what the original chose

    def _clone_args(self) -> Mapping[str, Any]:
        args = {**super()._clone_args(), "opt_in": self._chosen, "policy": self._policy}
        if self._policy is not None and self._policy.lazy:
            args["value_type"] = self.schema.value_type  # of what handles load
        return args

    def derive_topic(self, **kwargs: Any) -> Any:
        """Create a topic derived from this one, which offloads as this one does."""
        # faust/topics.py of 0.15.3 builds it from a fixed list of arguments.
        topic: Any = super().derive_topic(**kwargs)
        topic._chosen = self.opt_in
        topic.opt_in = topic._opt_in_by_name()
        topic._compile_decode()
        if self._policy is not None:
            topic.policy = self._policy
        return topic

    # -- sending

    def as_future_message(self, *args: Any, **kwargs: Any) -> FutureMessage:
        """Create the promise, and note which side of it is to be offloaded."""
        with within_topic() as named:
            fut = super().as_future_message(*args, **kwargs)
        message = fut.message
        key = self._chosen.key or self._owner(named.key) or self.opt_in.key
        value = self._chosen.value or self._owner(named.value) or self.opt_in.value
        opt_in = self.opt_in
        if key is not opt_in.key or value is not opt_in.value:
            opt_in = OptIn(key, value)
        # A claim that came in is passed on as it is.
        forwarded_key = None
        if type(message.key) is Envelope:
            forwarded_key = message.key.payload
            opt_in = replace(opt_in, key=None)
            message = message._replace(key=bytes(message.key))
        if type(message.value) is Envelope:
            if opt_in.value is None:
                self._check_readers()
            opt_in = replace(opt_in, value=None)
            message = message._replace(value=bytes(message.value))
        plain = not opt_in and not self.opt_in and forwarded_key is None
        if plain and self.hub.line(self._topic_name_or_default(message.channel)).empty:
            fut.message = message
            return fut
        self.hub.check_producer()
        source = faust.current_event()
        if source is not None:
            events: Sequence[tuple[TP, int]] = [(source.message.tp, source.message.offset)]
        else:
            events = self.hub.events_in_process() if current_agent() is not None else []
        return Outgoing(message, opt_in, source, events, forwarded_key)

    def _check_readers(self) -> None:
        for reader in self.app.topics:
            aware = isinstance(reader, OffloadingTopic) and reader.opt_in.value is not None
            if not aware and not set(self.topics).isdisjoint(cast(Any, reader).topics):
                exc = ConfigError(
                    f"a claim would be passed on to topic {self!s}, which this app reads without "
                    "offloading: name the codec in its serializer, or use s3.offload(topic)"
                )
                # Faust restarts an agent that fails, behind the event that was not passed on.
                self.hub.in_background(self.hub.crash(exc))
                raise exc

    def prepare_key(
        self, key: Any, key_serializer: Any, schema: Any = None, headers: Any = None
    ) -> Any:
        """Serialize the key."""
        if isinstance(key, bytes):  # Faust runs no codec
            name_codec(find_codec(key_serializer or getattr(schema, "key_serializer", None)))
        return super().prepare_key(key, key_serializer, schema, headers)

    def prepare_value(
        self, value: Any, value_serializer: Any, schema: Any = None, headers: Any = None
    ) -> Any:
        """Serialize the value, which comes after the key."""
        now_the_value()
        if isinstance(value, Payload):
            value = self._passed_on(value, value_serializer, schema)
        if isinstance(value, bytes):  # Faust runs no codec
            name_codec(find_codec(value_serializer or getattr(schema, "value_serializer", None)))
        elif isinstance(value, ReqRepResponse):
            name_codec(_codec_of_replies())
        return super().prepare_value(value, value_serializer, schema, headers)

    def _passed_on(self, payload: Payload[Any], serializer: Any, schema: Any) -> bytes:
        serializer = serializer or getattr(schema, "value_serializer", None)
        if self.opt_in.value is None and find_codec(serializer) is None:
            raise ConfigError(
                f"topic {self!s} does not offload its values, so that nobody could read "
                f"{payload!r} from it: name the codec in its serializer, or send what load() "
                "returns"
            )
        return payload.wire

    async def send(self, **kwargs: Any) -> Awaitable[RecordMetadata]:
        """Send in its turn.

        In an agent it returns once there is room in the window, and the event is committed
        after the message has arrived. Elsewhere it returns once the payload is stored.

        Raises:
            S3Error: Elsewhere: as :meth:`Pipeline.offload`.
        """
        sent = await super().send(**kwargs)
        if isinstance(sent, Outgoing) and sent.ticket is not None:
            await self.hub.room(sent.ticket)  # of what will be published in a commit
        elif self.opt_in:
            await asyncio.sleep(0)  # a loop that sends what is small gives way, as with Faust
        return sent

    def send_soon(self, **kwargs: Any) -> FutureMessage:
        """Send in the background, in its turn.

        The source event is committed after the message has arrived.
        """
        fut = super().send_soon(**kwargs)
        if isinstance(fut, Outgoing) and fut.stored is None:
            self.sender.publish_soon(fut)
            flush_after(self.app.producer, partial(flushed, self.hub))
        return fut

    async def publish_message(
        self, fut: FutureMessage, wait: bool = False
    ) -> Awaitable[RecordMetadata]:
        """Store what is large, wait for those who sent before, and publish."""
        if not isinstance(fut, Outgoing):
            return await super().publish_message(fut, wait)
        if fut.task is not None:
            return fut  # the producer's buffer came to it, and it is on its way already
        return await self.sender.publish(fut, wait)

    async def _get_producer(self) -> ProducerT:
        producer = producer_of(self.app)
        # One that says it has started may be at it: it has once Faust's own way led to it.
        if not self.opt_in or producer is not self.hub.producer or not producer.started:
            producer = self.hub.producer = await super()._get_producer()
        return cast("ProducerT", producer)

    # -- receiving

    @property
    def queue(self) -> ThrowableQueue[Any]:
        """The queue between conductor and stream, in which downloads run ahead."""
        if self._queue is None and (self.opt_in or self.hub.holds_streams):
            policy = self.policy
            maxsize = self.maxsize
            if self.is_iterator:  # and not one of those that Faust derives streams' topics from
                self.hub.readers.add(self)
            self._queue = PrefetchQueue(
                maxsize=self.app.conf.stream_buffer_maxsize if maxsize is None else maxsize,
                flow_control=self.app.flow_control,
                clear_on_resume=True,
                prefetch=policy.prefetch,
                prefetch_bytes=policy.prefetch_bytes,
                # The conductor fills the queues of faust/agents/replies.py of 0.15.3, of which
                # one is read.
                is_read=self.is_iterator,
                dispose=self._receiver.dispose if self.opt_in else None,
                hold=self.hub.hold,
            )
        return super().queue

    @property
    def policy(self) -> Policy:
        """How this topic's stream reads."""
        return self._policy or self.hub.default_policy()

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        self._receiver.lazy = policy.lazy
        if policy.lazy:
            # The conductor shares events between channels of the same types.
            self.value_type = cast(Any, Payload)[self.schema.value_type or Any]
        if isinstance(self._queue, PrefetchQueue):
            self._queue.prefetch = policy.prefetch
            self._queue.prefetch_bytes = policy.prefetch_bytes

    def _compile_decode(self) -> None:
        super()._compile_decode()
        if self.opt_in:
            self._receiver = Receiver(
                self, self.decode, hub=self.hub, opt_in=self.opt_in, policy=lambda: self.policy
            )
            self.decode = self._receiver.decode  # type: ignore[method-assign] # as Faust does

    async def upload(
        self, source: Source, pipeline: Pipeline, *, key: Any, partition: int | None
    ) -> Payload[Any]:
        """Store what is to be sent here, while it is read, and return its handle.

        Args:
            source: The serialized value.
            pipeline: What stores it.
            key: Key of the record that it will be in.
            partition: Partition of that record, if it is chosen.

        Raises:
            S3Error: As :meth:`Pipeline.offload_from`.
        """
        topic, event = self.get_topic_name(), faust.current_event()
        raw_key, _ = self.prepare_key(key, None)
        try:
            async with aclosing(source):
                wire = await pipeline.offload_from(
                    source,
                    topic=topic,
                    partition=partition,
                    key=raw_key,
                    patience=self.hub.patience(pipeline, forever=event is not None),
                )
        except S3Error as exc:
            exc.at(topic=topic)
            if event is not None:
                tp, offset = event.message.tp, event.message.offset
                self.hub.commits.refuse(tp, offset, exc)
                await self.hub.not_sent([(tp, offset)], exc)
            raise
        return self._receiver.uploaded(wire, pipeline, key=key, raw_key=raw_key)


def _codec_of_replies() -> S3Codec | None:
    """Return what stores the replies of the agent that is running: what its topic names."""
    agent = current_agent()
    topic = agent and agent.channel
    if not isinstance(topic, OffloadingTopic) or topic.opt_in.value is None:
        return None
    return BoundCodec(owner=topic.opt_in.value)


def offloading_class(base: type[faust.Topic], hub: Hub) -> type[faust.Topic]:
    """Return a subclass of an app's ``Topic`` class that knows about claims."""
    if issubclass(base, OffloadingTopic) and base.hub is hub:
        return base
    return type(f"S3{base.__name__}", (OffloadingTopic, base), {"hub": hub})
