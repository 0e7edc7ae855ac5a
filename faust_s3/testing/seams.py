"""What is different about an app while it runs in memory.

An attribute that is set here is put back with the rest of the app.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, cast

import faust
from yarl import URL

from faust_s3.internals import consumer_of
from faust_s3.testing.transport import Consumer, Transport

__all__ = ["RELIED_ON", "reading", "run_in_memory", "stop_at_once", "subscribed"]


def run_in_memory(app: faust.App, transport: Transport, *, partitions: int | None) -> None:
    """Give an app another transport, and keep it from sleeping, and off files and sockets.

    Args:
        app: The app, configured and not started.
        transport: The transport.
        partitions: Of topics that name no number of their own. Default: the app's.
    """
    conf = app.conf
    _set(conf, "store", URL("memory://"))
    _set(conf, "reply_create_topic", True)  # or the first ask() would mean another rebalance
    if partitions is not None:
        _set(conf, "topic_partitions", partitions)
    app.boot_strategy.enable_web = False
    app.transport = transport
    app.producer = app.consumer = cast(Any, None)  # made anew from the transport
    app._create_directories = lambda: None  # type: ignore[method-assign]
    cast(Any, app.tables).sleep = _one_turn
    cast(Any, app._reply_consumer).sleep = partial(_one_turn_for_replies, app)
    cast(Any, app.topics)._resubscribe_sleep_lock_seconds = 0.0
    for table in app.tables.values():
        cast(Any, table)._store = cast(Any, table)._data = None


def stop_at_once(app: faust.App) -> None:
    """Do not wait for agents at the stop: the broker is about to go, too."""
    _set(app.conf, "stream_wait_empty", False)


def reading(app: faust.App) -> Consumer | None:
    """Return the app's consumer, unless the app only sends."""
    return None if app.producer_only else cast("Consumer | None", consumer_of(app))


def subscribed(app: faust.App, consumer: Consumer) -> bool:
    """Tell whether an app has been assigned all that its streams want to read, or see to it."""
    if app.rebalancing or consumer.subscription is None:
        return False
    if all(consumer.subscription.issuperset(topic.topics) for topic in app.topics):
        return True
    cast(Any, app.topics)._flag_changes()  # Faust forgets those that come in a rebalance
    return False


async def _one_turn(seconds: float) -> None:
    # Enough for agents to come to their first event: nothing here is slow.
    await asyncio.sleep(0)


async def _one_turn_for_replies(app: faust.App, seconds: float) -> None:
    # The topic is subscribed to twice, and read once: its records would never be acknowledged,
    # and the next rebalance would wait for that.
    for topic in cast("list[faust.Topic]", list(app.topics)):
        if not topic.is_iterator and app._reply_consumer._fetchers.keys() & topic.topics:
            app.topics.discard(topic)
    await _one_turn(seconds)


def _set(conf: Any, name: str, value: Any) -> None:
    # conf.name = value would warn that others may have read the setting.
    object.__setattr__(conf, name, value)


#: What the kit relies on inside Faust, and for what; as ``faust_s3.internals.RELIED_ON``.
RELIED_ON: Final[Mapping[str, str]] = {
    "faust.agents.replies:ReplyConsumer._start_fetcher": (
        "it adds the topic and sleeps before it reads, from another clone of the topic"
    ),
    "faust.app.base:App._on_agent_error": "what agents raise reaches consumer.on_task_error",
    "faust.app.base:App._on_partitions_assigned": "the consumer calls it with what it may read",
    "faust.app.base:App._on_partitions_revoked": "the consumer calls it before it rebalances",
    "faust.app.base:App.consumer": "it is made from app.transport when first asked for",
    "faust.app.base:App.on_first_start": "nothing else than _create_directories makes files",
    "faust.app.base:App.producer": "it is made from app.transport when first asked for",
    "faust.tables.base:Collection._new_store": "a table without a store has the app's",
    "faust.tables.base:Collection.data": "the store is made when first asked for",
    "faust.tables.manager:TableManager.on_start": "it sleeps until agents have begun to read",
    "faust.transport.conductor:Conductor._flag_changes": "it wakes _subscriber up",
    "faust.transport.conductor:Conductor._subscriber": (
        "it subscribes after a pause, and forgets what comes in a rebalance"
    ),
    "faust.transport.consumer:Consumer._drain_messages": (
        "it reads from what getmany returns, and awaits nothing else that takes time"
    ),
    "faust.transport.consumer:Consumer._get_active_partitions": "those that are not paused",
    "faust.transport.consumer:Consumer.on_partitions_revoked": (
        "it forgets what is acknowledged and not committed"
    ),
    "faust.transport.consumer:Consumer.perform_seek": "it goes back to what is committed",
    "faust.transport.drivers.aiokafka:ConsumerRebalanceListener": (
        "on_rebalance_start comes first, then the generation, then the partitions"
    ),
    "faust.transport.drivers.aiokafka:Producer.send": "headers are pairs, timestamps seconds",
    "faust.transport.producer:Producer.__init__": "producer_threaded makes a threaded producer",
    "mode.services:Service._actually_start": "a service that was put back starts anew",
}
