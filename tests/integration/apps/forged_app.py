"""Says which records it read, and how large they were."""

from __future__ import annotations

import os

import faust

from faust_s3 import S3

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
s3 = S3(app)
records = s3.offload(app.topic(os.environ["RECORDS"], value_type=bytes, value_serializer="raw"))


@app.agent(records)
async def report(stream: faust.Stream[bytes]) -> None:
    async for event in stream.events():
        print(f"read {event.message.offset} of {len(event.value)} bytes", flush=True)


if __name__ == "__main__":
    app.main()
