"""An app that is still to read a backlog when its partitions are assigned; see CASE."""

from __future__ import annotations

import logging
import os
from asyncio import sleep
from typing import Any

import faust
from app_settings import SETTINGS
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from faust_s3 import S3

CASE = os.environ["CASE"]
#: Seconds that an event takes, so that others wait in the queue behind it.
WORK = 0.03
#: Seconds that Kafka takes to say what is committed. A fetch lasts up to a second.
COMMITTED_AFTER = 2.5

logger = logging.getLogger(__name__)
app = faust.App(**SETTINGS, topic_partitions=1, topic_replication_factor=1)
SERIALIZER = "json"
if not os.environ.get("PLAIN"):
    S3(app, threshold=1000)
    SERIALIZER = "json|s3"
records = app.topic(os.environ["RECORDS"], value_serializer=SERIALIZER)
others = app.topic(os.environ["OTHERS"], value_serializer=SERIALIZER)

seek_to_committed = AIOKafkaConsumerThread.seek_to_committed


async def slowly(thread: AIOKafkaConsumerThread) -> Any:
    offsets = await seek_to_committed(thread)
    await sleep(COMMITTED_AFTER)
    return offsets


AIOKafkaConsumerThread.seek_to_committed = slowly  # type: ignore[method-assign]


async def see(value: Any) -> None:
    logger.info("seen %d.", value["number"])
    await sleep(WORK)


if CASE == "late":

    @app.agent(others)
    async def ignore(stream: Any) -> None:
        async for _ in stream:
            pass

    @app.task
    async def late() -> None:
        app.topics._resubscribe_sleep_lock_seconds = 1.0  # type: ignore[attr-defined]
        async for value in app.stream(records):
            await see(value)


if CASE == "tables":
    counts = app.Table("counts", default=int)

    @app.agent(records)
    async def count(stream: Any) -> None:
        async for value in stream:
            counts[str(value["number"] % 10)] += 1
            await see(value)


if __name__ == "__main__":
    app.main()
