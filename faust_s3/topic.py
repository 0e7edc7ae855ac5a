"""Topics that know about claims.

``offloading_class(base)`` makes a subclass of the app's own ``Topic`` class. A topic of it
is plain Faust in both directions until it opts in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import faust
from faust.types import RecordMetadata
from faust.types.tuples import FutureMessage
from mode.utils.queues import ThrowableQueue

from faust_s3.claim import Envelope
from faust_s3.codec import CodecOwner, S3Codec, find_codec, now_the_value, within_topic
from faust_s3.exceptions import S3Error
from faust_s3.hub import Hub, OptIn, Policy
from faust_s3.order import Line, Place
from faust_s3.prefetch import PrefetchQueue
from faust_s3.receiving import Receiver
from faust_s3.sending import Outgoing, offloaded, published, report_failure

if TYPE_CHECKING:
    _Base = faust.Topic
else:
    _Base = object

__all__ = ["OffloadingTopic", "offloading_class"]


class OffloadingTopic(_Base):
    """Mixed into the app's ``Topic`` class; ``hub`` is set in the subclass.

    Args:
        opt_in: Set by ``s3.offload``; else the serializers decide.
    """

    hub: ClassVar[Hub]
    _receiver: Receiver
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
        return Outgoing(message, opt_in, faust.current_event())

    def prepare_value(self, *args: Any, **kwargs: Any) -> Any:
        """Serialize the value, which comes after the key."""
        now_the_value()
        return super().prepare_value(*args, **kwargs)

    def send_soon(self, **kwargs: Any) -> FutureMessage:
        """Send in the background, in its turn.

        The source event is committed after the message was published.
        """
        fut = super().send_soon(**kwargs)
        if isinstance(fut, Outgoing):
            fut.background = self.hub.in_background(self._publish(fut, self._line(fut).join()))
            fut.background.add_done_callback(partial(report_failure, fut))
            if fut.source is not None:
                self.hub.gate.before_commit(fut.source.message, partial(published, fut))
        return fut

    async def publish_message(
        self, fut: FutureMessage, wait: bool = False
    ) -> Awaitable[RecordMetadata]:
        """Store what is large, wait for those who sent before, and publish."""
        if not isinstance(fut, Outgoing):
            return await super().publish_message(fut, wait)
        if fut.background is not None:
            return fut  # the producer's buffer came to it, and it is on its way already
        return await self._publish(fut, self._line(fut).join(), wait)

    def _line(self, fut: FutureMessage) -> Line:
        return self.hub.line(self._topic_name_or_default(fut.message.channel))

    async def _publish(
        self, fut: Outgoing, place: Place, wait: bool = False
    ) -> Awaitable[RecordMetadata]:
        topic = self._topic_name_or_default(fut.message.channel)
        try:
            fut.message = await offloaded(fut, topic, self.hub)
            await place.reached()
            return await super().publish_message(fut, wait)
        except S3Error as exc:
            exc.at(topic=topic)
            if fut.source is not None:
                await self.hub.refuse_commit(fut.source, exc)
            raise
        finally:
            place.leave()

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
                dispose=self._receiver.dispose,
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
        if self.opt_in:
            self._receiver = Receiver(
                self, self.decode, hub=self.hub, opt_in=self.opt_in, policy=lambda: self.policy
            )
            self.decode = self._receiver.decode  # type: ignore[method-assign] # as Faust does


def offloading_class(base: type[faust.Topic], hub: Hub) -> type[faust.Topic]:
    """Return a subclass of an app's ``Topic`` class that knows about claims."""
    if issubclass(base, OffloadingTopic) and base.hub is hub:
        return base
    return type(f"S3{base.__name__}", (OffloadingTopic, base), {"hub": hub})
