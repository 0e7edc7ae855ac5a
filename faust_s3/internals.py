"""What we rely on inside Faust beyond its documented API.

Each function names the file and the version of Faust that it mirrors. Everything else in
this package uses public names.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from heapq import heapify, heappush
from typing import Any, Final, cast

from faust import App
from faust.app._attached import Attachment
from faust.exceptions import ProducerSendError
from faust.stores.base import SerializedStore
from faust.types import TP, AppT, ConsumerT, HeadersArg, Message, StoreT
from faust.types.tuples import FutureMessage
from mode.utils.objects import Unordered
from mode.utils.queues import ThrowableQueue

__all__ = [
    "RELIED_ON",
    "CommitGate",
    "apply_changes",
    "commit_twice",
    "consumer_of",
    "extension_class",
    "flush_after",
    "in_order",
    "record_room",
    "set_changelog_queue",
    "set_extension_class",
    "wait_for_metadata",
    "wrap_serializers",
]

#: aiokafka 0.14.0, ``record/_crecords/default_records.pyx``: a batch header has 61 bytes
#: and a record at most 21 besides its key, value and headers, whose lengths take up to 5
#: bytes each; our own inline envelope adds up to 17. Rounded up.
_RECORD_OVERHEAD: Final = 128
_LENGTHS: Final = 10

#: Seconds between two looks at whether the app rebalances, and how many of them in a row
#: a commit may wait then.
_TURN = 1.0
_GIVE_WAY = 5


def record_room(max_request_size: int, key: bytes | None, headers: HeadersArg | None) -> int:
    """Return how many bytes of value the producer takes beside this key and these headers."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    taken = len(key or b"") + sum(
        len(name.encode()) + len(value or b"") + _LENGTHS for name, value in pairs
    )
    return max_request_size - _RECORD_OVERHEAD - taken


def extension_class(conf: Any, name: str) -> type[Any]:
    """Return the class that a setting such as ``Topic`` has, without marking it as read.

    Mirrors ``faust/types/settings/base.py::Settings.__getattribute__`` of 0.15.3.
    """
    return cast("type[Any]", object.__getattribute__(conf, name))


def set_extension_class(conf: Any, name: str, cls: type[Any]) -> None:
    """Change the class that a setting such as ``Topic`` has, which others may have read.

    Mirrors ``faust/types/settings/base.py::Settings.__setattr__`` of 0.15.3, which would
    warn: topics made before stay as they are, and we check for that when the app starts.
    """
    object.__setattr__(conf, name, cls)


def set_changelog_queue(app: App, queue: ThrowableQueue[Any]) -> None:
    """Have tables recover through a queue, before they start.

    Mirrors ``faust/tables/manager.py::TableManager.changelog_queue`` of 0.15.3.
    """
    cast(Any, app.tables)._changelog_queue = queue


def wrap_serializers(store: StoreT[Any, Any], wrap: Callable[[Any], Any]) -> None:
    """Change the functions by which a table's store serializes and deserializes.

    Mirrors ``faust/stores/base.py::SerializedStore`` of 0.15.3, which calls the codecs by
    itself, on the event loop; stores in memory hold what they are given.
    """
    if isinstance(store, SerializedStore):
        for name in ("_encode_key", "_encode_value", "_decode_key", "_decode_value"):
            setattr(store, name, wrap(getattr(store, name)))


def apply_changes(app: AppT) -> None:
    """Have tables apply what was recovered so far.

    Mirrors ``faust/tables/recovery.py::Recovery._slurp_changelogs`` of 0.15.3, which does
    it once there are ``recovery_buffer_size`` changes, however large they are.
    """
    cast(Any, app.tables).recovery.flush_buffers()


def flush_after(producer: Any, wait: Callable[[], Awaitable[None]]) -> None:
    """Have a producer await something before it flushes.

    Mirrors ``faust/transport/drivers/aiokafka.py::Producer.flush`` of 0.15.3, which knows
    only of what has reached its buffer.
    """
    if "flush" in vars(producer):
        return  # it does so already
    theirs = producer.flush

    async def flush() -> None:
        await wait()
        await theirs()

    producer.flush = flush


