"""Reads records, and writes what it makes of each to another topic, both offloaded."""

from __future__ import annotations

import os

import faust
from payloads import processed

from faust_s3 import S3, Payload

app = faust.App(
    os.environ["APP_ID"],
    broker=os.environ["KAFKA_BROKER"],
    processing_guarantee=os.environ["GUARANTEE"],
    stream_publish_on_commit=bool(os.environ.get("ON_COMMIT")),
    broker_session_timeout=6,
    broker_heartbeat_interval=1,
    broker_commit_interval=0.5,
    consumer_auto_offset_reset="earliest",
    topic_disable_leader=True,
    web_enabled=False,
)
s3 = S3(app, threshold=100_000)
records = s3.offload(app.topic(os.environ["RECORDS"], value_type=bytes, value_serializer="raw"))
results = s3.offload(app.topic(os.environ["RESULTS"], value_type=bytes, value_serializer="raw"))


def encoded(payload: bytes) -> bytes:
    """Return what is sent for a payload."""
    return payload


@app.agent(records)
async def process(stream: faust.Stream[bytes]) -> None:
    async for event in stream.events():
        message = event.message
        await results.send(
            key=event.key,
            value=processed(event.value),
            headers={
                "number": event.headers["number"],
                "source": f"{message.partition}:{message.offset}".encode(),
            },
        )


if os.environ["GUARANTEE"] == "exactly_once":
    # Faust publishes what goes to topics that the app does not read outside of transactions.

    @app.agent(results)
    @s3.rehydrate(lazy=True)
    async def read(stream: faust.Stream[Payload[bytes]]) -> None:
        async for _ in stream:
            pass
