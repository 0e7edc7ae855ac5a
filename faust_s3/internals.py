"""What we rely on inside Faust beyond its documented API.

Each function names the file and the version of Faust that it mirrors. Everything else in
this package uses public names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from heapq import heappush
from typing import Any, Final, cast

from faust import App
from faust.app._attached import Attachment
from faust.stores.base import SerializedStore
from faust.types import TP, AppT, ConsumerT, HeadersArg, Message, StoreT
from faust.types.tuples import FutureMessage
from mode.utils.objects import Unordered
from mode.utils.queues import ThrowableQueue

__all__ = [
    "RELIED_ON",
    "apply_changes",
    "attach",
    "commit_twice",
    "consumer_of",
    "extension_class",
    "first_in_process",
    "flush_after",
    "forget_acks",
    "has_transactions",
    "new_offset_below",
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


def record_room(max_request_size: int, key: bytes | None, headers: HeadersArg | None) -> int:
    """Return how many bytes of value the producer takes beside this key and these headers."""
    room = max_request_size - _RECORD_OVERHEAD - len(key or b"")
    if headers:
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        room -= sum(len(name.encode()) + len(value or b"") + _LENGTHS for name, value in pairs)
    return room


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


def consumer_of(app: AppT) -> ConsumerT | None:
    """Return the app's consumer without making one, as ``app.consumer`` would.

    Mirrors ``faust/app/base.py::App.consumer`` of 0.15.3.
    """
    return cast(App, app)._consumer


def first_in_process(consumer: ConsumerT) -> dict[TP, int]:
    """Return the first offset of each partition that was taken and not acknowledged."""
    first: dict[TP, int] = {}
    for message in consumer.unacked:
        if not message.acked:
            first[message.tp] = min(message.offset, first.get(message.tp, message.offset))
    return first


def new_offset_below(
    consumer: ConsumerT, tp: TP, limit: int | None, new_offset: Callable[[TP], int | None]
) -> int | None:
    """Return the offset to commit, as if nothing from ``limit`` on had been acknowledged.

    Mirrors ``faust/transport/consumer.py::Consumer._new_offset`` of 0.15.3, which looks for the
    first gap in what is acknowledged, and may pass by a single event that is not.
    """
    acked = cast(Any, consumer)._acked[tp]
    later = [] if limit is None else [offset for offset in acked if offset >= limit]
    if later:
        acked[:] = [offset for offset in acked if offset < limit]
    try:
        return new_offset(tp)
    finally:
        acked.extend(later)


def forget_acks(consumer: Any, partitions: Iterable[TP]) -> None:
    """Have events of revoked partitions that were not committed count as not processed.

    Mirrors ``faust/transport/consumer.py::Consumer.on_partitions_revoked`` of 0.15.3, which
    does it before it waits for streams, and would count what they acknowledge later for those
    that are delivered again.
    """
    revoked = set(partitions)
    for tp in revoked:
        consumer._acked.pop(tp, None)
        consumer._acked_index.pop(tp, None)
    for message in list(consumer.unacked):
        if message.tp in revoked:
            message.acked = True  # whoever still processes it changes nothing any more
            consumer.unacked.discard(message)


def attach(app: AppT, event: Message, fut: FutureMessage) -> None:
    """Have a message published when the event that it was sent for is committed.

    Mirrors ``faust/app/_attached.py::Attachments.put`` of 0.15.3.
    """
    pending = cast(App, app)._attachments._pending[event.tp]
    heappush(pending, Attachment(event.offset, Unordered(fut)))


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


def producer_of(app: Any) -> Any:
    """Return what takes messages, whether it has been started or not.

    Mirrors ``faust/app/base.py::App.maybe_start_producer`` of 0.15.3, which gives way to others
    three times for each message (mode's ``stampede``). In a line of senders each of them would
    wait that long for the one before, and the producer make a batch of each message.
    """
    return app.consumer.transactions if app.in_transaction else app.producer


def has_transactions(consumer: Any, topic: str) -> bool:
    """Tell whether what is sent to a topic belongs to transactions, with exactly-once.

    ``faust/transport/consumer.py::TransactionManager.send`` of 0.15.3 looks the partition up
    in the consumer's metadata, which has the topics that the app reads, and publishes outside
    of every transaction what it does not find.
    """
    return consumer.key_partition(topic, None) is not None


#: What we rely on inside Faust, and for what. A test compares each with what stands in the
#: versions that we know, so that a change in Faust is noticed here and not by a user.
RELIED_ON: Final[Mapping[str, str]] = {
    "aiokafka.consumer.fetcher:Fetcher.fetched_records": (
        "no partitions mean all of them; it awaits the assignment"
    ),
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
    "faust.app._attached:Attachments.put": "it makes the promise and puts it into _pending",
    "faust.app.base:App._on_partitions_revoked": (
        "it stops the flow only if there is an assignment; it sends the signal last"
    ),
    "faust.app.base:App.consumer": "it is made when first asked for",
    "faust.app.base:App.maybe_start_producer": (
        "it returns the transactions, or the producer once it has started, for all who wait"
    ),
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
    "faust.events:Event._attach": "what is published on commit goes through it",
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
    "faust.tables.manager:TableManager.on_partitions_revoked": (
        "it leads to the recovery's, at once"
    ),
    "faust.tables.manager:TableManager.on_rebalance": "it leads to the recovery's",
    "faust.tables.recovery:Recovery._resume_streams": (
        "it opens partitions, seeks, clears queues, resumes the flow"
    ),
    "faust.tables.recovery:Recovery.flush_buffers": "it applies what was recovered so far",
    "faust.tables.recovery:Recovery.on_rebalance": (
        "it sets signal_recovery_start, unless there is a newer assignment"
    ),
    "faust.tables.recovery:Recovery.on_recovery_completed": (
        "it opens partitions, seeks, clears queues, resumes the flow"
    ),
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
        "it is awaited before the offsets that it is given are committed"
    ),
    "faust.transport.consumer:Consumer._new_offset": (
        "it takes what is committed out of _acked, and passes by a single offset that is not there"
    ),
    "faust.transport.consumer:Consumer._wait_next_records": (
        "it waits for the flow before it fetches"
    ),
    "faust.transport.consumer:Consumer.commit_and_end_transactions": (
        "it is the last commit before a rebalance and at the end"
    ),
    "faust.transport.consumer:Consumer.getmany": (
        "it seeks when the flow is not active after a fetch"
    ),
    "faust.transport.consumer:Consumer.on_buffer_drop": (
        "it opens a partition that is in _buffered_partitions"
    ),
    "faust.transport.consumer:Consumer.on_partitions_revoked": (
        "it forgets what is acknowledged before streams are waited for"
    ),
    "faust.transport.consumer:Consumer.resume_partitions": "it opens partitions of the assignment",
    "faust.transport.consumer:Consumer.wait_empty": (
        "a rebalance and the end wait for every event that is being processed"
    ),
    "faust.transport.consumer:Consumer.ack": (
        "what is acknowledged is in _acked until it is committed"
    ),
    "faust.transport.consumer:Consumer.commit": "it only waits if another commit is under way",
    "faust.transport.consumer:TransactionManager._tps_to_active_tpgs": (
        "it leaves out the partitions of which this worker is a standby now"
    ),
    "faust.transport.consumer:TransactionManager.on_rebalance": (
        "it stops the producers of active partitions that were revoked"
    ),
    "faust.transport.consumer:TransactionManager.send": (
        "it asks the consumer's key_partition, and without a partition there is no transaction"
    ),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._fetch_records": (
        "it passes on the partitions that are wanted"
    ),
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
