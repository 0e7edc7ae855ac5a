"""A worker that waits for its store stays in its group.

aiokafka 0.14.0 leaves the group when nobody asked for records for as long as
``broker_max_poll_interval`` (``aiokafka/consumer/group_coordinator.py``), and Faust 0.15.3
asks for none while the buffers of all its partitions are full
(``faust/transport/consumer.py::Consumer._wait_next_records``), or while that of changelogs
is in recovery. That is meant for workers that hang. One whose requests to the store are tried
again and again does not, and nobody else could go on in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from faust import App
from mode import Service

from faust_s3.internals import consumer_of

__all__ = ["RELIED_ON", "stay_while", "touch"]

#: Seconds between two looks; ``broker_max_poll_interval`` is counted in seconds, too.
_INTERVAL: Final = 1.0


async def stay_while(busy: Callable[[], bool], app: App, service: Service) -> None:
    """Keep the app's consumer in its group for as long as something is waited for.

    Args:
        busy: Whether requests to the store are under way, or wait to be tried again.
        app: The app.
        service: Until it stops.
    """
    while not service.should_stop:
        if busy():
            touch(app)
        await service.sleep(_INTERVAL)


def touch(app: App) -> None:
    """Have the app's consumer count as having asked for records just now.

    Does what ``faust/transport/drivers/aiokafka.py::AIOKafkaConsumerThread._fetch_records`` of
    0.15.3 does, but for the records. Does nothing for another driver, or for a consumer that
    does not run.
    """
    thread: Any = getattr(consumer_of(app), "_thread", None)
    consumer = getattr(thread, "_consumer", None)
    if consumer is None:
        return
    from aiokafka import AIOKafkaConsumer  # loaded only where there is a consumer

    loop: asyncio.AbstractEventLoop = thread.thread_loop
    if isinstance(consumer, AIOKafkaConsumer) and not loop.is_closed():
        loop.call_soon_threadsafe(_fetch_nothing, consumer)


def _fetch_nothing(consumer: Any) -> None:
    with consumer._subscription.fetch_context():
        pass


#: As in :data:`faust_s3.internals.RELIED_ON`.
RELIED_ON: Final[Mapping[str, str]] = {
    "aiokafka.consumer.group_coordinator:GroupCoordinator._heartbeat_routine": (
        "it leaves the group when the fetcher was idle for too long"
    ),
    "aiokafka.consumer.subscription_state:SubscriptionState.fetch_context": (
        "the fetcher is idle since the last one was left"
    ),
    "faust.transport.consumer:Consumer._wait_next_records": (
        "it asks for no records while no partition is active"
    ),
    "faust.transport.consumer:Consumer.on_buffer_full": (
        "a partition is not active while its buffer is full, except in recovery"
    ),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._fetch_records": (
        "it asks for records in the consumer's thread, within a fetch_context"
    ),
    "mode.utils.queues:FlowControlQueue.put_nowait_enhanced": (
        "it asks in_pressure_high_state, and puts in any case"
    ),
}
