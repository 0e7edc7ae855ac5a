"""Topics that know about claims.

``offloading_class(base)`` makes a subclass of the app's own ``Topic`` class. A topic of it
is plain Faust in both directions until it opts in.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

import faust
from faust.exceptions import KeyDecodeError, ProducerSendError, ValueDecodeError
from faust.types import EventT, Message, RecordMetadata
from faust.types.tuples import FutureMessage, PendingMessage
from mode.utils.queues import ThrowableQueue

from faust_s3.claim import Claim, Envelope, is_envelope
from faust_s3.codec import CodecOwner, S3Codec, find_codec, now_the_value, within_topic
from faust_s3.exceptions import PermanentError, S3Error, StoreUnavailable
from faust_s3.internals import CommitGate, record_room, wait_for_metadata
from faust_s3.order import Line, Place
from faust_s3.pipeline import Pipeline, reader_of
from faust_s3.prefetch import Pending, PrefetchQueue
from faust_s3.retry import Patience

if TYPE_CHECKING:
    _Base = faust.Topic
else:
    _Base = object

__all__ = ["Hub", "OffloadingTopic", "OptIn", "Policy", "offloading_class"]

logger = logging.getLogger(__name__)


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
        on_bad_claim: ``"raise"`` or ``"skip"``.
    """

    prefetch: int
    prefetch_bytes: int
    on_bad_claim: str


class Hub:
    """What the topics of one app share.

    Attributes:
        app: The app.
        owners: Its ``S3`` objects by name; the first one's settings are the topics' defaults.
        gate: What commits wait for.
        receivers: What the app's signals lead to; kept here for as long as the app.
    """

    def __init__(self, app: faust.App) -> None:
        self.app = app
        self.owners: dict[str, CodecOwner] = {}
        self.gate = CommitGate(app)
        self.receivers: object = None
        self._lines: dict[str, Line] = {}
        self._background: set[asyncio.Task[None]] = set()

    @property
    def pipelines(self) -> list[Pipeline]:
        """All that may redeem a claim."""
        return [owner.pipeline for owner in self.owners.values()]

    def default_policy(self) -> Policy:
        """Return how agents read that have no policy of their own."""
        config = self.pipelines[0].config
        return Policy(config.prefetch, config.prefetch_bytes, config.on_bad_claim)

    def line(self, topic: str) -> Line:
        """Return the line of senders to a topic."""
        return self._lines.setdefault(topic, Line())

    def patience(self, pipeline: Pipeline, source: EventT[Any] | None) -> Patience:
        """Return how long a sender waits: in an agent, while the worker lives."""
        return Patience(
            timeout=None if source is not None else pipeline.config.send_timeout,
            stopping=lambda: self.app.should_stop,
            sleep=self.app.sleep,
        )

    def in_background(self, send: Any) -> asyncio.Task[None]:
        """Run a send that nobody awaits."""
        task: asyncio.Task[None] = asyncio.ensure_future(send)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

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

    async def refuse_commit(self, source: EventT[Any], exc: S3Error) -> None:
        """See to it that the source of a message that was not sent is delivered again."""
        message = source.message
        logger.error(
            "a message sent while processing %s offset %s was not stored, so the worker "
            "stops and does not acknowledge that event: %s",
            message.tp,
            message.offset,
            exc,
        )

        async def refuse() -> None:
            raise ProducerSendError(str(exc)) from exc

        self.gate.before_commit(message, refuse)
        await self.app.crash(exc)


class _Outgoing(FutureMessage):
    """A message on its way to the store first.

    Attributes:
        opt_in: Which side is offloaded.
        source: The event that was processed when it was sent.
        background: The task that sends it, if nobody waits.
    """

    opt_in: OptIn
    source: EventT[Any] | None
    background: asyncio.Task[None] | None = None


