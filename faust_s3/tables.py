"""Tables: whole values on the worker, claims in the changelog.

A table opts in like a topic, because its changelog topic takes over its serializers. What
is left to do is to keep the codec out of the table's store, to see every change to Kafka,
and to recover whole values.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, cast

import faust
from faust.types import TP, CodecArg, EventT, StoreT
from faust.types.tuples import FutureMessage

from faust_s3.codec import within_topic
from faust_s3.commits import REVOKED
from faust_s3.exceptions import StoreUnavailable
from faust_s3.hub import Hub
from faust_s3.internals import (
    apply_changes,
    set_changelog_queue,
    wrap_serializers,
)
from faust_s3.outgoing import Outgoing
from faust_s3.prefetch import PrefetchQueue
from faust_s3.topic import OffloadingTopic

if TYPE_CHECKING:
    _Base = faust.Table[Any, Any]
else:
    _Base = object

__all__ = ["ChangelogQueue", "OffloadingTable", "let_go", "offloading_table", "recover_ahead"]

logger = logging.getLogger(__name__)

#: Bytes. Faust collects changes, a thousand by default, and its stores write them in one
#: go, on the event loop.
_BATCH: Final = 4 << 20


class OffloadingTable(_Base):
    """Mixed into each of the app's ``Table`` classes.

    Args:
        app: The app.
        key_serializer: Instead of the one that Faust derives from ``key_type``.
        value_serializer: Instead of the one that Faust derives from ``value_type``, for
            tables of anything but models.
        **kwargs: As in Faust.
    """

    def __init__(
        self,
        app: Any,
        *,
        key_serializer: CodecArg = None,
        value_serializer: CodecArg = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(app, **kwargs)
        if key_serializer is not None:
            self.key_serializer = key_serializer
        if value_serializer is not None:
            self.value_serializer = value_serializer

    def _new_store_by_url(self, url: Any) -> StoreT[Any, Any]:
        # The codec must not go to S3 for a store that serializes by itself: what it holds is
        # payloads, as they were before they were offloaded.
        store = super()._new_store_by_url(url)
        if _offloads(self):
            wrap_serializers(store, _without_io)
        return store

    # -- changes

    def send_changelog(self, *args: Any, **kwargs: Any) -> FutureMessage:
        """Send a change to the changelog, and see to it that it gets there."""
        fut = super().send_changelog(*args, **kwargs)
        if isinstance(fut, Outgoing):
            fut.patient = True
            hub = cast(OffloadingTopic, self.changelog_topic).hub
            hub.changes.add(fut)
            fut.add_done_callback(hub.changes.discard)
        return fut

    # -- recovery

    async def on_changelog_event(self, event: EventT[Any]) -> None:
        """Take note of a change that is recovered, and have many of them applied in time."""
        await super().on_changelog_event(event)
        queue = cast(Any, self.app.tables).changelog_queue
        if isinstance(queue, ChangelogQueue):
            queue.handed_out += len(_whole(event).value or b"")
            if queue.handed_out >= _BATCH:
                queue.handed_out = 0
                apply_changes(self.app)

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        """Apply changes to the store, which may keep their bytes."""
        events = list(batch)
        for event in events:
            event.message = _whole(event)
        super().apply_changelog_batch(events)


def offloading_table(base: type[faust.Table[Any, Any]]) -> type[faust.Table[Any, Any]]:
    """Return a subclass of one of an app's ``Table`` classes whose values may be offloaded."""
    if issubclass(base, OffloadingTable):
        return base
    return type(f"S3{base.__name__}", (OffloadingTable, base), {})


class ChangelogQueue(PrefetchQueue):
    """What an app's tables recover through.

    Faust clears it whenever flow resumes, which happens while standbys are read already: what
    they had not yet taken was lost. This one is cleared when partitions are revoked; what
    was in it is then read again.

    Attributes:
        handed_out: Bytes of the changes that left it and may not have been applied yet.
    """

    def __init__(self, app: faust.App, hub: Hub) -> None:
        policy = hub.default_policy()
        super().__init__(
            maxsize=app.conf.stream_buffer_maxsize,
            flow_control=app.flow_control,
            prefetch=policy.prefetch,
            prefetch_bytes=policy.prefetch_bytes,
        )
        self._app = app
        self.handed_out = 0

    def full(self) -> bool:
        """Tell whether the conductor has to wait: in recovery, when agents do not run anyway.

        Faust goes on fetching then, whatever the pressure.
        """
        return self._app.in_recovery and self.qsize() >= self.maxsize > 0

    async def get(self) -> Any:
        """Return the next change, whole.

        Raises:
            StoreUnavailable: With transactions, when a change that is still being downloaded
                is waited for no longer. Faust would take silence for the end of the changelog
                (``faust/tables/recovery.py::detect_aborted_tx`` of 0.15.3); an error it logs.
        """
        try:
            return await super().get()
        except asyncio.CancelledError:
            if self.qsize() and self._app.in_transaction and not self._app.should_stop:
                raise StoreUnavailable("the next change is still being downloaded") from None
            raise


def recover_ahead(app: faust.App, hub: Hub) -> None:
    """Let downloads run ahead when tables recover; to be called before they start."""
    if hub.changelogs is None:
        hub.changelogs = ChangelogQueue(app, hub)
        set_changelog_queue(app, hub.changelogs)
    hub.holds_streams = any(_offloads(table) for table in app.tables.values())


async def let_go(hub: Hub, revoked: set[TP]) -> None:
    """Bring what was sent for partitions to an end, before they are another worker's.

    A change that is published later would undo what that worker writes, and mark as recovered
    what it wrote. The events behind what is given up are not committed.
    """
    if hub.changes:
        await asyncio.wait(set(hub.changes), timeout=REVOKED)
    given_up = [
        fut
        for fut in cast("set[Outgoing]", hub.under_way)
        if any(tp in revoked for tp, _ in fut.events)
    ]
    for fut in given_up:
        fut.abandon(StoreUnavailable("the partition of the event was revoked"))
    if given_up:
        logger.warning(
            "partitions were revoked before %d messages were stored; the events that they were "
            "sent for will be delivered again",
            len(given_up),
        )
    hub.commits.forget(revoked)
    if hub.changelogs is not None:
        hub.changelogs.clear()


def _offloads(table: Any) -> bool:
    topic = table.changelog_topic
    return isinstance(topic, OffloadingTopic) and bool(topic.opt_in)


def _whole(event: EventT[Any]) -> Any:
    return getattr(event, "whole", event.message)


def _without_io(fun: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(fun)
    def call(value: Any) -> Any:
        with within_topic():
            return fun(value)

    return call
