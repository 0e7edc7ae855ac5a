"""An agent gets what a task sends several times, and prints how often it was stored."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import boto3
import faust

from faust_s3 import S3

app = faust.App(
    os.environ["APP_ID"],
    broker=os.environ["KAFKA_BROKER"],
    consumer_auto_offset_reset="earliest",
    topic_disable_leader=True,
    web_enabled=False,
)
PHOTO = Random(1).randbytes(200_000)
TIMES = 20
puts: list[str] = []


def note(request: Any, **kwargs: Any) -> None:
    """Be told by boto3 of each request before it is sent."""
    puts.append(request.url)


session = boto3.Session()
session.events.register("before-send.s3.PutObject", note)
s3 = S3(app, session=session, threshold=20_000)
records = app.topic(os.environ["RECORDS"], value_type=bytes, value_serializer="raw|s3")


@app.agent(records)
async def read(stream: faust.Stream[bytes]) -> None:
    whole = 0
    async for value in stream:
        whole += value == PHOTO
        if whole == TIMES:
            print(f"{whole} records whole, stored {len(puts)} times")


@app.task
async def send() -> None:
    for _ in range(TIMES):
        await records.send(value=PHOTO)


if __name__ == "__main__":
    app.main()
