"""All settings from the environment."""

from __future__ import annotations

import os

import faust

from faust_s3 import S3

app = faust.App(
    os.environ["APP_ID"],
    broker=os.environ["KAFKA_BROKER"],
    broker_session_timeout=10,
    broker_heartbeat_interval=1,
    web_enabled=False,
)
s3 = S3(app)
records = app.topic(os.environ["RECORDS"], value_serializer="json|s3")


@app.agent(records)
async def read(stream: faust.Stream[object]) -> None:
    async for _ in stream:
        pass


if __name__ == "__main__":
    app.main()