class CommitGate:
    """Has things happen before an offset is committed, or prevents the commit.

    This is Faust's own way for messages that are published on commit:
    ``faust/app/_attached.py::Attachments`` and
    ``faust/transport/consumer.py::Consumer._handle_attached`` of 0.15.3. Unlike another
    reference on the message it also holds when offsets are acknowledged out of order.

    Args:
        app: The app.
    """

    def __init__(self, app: AppT) -> None:
        self._app = app
        self._waiters: dict[TP, set[_Waiter]] = defaultdict(set)
        self._first: dict[TP, _Waiter] = {}

    def before_commit(self, message: Message, wait: Callable[[], Awaitable[Any]]) -> None:
        """Have ``await wait()`` succeed before an offset beyond ``message`` is committed.

        As long as it raises, nothing is committed; a ``ProducerSendError`` crashes the
        consumer.
        """
        # Faust compares with the offset that it commits, which is the next one to be read.
        self._add(message.tp, message.offset + 1, wait)

    def refuse(self, tp: TP, offset: int, exc: BaseException) -> None:
        """Prevent every commit beyond an offset, because of an error."""

        async def refuse() -> None:
            raise ProducerSendError(str(exc)) from exc

        self._add(tp, offset + 1, refuse)

    def before_any_commit(
        self, partitions: Iterable[TP], wait: Callable[[], Awaitable[Any]]
    ) -> None:
        """Have ``await wait()`` succeed before the next commit of each, whatever its offset.

        Until that has come, calling this again changes nothing.
        """
        for tp in partitions:
            if tp not in self._first:
                self._first[tp] = self._add(tp, 0, wait)

    def give_way(self, consumer: ConsumerT) -> None:
        """Have a commit that waits while partitions are revoked commit nothing instead.

        Otherwise the group would wait as well, or go on without this worker
        (``faust/transport/consumer.py::Consumer.wait_empty`` of 0.15.3).
        """
        committing: Any = consumer
        if "_handle_attached" in vars(consumer):
            return  # it does so already
        theirs = committing._handle_attached

        async def handle_attached(offsets: dict[TP, int]) -> None:
            handling = asyncio.ensure_future(theirs(offsets))
            try:
                turns = _GIVE_WAY
                while turns and not handling.done():
                    await asyncio.wait({handling}, timeout=_TURN)
                    turns = turns - 1 if self._app.rebalancing else _GIVE_WAY
                if not handling.done():
                    offsets.clear()  # Faust commits what is left of them
                    return
                await handling
            finally:
                handling.cancel()

        committing._handle_attached = handle_attached

    def close(self, partitions: Iterable[TP], reason: str) -> None:
        """Prevent every commit from now on."""

        async def refuse() -> None:
            raise ProducerSendError(f"nothing is committed any more: {reason}")

        for tp in partitions:
            self._add(tp, 0, refuse)

    def forget(self, partitions: Iterable[TP]) -> None:
        """Drop what waits for partitions that were revoked: they are another worker's now."""
        pending = cast(App, self._app)._attachments._pending
        for tp in partitions:
            self._first.pop(tp, None)
            if ours := cast("set[object]", self._waiters.pop(tp, None)):
                pending[tp] = [entry for entry in pending[tp] if entry.message.value not in ours]
                heapify(pending[tp])

    def _add(self, tp: TP, offset: int, wait: Callable[[], Awaitable[Any]]) -> _Waiter:
        waiter = _Waiter(self, tp, offset, wait)
        self._waiters[tp].add(waiter)
        self._attach(waiter)
        return waiter

    def _attach(self, waiter: _Waiter) -> None:
        pending = cast(App, self._app)._attachments._pending[waiter.tp]
        attached = cast(FutureMessage, waiter)
        heappush(pending, Attachment(waiter.offset, Unordered(attached)))

    def _done(self, waiter: _Waiter) -> None:
        self._waiters[waiter.tp].discard(waiter)
        if self._first.get(waiter.tp) is waiter:
            del self._first[waiter.tp]

    def _again(self, tp: TP) -> None:
        # A commit takes all its attachments before it awaits the first one, so that those
        # behind the one that failed would be forgotten.
        for waiter in self._waiters[tp]:
            self._attach(waiter)


class _Waiter:
    """Looks like an attached ``FutureMessage`` to the consumer that is about to commit."""

    def __init__(
        self, gate: CommitGate, tp: TP, offset: int, wait: Callable[[], Awaitable[Any]]
    ) -> None:
        self.message = self
        self.channel = self
        self.tp = tp
        self.offset = offset
        self._gate = gate
        self._wait = wait

    async def publish_message(self, fut: Any, wait: bool = False) -> Awaitable[None]:
        try:
            await self._wait()
        except BaseException:
            self._gate._again(self.tp)
            raise
        self._gate._done(self)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done  # the consumer awaits it


def consumer_of(app: AppT) -> ConsumerT | None:
    """Return the app's consumer without making one, as ``app.consumer`` would.

    Mirrors ``faust/app/base.py::App.consumer`` of 0.15.3.
    """
    return cast(App, app)._consumer


def in_order(consumer: ConsumerT) -> bool:
    """Tell whether everything acknowledged lies before everything that is not yet.

    If not, ``faust/transport/consumer.py::Consumer._new_offset`` of 0.15.3 may commit past
    what is being processed.
    """
    last = {tp: max(offsets) for tp, offsets in cast(Any, consumer)._acked.items() if offsets}
    return all(last.get(message.tp, -1) < message.offset for message in consumer.unacked)


async def commit_twice(consumer: ConsumerT) -> None:
    """Commit what has been acknowledged when this is called.

    ``faust/transport/consumer.py::Consumer.commit`` of 0.15.3 only waits for a commit that
    is under way, and does not commit itself then.
    """
    await consumer.commit()
    await consumer.commit()


async def wait_for_metadata(app: AppT, topic: str) -> None:
    """Make sure that the producer knows the partitions of a topic.

    ``Producer.key_partition`` needs them and does not ask for them itself
    (``faust/transport/drivers/aiokafka.py`` of 0.15.3).
    """
    producer: Any = app.producer
    await producer.maybe_start()
    await producer._ensure_producer().partitions_for(topic)


