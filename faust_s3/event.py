"""Events that are forwarded whole to where nobody knows of claims."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, ClassVar, cast

import faust
from faust.events import USE_EXISTING_KEY, USE_EXISTING_VALUE
from faust.types import ChannelT, RecordMetadata, TopicT

from faust_s3.claim import Envelope
from faust_s3.hub import Hub
from faust_s3.internals import attach
from faust_s3.outgoing import Outgoing
from faust_s3.pipeline import reader_of
from faust_s3.topic import OffloadingTopic

if TYPE_CHECKING:
    _Base = faust.Event
else:
    _Base = object

__all__ = ["OffloadingEvent", "offloading_event"]


class OffloadingEvent(_Base):
    """Mixed into the app's ``Event`` class; ``hub`` is set in the subclass."""

    hub: ClassVar[Hub]

    async def forward(
        self,
        channel: str | ChannelT[Any],
        key: Any = USE_EXISTING_KEY,
        value: Any = USE_EXISTING_VALUE,
        *args: Any,
        **kwargs: Any,
    ) -> Awaitable[RecordMetadata]:
        """Forward the message: claims to topics, payloads to channels in memory.

        Raises:
            PermanentError: If a payload for a channel in memory is not to be had any more.
        """
        if isinstance(channel, ChannelT) and not isinstance(channel, TopicT):
            if key is USE_EXISTING_KEY:
                key = await self._whole(self.message.key)
            if value is USE_EXISTING_VALUE:
                value = await self._whole(self.message.value)
        return await super().forward(channel, key, value, *args, **kwargs)

    def _attach(
        self, channel: str | ChannelT[Any], *args: Any, **kwargs: Any
    ) -> Awaitable[RecordMetadata]:
        """Attach a message to this event: it is published when that is committed.

        Faust would store its payloads then, one after the other, and publish what is attached
        to the next event as well (``faust/app/_attached.py`` of 0.15.3).
        """
        to = self.app.topic(channel) if isinstance(channel, str) else channel
        fut = cast(Any, to).as_future_message(*args, **kwargs)
        if isinstance(fut, Outgoing):
            cast(OffloadingTopic, to).sender.attach(fut, self.message)
        else:
            attach(self.app, self.message, fut)
        return cast("Awaitable[RecordMetadata]", fut)

    async def _whole(self, data: bytes | None) -> bytes | None:
        if type(data) is not Envelope:
            return data
        pipeline, found = reader_of(self.hub.pipelines, data)
        return found if isinstance(found, bytes) else await pipeline.redeem(found)


def offloading_event(base: type[faust.Event], hub: Hub) -> type[faust.Event]:
    """Return a subclass of an app's ``Event`` class that knows about claims."""
    if issubclass(base, OffloadingEvent) and base.hub is hub:
        return base
    return type(f"S3{base.__name__}", (OffloadingEvent, base), {"hub": hub})
