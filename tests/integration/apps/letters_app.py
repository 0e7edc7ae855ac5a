"""Agents with different policies for claims that can never be redeemed."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

import faust
from app_settings import SETTINGS
from faust.types import Message

from faust_s3 import S3, PermanentError
from faust_s3.policy import Verdict

app = faust.App(**SETTINGS, broker_commit_interval=float(os.environ.get("COMMIT_INTERVAL", "0.5")))
s3 = S3(app, threshold=1000, on_bad_claim="dead_letter")
records = s3.offload(app.topic(os.environ["RECORDS"], value_type=bytes, value_serializer="raw"))
others = s3.offload(
    app.topic(f"{os.environ['RECORDS']}-others", value_type=bytes, value_serializer="raw")
)
seen = app.topic(os.environ["SEEN"], value_serializer="json")


@app.agent(records)
async def reporter(stream: Any) -> None:
    async for event in stream.events():
        headers = [(name, value.decode()) for name, value in event.message.headers]
        await seen.send(
            key=event.key,
            value={
                "topic": "records",
                "partition": event.message.partition,
                "timestamp": round(event.message.timestamp * 1000),
                "headers": headers,
                "size": len(event.value),
            },
        )


async def judge(message: Message, error: PermanentError) -> Verdict:
    await asyncio.sleep(0)
    return "skip" if message.key == b"skip" else "raise"


@app.agent(others)
@s3.rehydrate(on_bad_claim=judge)
async def other(stream: Any) -> None:
    async for event in stream.events():
        await seen.send(key=event.key, value={"topic": "others"})


async def produce() -> None:
    """Send what the arguments name: one record each, to partition 1, of 5000 bytes."""
    # Not older than the topic's retention: Kafka deletes such records half a minute later.
    began = int(time.time()) - 3600
    for number, name in enumerate(sys.argv[2:]):
        await records.send(
            key=name.encode(),
            value=name.encode() * 5000,
            partition=1,
            timestamp=began + number + 0.5,
            headers=[("name", name.encode()), ("name", b"again")],
        )
    await app.producer.flush()
    await app.producer.stop()
    await s3.close()


if __name__ == "__main__":
    if sys.argv[1] == "produce":
        asyncio.run(produce())
    else:
        app.main()