#: What we rely on inside Faust, and for what. A test compares each with what stands in the
#: versions that we know, so that a change in Faust is noticed here and not by a user.
RELIED_ON: Final[Mapping[str, str]] = {
    "faust.agents.agent:Agent._execute_actor": "an agent is the current one in its own task",
    "faust.agents.agent:Agent._reply": (
        "replies are sent by the agent's own task, as ReqRepResponse, to a topic made by name"
    ),
    "faust.agents.agent:Agent.channel_iterator": (
        "agents read from a clone of their topic, which keeps what it opted in to"
    ),
    "faust.agents.replies:ReplyConsumer._reply_topic": (
        "whoever asks reads replies from a topic whose value_type is ReqRepResponse"
    ),
    "faust.agents.replies:ReplyConsumer._start_fetcher": (
        "the conductor also fills the queue of the topic that is cloned to be read"
    ),
    "faust.app._attached:Attachments._attachments_for": (
        "what is attached is taken up to the offset that is committed"
    ),
    "faust.app._attached:Attachments.publish_for_tp_offset": (
        "the gate has commits wait for what is attached to an offset"
    ),
    "faust.app.base:App.consumer": "it is made when first asked for",
    "faust.channels:Channel._send_now": (
        "a message that is sent goes through as_future_message and publish_message"
    ),
    "faust.channels:Channel.as_future_message": (
        "keys are serialized before values, and the message is a promise"
    ),
    "faust.channels:Channel.clone_using_queue": (
        "tables recover through a clone of the changelog topic"
    ),
    "faust.channels:Channel.queue": "it is made when first asked for, and kept in _queue",
    "faust.events:Event.forward": "it sends the message's own bytes on",
    "faust.serializers.codecs:Codec.dumps": "a chain of codecs runs from left to right",
    "faust.serializers.registry:Registry.dumps_value": (
        "a model's own serializer wins over the topic's"
    ),
    "faust.stores.base:SerializedStore.apply_changelog_batch": (
        "stores that serialize keep the message's bytes"
    ),
    "faust.streams:Stream._py_aiter": (
        "it asks empty() before get_nowait(), and sets the current event"
    ),
    "faust.streams:Stream.take": "an agent that takes many events at once has no current one",
    "faust.tables.base:Collection._new_changelog_topic": (
        "a changelog topic takes over its table's serializers"
    ),
    "faust.tables.base:Collection._new_store_by_url": "a table's store takes over its serializers",
    "faust.tables.base:Collection.send_changelog": (
        "changes are sent by send_soon, with the table's serializers"
    ),
    "faust.tables.manager:TableManager.changelog_queue": (
        "it is made when first asked for, and kept in _changelog_queue"
    ),
    "faust.tables.recovery:Recovery.flush_buffers": "it applies what was recovered so far",
    "faust.topics:Topic.__init__": "it takes its settings as keywords",
    "faust.topics:Topic._clone_args": "a clone is made from these arguments",
    "faust.topics:Topic._compile_decode": (
        "it sets decode, which the conductor awaits for each message"
    ),
    "faust.topics:Topic.derive_topic": "it builds the derived topic from a fixed list of arguments",
    "faust.topics:Topic.publish_message": (
        "everything that is sent goes through it, but for producer_threaded"
    ),
    "faust.topics:Topic.send": "it attaches or sends at once",
    "faust.topics:Topic.send_soon": "it goes through as_future_message and the producer's buffer",
    "faust.transport.conductor:ConductorCompiler.build": (
        "what decode returns is put into the channel's queue; what it raises is judged by type"
    ),
    "faust.transport.consumer:Consumer._commit_tps": (
        "a ProducerSendError of what is attached crashes the consumer"
    ),
    "faust.transport.consumer:Consumer._handle_attached": (
        "it waits for what is attached before it commits the offsets that it was given"
    ),
    "faust.transport.consumer:Consumer._new_offset": (
        "it commits past a single offset that is not acknowledged"
    ),
    "faust.transport.consumer:Consumer.ack": (
        "what is acknowledged is in _acked until it is committed"
    ),
    "faust.transport.consumer:Consumer.commit": "it only waits if another commit is under way",
    "faust.transport.drivers.aiokafka:Producer.flush": "app.stop, commits and users call it",
    "faust.transport.drivers.aiokafka:Producer.key_partition": (
        "it needs the topic's metadata and does not ask for them"
    ),
    "faust.transport.producer:ProducerBuffer._send_pending": (
        "it awaits the channel's publish_message"
    ),
    "faust.types.settings.base:SettingsRegistry.__getattribute__": (
        "reading a setting configures the app"
    ),
    "faust.types.settings.base:SettingsRegistry.__setattr__": (
        "changing a setting that was read warns"
    ),
    "mode.utils.queues:FlowControlQueue.clear": "it drops what is queued when the flow resumes",
    "mode.utils.queues:ThrowableQueue.empty": "errors that were thrown in come first",
    "mode.utils.queues:ThrowableQueue.get": "errors that were thrown in come first",
}
