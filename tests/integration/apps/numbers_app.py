"""Sends something large for each record, and says when it has been sent."""

from __future__ import annotations

import os

import faust

from faust_s3 import S3

SIZE = int(os.environ.get("SIZE", "5000"))

app = faust.App(
    os.environ["APP_ID"],
    broker=os.environ["KAFKA_BROKER"],
    broker_session_timeout=10,
    broker_heartbeat_interval=1,
    broker_commit_interval=0.5,
    consumer_auto_offset_reset="earliest",
    topic_disable_leader=True,
    web_enabled=False,
)
s3 = S3(app, threshold=1000)
numbers = app.topic(os.environ["RECORDS"], value_type=int, value_serializer="raw")
texts = app.topic(os.environ["SEEN"], value_serializer="json|s3")


@app.agent(numbers)
async def write(stream: faust.Stream[int]) -> None:
    async for number in stream:
        await texts.send(key=str(number), value=[int(number), "x" * SIZE])
        print(f"sent {int(number)}.", flush=True)


if __name__ == "__main__":
    app.main()