class OffloadingTopic(_Base):
    """Mixed into the app's ``Topic`` class; ``hub`` is set in the subclass.

    Args:
        opt_in: Set by ``s3.offload``; else the serializers decide.
    """

    hub: ClassVar[Hub]
    _policy: Policy | None = None

    def __init__(self, app: Any, *args: Any, opt_in: OptIn | None = None, **kwargs: Any) -> None:
        self._chosen = opt_in or OptIn()
        self.opt_in = self._chosen
        super().__init__(app, *args, **kwargs)
        if opt_in is None or not (opt_in.key and opt_in.value):
            self.opt_in = self._opt_in_by_name()
            self._compile_decode()

    def _opt_in_by_name(self) -> OptIn:
        conf = self.app.conf
        return OptIn(
            key=self._chosen.key
            or self._named_in(self.key_serializer or conf.key_serializer, self.key_type),
            value=self._chosen.value
            or self._named_in(self.value_serializer or conf.value_serializer, self.value_type),
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
        return {**super()._clone_args(), "opt_in": self._chosen}

    def derive_topic(self, **kwargs: Any) -> Any:
        """Create a topic derived from this one, which offloads as this one does."""
        # faust/topics.py of 0.15.3 builds it from a fixed list of arguments.
        topic: Any = super().derive_topic(**kwargs)
        topic._chosen = self.opt_in
        topic.opt_in = topic._opt_in_by_name()
        topic._compile_decode()
        return topic

    # -- sending

    def as_future_message(self, *args: Any, **kwargs: Any) -> FutureMessage:
        """Create the promise, and note which side of it is to be offloaded."""
        with within_topic() as named:
            fut = super().as_future_message(*args, **kwargs)
        message = fut.message
        opt_in = OptIn(
            key=self.opt_in.key or self._owner(named.key),
            value=self.opt_in.value or self._owner(named.value),
        )
        # A claim that came in is passed on as it is.
        if type(message.key) is Envelope:
            opt_in = replace(opt_in, key=None)
            message = message._replace(key=bytes(message.key))
        if type(message.value) is Envelope:
            opt_in = replace(opt_in, value=None)
            message = message._replace(value=bytes(message.value))
        if not opt_in and not self.opt_in:
            fut.message = message
            return fut
        outgoing = _Outgoing(message)
        outgoing.opt_in = opt_in
        outgoing.source = faust.current_event()
        return outgoing

    def prepare_value(self, *args: Any, **kwargs: Any) -> Any:
        """Serialize the value, which comes after the key."""
        now_the_value()
        return super().prepare_value(*args, **kwargs)

    def send_soon(self, **kwargs: Any) -> FutureMessage:
        """Send in the background, in its turn.

        The source event is committed after the message was published.
        """
        fut = super().send_soon(**kwargs)
        if isinstance(fut, _Outgoing):
            fut.background = self.hub.in_background(self._publish(fut, self._line(fut).join()))
            fut.background.add_done_callback(partial(_report_failure, fut))
            if fut.source is not None:
                self.hub.gate.before_commit(fut.source.message, partial(_published, fut))
        return fut

    async def publish_message(
        self, fut: FutureMessage, wait: bool = False
    ) -> Awaitable[RecordMetadata]:
        """Store what is large, wait for those who sent before, and publish."""
        if not isinstance(fut, _Outgoing):
            return await super().publish_message(fut, wait)
        if fut.background is not None:
            return fut  # the producer's buffer came to it, and it is on its way already
        return await self._publish(fut, self._line(fut).join(), wait)

    def _line(self, fut: FutureMessage) -> Line:
        return self.hub.line(self._topic_name_or_default(fut.message.channel))

    async def _publish(
        self, fut: _Outgoing, place: Place, wait: bool = False
    ) -> Awaitable[RecordMetadata]:
        try:
            fut.message = await self._offloaded(fut)
            await place.reached()
            return await super().publish_message(fut, wait)
        except S3Error as exc:
            exc.at(topic=self._topic_name_or_default(fut.message.channel))
            if fut.source is not None:
                await self.hub.refuse_commit(fut.source, exc)
            raise
        finally:
            place.leave()

    async def _offloaded(self, fut: _Outgoing) -> PendingMessage:
        message, opt_in = fut.message, fut.opt_in
        topic = self._topic_name_or_default(message.channel)
        key, value, partition = message.key, message.value, message.partition
        original_key = cast(bytes, key)
        if opt_in.key is not None and key:
            pipeline = opt_in.key.pipeline
            if pipeline.is_large(key):
                patience = self.hub.patience(pipeline, fut.source)
                key = await pipeline.offload(key, topic=topic, is_key=True, patience=patience)
            else:
                key = pipeline.wrap(key)
            if key is not original_key and partition is None:
                # The record goes where its key would have gone.
                await wait_for_metadata(self.app, topic)
                partition = self.app.producer.key_partition(topic, original_key).partition
        if opt_in.value is not None and value:
            pipeline = opt_in.value.pipeline
            room = record_room(self.app.conf.producer_max_request_size, key, message.headers)
            if pipeline.is_large(value, room=room):
                value = await pipeline.offload(
                    value,
                    topic=topic,
                    partition=partition,
                    key=original_key,
                    patience=self.hub.patience(pipeline, fut.source),
                )
            else:
                value = pipeline.wrap(value)
        return message._replace(key=key, value=value, partition=partition)

    # -- receiving

    @property
    def queue(self) -> ThrowableQueue[Any]:
        """The queue between conductor and stream, in which downloads run ahead."""
        if self._queue is None and self.opt_in:
            policy = self.policy
            maxsize = self.maxsize
            self._queue = PrefetchQueue(
                maxsize=self.app.conf.stream_buffer_maxsize if maxsize is None else maxsize,
                flow_control=self.app.flow_control,
                clear_on_resume=True,
                dispose=self._dispose,
                prefetch=policy.prefetch,
                prefetch_bytes=policy.prefetch_bytes,
            )
        return super().queue

    @property
    def policy(self) -> Policy:
        """How this topic's stream reads."""
        return self._policy or self.hub.default_policy()

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        if isinstance(self._queue, PrefetchQueue):
            self._queue.prefetch = policy.prefetch
            self._queue.prefetch_bytes = policy.prefetch_bytes

    def _compile_decode(self) -> None:
        super()._compile_decode()
        if not self.opt_in:
            return
        plain = self.decode
        reads_key, reads_value = self.opt_in.key is not None, self.opt_in.value is not None

        async def decode(message: Message, *, propagate: bool = False) -> Any:
            wrapped_key = reads_key and is_envelope(message.key)
            wrapped_value = reads_value and is_envelope(message.value)
            if not (wrapped_key or wrapped_value):
                return await plain(message, propagate=propagate)
            # Content unchanged: forward() sends these bytes on.
            if wrapped_key:
                message.key = Envelope(cast(bytes, message.key))
            if wrapped_value:
                message.value = Envelope(cast(bytes, message.value))
            return await self._decode_envelopes(plain, message, propagate)

        self.decode = decode  # type: ignore[method-assign] # as faust/topics.py does

    async def _decode_envelopes(self, plain: Any, message: Message, propagate: bool) -> Any:
        size = 0
        wrong: PermanentError | None = None
        claims: list[tuple[str, Pipeline, Claim]] = []
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
            if isinstance(found, bytes):
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
            with within_topic():
                event = await plain(whole, propagate=propagate)
            if event is not None:
                event.message = message
            return cast("EventT[Any]", event)

        if (claims or wrong) and isinstance(self._queue, PrefetchQueue):
            return Pending(message, size, resolve)
        return await resolve(propagate=propagate)

    async def _dispose(self, message: Message, exc: BaseException) -> None:
        if isinstance(exc, (KeyDecodeError, ValueDecodeError)):
            # As faust/transport/conductor.py of 0.15.3 treats them; the payload is whole.
            message.ack(self.app.consumer)
            if isinstance(exc, KeyDecodeError):
                await self.on_key_decode_error(exc, message)
            else:
                await self.on_value_decode_error(exc, message)
            return
        if isinstance(exc, PermanentError):
            exc.at(topic=message.topic, partition=message.partition, offset=message.offset)
            if self.policy.on_bad_claim == "skip":
                logger.error("skipped a record whose claim cannot be redeemed: %s", exc)
                message.ack(self.app.consumer)
                return
        # First what was acknowledged before: a consumer that has crashed answers no commit,
        # and Faust would wait for it when it stops. The first call may only wait for a
        # commit that began too early.
        await self.app.consumer.commit()
        await self.app.consumer.commit()
        try:
            raise exc
        except type(exc):
            await self.app.crash(exc)
        # The stream must not go on to the next event: Faust would commit past this one.
        await asyncio.get_running_loop().create_future()


def _report_failure(fut: _Outgoing, task: asyncio.Task[Any]) -> None:
    exc = StoreUnavailable("the app stopped") if task.cancelled() else task.exception()
    if exc is not None and not fut.done():
        fut.set_exception(exc)
        fut.exception()  # whoever awaits it still gets it; nobody has to
        logger.error("a message for %s was not sent: %s", fut.message.channel, exc)


async def _published(fut: _Outgoing) -> FutureMessage:
    await asyncio.wait({fut})
    if (exc := fut.exception()) is not None:
        raise ProducerSendError(f"Error while sending: {exc!r}") from exc
    return fut


def offloading_class(base: type[faust.Topic], hub: Hub) -> type[faust.Topic]:
    """Return a subclass of an app's ``Topic`` class that knows about claims."""
    if issubclass(base, OffloadingTopic) and base.hub is hub:
        return base
    return type(f"S3{base.__name__}", (OffloadingTopic, base), {"hub": hub})
